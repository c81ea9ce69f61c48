#!/usr/bin/env bash
# One process on each of several machines that you reach by ssh without a password; it takes all accelerators there.
#
#   launch/ssh.sh node1,node2 -- run experiments/gsm8k_grpo.py --workdir /shared/runs/gsm8k
#
# The first machine is process 0 and the coordinator. COORDINATOR names its address where the others know it by another
# name, PORT another port (8476). FOLDER is the checkout there (sirl, in the home folder), SIRL the program in it
# (.venv/bin/sirl). Process 0 speaks here, the others in LOGS. ssh gets a terminal there, so that Ctrl-C here ends the
# processes. After a failure run the same line again: the run resumes.
set -euo pipefail
# shellcheck source=launch/shared.sh
source "$(dirname "$0")/shared.sh"

read_arguments '[--dry-run] HOST,HOST' 1 1 "$@"
[[ ${given[0]} =~ ^[^,[:space:]-][^,[:space:]]*(,[^,[:space:]-][^,[:space:]]*)*$ ]] || explain
IFS=, read -r -a hosts <<<"${given[0]}"
read -r -a sirl <<<"${SIRL:-.venv/bin/sirl}"
address=${COORDINATOR:-${hosts[0]#*@}}:${PORT:-8476}
ask_for_workdir

process() {
  local remote=(
    env "JAX_COORDINATOR_ADDRESS=$address" "JAX_NUM_PROCESSES=${#hosts[@]}" "JAX_PROCESS_ID=$1"
    "${sirl[@]}" "${line[@]}" --distributed
  )
  # Quoted once more, because the remote shell reads the line again.
  words=(ssh -tt -o BatchMode=yes "${hosts[$1]}" "cd $(quoted "${FOLDER:-sirl}") && exec $(quoted "${remote[@]}")")
}

((dry)) || needs ssh
run_together "${#hosts[@]}"
