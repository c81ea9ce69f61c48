"""Quickstart's rules, its control that must not learn, and the table at its end."""

import math

import jax
import numpy as np
import pytest

from experiments import measures, quickstart_random, settings, splits
from sirl.reporting import tables
from sirl.types import Action, Decision, Report, Rewards

GO_ON = Decision(Action.CONTINUE, 'no rule fired')


def decide(rewards, accuracies, sem):
  """The decision of quickstart's rules after rounds with these numbers."""
  reports = [
    Report(
      i, {'train/reward': reward, 'heldout/pass@1': accuracy, 'heldout/pass@1_sem': sem}, GO_ON
    )
    for i, (reward, accuracy) in enumerate(zip(rewards, accuracies))
  ]
  return measures.steer_by_accuracy(words=False, own=True)(reports)


@pytest.mark.parametrize('accuracies', [[0.97] * 5, [0.972, 0.968, 0.97, 0.966, 0.964]])
def test_a_run_that_has_learned_all_is_not_taken_for_a_hack(accuracies):
  """The reward still rises slowly while accuracy is flat or moves within its error."""
  assert decide([0.91, 0.93, 0.94, 0.955, 0.96], accuracies, sem=0.005) is None


def test_a_reward_that_rises_alone_makes_the_run_ask():
  decision = decide([0.4, 0.5, 0.65, 0.8, 0.95], [0.4, 0.41, 0.4, 0.38, 0.39], sem=0.015)
  assert decision.action is Action.ASK_HUMAN
  assert 'the reward rises and what it stands for does not' in decision.reason


# ---------------------------------------------------------------- the control


def test_the_control_draws_tasks_without_looking_at_what_was_right():
  config = quickstart_random.build.configured(quickstart_random.Config, ['debug=true'])
  selector = quickstart_random.build(config).selector
  tasks = splits.unseen(config, settings.TASKS[config.task](config))['heldout']
  right = np.tile(np.float32([1, 0]), (4, 1))
  rewards = Rewards(total=right, parts={'coin': right, 'correct': right})
  state = selector.prepare(selector.init(), tasks, None, jax.random.key(0))
  seen = selector.update(state, np.arange(4), rewards)
  drawn = [selector.select(s, tasks, jax.random.key(1), 8) for s in (state, seen)]
  np.testing.assert_array_equal(*drawn)
  assert jax.tree.leaves(seen) == []


# ---------------------------------------------------------------- the closing table


def test_the_table_prints_the_interval_a_report_holds_else_what_its_error_gives():
  bounds = lambda value, low, high: {'': value, '_sem': 0.0, '_low': low, '_high': high}
  first = {'heldout/pass@1': 0.3, 'heldout/pass@1_sem': 0.02, 'heldout/greedy': 0.5}
  first |= {f'heldout/pass@8{end}': x for end, x in bounds(0.8, 0.745, 0.845).items()}
  last = {'heldout/pass@1': 0.9, 'heldout/pass@1_sem': math.nan, 'heldout/greedy': 0.75}
  last |= {f'heldout/pass@8{end}': x for end, x in bounds(1.0, 0.985, 1.0).items()}
  text = tables.before_and_after([Report(-1, first, GO_ON), Report(0, last, GO_ON)])
  assert text.splitlines()[2:5] == [
    'pass@1, sampled                0.300 ± 0.039                 0.900    +0.600  heldout/pass@1',
    'pass@8, sampled         0.800 [0.745, 0.845]  1.000 [0.985, 1.000]    +0.200  heldout/pass@8',
    'greedy                                 0.500                 0.750    +0.250  heldout/greedy',
  ]
  assert len({len(line[:76].rstrip()) for line in text.splitlines()[:-1]}) == 1


def test_a_run_longer_than_its_schedule_is_warned_about_with_what_to_set(caplog):
  c = settings.Toy(max_rounds=18)
  settings.check_rate(c)
  assert 'from step lr_steps=480 on, and the run has 720 steps' in caplog.text
  assert 'Set lr_steps=720, or 0 for a constant rate' in caplog.text


def test_a_schedule_that_ends_within_its_warmup_is_refused_for_its_rate_would_never_fall():
  with pytest.raises(ValueError, match=r'lr_steps=4: .* over warmup=10 steps; --set warmup=1, or'):
    settings.check_rate(settings.Toy(lr_steps=4))


def test_a_learning_rate_of_zero_is_said_in_one_warning(caplog):
  settings.check_rate(settings.Toy(lr=0.0, max_rounds=18))
  assert [record.getMessage().split(':')[0] for record in caplog.records] == ['lr=0']


@pytest.mark.parametrize('changes', [{}, {'max_rounds': 3}, {'max_rounds': 18, 'lr_steps': 0}])
def test_a_schedule_that_lasts_as_long_as_the_run_is_not_warned_about(caplog, changes):
  settings.check_rate(settings.Toy(**changes))
  assert caplog.text == ''
