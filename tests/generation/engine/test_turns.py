"""Turns with observations on one cache: what a fresh prefill of the whole text would give."""

import functools
from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from sirl import models
from sirl.generation import texts
from sirl.generation.engine import turns
from sirl.generation.engine.decode import decode
from sirl.ops import keys, logprobs, prefill
from sirl.types import Rollouts, SamplingParams

pytestmark = pytest.mark.usefixtures('quick_compiles')

PAD, ENDS = 0, (1, 2)
MODEL = models.build(
  models.preset('toy', vocab=16, width=16, layers=2, heads=4, kv_heads=2, head_width=8, ffw=16)
)
PARAMS = jax.jit(MODEL.init)(jax.random.key(0))
ASKED = SamplingParams(group_size=2, max_new=4, eos_ids=ENDS, pad_id=PAD)
# Two prompts of one and three tokens; an end token comes with about one chance in eight.
TOKENS = np.asarray([[PAD, PAD, 3], [4, 5, 6]], np.int32)
VALID = TOKENS != PAD
ADDRESS = texts.address(['one', 'two'], ASKED.group_size)
KEYS = keys.rows(jax.random.key(1), *ADDRESS, ASKED.group_size).reshape(-1)
TURNS, OBSERVED = 3, 3
ROOM = TURNS * (ASKED.max_new + OBSERVED)
EVERYONE = np.ones(4, bool)


@functools.partial(jax.jit, static_argnames='asked')
def act(live_B, rows, asked=ASKED):
  return turns.act(MODEL, PARAMS, KEYS, live_B, rows, asked)


@jax.jit
def observe(tokens_BO, count_B, rows):
  return turns.observe(MODEL, PARAMS, tokens_BO, count_B, rows)


@functools.partial(jax.jit, static_argnames='room')
def begin(room=ROOM):
  return turns.begin(MODEL, PARAMS, TOKENS, VALID, group_size=ASKED.group_size, room=room)


@functools.cache
def played():
  """(texts of the 4 rows, their action masks, their log-probs) after three turns."""
  rows, rng = begin(), np.random.default_rng(0)
  shown = [list(TOKENS[b // 2][VALID[b // 2]]) for b in range(4)]
  action, logp = [[False] * len(text) for text in shown], [[0.0] * len(text) for text in shown]
  live_B = EVERYONE
  for turn in range(TURNS):
    drawn, rows = act(live_B, rows)
    # The second row leaves after the first turn; the last one gets no observation.
    live_B = np.asarray([True, False, True, True])
    tokens_BO = rng.integers(3, 16, (4, OBSERVED)).astype(np.int32)
    count_B = np.asarray([OBSERVED, 0, 1 + turn, 0], np.int32)
    for b in range(4):
      own = np.asarray(drawn.action[b])
      shown[b] += [*np.asarray(drawn.tokens[b])[own], *tokens_BO[b, : count_B[b]]]
      action[b] += [True] * own.sum() + [False] * count_B[b]
      logp[b] += [*np.asarray(drawn.logp[b])[own], *[0.0] * count_B[b]]
    np.testing.assert_array_equal(
      rows.end, [3 + len(s) - VALID[b // 2].sum() - count_B[b] for b, s in enumerate(shown)]
    )
    rows = observe(tokens_BO, count_B, rows)
  return shown, action, logp, rows


def test_states_equal_those_of_a_prefill_of_the_whole_text():
  shown, _, _, rows = played()
  width = max(len(text) for text in shown)
  tokens = np.asarray([[PAD] * (width - len(text)) + text for text in shown], np.int32)
  valid = np.arange(width) >= width - np.asarray([[len(text)] for text in shown])
  x_BD, _ = jax.jit(functools.partial(prefill.whole, MODEL))(PARAMS, tokens, valid)
  np.testing.assert_allclose(rows.x, x_BD, atol=2e-6)


def test_log_probs_are_those_of_the_learner_and_observations_are_not_scored():
  shown, action, logp, _ = played()

  def aligned(rows, fill, dtype):  # [P, G, T], prompts left-padded
    before = [3 - VALID[b // 2].sum() for b in range(4)]
    width = max(n + len(row) for n, row in zip(before, rows, strict=True))
    rows = [[fill] * n + list(row) for n, row in zip(before, rows, strict=True)]
    return jnp.asarray([row + [fill] * (width - len(row)) for row in rows], dtype).reshape(2, 2, -1)

  rollouts = Rollouts(
    tokens=aligned(shown, PAD, jnp.int32),
    valid=aligned([[True] * len(row) for row in shown], False, bool),
    action=aligned(action, False, bool),
    logp=aligned(logp, 0.0, jnp.float32),
    truncated=jnp.zeros((2, 2), bool),
    prompt_width=3,
  )
  found = jax.jit(functools.partial(logprobs.token_stats, MODEL))(PARAMS, rollouts).logp
  assert rollouts.action.sum() > 8
  np.testing.assert_allclose(found[rollouts.action], rollouts.logp[rollouts.action], atol=1e-5)


def test_one_turn_is_plain_decoding_whatever_the_room():
  expected = decode(MODEL, PARAMS, TOKENS, VALID, ADDRESS, jax.random.key(1), ASKED)
  drawn, rows = act(EVERYONE, begin())
  flat = lambda x: np.asarray(x).reshape(4, -1)[:, 3:]
  np.testing.assert_array_equal(drawn.tokens, flat(expected.tokens))
  np.testing.assert_array_equal(drawn.action, flat(expected.action))
  np.testing.assert_allclose(drawn.logp, flat(expected.logp), atol=1e-6)
  np.testing.assert_array_equal(drawn.ended, ~np.asarray(expected.truncated).reshape(-1))
  np.testing.assert_array_equal(rows.drawn, flat(expected.action).sum(1))


def test_two_turns_without_an_observation_are_one_long_turn():
  """A token's noise depends on how many its row has drawn, not on the turn."""
  long = replace(ASKED, max_new=8, eos_ids=(15,))
  short = replace(ASKED, eos_ids=(15,))
  whole, _ = act(EVERYONE, begin(), long)
  first, rows = act(EVERYONE, begin(), short)
  rows = observe(np.zeros((4, OBSERVED), np.int32), np.zeros(4, np.int32), rows)
  going = ~np.asarray(first.ended)
  second, _ = act(going, rows, short)
  both = np.concatenate([first.tokens, second.tokens], axis=1)
  assert going.any()
  np.testing.assert_array_equal(both[going], whole.tokens[going])


def test_a_row_that_does_not_live_draws_nothing_and_stays_as_it_is():
  _, rows = act(EVERYONE, begin())
  nobody, later = act(~EVERYONE, rows)
  assert not nobody.action.any()
  assert not nobody.ended.any()
  np.testing.assert_array_equal(nobody.tokens, PAD)
  for name in ('end', 'last', 'drawn'):
    np.testing.assert_array_equal(getattr(later, name), getattr(rows, name))


def test_a_row_without_room_gets_nan_instead_of_wrong_numbers():
  long = replace(ASKED, eos_ids=(15,))
  rows = begin(room=6)
  first, rows = act(EVERYONE, rows, long)
  assert np.isfinite(first.logp).all()
  observed = observe(np.zeros((4, OBSERVED), np.int32), np.zeros(4, np.int32), rows)
  full = np.asarray(rows.end) + OBSERVED > 9
  np.testing.assert_array_equal(np.isnan(observed.x).all(axis=1), full)
  assert full.any()
