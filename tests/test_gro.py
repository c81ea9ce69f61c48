"""Scalars of a step's rewards, by hand; and what a step takes for a reward."""

import math

import numpy as np
import pytest

from sirl import gro, rewards
from sirl.types import Rewards

NAN = math.nan


def test_a_part_is_summed_up_over_the_completions_it_applied_to():
  part = np.asarray([[0.0, 1.0], [2.0, NAN]])
  metrics = gro.reward_metrics(Rewards(part, {'correct': part}), part)
  assert metrics['rewards/correct/mean'] == 1.0
  assert metrics['rewards/correct/std'] == 1.0  # sqrt((1 + 0 + 1) / (3 - 1)), as TRL divides
  assert metrics['rewards/correct/unjudged'] == 0.25


@pytest.mark.parametrize(('values', 'mean'), [([[NAN, NAN]], NAN), ([[0.5, NAN]], 0.5)])
def test_a_spread_needs_two(values, mean):
  part = np.asarray(values)
  metrics = gro.reward_metrics(Rewards(part, {'correct': part}), part)
  assert metrics['rewards/correct/mean'] == pytest.approx(mean, nan_ok=True)
  assert math.isnan(metrics['rewards/correct/std'])


def test_ties_and_spread_are_of_groups():
  total = np.asarray([[1.0, 1.0, 1.0], [0.0, 1.0, NAN], [NAN, NAN, NAN]])
  metrics = gro.reward_metrics(Rewards(total, {}), np.where(total == 1, total, NAN))
  assert metrics['reward'] == pytest.approx(4 / 5)
  assert metrics['frac_reward_zero_std'] == 0.5  # of the two groups with anything judged
  assert metrics['reward_std'] == pytest.approx((0 + math.sqrt(0.5)) / 2)
  assert metrics['sampling/rollouts_kept'] == pytest.approx(4 / 9)


def trl_reward(completions, answer, **kwargs):
  return [0.0 for _ in completions]


def trl_reward_with_prompts(prompts, completions, completion_ids=None, **kwargs):
  return [0.0 for _ in completions]


def verl_reward(data_source, solution_str, ground_truth, extra_info=None):
  return 0.0


def scorer(task, text):
  return 0.0


@pytest.mark.parametrize(
  ('function', 'wrapper'),
  [
    (trl_reward, 'from_trl'),
    (trl_reward_with_prompts, 'from_trl'),
    (verl_reward, 'from_verl'),
    (scorer, 'per_completion'),
  ],
)
def test_a_function_that_is_no_reward_is_refused_when_the_experiment_is_built(function, wrapper):
  name = function.__name__
  for build in (
    lambda reward: gro.make_step(None, reward, None),
    lambda reward: rewards.weighted(correct=(1.0, reward)),
    lambda reward: rewards.by_role(solve=reward),
  ):
    with pytest.raises(ValueError, match=rf"'{name}' takes .*rewards\.{wrapper} for"):
      build(function)
    build(getattr(rewards, wrapper)(function))
