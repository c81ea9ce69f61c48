"""Reading a history of reports: the path to the present weights, values with their errors, and how to say them.

An absent metric and one that is NaN are the same to a rule: not measured. An absent or NaN `_sem` counts as 0.
"""

import math
from collections.abc import Sequence

from sirl.types import Action, Report


def lineage(reports: Sequence[Report]) -> list[Report]:
  """Reports on the path to the present weights, oldest first, the newest included.

  Rounds -1 0 1 2 with a rollback to 0 decided at 2, then 3: the path is -1 0 3.
  """
  path, i = [], len(reports) - 1
  while i >= 0:
    path.append(reports[i])
    i = _parent(reports, i)
  return path[::-1]


def _parent(reports, i):
  """Index of the report whose weights report i went on from; -1 for the first."""
  before = i - 1
  while before >= 0 and decided(reports[before], Action.ROLLBACK):
    target = reports[before].decision.round
    if target == reports[before].round:  # a human may go back to where the run stands
      break
    # The end of a round that was itself rolled back holds the weights it was rolled back to: go on from there.
    before = max((j for j in range(before) if reports[j].round == target), default=-1)
  return before


def read(report: Report, metric: str) -> tuple[float, float]:
  """(value, sem). The value is NaN when it was not measured, which every comparison answers with no."""
  value, sem = (report.metrics.get(name, math.nan) for name in (metric, metric + '_sem'))
  return value, sem if math.isfinite(sem) else 0.0


def measured(reports: Sequence[Report], metric: str) -> list[Report]:
  """The reports that hold a finite value of the metric."""
  return [report for report in reports if math.isfinite(read(report, metric)[0])]


def within(reports: Sequence[Report], newest: Report, horizon: int) -> list[Report]:
  """Those whose checkpoints are kept: the last `horizon` rounds before the newest, and the start of the run."""
  return [
    report for report in reports if report.round == -1 or report.round >= newest.round - horizon
  ]


def best(reports: Sequence[Report], metric: str) -> Report:
  """The report with the highest value, of equal ones the latest."""
  return max(reports, key=lambda report: (report.metrics[metric], report.round))


def difference(a: Report, b: Report, metric: str) -> tuple[float, float]:
  """a - b and its standard error."""
  (value_a, sem_a), (value_b, sem_b) = read(a, metric), read(b, metric)
  return value_a - value_b, math.hypot(sem_a, sem_b)


def outside(report: Report, metric: str, low: float | None, high: float | None) -> str | None:
  """What to say when the metric is outside [low, high]; None when inside, absent or NaN."""
  value, _ = read(report, metric)
  if low is not None and value < low:
    return f'{metric} {value:.4g} is below {low:.4g}'
  if high is not None and value > high:
    return f'{metric} {value:.4g} is above {high:.4g}'
  return None


def decided(report: Report, action: Action) -> bool:
  """Whether this was the decision taken on the report."""
  return report.decision is not None and report.decision.action is action


def answered(report: Report) -> bool:
  """Whether a human was asked, or has answered, on this report."""
  return decided(report, Action.ASK_HUMAN) or (
    report.decision is not None and report.decision.by == 'human'
  )


def show(value: float, sem: float) -> str:
  """The value with its error, for a sentence."""
  return f'{value:.4g} +- {sem:.2g}' if sem else f'{value:.4g}'


def told(report: Report, metric: str) -> str:
  """The metric of a report with its error and its round, for a sentence."""
  return f'{show(*read(report, metric))} (round {report.round})'
