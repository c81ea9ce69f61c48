#!/usr/bin/env bash
# The same command on every worker of a TPU VM pod.
#
#   launch/pod.sh NAME ZONE -- run experiments/gsm8k_grpo.py --workdir /mnt/shared/runs/gsm8k
#
# The workers must have been set up (launch/setup_vm.sh), and the workdir must be one folder for all of them: a mounted
# file system, not a bucket's address. FOLDER is the checkout there (sirl, in the home folder), SIRL the program in it.
# After a preemption make the pod again under its name, set it up, and run the same line: the run resumes.
set -euo pipefail
# shellcheck source=launch/shared.sh
source "$(dirname "$0")/shared.sh"

read_arguments '[--dry-run] NAME ZONE' 2 2 "$@"
read -r -a sirl <<<"${SIRL:-.venv/bin/sirl}"
ask_for_workdir

# Quoted once more, because the remote shell reads the line again. On TPU the workers find each other by themselves.
remote="cd $(quoted "${FOLDER:-sirl}") && exec $(quoted "${sirl[@]}" "${line[@]}" --distributed)"
words=(gcloud compute tpus tpu-vm ssh "${given[0]}" --zone "${given[1]}" --worker all --command "$remote")
if ((dry)); then
  quoted "${words[@]}"
  echo
  exit
fi
needs gcloud
exec "${words[@]}"
