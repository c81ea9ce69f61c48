#!/usr/bin/env bash
# Sets up one machine: a virtual environment with the project and JAX for its accelerator.
#
#   launch/setup_vm.sh [--dry-run] [tpu|cuda]        in the checkout; tpu is the default
#
# On all workers of a pod at once (each needs the checkout, in ~/sirl):
#   gcloud compute tpus tpu-vm ssh NAME --zone ZONE --worker all --command 'cd sirl && launch/setup_vm.sh'
set -euo pipefail
# shellcheck source=launch/shared.sh
source "$(dirname "$0")/shared.sh"
cd "$(dirname "$0")/.."

dry=0
if [[ ${1-} == --dry-run ]]; then
  dry=1
  shift
fi
extra=${1:-tpu}
case $extra in
  tpu | cuda) ;;
  *) echo "usage: $0 [--dry-run] [tpu|cuda]" >&2 && exit 2 ;;
esac
python=${PYTHON:-python3}
if ! "$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))'; then
  echo "$python is older than Python 3.11; name a newer one with PYTHON=..." >&2
  exit 2
fi

run() {
  if ((dry)); then quoted "$@" && echo; else "$@"; fi
}

run "$python" -m venv .venv
run .venv/bin/python -m pip install --quiet --upgrade pip
run .venv/bin/python -m pip install --quiet ".[$extra]"
# No device is touched here: on a pod that would wait for the other workers.
code='import sirl, importlib.metadata as m; print("sirl", sirl.__version__, "with jax", m.version("jax"))'
run .venv/bin/python -c "$code"
