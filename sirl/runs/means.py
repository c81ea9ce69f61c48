"""Summarises a round's steps: their means, and the number of steps that were not finite."""

import math

from sirl.runs import metrics, record

# Step metrics in which one value that is not finite makes the round's mean not finite. In other
# metrics NaN means absent.
STRICT = ('loss', 'grad_norm')


def of_steps(rows):
  """{'train/<metric>': mean over the round's steps}.

  A step without the metric (absent or NaN) does not count; an infinite value makes the mean infinite.
  Rewards also get a standard error over steps. A cumulative metric keeps its last value. Omits
  times.
  """
  names = [
    name
    for name in dict.fromkeys(name for row in rows for name in row)
    if name not in record.ADDRESS
  ]
  means = {}
  for name in names:
    if name.startswith('time/') or name == 'step_time':
      continue
    values = [row[name] for row in rows if row.get(name) is not None]
    if of_learner(name) not in STRICT:
      values = [value for value in values if not math.isnan(value)]
    if of_learner(name) in metrics.CUMULATIVE:
      means[f'train/{name}'] = values[-1] if values else math.nan
      continue
    mean = sum(values) / len(values) if values else math.nan
    means[f'train/{name}'] = mean
    if name == 'reward' or (name.startswith('rewards/') and name.endswith('/mean')):
      squares = math.fsum((value - mean) ** 2 for value in values)
      n = len(values)
      means[f'train/{name}_sem'] = math.sqrt(squares / (n - 1) / n) if n > 1 else math.nan
  return means


def broken_steps(rows):
  """The number of the round's steps that were not finite, and the first one; {} if there are none.

  The mean over the round would not show these.
  """
  broken = [row['step'] for row in rows if not_finite(row)]
  if not broken:
    return {}
  return {'monitor/steps_not_finite': len(broken), 'monitor/first_step_not_finite': broken[0]}


def not_finite(row):
  """['loss is nan', ...] for the metrics of a step that must be finite and are not."""
  return [
    f'{name} is {row[name]}'
    for strict in STRICT
    for name in row
    if of_learner(name) == strict and not _finite(row[name])
  ]


def first_not_finite(row):
  """What stopped being finite first in a step for which `not_finite` says something.

  One of 'the log-probs', 'the advantages', 'the loss' and 'the gradient', in the order in which an
  update computes them.
  """
  broken = [
    name for name, value in row.items() if of_learner(name) in STRICT and not _finite(value)
  ]
  learner = broken[0].removesuffix(of_learner(broken[0]))
  found = {
    'the log-probs': row.get(f'{learner}sampling/sampling_logp_difference/max') == math.inf,
    'the advantages': not _finite(row.get(f'{learner}advantage_abs_mean')),
    'the loss': f'{learner}loss' in broken,
  }
  return next((name for name in found if found[name]), 'the gradient')


def _finite(value):
  return value is None or math.isfinite(value)


def of_learner(name):
  """The name of a step metric without its learner: 'loss' for 'twin/loss'."""
  _, slash, rest = name.partition('/')
  return rest if slash and rest in (*STRICT, *metrics.CUMULATIVE) else name
