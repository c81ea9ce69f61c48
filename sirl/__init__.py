"""sirl trains a language model on its own rollouts, in a loop that you can watch and stop.

The names that a notebook needs first are exported here. Import everything else from its own
module, such as `sirl.rewards`.

  import sirl
  sirl.run(experiment, 'runs/mine')
  print([report.metrics['heldout/pass@1'] for report in sirl.read('runs/mine').history])
"""

# pyright: reportUnsupportedDunderAll=false

__version__ = '0.1.0'
__all__ = [
  'Experiment',
  'Task',
  'diagnose',
  'explore',
  'make_ask',
  'make_optimize',
  'make_step',
  'per_completion',
  'read',
  'run',
  'weighted',
]


def __getattr__(name):
  """Imports the exported names on first use, so `import sirl` alone loads no other library."""
  if name not in __all__:
    raise AttributeError(f'module {__name__!r} has no attribute {name!r}')
  from sirl.experiment import Experiment
  from sirl.generation import explore, make_ask
  from sirl.gro import make_step
  from sirl.loop import run
  from sirl.optimization import make_optimize
  from sirl.reporting.doctor import diagnose
  from sirl.rewards import per_completion, weighted
  from sirl.runs.reading import read
  from sirl.tasks import Task

  values = (
    Experiment, Task, diagnose, explore, make_ask, make_optimize, make_step, per_completion, read,
    run, weighted,
  )  # fmt: skip
  globals().update({value.__name__: value for value in values})
  return globals()[name]


def __dir__():
  """Lists the exported names too, so that tab completion finds them."""
  return sorted({*globals(), *__all__})
