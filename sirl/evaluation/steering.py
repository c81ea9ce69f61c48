"""Rules that decide after every round: (reports) -> Decision, or None to defer to the next rule.

A rule is a pure function of all reports so far, newest last, with their decisions. Cooldowns and
limits therefore need no state, and a resumed run decides as an uninterrupted one. A rule whose
metric is absent or NaN returns None. Differences are compared in standard errors (`<metric>_sem`).

After a rollback from round r to round k, the reports in between describe an abandoned path. Rules
compare along `lineage.path`, the reports that led to the present weights.
"""

import math
import re
from collections.abc import Mapping

from sirl import ranges
from sirl.evaluation import decisions
from sirl.runs import lineage, retention
from sirl.runtime import plural
from sirl.slots import Rule
from sirl.types import Action, Decision

KEPT = retention.ROUNDS
# Metrics of the policy's updates, and of another learner's with its name as a prefix.
OF_UPDATES = (r'train/(\w+/)?loss', r'train/(\w+/)?grad_norm')


def first_of(*rules: Rule) -> Rule:
  """The first decision that a rule makes. Order is priority: put safety rules first."""

  def rule(reports):
    return next((decision for each in rules if (decision := each(reports)) is not None), None)

  return rule


# ---------------------------------------------------------------- stop


def stop_if_not_finite(*metrics: str, horizon: int = KEPT) -> Rule:
  """Stops when one of the metrics is NaN or infinite.

  By default train/reward, and train/loss and train/grad_norm of every learner. The decision names
  the last round of the path in which all were finite.
  """
  decisions.kept(horizon)

  def broken(report):
    names = metrics or [
      *(name for kind in OF_UPDATES for name in report.metrics if re.fullmatch(kind, name)),
      'train/reward',
    ]
    values = [(name, report.metrics.get(name, 0.0)) for name in names]
    said = [f'{name} is {value}' for name, value in values if not math.isfinite(value)]
    steps = report.metrics.get('monitor/steps_not_finite', 0)
    if said and steps:
      first = report.metrics['monitor/first_step_not_finite']
      were = 'was' if steps == 1 else 'were'
      said.append(f'{steps:.0f} of its steps {were} not finite, the first is step {first:.0f}')
    return said

  return _stop_when(broken, horizon)


def stop_when_reached(metric: str, above: float, *, sems: float = 1.0) -> Rule:
  """Stops when the metric exceeds a goal by more than `sems` standard errors."""
  decisions.numbers(above=above, sems=sems)

  def rule(reports):
    value, sem = lineage.read(reports[-1], metric)
    if not value - sems * sem > above:
      return None
    found = f'{metric} {lineage.show(value, sem)} lies above the goal {above:.4g}'
    return decisions.stop(f'{found} by more than {sems:g} standard errors.')

  return rule


def stop_after_plateau(metric: str, rounds: int, *, sems: float = 1.0) -> Rule:
  """Stops when the metric has not improved in the last `rounds` reports.

  The best of those reports must exceed the best of the earlier ones by `sems` standard errors. Slow
  progress adds up over these rounds and need not be visible from one round to the next.
  """
  ranges.whole('rounds', rounds)
  decisions.numbers(sems=sems)

  def rule(reports):
    path = lineage.measured(lineage.path(reports), metric)
    if len(path) <= rounds or path[-1] is not reports[-1]:
      return None
    before, recent = lineage.best(path[:-rounds], metric), lineage.best(path[-rounds:], metric)
    gain, noise = lineage.difference(recent, before, metric)
    if gain > sems * noise:
      return None
    return decisions.stop(
      f'{metric} reached {lineage.with_round(recent, metric)} in the last '
      f'{plural.counted(rounds, "round")} and {lineage.with_round(before, metric)} before: '
      f'a gain of {gain:.4g}, not above {sems:g} x {noise:.4g}.'
    )

  return rule


