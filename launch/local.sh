#!/usr/bin/env bash
# Several processes on this machine, as on a pod, with CPU devices: for trying an experiment's multi-process path.
#
#   launch/local.sh 2 run experiments/quickstart.py --set debug=true --workdir runs/two
#
# The first argument is the number of processes, the rest is a `sirl` command line; --distributed is added.
# SIRL names another way to start it, such as SIRL="python -m sirl". Process 0 speaks here, the others in LOGS.
set -euo pipefail

if [[ $# -lt 2 || ! $1 =~ ^[1-9][0-9]*$ ]]; then
  echo "usage: $0 PROCESSES run FILE [--set NAME=VALUE] [--workdir DIR]" >&2
  exit 2
fi
processes=$1
shift
read -r -a sirl <<<"${SIRL:-sirl}"
logs=${LOGS:-$(mktemp -d)}
mkdir -p "$logs"

export JAX_PLATFORMS=cpu
export JAX_NUM_CPU_DEVICES=${JAX_NUM_CPU_DEVICES:-1} # per process
export JAX_COORDINATOR_ADDRESS=127.0.0.1:${PORT:-$((20000 + RANDOM % 20000))}
export JAX_NUM_PROCESSES=$processes

started=()
stop() {
  for pid in "${started[@]}"; do kill "$pid" 2>/dev/null || true; done
}
trap stop EXIT
for ((i = 1; i < processes; i++)); do
  JAX_PROCESS_ID=$i "${sirl[@]}" "$@" --distributed >"$logs/process_$i.log" 2>&1 &
  started+=($!)
done
status=0
JAX_PROCESS_ID=0 "${sirl[@]}" "$@" --distributed || status=$?

# A process that fails ends the others where its connection is seen to close; here they are ended for sure.
((status)) && stop
for pid in "${started[@]}"; do
  wait "$pid" || { ((status)) || status=$?; }
done
((status)) && echo "exit code $status; the other processes wrote to $logs" >&2
exit "$status"
