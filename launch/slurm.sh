#!/usr/bin/env bash
# A Slurm job on whole nodes with GPUs: one process a node, with all its GPUs.
#
#   launch/slurm.sh 2 8 --partition=gpu --time=24:00:00 -- run experiments/gsm8k_grpo.py --workdir runs/gsm8k
#
# NODES and GPUS of a node come first, then options of sbatch. Submit it in the checkout, in a folder that all nodes
# share; SIRL is the program in it (.venv/bin/sirl). A preempted job is queued again and resumes. After a time limit
# submit the same line again.
set -euo pipefail
# shellcheck source=launch/shared.sh
source "$(dirname "$0")/shared.sh"

read_arguments '[--dry-run] NODES GPUS [SBATCH-OPTION ...]' 2 99 "$@"
nodes=${given[0]} gpus=${given[1]}
if ! count "$nodes" || ! count "$gpus"; then explain; fi
read -r -a sirl <<<"${SIRL:-.venv/bin/sirl}"

devices=0
for ((i = 1; i < gpus; i++)); do devices+=,$i; done

script() {
  cat <<END
#!/usr/bin/env bash
#SBATCH --job-name=sirl
#SBATCH --nodes=$nodes
#SBATCH --ntasks-per-node=1
#SBATCH --gpus-per-node=$gpus
#SBATCH --exclusive
#SBATCH --mem=0
#SBATCH --requeue
#SBATCH --open-mode=append
#SBATCH --output=sirl-%j.log
END
  local option
  for option in "${given[@]:2}"; do echo "#SBATCH $(quoted "$option")"; done
  cat <<END

# JAX finds the other processes from Slurm's variables. Of the GPUs of its node it would take only the first.
export JAX_LOCAL_DEVICE_IDS=$devices
exec srun --kill-on-bad-exit=1 --cpu-bind=none $(quoted "${sirl[@]}" "${line[@]}" --distributed)
END
}

if ((dry)); then
  script
  exit
fi
needs sbatch
script | sbatch
