"""Decoding in three functions: `begin` reads prompts, `act` draws tokens, `observe` reads an answer.

A completion without an environment is one turn: `decode` is `begin` and `act` in one program. With
an environment, `act` and `observe` alternate on one cache, so no token passes through the model
twice. All three are pure and run under jit; B rows stay together.

Columns: a row's prompt ends at column S, and its tokens, drawn and observed, follow without gaps.
A column is also the token's slot in the cache. The newest drawn token of a row is not in the cache
yet: whatever reads next, reads it first.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from sirl.generation.engine import sampling
from sirl.ops import keys as addressed
from sirl.ops import prefill
from sirl.runtime import sharding
from sirl.types import Array, PyTree


class Rows(NamedTuple):
  """State of B rows between two calls."""

  x: Array  # [B, D]  hidden state that the next drawn token follows
  cache: PyTree  # leaves [B, K, S + room, H]
  first: Array  # int32 [B]  column of the prompt's first token
  last: Array  # int32 [B]  newest token
  end: Array  # int32 [B], or [] if all rows have the same: column after the newest token
  drawn: Array  # int32 [B] or []  tokens drawn so far; the next one's noise has this address


class Drawn(NamedTuple):
  """The tokens of one `act`, N for every row; padding after a row's last one."""

  tokens: Array  # int32 [B, N]
  logp: Array  # float32 [B, N]
  action: Array  # bool [B, N]
  ended: Array  # bool [B]  True for rows that drew an end token


def begin(model, params, prompts_PS, valid_PS, *, group_size, room) -> Rows:
  """Reads each prompt once, for the G rows of its group.

  Args:
    params: weights of `weights.for_decoding`.
    prompts_PS: int32 [P, S], left-padded, with at least one valid token each; valid_PS: bool.
    room: columns after the prompt: for all tokens drawn and observed, where the newest observation
      counts with its full width O. Rows that need more get NaN, see `act` and `observe`.
  """
  x_BD, cache = prefill.prefill(
    model, params, prompts_PS, valid_PS, group_size=group_size, room=room
  )
  S = prompts_PS.shape[1]
  first_B = jnp.repeat(first_columns(valid_PS), group_size)
  cache = prefill.for_decoding(model, cache)
  last_B = jnp.repeat(prompts_PS[:, -1], group_size)
  return Rows(x_BD, cache, first_B, last_B, jnp.int32(S), jnp.int32(0))


def act(model, params, keys_B, live_B, rows, sampling_params) -> tuple[Drawn, Rows]:
  """Draws up to N = sampling_params.max_new tokens for every live row, until each has ended.

  Args:
    keys_B: keys of the rows, see `keys.rows`. A token's noise is that of its row's key and of the
      number of tokens the row drew before it, in this turn and in earlier ones.
    live_B: bool [B]; False: the row gets no token.
  The log-probs of a row that has no room left are NaN.
  """
  max_new = sampling_params.max_new
  noise_BN = addressed.uniform(
    addressed.token_keys(keys_B, jnp.broadcast_to(rows.drawn, live_B.shape), max_new)
  )

  def choose(x_BD, t, done_B):
    return draw(logits(model, params, x_BD), noise_BN[:, t], done_B, sampling_params)

  def turn(carry):
    t, token_B, done_B, cache, out = carry
    x_B1D, cache = read(model, params, token_B[:, None], rows.end + t - 1, rows.first, cache)
    token_B, logp_B, now_done_B = choose(x_B1D[:, 0], t, done_B)
    return t + 1, token_B, now_done_B, cache, write(out, (slice(None), t), token_B, logp_B, done_B)

  def unfinished(carry):
    return (carry[0] < max_new) & ~jnp.all(carry[2])

  token_B, logp_B, done_B = choose(rows.x, 0, ~live_B)
  out = write(blank(len(live_B), sampling_params), (slice(None), 0), token_B, logp_B, ~live_B)
  carry = jnp.int32(1), token_B, done_B, rows.cache, out
  _, _, done_B, cache, (tokens_BN, logp_BN, action_BN) = jax.lax.while_loop(unfinished, turn, carry)

  count_B = jnp.sum(action_BN, axis=1, dtype=jnp.int32)
  logp_BN = jnp.where(action_BN & ~_fits(rows, count_B - 1)[:, None], jnp.nan, logp_BN)
  newest_B = jnp.take_along_axis(tokens_BN, jnp.maximum(count_B - 1, 0)[:, None], axis=1)[:, 0]
  later = rows._replace(
    cache=cache,
    last=jnp.where(live_B, newest_B, rows.last),
    end=rows.end + count_B,
    drawn=rows.drawn + count_B,
  )
  return Drawn(tokens_BN, logp_BN, action_BN, done_B & live_B), later


