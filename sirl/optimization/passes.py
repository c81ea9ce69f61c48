"""Forward and backward passes over a minibatch, cut into pieces to save memory and padding.

There are two nested cuts. Micro-batches are slices of P and bound all memory, prompts included.
Rows are single completions sorted by length: each prompt is computed once, with its gradient, and
its completions follow a few at a time, only as wide as needed. Denominators are those of the
minibatch, so the pieces add up.

`scored` computes no gradient, `gradients` does. Both split over data shards, then over
micro-batches, then over rows.
"""

import dataclasses
import functools
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax.sharding import PartitionSpec as Spec

from sirl import ranges
from sirl.ops import logprobs, prefill, trees
from sirl.optimization import buckets
from sirl.runtime import chips, sharding
from sirl.types import Model, Sampler

GATHER = {
  'auto': 'once per minibatch where the weights fit',
  'minibatch': 'once per minibatch',
  'layer': 'each layer in every pass, for models that fit no device whole',
}


@dataclasses.dataclass(frozen=True, kw_only=True)
class Pieces:
  """How a minibatch passes through the model. It changes memory and speed, not the result.

  Results differ by rounding only: about 1e-5 nats between sampler and learner, where whole batches
  agree to 1e-6.
  """

  # Number of slices of P whose gradients are added. Every shard of (data, fsdp) cuts its own tasks
  # into this number of slices.
  microbatches: ranges.Count = 1
  # Completions per forward pass within a micro-batch, on every shard of (data, fsdp), longest first;
  # None: all at once. An objective that compares completions of a group needs None.
  rows: ranges.Count | None = None
  # Widths in completion columns, below max_new. A piece is cut to the smallest one that fits. All
  # widths are compiled into one program, so no batch recompiles it.
  widths: tuple[ranges.Count, ...] = ()
  # Completion columns per unembedding; None: as many as `logprobs.columns` allows.
  chunk: ranges.Count | None = None

  # How often weights that are split over mesh.fsdp are gathered, a key of GATHER.
  gather: str = 'auto'

  def __post_init__(self):
    """Raises ValueError for a number below 1 or an unknown word."""
    ranges.check(self)
    if self.gather not in GATHER:
      raise ValueError(f'gather={self.gather!r}; expected one of {", ".join(GATHER)}')

  def gathers_all(self, weights) -> bool:
    """Whether all weights are gathered once per minibatch, instead of a layer at a time.

    By itself that is so where 8 bytes a weight take at most a third of a device: two for the
    weight, two for a copy, four for its gradient.
    """
    if self.gather != 'auto':
      return self.gather == 'minibatch'
    memory = chips.memory()
    tensor = jax.sharding.get_abstract_mesh().shape.get('tensor', 1)
    size = sum(x.size for x in jax.tree.leaves(weights)) / tensor
    return memory is None or 8 * size <= memory / 3

  @property
  def by_rows(self) -> bool:
    """Whether completions pass through the model sorted by length."""
    return self.rows is not None or bool(self.widths)


