"""Forward and backward passes over a minibatch, in as many pieces as memory and padding ask for.

Two ways of cutting, one inside the other. Micro-batches are slices of P: they bound the memory of everything, prompts
included. Rows are single completions sorted by length: a group's prompt is computed once, with its gradient, and the
completions follow it a few at a time, no wider than they need. Denominators are the minibatch's, so pieces add up.
"""

import functools

import jax
import jax.numpy as jnp

from sirl.ops import logprobs, prefill, trees
from sirl.optimization import buckets
from sirl.runtime import sharding


def make_passes(model, loss, *, microbatches, rows, widths, sampler, chunk):
  """(scored, gradients), both of (params, experience).

  Args: loss: (TokenStats, Experience) -> (scalar, (metrics, gap)); the rest as in `make_optimize`.
  Returns:
    scored: log-probs float32 [P, G, T] without a gradient.
    gradients: ((loss, (metrics, gap)), gradient), summed over the pieces; of gaps the largest is kept, see `merge_gap`.
  """
  score = functools.partial(logprobs.token_stats, model, sampler=sampler, chunk=chunk)
  by_rows = rows is not None or bool(widths)

  def read_prompts(params, rollouts):
    S = rollouts.prompt_width
    return prefill.once(model, params, rollouts.tokens[:, 0, :S], rollouts.valid[:, 0, :S])

  def score_rows(params, experience):
    state = read_prompts(params, experience.rollouts)
    (P, G, T), pieces = experience.rollouts.tokens.shape, buckets.cut(experience, rows)

    def logp_of(piece):
      logp = piece.stats(score, params, state).logp
      return jnp.pad(logp, ((0, 0), (0, 0), (0, T - logp.shape[-1])))

    logp_MR1T = jax.lax.map(lambda piece: buckets.fitted(logp_of, piece, widths), pieces)
    flat_BT = (
      jnp.zeros((P * G, T)).at[pieces.row.ravel()].set(logp_MR1T.reshape(-1, T), mode='drop')
    )
    return flat_BT.reshape(P, G, T)

  def scored(params, experience):
    score_slice = score_rows if by_rows else lambda p, e: score(p, e.rollouts).logp
    if microbatches == 1:
      return score_slice(params, experience)
    logp = jax.lax.map(lambda e: score_slice(params, e), slices(experience, microbatches))
    return logp.reshape(experience.rollouts.logp.shape)

  whole = jax.value_and_grad(lambda p, e: loss(score(p, e.rollouts), e), has_aux=True)

  def of_rows(params, experience):
    state, pull = jax.vjp(lambda p: read_prompts(p, experience.rollouts), params)

    def piece_loss(params, state, piece):
      return loss(piece.stats(score, params, state), piece.experience)

    piece_grad = jax.value_and_grad(piece_loss, argnums=(0, 1), has_aux=True)
    grad_of = lambda piece: buckets.fitted(
      lambda one: piece_grad(params, state, one), piece, widths
    )
    out, (grads, state_grads) = summed(grad_of, buckets.cut(experience, rows))
    (through_prompts,) = pull(jax.tree.map(lambda g, x: g.astype(x.dtype), state_grads, state))
    return out, jax.tree.map(jnp.add, grads, through_prompts)

  def gradients(params, experience):
    grad_slice = of_rows if by_rows else whole
    if microbatches == 1:
      return grad_slice(params, experience)
    return summed(functools.partial(grad_slice, params), slices(experience, microbatches))

  shards = functools.partial(sharding.on_data_shards, parts=microbatches)

  def scored_by_shards(params, experience):
    return shards(scored, (params,), (experience,))

  def gradients_by_shards(params, experience):
    of_shard = lambda params, counts, rows: gradients(params, rows.replace(counts=counts))
    whole, rows = (params, experience.counts), (experience.replace(counts=None),)
    return shards(of_shard, whole, rows, merge=merge_shards)

  return scored_by_shards, gradients_by_shards


def slices(experience, parts):
  """[parts, P / parts, ...] leaves; the denominators stay those of the whole."""
  counts = jax.tree.map(lambda x: jnp.broadcast_to(x, (parts,)), experience.counts)
  return trees.split_leading(experience.replace(counts=None), parts).replace(counts=counts)


def summed(grad_fn, pieces):
  """((loss, (metrics, gap)), gradient) of grad_fn added over the leading axis of `pieces`, in float32 at least."""

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
  """The (sum, count, max) of two pieces together."""
  return a[0] + b[0], a[1] + b[1], jnp.maximum(a[2], b[2])


def merge_shards(found):
  """What `gradients` returned on every data shard, together: sums, and of gaps as `merge_gap`."""
  (loss, (metrics, (total, count, largest))), grads = found
  loss, metrics, total, count, grads = jax.lax.psum((loss, metrics, total, count, grads), 'data')
  return (loss, (metrics, (total, count, jax.lax.pmax(largest, 'data')))), grads
