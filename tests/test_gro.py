"""Scalars of a step's rewards, by hand."""

import math

import numpy as np
import pytest

from sirl import gro
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
