"""This library's side of the benchmarks: `python -m experiments.benchmarks.ours VARIANT`.

It answers `protocol`. Weights and prompts are random, prompts have no padding, and the public
engine is called as an experiment calls it.
"""

import contextlib
import sys

import jax

from experiments.benchmarks import cases, limits, protocol, rollouts, steps, updates
from sirl import config
from sirl.runtime import host_memory, sharding


def main(variant):
  """Serves the cases in one variant."""
  host_memory.keep_freed()
  if 'two devices' in variant:
    jax.config.update('jax_num_cpu_devices', 2)
  mesh = sharding.make_mesh(config.Mesh())

  def prepare(case, numbers, lengths):
    del lengths  # this side draws them itself
    case = cases.from_json(case)
    with jax.set_mesh(mesh):
      run = KINDS[case.kind](case, numbers, variant)

    def inside():
      with jax.set_mesh(mesh):
        return run()

    return inside

  protocol.serve(prepare, {'jax': jax.__version__, 'jaxlib': jax.lib.__version__})


def run_limit(case, numbers, variant):
  """Measures a limit of the machine."""
  return limits.MEASURES[case.what]()


# kind: (case, numbers of its model, variant) -> the function that runs once per measurement
KINDS = {
  'limit': run_limit,
  'decode': rollouts.run_decode,
  'prefill': rollouts.run_prefill,
  'sampling': rollouts.run_sampling,
  'refill': rollouts.run_refill,
  'speculate': rollouts.run_speculate,
  'train': updates.run_train,
  'memory': updates.run_memory,
  'step': steps.run_step,
  'growth': steps.run_growth,
  'overhead': steps.run_overhead,
}


if __name__ == '__main__':
  with contextlib.suppress(KeyboardInterrupt):
    main(sys.argv[1] if len(sys.argv) > 1 else 'plain')
