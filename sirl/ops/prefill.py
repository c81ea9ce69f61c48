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


def prefill(model, params, prompts_PS, valid_PS, *, group_size, room):
  """Runs P left-padded prompts and repeats what they leave behind for the G rows of each group.

  Args: prompts_PS: int32 [P, S]; valid_PS: bool [P, S]; room: empty cache slots after the prompt's S.
  Returns: x_BD, the state after each row's last prompt token, and a cache of S + room slots for B = P * G rows.
  """
  x_PSD, cache = model.hidden(params, prompts_PS, positions(valid_PS), causal_mask(valid_PS))

  def widen(kv_PKSH):
    return jnp.pad(jnp.repeat(kv_PKSH, group_size, axis=0), ((0, 0), (0, 0), (0, room), (0, 0)))

  return jnp.repeat(x_PSD[:, -1], group_size, axis=0), jax.tree.map(widen, cache)
