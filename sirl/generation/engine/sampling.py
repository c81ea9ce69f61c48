"""Sampling: draws a token from logits and returns its log-prob under the distribution drawn from.

Temperature, top-k, top-p and min-p apply in this order, each to the result of the previous one.
Bisection finds the thresholds and a two-level inverse CDF draws the token. So nothing is sorted,
and a token needs one random number instead of one per vocabulary entry.
"""

import jax
import jax.numpy as jnp
import numpy as np

from sirl import ranges
from sirl.ops import logprobs
from sirl.types import Sampler

BLOCK = 256  # vocabulary entries per block of the two-level draw
SIGN = np.uint32(1 << 31)  # sign bit of a float32
HALVINGS = 32  # bisection steps over 32-bit patterns; after 32 the threshold is exact


def sampler(*, temperature=1.0, top_k=None, top_p=None, min_p=None):
  """A Sampler with the usual options; None turns an option off.

  Raises: ValueError for a temperature that is not above 0 (use `greedy()`), a top_k that is not an
    int of at least 1, or a top_p or min_p outside (0, 1].
  Sources: top-p arXiv 1904.09751; min-p arXiv 2407.01082.
  """
  if temperature == 0:
    raise ValueError('temperature=0; use sampling.greedy() for the most likely token')
  temperature = ranges.real('temperature', temperature, above=0)
  top_k = ranges.optional('top_k', top_k)
  top_p = ranges.optional('top_p', top_p, ranges.real, above=0, most=1)
  min_p = ranges.optional('min_p', min_p, ranges.real, above=0, most=1)

  cuts = []
  if top_k is not None:
    cuts.append(lambda logits: top_k_support(logits, top_k))
  if top_p is not None and top_p < 1:
    cuts.append(lambda logits: top_p_support(logits, top_p))
  if min_p is not None:
    cuts.append(lambda logits: min_p_support(logits, min_p))
  if not cuts:
    return Sampler(temperature)

  def support(logits):
    for cut in cuts:
      logits = jnp.where(cut(logits), logits, logprobs.EXCLUDED)
    return logits > logprobs.EXCLUDED / 2

  return Sampler(temperature, support)


def greedy():
  """The most likely token with log-prob 0; the lowest id wins a tie."""

  def support(logits):
    return jax.nn.one_hot(most_likely(logits), logits.shape[-1], dtype=bool)

  return Sampler(1.0, support)


def most_likely(logits):
  """int32 [...]: the index of the largest logit, the lowest on ties.

  It uses two plain maxima, because `argmax` runs element by element on a CPU.
  """
  V = logits.shape[-1]
  from_end = V - jnp.arange(V, dtype=jnp.int32)
  largest = logits == jnp.max(logits, axis=-1, keepdims=True)
  return V - jnp.max(jnp.where(largest, from_end, 1), axis=-1)


def top_k_support(logits, k):
  """bool [..., V]: the k largest logits; ties at the threshold all stay."""
  if k >= logits.shape[-1]:
    return jnp.ones(logits.shape, bool)
  floor = jnp.min(jnp.where(logits > logprobs.EXCLUDED / 2, logits, jnp.inf), axis=-1)
  enough = lambda kept: jnp.sum(kept, axis=-1) >= k
  return logits >= _bisect(logits, floor, jnp.max(logits, axis=-1), enough)[..., None]


def top_p_support(logits, p):
  """bool [..., V]: the smallest set of most likely tokens with mass >= p; ties all stay."""
  probs = jax.nn.softmax(logits, axis=-1)
  enough = lambda kept: jnp.sum(jnp.where(kept, probs, 0.0), axis=-1) >= p
  return (
    probs >= _bisect(probs, jnp.zeros(probs.shape[:-1]), jnp.max(probs, axis=-1), enough)[..., None]
  )


def min_p_support(logits, p):
  """bool [..., V]: tokens at least p times as likely as the most likely one."""
  return logits >= jnp.max(logits, axis=-1, keepdims=True) + jnp.log(p)


def _bisect(scores, low, high, enough):
  """The largest float32 threshold in [low, high] with enough(scores >= threshold); [...].

  It bisects float32 bit patterns, so outliers cost no precision.
  """

  def halve(_, bounds):
    low, high = bounds
    middle = low + (high - low) // 2
    ok = enough(scores >= _number(middle)[..., None])
    return jnp.where(ok, middle, low), jnp.where(ok, high, middle)

  # Bisection never tests `high` itself, but the largest score may be the answer.
  alone = enough(scores >= high[..., None])
  rank, _ = jax.lax.fori_loop(0, HALVINGS, halve, (_rank(low), _rank(high)))
  return jnp.where(alone, high, _number(rank))


def _rank(x):
  """uint32 [...]: the rank of a float32 among all float32 numbers."""
  bits = jax.lax.bitcast_convert_type(x, jnp.uint32)
  return jnp.where(bits < SIGN, bits + SIGN, ~bits)


def _number(rank):
  """The float32 of that rank."""
  return jax.lax.bitcast_convert_type(jnp.where(rank < SIGN, ~rank, rank - SIGN), jnp.float32)


def draw(logits_BV, uniform_B, sampler):
  """Draws tokens by a two-level inverse CDF; also returns their log-probs.

  The log-probs belong to the distribution drawn from.
  Args: logits_BV: [B, V]; uniform_B: float32 [B] in [0, 1).
  Returns: tokens int32 [B], logp float32 [B].
  """
  logits_BV = logprobs.tempered(logits_BV, sampler)
  B, V = logits_BV.shape
  weights_BV = jnp.exp(logits_BV - jnp.max(logits_BV, axis=-1, keepdims=True))
  blocks = -(-V // BLOCK)
  weights = jnp.pad(weights_BV, ((0, 0), (0, blocks * BLOCK - V))).reshape(B, blocks, BLOCK)

  # Blocks are summed first: one float32 cumsum over the whole vocabulary would lose the tail.
  ends = jnp.cumsum(jnp.sum(weights, axis=-1), axis=-1)
  target = uniform_B * ends[:, -1]
  block = jnp.minimum(jnp.sum(ends <= target[:, None], axis=-1), blocks - 1)
  before = jnp.where(
    block > 0, jnp.take_along_axis(ends, jnp.maximum(block - 1, 0)[:, None], axis=1)[:, 0], 0.0
  )
  inside = jnp.take_along_axis(weights, block[:, None, None], axis=1)[:, 0]
  offset = jnp.sum(jnp.cumsum(inside, axis=-1) <= (target - before)[:, None], axis=-1)
  tokens = jnp.minimum(block * BLOCK + jnp.minimum(offset, BLOCK - 1), V - 1)

  # Rounding at a block end can select a token of weight zero; the most likely token replaces it.
  chosen = jnp.take_along_axis(weights_BV, tokens[:, None], axis=1)[:, 0]
  tokens = jnp.where(chosen > 0, tokens, most_likely(logits_BV)).astype(jnp.int32)
  return tokens, logprobs.of_tokens(logits_BV, tokens)
