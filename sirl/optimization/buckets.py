"""Sorts completions by length and cuts them into pieces, to compute little padding.

lengths   3 9 1 8 2 2 7 1      rows=4, widths=(4,)      9 8 7 3 | 2 2 1 1
                                                        all columns, then 4 of them

Pieces hold single completions, [M, R, 1, ...], longest first, so completions of one group may lie
in different pieces. The prompts' states are computed beforehand. Each piece is computed in the
first of `widths` that holds its longest completion. All widths are branches of one program.
"""

import jax
import jax.numpy as jnp
from flax import struct

from sirl.ops import prefill, trees
from sirl.types import Array, Experience, map_columns


@struct.dataclass
class Piece:
  """Some rows of an Experience, as groups of one.

  Filler rows repeat another row and have no action tokens.
  """

  experience: Experience  # leaves [R, 1, ...]
  row: Array  # int32 [R]  index of the row in the whole, P * G for filler
  group_size: int = struct.field(pytree_node=False)

  def stats(self, score, params, state):
    """TokenStats of these rows, given the model state after their prompts."""
    last = jax.tree.leaves(state)[0].shape[0] - 1
    prompts = prefill.for_rows(state, jnp.minimum(self.row // self.group_size, last))
    return score(params, self.experience.rollouts, prompts=prompts)


def cut(experience, rows) -> Piece:
  """Cuts the experience into pieces of `rows` completions, longest first; None makes one piece.

  Returns a Piece with leaves [M, R, ...] for M pieces of R rows.
  """
  rollouts = experience.rollouts
  P, G, _ = rollouts.tokens.shape
  B, R = P * G, min(rows or P * G, P * G)
  lengths_B = extent(rollouts).reshape(B)
  order = jnp.argsort(lengths_B, descending=True, stable=True).astype(jnp.int32)
  order_MR = jnp.pad(order, (0, -B % R), constant_values=B).reshape(-1, R)

  counts, flat = experience.counts, trees.flatten_groups(experience.replace(counts=None))
  taken = jax.tree.map(lambda x: x[jnp.minimum(order_MR, B - 1)][:, :, None], flat)
  real = (order_MR < B)[:, :, None, None]
  taken = taken.replace(
    mask=taken.mask & real,
    judged=taken.judged & real[..., 0],
    rollouts=taken.rollouts.replace(action=taken.rollouts.action & real),
    counts=jax.tree.map(lambda x: jnp.broadcast_to(x, len(order_MR)), counts),
    torn=True,
  )
  return Piece(taken, order_MR, G)


def fitted(fn, piece, widths):
  """fn(piece), computed in the smallest width that holds all action tokens of the piece.

  fn must return the same shape for every width.
  """
  S = piece.experience.rollouts.prompt_width
  full = piece.experience.rollouts.tokens.shape[-1] - S
  widths = [width for width in sorted(widths) if width < full]
  if not widths:
    return fn(piece)
  longest = jnp.max(extent(piece.experience.rollouts))
  branches = [lambda piece, width=width: fn(_narrow(piece, S + width)) for width in widths]
  return jax.lax.switch(jnp.searchsorted(jnp.asarray(widths), longest), [*branches, fn], piece)


def extent(rollouts):
  """int32 [P, G]: completion columns up to the last action token.

  These columns may include tokens that the policy did not choose.
  """
  action_PGC = rollouts.action[..., rollouts.prompt_width :]
  return jnp.max(jnp.where(action_PGC, jnp.arange(1, action_PGC.shape[-1] + 1), 0), axis=-1)


def _narrow(piece, columns):
  """The piece with only the first `columns` columns of every array that has columns."""
  return piece.replace(experience=map_columns(lambda x: x[..., :columns], piece.experience))