class Forward(NamedTuple):
  """What a forward pass needs besides weights and rollouts."""

  model: Model
  sampler: Sampler
  pieces: Pieces
  # PartitionSpecs over fsdp of weights that each pass gathers; None: they are whole.
  split: Any = None

  def stats(self, weights, rollouts, prompts=None):
    """TokenStats of the rollouts, given the model state after their prompts, if any."""
    return logprobs.token_stats(
      self.model, self.fetched(weights), rollouts, prompts=prompts, sampler=self.sampler,
      chunk=self.pieces.chunk,
    )  # fmt: skip

  def read_prompts(self, weights, rollouts):
    """The model state after each task's prompt."""
    S = rollouts.prompt_width
    prompts = rollouts.tokens[:, 0, :S], rollouts.valid[:, 0, :S]
    return prefill.whole(self.model, self.fetched(weights), *prompts)

  def laid_out(self, weights):
    """Weights for the passes of a minibatch, and their PartitionSpecs over fsdp.

    Layers have the compute dtype. All weights are gathered over fsdp once, or if they do not fit,
    they stay split: then each layer gathers its own in every pass, and `fetched` the rest.
    """
    dtype = getattr(self.model.architecture, 'dtype', None)

    def cast(path, x):
      layer = path[:1] == (jax.tree_util.DictKey('layers'),) and x.ndim >= 2
      return x.astype(dtype) if layer and dtype is not None else x

    whole = self.pieces.gathers_all(weights) or 'layers' not in (weights or ())
    specs = jax.tree.map(lambda x: Spec(), weights) if whole else sharding.fsdp_specs(weights)
    weights = jax.tree_util.tree_map_with_path(cast, weights)
    return sharding.gathered(weights) if whole else weights, specs

  def fetched(self, weights):
    """The weights with embedding and head gathered over fsdp in the compute dtype.

    They are float32 again after it, so that the gradients of their chunks are added up in it.
    """
    if self.split is None or 'fsdp' not in jax.sharding.get_abstract_mesh().manual_axes:
      return weights

    def gather(x, spec):
      if 'fsdp' not in spec:
        return x
      # In the backward pass the barrier keeps a TPU's compiler from moving the sum over fsdp behind
      # the loop over pieces, where the whole gradient would be kept for it.
      small = jax.lax.optimization_barrier(x).astype(self.model.architecture.dtype)
      return sharding.whole_over_fsdp(small, list(spec).index('fsdp')).astype(x.dtype)

    ends = {name: own for name, own in weights.items() if name != 'layers'}
    split = {name: self.split[name] for name in ends}
    return {**weights, **jax.tree.map(gather, ends, split)}


# ---------------------------------------------------------------- without a gradient


def scored(forward, weights, experience):
  """(log-probs, values) under the weights, float32 [P, G, T] each.

  values is None without a value head.
  """
  weights, given = forward.laid_out(weights)
  own = functools.partial(_scored_slices, forward._replace(split=given))
  return sharding.on_data_shards(
    own,
    (weights,),
    (experience,),
    parts=forward.pieces.microbatches,
    axes=sharding.ROWS,
    given=(given,),
  )


def _scored_slices(forward, weights, experience):
  score = _scored_rows if forward.pieces.by_rows else _scored_whole
  parts = forward.pieces.microbatches
  if parts == 1:
    return score(forward, weights, experience)
  found = jax.lax.map(lambda e: score(forward, weights, e), slices(experience, parts))
  return jax.tree.map(lambda x: x.reshape(experience.rollouts.logp.shape), found)


def _scored_whole(forward, weights, experience):
  stats = forward.stats(weights, experience.rollouts)
  return stats.logp, stats.value


def _scored_rows(forward, weights, experience):
  state = forward.read_prompts(weights, experience.rollouts)
  P, G, T = experience.rollouts.tokens.shape
  pieces = buckets.cut(experience, forward.pieces.rows)

  def stats_of(piece):
    stats = piece.stats(forward.stats, weights, state)
    widen = lambda x: jnp.pad(x, ((0, 0), (0, 0), (0, T - x.shape[-1])))
    return jax.tree.map(widen, (stats.logp, stats.value))

  def in_order(x_MR1T):
    rows = x_MR1T.reshape(-1, T)
    return jnp.zeros((P * G, T)).at[pieces.row.ravel()].set(rows, mode='drop').reshape(P, G, T)

  fitted = lambda piece: buckets.fitted(stats_of, piece, forward.pieces.widths)
  return jax.tree.map(in_order, jax.lax.map(fitted, pieces))


# ---------------------------------------------------------------- with a gradient


def gradients(forward, loss, params, frozen, experience):
  """((loss, (metrics, gap)), gradient) of a minibatch, summed over its pieces.

  Gaps are combined by `merge_gap`.

  Args:
    loss: (TokenStats, Experience) -> (scalar, (metrics, gap)).
    params, frozen: the trained and the untrained part of the weights; the gradient is that of
      params.
  """

  (trained, given), (fixed, given_fixed) = forward.laid_out(params), forward.laid_out(frozen)
  forward = forward._replace(split=trees.merged(given_fixed, given))
  specs = sharding.fsdp_specs(params)

  def own(params, frozen, counts, rows):
    out, grads = _gradient_slices(forward, loss, params, frozen, rows.replace(counts=counts))
    return out, jax.tree.map(lambda g: g.astype(jnp.float32), grads)

  return sharding.on_data_shards(
    own,
    (trained, fixed, experience.counts),
    (experience.replace(counts=None),),
    parts=forward.pieces.microbatches,
    merge=functools.partial(merge_shards, specs, jax.tree.map(jnp.shape, params)),
    axes=sharding.ROWS,
    given=(given, given_fixed, Spec()),
    out=(Spec(), specs),
  )


