#!/usr/bin/env bash
# The same command on every worker of a TPU VM pod.
#
#   launch/pod.sh NAME ZONE experiments/gsm8k_grpo.py /mnt/shared/runs/gsm8k [--set NAME=VALUE ...]
#
# The workers must have been set up (launch/setup_vm.sh), and WORKDIR must be one folder for all of them: a mounted file
# system, not a bucket's address.
# After a preemption run the same line again: the run resumes from its last checkpoint. FOLDER is the checkout there.
set -euo pipefail

if [[ $# -lt 4 ]]; then
  echo "usage: $0 NAME ZONE FILE WORKDIR [--set NAME=VALUE ...]" >&2
  exit 2
fi
name=$1 zone=$2 file=$3 workdir=$4
shift 4
folder=${FOLDER:-sirl}

# Quoted once more, because the remote shell reads the line again. On TPU the workers find each other by themselves.
printf -v arguments ' %q' run "$file" --workdir "$workdir" "$@" --distributed
printf -v command 'cd %q && exec .venv/bin/sirl%s' "$folder" "$arguments"
exec gcloud compute tpus tpu-vm ssh "$name" --zone "$zone" --worker all --command "$command"
