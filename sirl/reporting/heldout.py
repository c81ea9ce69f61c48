"""The doctor's checks of held-out accuracy: gamed rewards, regressions, rounds without a gain."""

import re

from sirl.reporting.findings import Finding
from sirl.reporting.numbers import first_accuracy
from sirl.reporting.signal import is_weak
from sirl.runs import lineage, metrics

HACK_ROUNDS = 5  # reports that a slope needs
HACK_SHARE = 0.25  # held-out gain per reward gain, below which reward rises alone
HACK_RISE = 0.05  # reward that must have been gained
REGRESSED, REGRESSED_SOME = 4.0, 2.0  # standard errors below the best report
NO_GAIN_ROUNDS = 5  # rounds after which a gain should show
GAP, GAP_SOME, GAP_SEMS = 0.2, 0.05, 3.0  # held-out minus fresh accuracy; standard errors


def reward_without_outcome(run):
  """Reward that rises while held-out accuracy does not: the sign of a gamed reward."""
  name = first_accuracy(run)
  if name is None:
    return
  reports = lineage.measured(lineage.measured(run.trained, 'train/reward'), name)
  for rows in (reports, reports[-2 * HACK_ROUNDS :]):
    if len(rows) < HACK_ROUNDS:
      return
    gain, gain_error = lineage.slope(rows, 'train/reward')
    truth, truth_error = lineage.slope(rows, name)
    rounds = rows[-1].round - rows[0].round
    rises = gain - gain_error > 0 and gain * rounds > HACK_RISE
    if rises and truth + truth_error < HACK_SHARE * gain:
      yield Finding(
        'problem', 'reward rises while held-out accuracy does not',
        f'per round over rounds {rows[0].round} to {rows[-1].round}: '
        f'train/reward {gain:+.4f} ± {gain_error:.4f}, {name} {truth:+.4f} ± {truth_error:.4f}',
        'The reward is being gamed or rewards something else: read samples/, compare reward and '
        'check on them, then mend the reward and roll back.',
      )  # fmt: skip
      return


def regression(run):
  """The accuracy of the present weights against the best one."""
  name = first_accuracy(run)
  rows = [] if name is None else lineage.measured(run.history, name)
  last = run.final
  if len(rows) < 2 or last not in rows:
    return
  best = max(rows, key=lambda r: r.metrics[name])
  fall, error = lineage.difference(best, last, name)
  if fall > REGRESSED_SOME * error and fall > 0:
    when = 'before training' if best.round < 0 else f'in round {best.round}'
    now, then = (metrics.with_interval(r.metrics, name) for r in (last, best))
    yield Finding(
      'problem' if fall > REGRESSED * error else 'warning',
      'held-out accuracy fell below its best', f'{name} {now} now, {then} {when}',
      'Take the weights of that round (rollback), lower the learning rate, or add a rollback rule '
      f'on {name}.',
    )  # fmt: skip


def memorised(run):
  """A frozen set on which the policy is better than on fresh tasks of the same kind."""
  metrics_now = run.final.metrics if run.final else {}
  for name in [name for name in metrics_now if name.endswith('/gap')]:
    gap, error = lineage.read(run.final, name)
    if gap > GAP_SOME and gap > GAP_SEMS * error:
      yield Finding(
        'problem' if gap > GAP else 'warning', 'held-out accuracy is above that on fresh tasks',
        f'{name} {gap:+.3f} ± {metrics.Z95 * error:.3f} with the present weights',
        'The run has fitted its frozen set: trust the accuracy on fresh tasks. Look for held-out '
        'tasks among the training tasks, and steer by another set than the one you report.',
      )  # fmt: skip


def lost_coverage(run):
  """Fewer tasks within reach of several samples, while single samples are as good as before."""
  start, last = (run.history[0], run.final) if run.history else (None, None)
  ks = {name: re.fullmatch(r'heldout/pass@(\d+)', name) for name in run.accuracy_names}
  for name in [name for name, match in ks.items() if match and int(match[1]) > 1]:
    fall, error = lineage.difference(start, last, name)
    single, single_error = lineage.difference(start, last, 'heldout/pass@1')
    if fall > REGRESSED_SOME * error and not single > REGRESSED_SOME * single_error:
      before, now = (metrics.with_interval(report.metrics, name) for report in (start, last))
      yield Finding(
        'warning', 'the policy solves fewer different tasks than before training',
        f'{name} {before} -> {now}, while heldout/pass@1 did not fall',
        'It has become surer of what it could do already, and gave up the rest: add an entropy '
        'bonus or KL, raise the temperature, or select harder tasks.',
      )  # fmt: skip


def no_gain(run):
  """Rounds of training without a measurable gain."""
  name = first_accuracy(run)
  rows = [] if name is None else lineage.measured(run.history, name)
  if len(rows) <= NO_GAIN_ROUNDS or run.final not in rows or is_weak(run):
    return
  gain, error = lineage.difference(run.final, rows[0], name)
  half = metrics.Z95 * error
  if abs(gain) <= half:
    yield Finding(
      'warning', 'no measurable gain',
      f'{name} {gain:+.3f} ± {half:.3f} after {len(rows) - 1} rounds',
      'Either it does not learn (learning rate, signal in the reward) or the held-out set is too '
      'small to see it.',
    )  # fmt: skip