def stop_if_collapsed(
  limits: Mapping[str, tuple[float | None, float | None]], *, horizon: int = KEPT
) -> Rule:
  """Stops when a metric leaves its (low, high) limits; None is no limit.

  The decision names the last round of the path within all limits.
  """
  decisions.kept(horizon)
  for name, (low, high) in limits.items():
    if low is None and high is None:
      raise ValueError(
        f'stop_if_collapsed: {name} has no limit; give (low, high), one of which may be None.'
      )

  def broken(report):
    return [said for name in limits if (said := lineage.outside(report, name, *limits[name]))]

  return _stop_when(broken, horizon)


def _stop_when(broken, horizon):
  """Stops when broken(report) returns a complaint.

  The decision names the last kept round of the path for which it returns none.
  """

  def rule(reports):
    newest = reports[-1]
    said = broken(newest)
    if not said:
      return None
    sound = [
      r for r in lineage.within(lineage.path(reports)[:-1], newest, horizon) if not broken(r)
    ]
    return decisions.stop(
      f'In round {newest.round} {" and ".join(said)}.', sound[-1].round if sound else None
    )

  return rule


# ---------------------------------------------------------------- rollback


def rollback_if_regressed(
  metric: str, *, sems: float = 3.0, horizon: int = KEPT, limit: int = 2
) -> Rule:
  """Rolls back to the best of the last `horizon` rounds when the metric has fallen below it.

  The fall must exceed `sems` standard errors. Among equal rounds, the latest counts as best. After
  `limit` rollbacks in the run, the rule stops the run instead and names the same round.

  Args: horizon: number of past rounds to consider; their checkpoints must be kept.
  """
  decisions.kept(horizon, limit)
  decisions.numbers(sems=sems)

  def rule(reports):
    newest = reports[-1]
    earlier = lineage.within(lineage.measured(lineage.path(reports)[:-1], metric), newest, horizon)
    if not earlier or not lineage.measured([newest], metric):
      return None
    best = lineage.best(earlier, metric)
    loss, noise = lineage.difference(best, newest, metric)
    if not loss > sems * noise:
      return None
    reason = (
      f'{metric} fell from {lineage.with_round(best, metric)} to '
      f'{lineage.with_round(newest, metric)}: {loss:.4g} is more than {sems:g} x {noise:.4g}.'
    )
    return decisions.back(reports, best.round, reason, limit)

  return rule


def rollback_if(
  metric: str,
  *,
  below: float | None = None,
  above: float | None = None,
  fall: float | None = None,
  rise: float | None = None,
  share: float | None = None,
  horizon: int = KEPT,
  limit: int = 2,
) -> Rule:
  """Rolls back to the last round within the limits when the metric leaves them.

  Stops the run instead after `limit` rollbacks, or if none of the last `horizon` rounds is within
  the limits.
  Args:
    below, above: limits of the value itself.
    fall, rise: limits of its change since the first round that has it (round -1, before training).
    share: the smallest allowed fraction of that first value.
  """
  if all(limit is None for limit in (below, above, fall, rise, share)):
    raise ValueError(f'rollback_if: no limit for {metric}; give below, above, fall, rise or share.')
  decisions.kept(horizon, limit)
  decisions.limits(below=below, above=above, fall=fall, rise=rise, share=share)

  def rule(reports):
    measured = lineage.measured(reports, metric)
    if not measured or measured[-1] is not reports[-1]:
      return None
    first = measured[0].metrics[metric]
    fallen = None if fall is None else first - fall
    kept = None if share is None else first * share
    risen = None if rise is None else first + rise
    low = max((x for x in (below, fallen, kept) if x is not None), default=None)
    high = min((x for x in (above, risen) if x is not None), default=None)
    newest = reports[-1]
    said = lineage.outside(newest, metric, low, high)
    if said is None:
      return None
    path = lineage.within(lineage.measured(lineage.path(reports)[:-1], metric), newest, horizon)
    healthy = [report for report in path if lineage.outside(report, metric, low, high) is None]
    relative = (fall, rise, share) != (None, None, None)
    since = f' (it began at {first:.4g})' if relative else ''
    reason = f'In round {newest.round} {said}{since}.'
    if not healthy:
      return decisions.stop(f'{reason} No round in horizon={horizon} is within the limits.')
    return decisions.back(reports, healthy[-1].round, reason, limit)

  return rule


# ---------------------------------------------------------------- difficulty


