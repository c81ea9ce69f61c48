"""Numbers of a Run that the doctor's checks compare.

Early and recent values are means over the first and the last WINDOW steps.
"""

import math
import re

from sirl.runs import reading

WINDOW = 20  # steps


def recent(run, name):
  """Mean of a step metric over the last WINDOW steps; NaN where none of them measured it."""
  return reading.mean(row.get(name) for row in run.steps[-WINDOW:])


def first(run, name):
  """Mean over the first WINDOW steps, but at most the first half of the run."""
  early = run.steps[: max(1, min(WINDOW, len(run.steps) // 2))]
  return reading.mean(row.get(name) for row in early)


def last_value(run, name):
  """The newest value of a step metric, NaN without one."""
  return next((row[name] for row in reversed(run.steps) if row.get(name) is not None), math.nan)


def window(run):
  """'the last 20 steps'."""
  n = min(WINDOW, len(run.steps))
  return f'the last {n} steps' if n > 1 else 'the only step'


def part_means(run, pattern='.+'):
  """Names of the step metrics that hold the mean of a reward's part whose name fits the pattern."""
  return [
    name
    for name in run.step_names
    if re.fullmatch(f'rewards/{pattern}/mean', name) and not name.endswith('_error/mean')
  ]


def outcome_name(run):
  """The step metric that says right or wrong: the part `correct`, a single part, or the total."""
  if 'rewards/correct/mean' in run.step_names:
    return 'rewards/correct/mean'
  parts = part_means(run)
  return parts[0] if len(parts) == 1 else 'reward'


def first_accuracy(run):
  """The first held-out accuracy that reports hold; None without one."""
  names = run.accuracy_names
  held = [name for name in names if name.startswith('heldout/')]
  return next(iter(held or names), None)
