"""A round's steps in a few numbers: means for its report, and how many steps were not finite."""

import math

from sirl.runs import metrics, record

# Step metrics where one value that is not finite makes the round's mean NaN: elsewhere NaN means absent.
STRICT = ('loss', 'grad_norm')


def of_steps(rows):
  """{'train/<metric>': mean over the round's steps}, rewards with a standard error over steps beside them."""
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
      values = [value for value in values if math.isfinite(value)]
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
  """How many of the round's steps were not finite, and the first; {} without any. Their mean would not say it."""
  broken = [row['step'] for row in rows if not_finite(row)]
  if not broken:
    return {}
  return {'monitor/steps_not_finite': len(broken), 'monitor/first_step_not_finite': broken[0]}


def not_finite(row):
  """['loss is nan', ...] of the metrics of a step."""
  return [
    f'{name} is {row[name]}'
    for strict in STRICT
    for name in row
    if of_learner(name) == strict and row[name] is not None and not math.isfinite(row[name])
  ]


def of_learner(name):
  """A step metric without the name of the learner that it is of: 'loss' of 'twin/loss'."""
  _, slash, rest = name.partition('/')
  return rest if slash and rest in (*STRICT, *metrics.CUMULATIVE) else name
