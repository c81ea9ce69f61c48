#!/usr/bin/env bash
# A managed SkyPilot job on spot nodes with GPUs, of any cloud: one process a node, with all its GPUs.
#
#   launch/sky.sh H100:8 1 gs://BUCKET -- run experiments/gsm8k_grpo.py --workdir /data/runs/gsm8k
#
# GPUs of a node and the number of nodes come first. STORE keeps what outlives a node and is /data there: a SkyPilot volume,
# or for one node a bucket. The current folder, the checkout, is copied to every node and set up there. After a preemption
# SkyPilot takes new nodes and runs the job again: it resumes.
set -euo pipefail
# shellcheck source=launch/shared.sh
source "$(dirname "$0")/shared.sh"

read_arguments '[--dry-run] GPU:NUMBER NODES STORE' 3 3 "$@"
gpus=${given[0]} nodes=${given[1]} store=${given[2]}
if [[ ! $gpus =~ ^[A-Za-z][A-Za-z0-9-]*:[1-9][0-9]*$ ]] || ! count "$nodes"; then explain; fi
[[ ! $gpus =~ ^[Tt][Pp][Uu] ]] || fail 2 "$gpus: for TPUs use launch/pod.sh or launch/gke.sh"
if [[ $store == *://* ]]; then
  ((nodes == 1)) ||
    fail 2 "STORE $store: a bucket is no common folder of $nodes nodes, files arrive late; name a volume (sky volumes)"
  mount=$(printf 'file_mounts:\n  /data:\n    source: %s\n    mode: MOUNT_CACHED' "$(string "$store")")
else
  mount=$(printf 'volumes:\n  /data: %s' "$(string "$store")")
fi
ask_for_workdir

task() {
  local command
  command=$(quoted .venv/bin/sirl "${line[@]}" --distributed)
  command=${command//$'\n'/$'\n  '} # a line break in a value keeps the indent of the block
  cat <<END
name: sirl
workdir: .
num_nodes: $nodes
resources:
  accelerators: $gpus
  use_spot: true
$mount
setup: |
  launch/setup_vm.sh cuda
run: |
  export JAX_COORDINATOR_ADDRESS="\$(echo "\$SKYPILOT_NODE_IPS" | head -n 1):8476"
  export JAX_NUM_PROCESSES="\$SKYPILOT_NUM_NODES" JAX_PROCESS_ID="\$SKYPILOT_NODE_RANK"
  exec $command
END
}

if ((dry)); then
  task
  exit
fi
needs sky
folder=$(mktemp -d)
trap 'rm -r "$folder"' EXIT
task >"$folder/task.yaml"
sky jobs launch --yes "$folder/task.yaml"
