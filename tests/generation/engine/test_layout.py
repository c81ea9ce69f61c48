"""Builders of rows agree: left padding, prompt, completion, right padding."""

import jax
import jax.numpy as jnp
import numpy as np

from sirl import types
from sirl.generation.engine import layout

PROMPTS = np.asarray([[0, 7], [8, 9]], np.int32)
VALID = np.asarray([[False, True], [True, True]])
NEW = np.asarray([[3, 1, 0], [4, 5, 6]], np.int32)  # the first ends by a token, the second does not
WRITTEN = np.asarray([[True, True, False], [True, True, True]])
LOGP = np.asarray([[-0.5, -0.25, 0], [-1, -2, -3]], np.float32)
TRUNCATED = np.asarray([False, True])


def check(rollouts, logp):
  assert rollouts.prompt_width == 2
  np.testing.assert_array_equal(rollouts.tokens[:, 0], np.concatenate([PROMPTS, NEW], axis=1))
  np.testing.assert_array_equal(rollouts.valid[:, 0], np.concatenate([VALID, WRITTEN], axis=1))
  np.testing.assert_array_equal(
    rollouts.action[:, 0], np.concatenate([np.zeros((2, 2), bool), WRITTEN], axis=1)
  )
  np.testing.assert_array_equal(rollouts.logp[:, 0], logp)


def test_three_builders_give_one_layout():
  logp = np.concatenate([np.zeros((2, 2), np.float32), LOGP], axis=1)
  beside = layout.beside_prompts(PROMPTS, VALID, (NEW, LOGP, WRITTEN), TRUNCATED, 1)
  columns = layout.in_columns(
    np.concatenate([PROMPTS, NEW], axis=1), logp, np.asarray([1, 0]), np.asarray([2, 3]), TRUNCATED,
    prompt_width=2, group_size=1,
  )  # fmt: skip
  for rollouts in (beside, columns):
    check(rollouts, logp)
    np.testing.assert_array_equal(rollouts.truncated[:, 0], TRUNCATED)
  unsampled = layout.given(PROMPTS, VALID, NEW, WRITTEN)
  check(unsampled, np.where(np.asarray(unsampled.action[:, 0]), np.nan, 0))
  assert not unsampled.truncated.any()


def test_a_group_repeats_its_prompt():
  rollouts = layout.beside_prompts(
    PROMPTS[:1], VALID[:1], (NEW, LOGP, WRITTEN), TRUNCATED, group_size=2
  )
  assert rollouts.tokens.shape == (1, 2, 5)
  np.testing.assert_array_equal(rollouts.tokens[0, :, :2], np.tile(PROMPTS[0], (2, 1)))


def experience():
  rollouts = layout.beside_prompts(PROMPTS, VALID, (NEW, LOGP, WRITTEN), TRUNCATED, 1)
  of_tokens, of_rows = jnp.ones((2, 1, 5)), jnp.ones((2, 1))
  return types.Experience(
    rollouts, of_rows, of_rows > 0, of_tokens > 0, of_tokens, of_tokens,
    named_logp={'reference': of_tokens}, values=of_tokens, parts={'correct': of_rows},
    token_rewards=of_tokens, counts=types.Counts(jnp.float32(5), jnp.float32(2)),
  )  # fmt: skip


def test_map_columns_reaches_every_array_with_a_token_axis_and_no_other():
  """The marks of the fields are checked against the shapes: T = 5, and no other axis is as long."""
  rewards = types.Rewards(jnp.ones((2, 1)), {'correct': jnp.ones((2, 1))}, jnp.ones((2, 1, 5)))
  for value, columns in ((experience(), 10), (experience().rollouts, 4), (rewards, 1)):
    given = [x.shape for x in jax.tree.leaves(value)]
    assert given.count((2, 1, 5)) == columns
    mapped = [x.shape for x in jax.tree.leaves(types.map_columns(lambda x: x[..., 1:], value))]
    assert mapped == [(2, 1, 4) if shape == (2, 1, 5) else shape for shape in given]


def test_map_columns_leaves_out_what_is_not_there():
  bare = experience().replace(named_logp={}, values=None, token_rewards=None, counts=None)
  cut = types.map_columns(lambda x: x[..., 1:], bare)
  assert (cut.values, cut.token_rewards, cut.counts, cut.named_logp) == (None, None, None, {})
  assert cut.ref_logp is None
  assert cut.rollouts.prompt_width == 2  # not an array: the caller that cuts sets the new width
