"""Sampling: draws a token from logits and returns its log-prob under the distribution drawn from.

Temperature, top-k, top-p and min-p apply in this order, each to the result of the previous one.
Bisection finds the thresholds and an inverse CDF in three levels draws the token. So nothing is
sorted, and a token needs one random number instead of one per vocabulary entry.
"""

import functools

import jax
import jax.numpy as jnp
import numpy as np

from sirl import ranges
from sirl.ops import logprobs
from sirl.ops.platform import platform
from sirl.types import Sampler

BLOCK = 256  # vocabulary entries per block of the draw, two times the lanes of a TPU
PARTS = 16  # slices of the vocabulary that are summed first
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
  """Draws tokens by a three-level inverse CDF; also returns their log-probs.

  The log-probs belong to the distribution drawn from. The vocabulary is summed in PARTS slices, and
  only the slice that holds the token is read again, block by block. So the logits are read twice,
  and no array of their size is made. One cumsum over all of it would lose the tail to rounding.

  Args: logits_BV: [B, V]; uniform_B: float32 [B] in [0, 1).
  Returns: tokens int32 [B], logp float32 [B].
  """
  logits_BV = logprobs.tempered(logits_BV, sampler)
  B, V = logits_BV.shape
  most_B1 = jnp.max(logits_BV, axis=-1, keepdims=True)
  weights = lambda logits: jnp.exp(logits - most_B1)
  width = -(-V // (BLOCK * PARTS)) * BLOCK
  sums = [
    jnp.sum(weights(logits_BV[:, start : start + width]), axis=-1) for start in range(0, V, width)
  ]
  ends = jnp.cumsum(jnp.stack(sums, axis=-1), axis=-1)
  part, target = _first_above(ends, uniform_B * ends[:, -1])

  # The last slice may be shorter; the same number of columns is read, and those before it are 0.
  first, width = part * width, min(width, V)
  start = jnp.minimum(first, V - width)
  inside = weights(_slices(logits_BV, start, width, [n * width for n in range(len(sums))]))
  inside = jnp.where(start[:, None] + jnp.arange(width) >= first[:, None], inside, 0.0)
  blocks = jnp.pad(inside, ((0, 0), (0, -width % BLOCK))).reshape(B, -1, BLOCK)
  block, target = _first_above(jnp.cumsum(jnp.sum(blocks, axis=-1), axis=-1), target)
  inside = jnp.take_along_axis(blocks, block[:, None, None], axis=1)[:, 0]
  offset, _ = _first_above(jnp.cumsum(inside, axis=-1), target)
  tokens = jnp.minimum(start + block * BLOCK + offset, V - 1)

  # Rounding at the end of a block can select a token of weight zero; the most likely replaces it.
  of = lambda tokens: jnp.take_along_axis(logits_BV, tokens[:, None], axis=1)[:, 0]
  missed = weights(of(tokens)[:, None])[:, 0] <= 0
  tokens = jax.lax.cond(
    jnp.any(missed), lambda: jnp.where(missed, most_likely(logits_BV), tokens), lambda: tokens
  ).astype(jnp.int32)
  return tokens, of(tokens) - most_B1[:, 0] - jnp.log(ends[:, -1])


def _slices(logits_BV, start_B, width, firsts):
  """[B, width]: columns start_B .. start_B + width - 1 of each row.

  Args: firsts: the possible starts, except that the last one is at most V - width.
  """
  if platform() != 'tpu':
    read = lambda logits_V, start: jax.lax.dynamic_slice(logits_V, (start,), (width,))
    return jax.vmap(read)(logits_BV, start_B)
  # A TPU would read the slices in a loop over rows; it selects among all of them in one pass.
  firsts = [min(first, logits_BV.shape[1] - width) for first in firsts]
  own = lambda n: jnp.where((start_B == n)[:, None], logits_BV[:, n : n + width], 0.0)
  return functools.reduce(jnp.add, [own(first) for first in sorted(set(firsts))])


def _first_above(ends_BN, target_B):
  """The index of the first end above the target, and the rest of the target at its beginning."""
  index = jnp.minimum(jnp.sum(ends_BN <= target_B[:, None], axis=-1), ends_BN.shape[1] - 1)
  before = jnp.take_along_axis(ends_BN, jnp.maximum(index - 1, 0)[:, None], axis=1)[:, 0]
  return index, target_B - jnp.where(index > 0, before, 0.0)
