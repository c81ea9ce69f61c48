"""The prompt, computed once per task and shared by its group: by the sampler, and by the learner with gradients."""

import jax
import jax.numpy as jnp


def causal_mask(valid_BT):
  """bool [B, T, T]: position t may see valid sources s <= t."""
  T = valid_BT.shape[-1]
  return jnp.tril(jnp.ones((T, T), bool))[None] & valid_BT[:, None, :]


def positions(valid_BT):
  """int32 [B, T]: a token's position is the number of valid tokens before it, never its column."""
  return jnp.maximum(jnp.cumsum(valid_BT, axis=-1, dtype=jnp.int32) - 1, 0)


def once(model, params, prompts_PS, valid_PS):
  """What P left-padded prompts leave behind: the state after the last token, x_PD, and a cache [P, K, S, H].

  Args: prompts_PS: int32 [P, S]; valid_PS: bool [P, S].
  """
  x_PSD, cache = model.hidden(params, prompts_PS, positions(valid_PS), causal_mask(valid_PS))
  return x_PSD[:, -1], cache


def prefill(model, params, prompts_PS, valid_PS, *, group_size, room):
  """`once`, repeated for the G rows of each group: x_BD and a cache of S + room slots for B = P * G rows."""
  state = once(model, params, prompts_PS, valid_PS)
  x_BD, cache = jax.tree.map(lambda x: jnp.repeat(x, group_size, axis=0), state)
  return x_BD, widened(cache, room)


def for_rows(state, prompt_B, room):
  """The state that `once` returned, for rows in any order: row b continues prompt number prompt_B[b] (int32 [B])."""
  x_BD, cache = jax.tree.map(lambda x: x[prompt_B], state)
  return x_BD, widened(cache, room)


def widened(cache, room):
  """The cache with `room` empty slots after those it has."""
  return jax.tree.map(lambda kv: jnp.pad(kv, ((0, 0), (0, 0), (0, room), (0, 0))), cache)
