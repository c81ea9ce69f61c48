"""Laws and small numbers of the advantage estimators."""

import chex
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from sirl.optimization import advantages

BASELINED = [advantages.normalized, advantages.centered, advantages.leave_one_out]
ALL = np.ones((1, 4), bool)


def test_small_numbers_by_hand():
  rewards = jnp.asarray([[1.0, 0.0, 0.0, 1.0]])
  np.testing.assert_allclose(advantages.centered(rewards, ALL), [[0.5, -0.5, -0.5, 0.5]])
  np.testing.assert_allclose(
    advantages.leave_one_out(rewards, ALL), [[2 / 3, -2 / 3, -2 / 3, 2 / 3]], rtol=1e-6
  )
  std = np.sqrt(4 * 0.25 / 3)
  np.testing.assert_allclose(
    advantages.normalized(rewards, ALL),
    np.asarray([[0.5, -0.5, -0.5, 0.5]]) / (std + 1e-6),
    rtol=1e-5,
  )
  np.testing.assert_allclose(advantages.accept(1.0)(rewards, ALL), [[1, 0, 0, 1]])
  np.testing.assert_allclose(advantages.raw(rewards, ALL), rewards)


def test_normalized_binary_rewards_have_the_closed_form():
  # Shao et al.: with success rate p and the n - 1 std, A+ = sqrt((1 - p) / p * (G - 1) / G).
  rewards = jnp.asarray([[1.0, 0, 0, 0, 0, 0, 0, 0]])
  expected = np.sqrt((1 - 1 / 8) / (1 / 8) * 7 / 8)
  np.testing.assert_allclose(
    advantages.normalized(rewards, np.ones((1, 8), bool))[0, 0], expected, rtol=1e-5
  )


rewards_strategy = arrays.arrays(np.float32, (3, 5), elements=st.floats(-4, 4, width=32))


@pytest.mark.parametrize('advantage', BASELINED)
@settings(max_examples=25, deadline=None)
@given(rewards=rewards_strategy, shift=st.floats(-8, 8, width=32))
def test_shift_changes_nothing_and_groups_sum_to_zero(advantage, rewards, shift):
  judged = np.ones(rewards.shape, bool)
  rewards = np.round(rewards * 8) / 8  # eighths: shifts below are then exact and cannot break a tie
  shift = np.round(shift * 8) / 8
  A = advantage(jnp.asarray(rewards), judged)
  np.testing.assert_allclose(A.sum(axis=1), 0, atol=1e-4)
  np.testing.assert_allclose(advantage(jnp.asarray(rewards + shift), judged), A, atol=1e-4)


@pytest.mark.parametrize('advantage', BASELINED)
def test_permuting_a_group_permutes_its_advantages(advantage):
  rewards = jnp.asarray([[0.1, 0.7, 0.3, 0.9]])
  order = np.asarray([2, 0, 3, 1])
  chex.assert_trees_all_close(
    advantage(rewards[:, order], ALL), advantage(rewards, ALL)[:, order], atol=1e-6
  )


@pytest.mark.parametrize('advantage', BASELINED)
def test_unjudged_completions_are_as_if_absent(advantage):
  judged = np.asarray([[True, True, True, False]])
  A = advantage(jnp.asarray([[1.0, 0.0, 0.5, jnp.nan]]), judged)
  without = advantage(jnp.asarray([[1.0, 0.0, 0.5]]), np.ones((1, 3), bool))
  np.testing.assert_allclose(A[:, :3], without, rtol=1e-6)
  assert float(A[0, 3]) == 0.0


@pytest.mark.parametrize('advantage', BASELINED)
def test_a_tied_group_has_no_advantage(advantage):
  np.testing.assert_array_equal(advantage(jnp.full((1, 4), 0.3), ALL), np.zeros((1, 4)))


@pytest.mark.parametrize('advantage', BASELINED)
def test_a_group_of_one_is_refused(advantage):
  with pytest.raises(ValueError, match='group of 1.*at least 2'):
    advantage(jnp.ones((2, 1)), np.ones((2, 1), bool))
