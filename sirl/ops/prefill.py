"""Prefill: a prompt is computed once per task and shared by its group, in sampler and learner.

In the learner, gradients flow through it.
"""

import dataclasses
import functools

import jax
import jax.numpy as jnp

from sirl.ops.platform import platform
from sirl.types import Array

PIECE = 1024  # tokens per pass on a CPU


@functools.partial(
  jax.tree_util.register_dataclass,
  data_fields=('valid', 'local'),
  meta_fields=('start', 'queries', 'window'),
)
@dataclasses.dataclass(frozen=True)
class Causal:
  """A mask by its structure: query t sees the valid ones of sources 0 .. start + t.

  `Hidden` takes it in place of a dense mask; a model may then compute attention in blocks. Of a
  local one, a query sees the last `window` of those sources; valid ones must stand together.
  """

  valid: Array  # bool [B, S]
  start: int  # source of the first query
  queries: int  # T
  window: int | None = None
  local: bool | Array = False  # bool []; whether the window is in force

  @property
  def shape(self):
    """That of the dense mask: (B, T, S)."""
    return self.valid.shape[0], self.queries, self.valid.shape[1]

  def dense(self):
    """bool [B, T, S]."""
    return causal_mask(self.valid)[:, self.start : self.start + self.queries]


def causal_mask(valid_BT):
  """bool [B, T, T]: position t may see valid sources s <= t."""
  T = valid_BT.shape[-1]
  return jnp.tril(jnp.ones((T, T), bool))[None] & valid_BT[:, None, :]


def positions(valid_BT):
  """int32 [B, T]: a token's position is the number of valid tokens before it, never its column."""
  return jnp.maximum(jnp.cumsum(valid_BT, axis=-1, dtype=jnp.int32) - 1, 0)


def whole(model, params, prompts_PS, valid_PS):
  """State after P left-padded prompts: x_PD of each last token, and a cache [P, K, S, H].

  Args: prompts_PS: int32 [P, S]; valid_PS: bool [P, S].
  """
  see = Causal(valid_PS, 0, prompts_PS.shape[1])
  x_PSD, cache = model.hidden(params, prompts_PS, positions(valid_PS), see)
  return x_PSD[:, -1], cache


def in_pieces(model, params, prompts_PS, valid_PS):
  """`whole`; on a CPU at most PIECE tokens at a time, so that activations stay in the CPU cache.

  All prompts go together on other backends, if P has no fitting divisor, or if the compiler splits
  the rows over devices.
  """
  P, S = prompts_PS.shape
  n = max((n for n in range(1, P + 1) if P % n == 0 and n * S <= PIECE), default=P)
  mesh = jax.sharding.get_abstract_mesh()
  split = any(size > 1 for axis, size in mesh.shape.items() if axis not in mesh.manual_axes)
  if platform() != 'cpu' or n == P or n * S < PIECE // 4 or split:
    return whole(model, params, prompts_PS, valid_PS)
  pieces = prompts_PS.reshape(-1, n, S), valid_PS.reshape(-1, n, S)
  state = jax.lax.map(lambda piece: whole(model, params, *piece), pieces)
  return jax.tree.map(lambda x: x.reshape(P, *x.shape[2:]), state)


def for_decoding(model, cache):
  """The cache of `whole` in the layout of the model's `init_cache`, which decoding writes into."""
  like = jax.eval_shape(lambda: model.init_cache(1, 1))

  def laid_out(kv_BKSH, wanted):
    B, K, S, H = kv_BKSH.shape
    together = K // wanted.shape[1]
    apart = kv_BKSH.reshape(B, K // together, together, S, H)
    return apart.swapaxes(2, 3).reshape(B, K // together, S, together * H)

  return jax.tree.map(
    lambda kv, wanted: kv if kv.shape[1] == wanted.shape[1] else laid_out(kv, wanted), cache, like
  )


def prefill(model, params, prompts_PS, valid_PS, *, group_size, room):
  """`in_pieces`, repeated for the G rows of each group.

  Returns: x_BD and a cache of S + room slots, for B = P * G rows.
  """
  state = in_pieces(model, params, prompts_PS, valid_PS)
  x_BD, cache = jax.tree.map(lambda x: jnp.repeat(x, group_size, axis=0), state)
  return x_BD, jax.tree.map(lambda kv: jnp.pad(kv, ((0, 0), (0, 0), (0, room), (0, 0))), cache)


def for_rows(state, prompt_B):
  """State of `whole` for chosen rows: row b continues prompt number prompt_B[b] (int32 [B])."""
  return jax.tree.map(lambda x: x[prompt_B], state)