def _gradient_slices(forward, loss, params, frozen, experience):
  gradient = _gradient_rows if forward.pieces.by_rows else _gradient_whole
  parts = forward.pieces.microbatches
  if parts == 1:
    return gradient(forward, loss, params, frozen, experience)
  return summed(
    functools.partial(gradient, forward, loss, params, frozen), slices(experience, parts)
  )


def _gradient_whole(forward, loss, params, frozen, experience):
  def whole_loss(params):
    return loss(forward.stats(trees.merged(frozen, params), experience.rollouts), experience)

  return jax.value_and_grad(whole_loss, has_aux=True)(params)


def _gradient_rows(forward, loss, params, frozen, experience):
  def read_prompts(params):
    return forward.read_prompts(trees.merged(frozen, params), experience.rollouts)

  def piece_loss(params, state, piece):
    stats = piece.stats(forward.stats, trees.merged(frozen, params), state)
    return loss(stats, piece.experience)

  state, pull = jax.vjp(read_prompts, params)
  piece_grad = jax.value_and_grad(piece_loss, argnums=(0, 1), has_aux=True)
  grad_of = lambda piece: buckets.fitted(
    lambda one: piece_grad(params, state, one), piece, forward.pieces.widths
  )
  out, (grads, state_grads) = summed(grad_of, buckets.cut(experience, forward.pieces.rows))
  (through_prompts,) = pull(jax.tree.map(lambda g, x: g.astype(x.dtype), state_grads, state))
  return out, jax.tree.map(jnp.add, grads, through_prompts)


# ---------------------------------------------------------------- pieces and their sums


def slices(experience, parts):
  """Cuts the leaves to [parts, P / parts, ...]; the denominators stay those of the whole."""
  counts = jax.tree.map(lambda x: jnp.broadcast_to(x, (parts,)), experience.counts)
  return trees.split_leading(experience.replace(counts=None), parts).replace(counts=counts)


def summed(grad_fn, pieces):
  """((loss, (metrics, gap)), gradient) of grad_fn, summed over the leading axis of `pieces`.

  Sums have at least float32 precision. Gaps are combined by `merge_gap`.
  """

  def zeros(x):
    return jnp.zeros(x.shape, jnp.promote_types(x.dtype, jnp.float32))

  def add(total, piece):
    ((loss, (metrics, gap)), grads), (total, total_gap) = grad_fn(piece), total
    return (jax.tree.map(jnp.add, total, (loss, metrics, grads)), merge_gap(total_gap, gap)), None

  ((loss, (metrics, gap)), grads) = jax.eval_shape(grad_fn, jax.tree.map(lambda x: x[0], pieces))
  start = jax.tree.map(zeros, ((loss, metrics, grads), gap))
  ((loss, metrics, grads), gap), _ = jax.lax.scan(add, start, pieces)
  return (loss, (metrics, gap)), grads


def merge_gap(a, b):
  """Combines the (sum, count, max) of two pieces."""
  return a[0] + b[0], a[1] + b[1], jnp.maximum(a[2], b[2])


def merge_shards(specs, like, found):
  """Combines the results of `gradients` on all shards: sums, and gaps as in `merge_gap`.

  Gradients come back split as `specs` says, those of the weights.
  """
  (loss, (metrics, (total, count, largest))), grads = found
  loss, metrics, total, count = jax.lax.psum((loss, metrics, total, count), sharding.ROWS)
  largest = jax.lax.pmax(largest, sharding.ROWS)
  return (loss, (metrics, (total, count, largest))), sharding.summed_over_shards(grads, specs, like)