def observe(model, params, tokens_BO, count_B, rows) -> Rows:
  """Reads each row's last drawn token and its observation, after which `act` goes on.

  Args:
    tokens_BO: int32 [B, O]; what follows a row's first count_B[b] tokens is ignored.
    count_B: int32 [B], 0 for a row without an observation.
  Without room for all O columns, a row's state is NaN.
  """
  fed_BW = jnp.concatenate([rows.last[:, None], tokens_BO], axis=1)
  at_B = jnp.broadcast_to(rows.end - 1, count_B.shape)
  # Ignored tokens are read, too. They come after the row's own, which therefore do not see them,
  # and the next tokens are written over them.
  x_BWD, cache = read(model, params, fed_BW, at_B, rows.first, rows.cache)
  x_BD = jnp.take_along_axis(x_BWD, count_B[:, None, None], axis=1)[:, 0]
  x_BD = jnp.where(_fits(rows, tokens_BO.shape[1])[:, None], x_BD, jnp.nan)
  newest_B = jnp.take_along_axis(fed_BW, count_B[:, None], axis=1)[:, 0]
  return rows._replace(x=x_BD, cache=cache, last=newest_B, end=rows.end + count_B)


def _fits(rows, more):
  """bool [B]: whether the cache has slots for `more` columns after the newest token."""
  slots = _slots(rows.cache)
  return (slots == 0) | (jnp.broadcast_to(rows.end, rows.first.shape) + more <= slots)


def _slots(cache):
  """S + room; 0 for a model without a cache, such as `tabular`, which needs no mask either."""
  return max((kv.shape[2] for kv in jax.tree.leaves(cache)), default=0)


# ---------------------------------------------------------------- shared with other decoders


def first_columns(valid_PS):
  """int32 [P]: the column of each left-padded prompt's first token."""
  return valid_PS.shape[1] - jnp.sum(valid_PS, axis=1, dtype=jnp.int32)


def read(model, params, tokens_BK, column_B, first_B, cache):
  """Hidden states [B, K, D] of K tokens at columns column_B .. column_B + K - 1, and the new cache.

  A token sees the columns from its row's first one to its own.

  Args: column_B: int32 [B], or [] if all rows have the same.
  """
  slots_T = jnp.arange(_slots(cache))
  columns = jnp.asarray(column_B)[..., None] + jnp.arange(tokens_BK.shape[1])  # [B, K] or [K]
  see_BKT = (first_B[:, None, None] <= slots_T) & (slots_T <= columns[..., None])
  return model.hidden(params, tokens_BK, columns - first_B[:, None], see_BKT, cache, column_B)


def logits(model, params, x):
  """Logits, float32 [..., V], whole on every device of the axis tensor.

  Drawing reads all of V several times. With V split, each time would be a collective, and some of
  them join shards whose loops end at different turns: these would wait for each other for ever.
  """
  return sharding.whole(model.unembed(params, x))


def draw(logits_BV, noise_B, done_B, sampling_params):
  """Draws the next token of each row with the given noise; rows that are done get padding.

  Args: logits_BV: [B, V]; noise_B: float32 [B] in [0, 1); done_B: bool [B].
  Returns: tokens int32 [B], log-probs float32 [B], and bool [B], True for rows that have now ended.
  """
  token_B, logp_B = sampling.draw(logits_BV, noise_B, sampling_params.sampler)
  ended_B = ends(token_B, sampling_params)
  return (
    jnp.where(done_B, sampling_params.pad_id, token_B),
    jnp.where(done_B, 0.0, logp_B),
    done_B | ended_B,
  )


def ends(tokens, sampling_params):
  """bool of the same shape: True for tokens that end a completion."""
  return jnp.isin(tokens, jnp.asarray(sampling_params.eos_ids, jnp.int32))


def blank(rows, sampling_params):
  """Empty completions: pad ids, log-probs 0 and an all-False token mask, each [rows, max_new]."""
  shape = (rows, sampling_params.max_new)
  return (
    jnp.full(shape, sampling_params.pad_id, jnp.int32),
    jnp.zeros(shape, jnp.float32),
    jnp.zeros(shape, bool),
  )


def write(out, where, token_B, logp_B, done_B):
  """Adds one token at index `where` to the completion of every row that is not done."""
  tokens, logp, action = out
  return (
    tokens.at[where].set(token_B),
    logp.at[where].set(logp_B),
    action.at[where].set(~done_B),
  )