def harder_if_saturated(
  metric: str,
  above: float,
  *,
  step: float = 1.0,
  start: float = 0.0,
  highest: float = math.inf,
  sems: float = 1.0,
  cooldown: int = 1,
) -> Rule:
  """Raises the difficulty by `step` when the metric exceeds `above` by `sems` standard errors.

  Args: start: the run's first difficulty; highest: its upper bound; cooldown: rounds to wait after
    any change.
  """
  return _change_difficulty(metric, above, 1, step, start, highest, sems, cooldown)


def easier_if_hopeless(
  metric: str,
  below: float,
  *,
  step: float = 1.0,
  start: float = 0.0,
  lowest: float = 0.0,
  sems: float = 1.0,
  cooldown: int = 1,
) -> Rule:
  """Lowers the difficulty by `step` when the metric is below `below` by `sems` standard errors.

  Args: lowest: lower bound of the difficulty; the others as in `harder_if_saturated`.
  """
  return _change_difficulty(metric, below, -1, step, start, lowest, sems, cooldown)


def _change_difficulty(metric, level, sign, step, start, bound, sems, cooldown):
  ranges.real('step', step, above=0)
  ranges.whole('cooldown', cooldown, 0)
  side, last = ('above', 'highest') if sign > 0 else ('below', 'lowest')
  ranges.real(last, bound, infinite=True)
  decisions.numbers(**{side: level}, start=start, sems=sems)

  def rule(reports):
    value, sem = lineage.read(reports[-1], metric)
    if not sign * (value - level) > sems * sem:
      return None
    changes = [
      (r.round, r.decision.difficulty) for r in reports if lineage.decided(r, Action.SET_DIFFICULTY)
    ]
    if changes and reports[-1].round - changes[-1][0] <= cooldown:
      return None
    present = changes[-1][1] if changes else start
    new = sign * min(sign * (present + sign * step), sign * bound)
    if new == present:
      return None
    reason = (
      f'{metric} {lineage.show(value, sem)} lies {side} {level:.4g} at difficulty {present:g}; '
      f'{new:g} from now on.'
    )
    return Decision(Action.SET_DIFFICULTY, reason, difficulty=new)

  return rule


# ---------------------------------------------------------------- ask


def ask_if_hacking(proxy: str, truth: str, *, patience: int = 3, rise: float = 0.02) -> Rule:
  """Asks a human when the proxy rises over the last `patience` rounds while the truth does not.

  Fits least-squares lines to the last patience + 1 reports of the path since the last question. The
  proxy must gain more than `rise` over these reports, and the truth must not gain.
  """
  ranges.whole('patience', patience)
  decisions.numbers(rise=rise)

  def rule(reports):
    asked = max((i for i, report in enumerate(reports) if lineage.answered(report)), default=-1)
    recent = {id(report) for report in reports[asked + 1 :]}
    path = [
      r
      for r in lineage.measured(lineage.measured(lineage.path(reports), proxy), truth)
      if id(r) in recent
    ][-patience - 1 :]
    if len(path) <= patience or path[-1] is not reports[-1]:
      return None
    gains = {
      name: lineage.least_squares(range(len(path)), [r.metrics[name] for r in path]) * patience
      for name in (proxy, truth)
    }
    if not (gains[proxy] > rise and gains[truth] <= 0):
      return None
    first, last = path[0], path[-1]
    said = [
      f'{name} went from {lineage.with_round(first, name)} to {lineage.with_round(last, name)}'
      for name in (proxy, truth)
    ]
    return Decision(
      Action.ASK_HUMAN,
      f'{said[0]} while {said[1]}: the reward rises and what it stands for does not.',
    )

  return rule


def ask_every(rounds: int) -> Rule:
  """Asks a human when `rounds` rounds have passed since the last question."""
  ranges.whole('rounds', rounds)

  def rule(reports):
    seen = [report.round for report in reports if lineage.answered(report)]
    since = reports[-1].round - (seen[-1] if seen else -1)
    if since < rounds:
      return None
    said = f'{plural.counted(since, "round")} since a human was asked; the limit is {rounds}.'
    return Decision(Action.ASK_HUMAN, said)

  return rule
