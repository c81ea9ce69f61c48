"""Reading a workdir, and the line that is fitted to its reports."""

import math

import pytest

from sirl.runs import lineage, means
from sirl.types import Action, Decision, Report


def test_a_slope_and_its_interval_by_hand():
  # y = 0, 1, 2, 4 at x = 0..3: slope 1.3, residuals .2, -.1, -.4, .3, sum of squares .3, variance
  # .15 over spread 5
  value, half = lineage.slope(
    [Report(i, {'y': y}) for i, y in enumerate((0.0, 1.0, 2.0, 4.0))], 'y'
  )
  assert value == pytest.approx(1.3)
  assert half == pytest.approx(4.30 * (0.15 / 5) ** 0.5)


def decided(*decisions):
  """Reports from round -1 on. A decision is None, an action, or (action, round)."""
  reports = []
  for i, decision in enumerate(decisions):
    action, round = decision if isinstance(decision, tuple) else (decision or Action.CONTINUE, None)
    reports.append(Report(i - 1, {}, Decision(action, '', round=round)))
  return reports


@pytest.mark.parametrize(
  ('decisions', 'round'),
  [
    ([None], -1),
    ([None, None, None], 1),
    ([None, None, (Action.ROLLBACK, 0)], 0),
    ([None, None, (Action.ROLLBACK, 0), None], 2),
    ([None, None, None, (Action.STOP, 0)], 0),
    ([None, None, Action.STOP], 1),
    ([None, (Action.ROLLBACK, -1)], -1),
    # The end of round 1 holds the weights of round 0, so going back to it is going back to round 0.
    ([None, None, (Action.ROLLBACK, 0), None, (Action.STOP, 1)], 0),
    ([None, None, (Action.ROLLBACK, 1)], 1),  # a human may go back to where the run stands
    ([None, None, Action.ASK_HUMAN], 1),
  ],
)
def test_the_final_report_is_that_of_the_weights_at_the_end(decisions, round):
  assert lineage.final(decided(*decisions)).round == round


def test_a_second_learner_s_numbers_are_strict_and_cumulative_as_the_policy_s():
  rows = [
    {'loss': 0.5, 'twin/loss': 1.0, 'twin/updates_skipped': 1.0, 'step': 0},
    {'loss': 0.7, 'twin/loss': math.nan, 'twin/updates_skipped': 3.0, 'step': 1},
  ]
  found = means.of_steps(rows)
  assert math.isnan(found['train/twin/loss'])
  assert found['train/twin/updates_skipped'] == 3.0
  assert means.broken_steps(rows) == {
    'monitor/steps_not_finite': 1,
    'monitor/first_step_not_finite': 1,
  }


def test_an_infinite_step_makes_the_mean_of_its_round_infinite_and_a_missing_one_does_not_count():
  rows = [{'kl': 0.5, 'entropy': math.nan}, {'kl': math.inf, 'entropy': 0.2}, {'entropy': 0.4}]
  found = means.of_steps(rows)
  assert found['train/kl'] == math.inf
  assert found['train/entropy'] == pytest.approx(0.3)
