"""The numbers of a comparison: means and intervals of groups of runs, and their differences.

A group of several runs has an interval over its seeds, by Student's t. A group of one run has that
run's own interval, which says how well the run was measured and not what another seed would give.
"""

import dataclasses
import math
import statistics
from collections.abc import Mapping

from sirl.runs import lineage, metrics, reading


@dataclasses.dataclass(frozen=True)
class Score:
  """An accuracy of a group: means over its runs, and a 95 % interval of the mean after training."""

  before: float  # NaN where a run was not measured before training
  after: float
  low: float  # NaN where nothing tells the interval
  high: float


@dataclasses.dataclass(frozen=True)
class Row:
  """A group of runs. Tuples have one entry per run."""

  name: str
  seeds: tuple[int | None, ...]
  workdirs: tuple[str, ...]
  rounds: tuple[int, ...]
  steps: tuple[int, ...]
  tokens: tuple[float, ...]  # sum of step_tokens; NaN where they were not recorded
  scores: Mapping[str, Score]  # by accuracy
  curves: tuple[tuple[tuple[int, float], ...], ...]  # (round, value) of the first accuracy


@dataclasses.dataclass(frozen=True)
class Difference:
  """An accuracy of a group minus that of the first group, with its 95 % interval."""

  group: str
  accuracy: str
  value: float
  low: float  # NaN where nothing tells the interval
  high: float
  pairs: int  # runs of equal seeds that were compared; 0 for independent groups

  @property
  def is_clear(self):
    """Whether the interval excludes 0."""
    return self.low > 0 or self.high < 0


@dataclasses.dataclass(frozen=True)
class Comparison:
  """What `compare` found."""

  accuracies: tuple[str, ...]  # measured by all runs
  rows: tuple[Row, ...]  # the first one is what the others are compared to
  differences: tuple[Difference, ...]
  notes: tuple[str, ...]  # what a reader must know besides


def row_of(group, accuracies):
  """A group as a Row."""
  runs = list(group.runs.values())
  return Row(
    name=group.name,
    seeds=tuple(group.runs),
    workdirs=tuple(str(run.workdir) for run in runs),
    rounds=tuple(len(run.trained) for run in runs),
    steps=tuple(len(run.steps) for run in runs),
    tokens=tuple(_tokens(run) for run in runs),
    scores={name: _score(runs, name) for name in accuracies},
    curves=tuple(_curve(run, accuracies[0]) for run in runs),
  )


def _curve(run, name):
  return tuple((r.round, r.metrics[name]) for r in lineage.measured(run.history, name))


def _tokens(run):
  values = [reading.finite(row.get('step_tokens'), math.nan) for row in run.steps]
  values = [value for value in values if not math.isnan(value)]
  return math.fsum(values) if values else math.nan


def _score(runs, name):
  before = [run.history[0] for run in runs if run.history[0].round < 0]
  befores = [lineage.read(report, name)[0] for report in before]
  after = statistics.fmean(_values(runs, name))
  if len(runs) == 1:
    low, high = metrics.interval(runs[0].final.metrics, name)
  else:
    half = _half(runs, name)
    low, high = max(after - half, 0.0), min(after + half, 1.0)  # in this order NaN stays NaN
  return Score(
    before=math.fsum(befores) / len(runs) if len(befores) == len(runs) else math.nan,
    after=after,
    low=low,
    high=high,
  )


def difference(first, other, name):
  """The Difference of an accuracy between two groups.

  It is paired by seed where at least two seeds are common; otherwise the groups are independent.
  """
  seeds = [seed for seed in first.runs if seed in other.runs and seed is not None]
  if len(seeds) > 1:
    of_first, of_other = ([group.runs[seed] for seed in seeds] for group in (first, other))
    gains = [b - a for a, b in zip(_values(of_first, name), _values(of_other, name))]
    value = statistics.fmean(gains)
    half = _larger(
      _by_seeds(gains), math.hypot(*(_by_errors(g, name) for g in (of_first, of_other)))
    )
  else:
    seeds, of_first, of_other = [], list(first.runs.values()), list(other.runs.values())
    value = statistics.fmean(_values(of_other, name)) - statistics.fmean(_values(of_first, name))
    half = math.hypot(_half(of_first, name), _half(of_other, name))
  return Difference(other.name, name, value, value - half, value + half, len(seeds))


def _half(runs, name):
  """Half the interval of a group's mean."""
  return _larger(_by_seeds(_values(runs, name)), _by_errors(runs, name))


def _larger(seeds, errors):
  """The larger of what the seeds and the measurements leave open; NaN where neither is known.

  A few seeds may agree by chance, as where all of them solve nothing. So no interval is narrower
  than the errors of the measurements allow.
  """
  known = [half for half in (seeds, errors) if not math.isnan(half)]
  return max(known, default=math.nan)


def _by_seeds(values):
  """Half of Student's 95 % interval of the mean; NaN for one value."""
  n = len(values)
  if n < 2:
    return math.nan
  t = lineage.T95[n - 2] if n - 2 < len(lineage.T95) else 2.1
  return t * statistics.stdev(values) / math.sqrt(n)


def _by_errors(runs, name):
  """Half of the 95 % interval of the mean that the runs' own standard errors give; NaN without."""
  errors = [run.final.metrics.get(f'{name}_sem', math.nan) for run in runs]
  return metrics.Z95 * math.hypot(*errors) / len(runs)


def _values(runs, name):
  return [run.final.metrics[name] for run in runs]
