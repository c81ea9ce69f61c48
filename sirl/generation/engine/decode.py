"""Decoding: prompts to completions in one compiled program.

Each prompt is prefilled once, and its cache is repeated for the rows of its group. A while loop
then adds one token per iteration to every row, until every row has ended. The result is a
`types.Rollouts`.
"""

import functools

import jax
import jax.numpy as jnp

from sirl.generation.engine import layout, sampling
from sirl.generation.engine.weights import for_decoding
from sirl.ops import keys as addressed
from sirl.ops import prefill
from sirl.runtime import sharding


@functools.partial(jax.jit, static_argnames=('model', 'sampling_params'))
def decode(model, params, prompts_PS, valid_PS, address, key, sampling_params):
  """Samples G = sampling_params.group_size completions of each prompt.

  Args:
    prompts_PS: int32 [P, S], left-padded, with at least one valid token each.
    valid_PS: bool [P, S].
    address: (ids_P uint32 [P], first_P int32 [P]), the noise address of each row, see `keys.rows`.
      A token's noise comes from its row's key, folded with the token's index in the completion.
    sampling_params: a `SamplingParams`.
  Returns: Rollouts [P, G, S + max_new].
  """
  params = for_decoding(model, params)
  rows = functools.partial(_rows, model, sampling_params)
  return sharding.on_data_shards(
    rows, (params, key), (prompts_PS, valid_PS, address), axes=sharding.ROWS
  )


def static(model, params, prompts_PS, valid_PS, address, key, sampling_params):
  """`decode` as a `slots.Decode`: all rows run until the longest has ended; it has no metrics."""
  return decode(model, params, prompts_PS, valid_PS, address, key, sampling_params), {}


def _rows(model, sampling_params, params, key, prompts_PS, valid_PS, address):
  """`decode` for the tasks of one shard."""
  (P, S), G, max_new = prompts_PS.shape, sampling_params.group_size, sampling_params.max_new
  ids_P, first_P = address
  noise_BN = addressed.token_noise(addressed.rows(key, ids_P, first_P, G).reshape(-1), max_new)
  x_BD, cache = prefill.prefill(model, params, prompts_PS, valid_PS, group_size=G, room=max_new)
  cache = prefill.for_decoding(model, cache)
  lengths_B = jnp.repeat(jnp.sum(valid_PS, axis=1, dtype=jnp.int32), G)
  visible_BT = jnp.pad(jnp.repeat(valid_PS, G, axis=0), ((0, 0), (0, max_new)))

  def choose(x_BD, t, done_B):
    return draw(model.unembed(params, x_BD), noise_BN[:, t], done_B, sampling_params)

  def turn(carry):
    t, token_B, done_B, visible_BT, cache, out = carry
    visible_BT = visible_BT.at[:, S + t - 1].set(True)
    x_B1D, cache = model.hidden(
      params, token_B[:, None], (lengths_B + t - 1)[:, None], visible_BT[:, None], cache, S + t - 1
    )
    token_B, logp_B, now_done_B = choose(x_B1D[:, 0], t, done_B)
    out = write(out, (slice(None), t), token_B, logp_B, done_B)
    return t + 1, token_B, now_done_B, visible_BT, cache, out

  def unfinished(carry):
    return (carry[0] < max_new) & ~jnp.all(carry[2])

  nobody = jnp.zeros(P * G, bool)
  token_B, logp_B, done_B = choose(x_BD, 0, nobody)
  out = write(blank(P * G, sampling_params), (slice(None), 0), token_B, logp_B, nobody)
  carry = jax.lax.while_loop(
    unfinished, turn, (jnp.int32(1), token_B, done_B, visible_BT, cache, out)
  )
  _, _, done_B, _, _, out = carry
  return layout.beside_prompts(prompts_PS, valid_PS, out, ~done_B, G)


# ---------------------------------------------------------------- shared with other decoders


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
