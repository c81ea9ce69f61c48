"""Helpers for a history of reports: the path to the present weights, errors, slopes and wording.

An absent metric and a NaN metric both count as not measured. An absent or NaN `_sem` counts as 0.
"""

import math
import re
from collections.abc import Sequence

from sirl.types import Action, Report

# Two-sided 95 % points of Student's t for 1, 2, ... degrees of freedom; 2.1 beyond the table.
T95 = (12.71, 4.30, 3.18, 2.78, 2.57, 2.45, 2.36, 2.31, 2.26, 2.23)


def path(reports: Sequence[Report]) -> list[Report]:
  """Reports on the path to the present weights, oldest first, the newest included.

  Example: after rounds -1 0 1 2 with a rollback to 0 decided at 2, then 3, the path is -1 0 3.
  """
  found, i = [], len(reports) - 1
  while i >= 0:
    found.append(reports[i])
    i = _parent(reports, i)
  return found[::-1]


def final(reports: Sequence[Report]) -> Report:
  """The report of the run's present weights.

  After a rollback or a stop, these may be the weights of an earlier round.
  """
  return reports[_parent(reports, len(reports))]


def _parent(reports, i):
  """Index of the report whose weights were the start of report i; -1 for the first report.

  i may be len(reports), for a report that does not exist yet.
  """
  before = i - 1
  while before >= 0 and (target := _target(reports[before])) is not None:
    # A rollback target may itself have been rolled back; follow the chain.
    before = max((j for j in range(before) if reports[j].round == target), default=-1)
  return before


def _target(report):
  """The earlier round whose weights this report's decision restored; None if the weights stayed."""
  if not (decided(report, Action.ROLLBACK) or decided(report, Action.STOP)):
    return None
  target = report.decision.round
  # A human may choose the round where the run already is.
  return None if target == report.round else target


def read(report: Report, metric: str) -> tuple[float, float]:
  """(value, sem). The value is NaN if it was not measured; comparisons with NaN are False."""
  value, sem = (report.metrics.get(name, math.nan) for name in (metric, metric + '_sem'))
  return value, sem if math.isfinite(sem) else 0.0


def measured(reports: Sequence[Report], metric: str) -> list[Report]:
  """The reports with a finite value of the metric."""
  return [report for report in reports if math.isfinite(read(report, metric)[0])]


def within(reports: Sequence[Report], newest: Report, horizon: int) -> list[Report]:
  """The reports with kept checkpoints: the `horizon` rounds before the newest, and round -1."""
  return [
    report for report in reports if report.round == -1 or report.round >= newest.round - horizon
  ]


def best(reports: Sequence[Report], metric: str) -> Report:
  """The report with the highest value; the latest of equal ones."""
  return max(reports, key=lambda report: (report.metrics[metric], report.round))


def difference(a: Report, b: Report, metric: str) -> tuple[float, float]:
  """a - b and its standard error."""
  (value_a, sem_a), (value_b, sem_b) = read(a, metric), read(b, metric)
  return value_a - value_b, math.hypot(sem_a, sem_b)


def slope(reports: Sequence[Report], metric: str) -> tuple[float, float]:
  """(slope per round, half of its 95 % interval) of a least-squares line through a metric.

  Needs at least three reports. The standard error is the larger of two estimates: one from the
  scatter around the line, one from the metric's own standard errors.
  """
  x = [float(report.round) for report in reports]
  y = [report.metrics[metric] for report in reports]
  value, n = least_squares(x, y), len(x)
  mean_x, mean_y = math.fsum(x) / n, math.fsum(y) / n
  spread = math.fsum((a - mean_x) ** 2 for a in x)
  scatter = math.fsum((b - mean_y - value * (a - mean_x)) ** 2 for a, b in zip(x, y)) / (n - 2)
  own = math.fsum(read(report, metric)[1] ** 2 for report in reports) / n
  t = T95[n - 3] if n - 3 < len(T95) else 2.1
  return value, t * math.sqrt(max(scatter, own) / spread)


def least_squares(x: Sequence[float], y: Sequence[float]) -> float:
  """Slope of the least-squares line; exactly 0 where y is constant."""
  center = math.fsum(x) / len(x)
  weights = [a - center for a in x]
  return math.fsum(w * (b - y[0]) for w, b in zip(weights, y)) / math.fsum(w * w for w in weights)


def outside(report: Report, metric: str, low: float | None, high: float | None) -> str | None:
  """A phrase if the metric is outside [low, high]; None if it is inside, absent or NaN."""
  value, _ = read(report, metric)
  if low is not None and value < low:
    return f'{metric} {value:.4g} is below {low:.4g}'
  if high is not None and value > high:
    return f'{metric} {value:.4g} is above {high:.4g}'
  return None


def limits_in(reason: str, metric: str) -> list[float]:
  """The limits that phrases of `outside` in a decision's reason name for the metric."""
  pattern = rf'(?<!\S){re.escape(metric)} \S+ is (?:below|above) ([-+.\deinf]+\d)'
  return [float(limit) for limit in re.findall(pattern, reason)]


def decided(report: Report, action: Action) -> bool:
  """Whether the report's decision was this action."""
  return report.decision is not None and report.decision.action is action


def answered(report: Report) -> bool:
  """Whether a human was asked, or has answered, on this report."""
  return decided(report, Action.ASK_HUMAN) or (
    report.decision is not None and report.decision.by == 'human'
  )


def show(value: float, sem: float) -> str:
  """The value with its error, as part of a sentence."""
  return f'{value:.4g} +- {sem:.2g}' if sem else f'{value:.4g}'


def with_round(report: Report, metric: str) -> str:
  """The metric of a report with its error and round, as part of a sentence."""
  return f'{show(*read(report, metric))} (round {report.round})'
