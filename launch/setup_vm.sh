#!/usr/bin/env bash
# Sets up one machine: a virtual environment with the project and JAX for its accelerator.
#
#   launch/setup_vm.sh [tpu|cuda]        in the checkout; tpu is the default
#
# On all workers of a pod at once (each needs the checkout, in ~/sirl):
#   gcloud compute tpus tpu-vm ssh NAME --zone ZONE --worker all --command 'cd sirl && launch/setup_vm.sh'
set -euo pipefail
cd "$(dirname "$0")/.."

extra=${1:-tpu}
case $extra in
  tpu | cuda) ;;
  *) echo "usage: $0 [tpu|cuda]" >&2 && exit 2 ;;
esac
python=${PYTHON:-python3}
if ! "$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))'; then
  echo "$python is older than Python 3.11; name a newer one with PYTHON=..." >&2
  exit 2
fi
"$python" -m venv .venv
.venv/bin/python -m pip install --quiet --upgrade pip
.venv/bin/python -m pip install --quiet ".[$extra]"
# No device is touched here: on a pod that would wait for the other workers.
.venv/bin/python -c 'import sirl, importlib.metadata as m; print("sirl", sirl.__version__, "with jax", m.version("jax"))'
