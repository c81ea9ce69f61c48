#!/usr/bin/env bash
# Several processes on this machine, as on a pod, with CPU devices: for trying an experiment's multi-process path.
#
#   launch/local.sh 2 -- run experiments/quickstart.py --set debug=true --workdir runs/two
#
# SIRL names another way to start `sirl`, such as SIRL="python -m sirl". Process 0 speaks here, the others in LOGS.
set -euo pipefail
# shellcheck source=launch/shared.sh
source "$(dirname "$0")/shared.sh"

read_arguments '[--dry-run] PROCESSES' 1 1 "$@"
processes=${given[0]}
count "$processes" || explain
read -r -a sirl <<<"${SIRL:-sirl}"
address=127.0.0.1:${PORT:-$((20000 + RANDOM % 20000))}

process() {
  words=(
    env JAX_PLATFORMS=cpu "JAX_NUM_CPU_DEVICES=${JAX_NUM_CPU_DEVICES:-1}" # devices of a process
    "JAX_COORDINATOR_ADDRESS=$address" "JAX_NUM_PROCESSES=$processes" "JAX_PROCESS_ID=$1"
    "${sirl[@]}" "${line[@]}" --distributed
  )
}

run_together "$processes"
