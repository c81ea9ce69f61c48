"""Selectors that do not learn from outcomes, and a filter of groups without a learning signal.

The selectors are `uniform`, `balanced`, and `by_score` with a choice (`band`, `top_fraction`,
`threshold`, `softmax`). They draw without repetition. If fewer tasks than requested are eligible,
their counts in the batch differ by at most one. `informative` is not a selector: pass it to
`gro.make_step(keep=...)`, where it filters the rewards of a batch.
"""

import logging

import jax.numpy as jnp
import numpy as np

from sirl import ranges
from sirl.ops import stats
from sirl.slots import Keep, Selector

CAPACITY = 2**16  # tasks; arrays of this length are part of every checkpoint


def uniform() -> Selector:
  """Draws every task of the pool with equal probability."""

  def select(state, pool, key, n):
    del state
    return spread(stats.generator(key), np.arange(_size(pool)), n)

  return Selector(no_state, unprepared, select, unchanged)


def balanced(by=lambda task: task.origin) -> Selector:
  """Draws equally often from every bucket, whatever its size, and uniformly within a bucket.

  Args: by: task -> hashable, the bucket of a task; its origin by default.
  """

  def select(state, pool, key, n):
    del state
    rng = stats.generator(key)
    buckets = {}
    for index in range(_size(pool)):
      buckets.setdefault(by(pool[index]), []).append(index)
    shares = np.bincount(spread(rng, np.arange(len(buckets)), n), minlength=len(buckets))
    drawn = [spread(rng, np.asarray(rows), share) for rows, share in zip(buckets.values(), shares)]
    return rng.permutation(np.concatenate(drawn)).astype(np.int32)

  return Selector(no_state, unprepared, select, unchanged)


def by_score(score, choose, *, capacity=CAPACITY, rescore=True) -> Selector:
  """Chooses tasks by a score that is computed once a round with the current weights.

  State: {'scores': float32 [capacity]}, NaN without a task or a score.

  Args:
    score: (weights, tasks) -> [n], see `scores`; a task with a NaN score is never chosen.
    choose: (scores [m], rng, n) -> int [n], rows of scores; `band`, `top_fraction`, `threshold` or
      `softmax`.
    capacity: the most tasks that the pool may ever hold.
    rescore: False scores a task only in the round in which it was acquired, which costs less.
  Raises: ValueError when the pool exceeds capacity, or when no task has a score.
  """
  capacity = ranges.whole('by_score: capacity', capacity)

  def init():
    return {'scores': np.full(capacity, np.nan, np.float32)}

  def prepare(state, pool, weights, key):
    del key
    check_capacity(len(pool), capacity)
    scores = np.array(state['scores'])
    todo = np.arange(len(pool)) if rescore else np.flatnonzero(np.isnan(scores[: len(pool)]))
    if not len(todo):
      return state
    new = np.asarray(score(weights, pool[todo]), np.float32)
    if new.shape != todo.shape:
      raise ValueError(
        f'the score function returned shape {new.shape} for {len(todo)} tasks; expected one number '
        'each'
      )
    scores[todo] = new
    if np.isnan(new).any():
      logging.getLogger(__name__).warning(
        '%d of %d tasks have no score', np.isnan(new).sum(), len(new)
      )
    return {'scores': scores}

  def select(state, pool, key, n):
    scores = np.asarray(state['scores'])[: _size(pool)]
    scored = np.flatnonzero(~np.isnan(scores))
    if not len(scored):
      raise ValueError(
        f'none of the {len(scores)} tasks of the pool has a score; is `prepare` called each round?'
      )
    return scored[choose(scores[scored], stats.generator(key), n)].astype(np.int32)

  return Selector(init, prepare, select, unchanged)


# ---------------------------------------------------------------- choices by score


def band(low, high):
  """Uniform over the tasks whose score lies between two quantiles.

  band(0.2, 0.8) drops a fifth at either end. Quantiles are by rank, and at least one task remains.

  A perplexity filter keeps the low, middle or high part; which is best depends on the data (Ankner
  et al. 2024, arXiv 2405.20541).
  """
  low, high = ranges.share('band: low', low), ranges.share('band: high', high)
  if not low < high:
    raise ValueError(f'band({low}, {high}); expected quantiles 0 <= low < high <= 1')

  def choose(scores, rng, n):
    order = np.argsort(scores, kind='stable')
    first = min(round(low * len(order)), len(order) - 1)
    last = max(round(high * len(order)), first + 1)
    return spread(rng, order[first:last], n)

  return choose


def top_fraction(fraction):
  """Uniform over the given fraction of tasks with the highest scores, at least one."""
  return band(1 - ranges.real('top_fraction: fraction', fraction, above=0, most=1), 1)


def threshold(low=-np.inf, high=np.inf):
  """Uniform over the tasks with low <= score <= high. Raises ValueError when there is none."""
  low = ranges.real('threshold: low', low, infinite=True)
  high = ranges.real('threshold: high', high, infinite=True)

  def choose(scores, rng, n):
    rows = np.flatnonzero((scores >= low) & (scores <= high))
    if not len(rows):
      raise ValueError(
        f'no task scores between {low:g} and {high:g}; scores lie in {scores.min():g} to '
        f'{scores.max():g}'
      )
    return spread(rng, rows, n)

  return choose


def softmax(temperature):
  """Draws without repetition, by Gumbel top-k, with weights exp(score / temperature)."""
  temperature = ranges.real('softmax: temperature', temperature, above=0)

  def choose(scores, rng, n):
    noisy = scores / temperature + rng.gumbel(size=len(scores))
    return repeat(np.argsort(-noisy, kind='stable'), n)

  return choose


# ---------------------------------------------------------------- groups without signal


def informative(part='correct') -> Keep:
  """A `keep` for `gro.make_step` that excludes groups without a learning signal.

  In these groups `part` is equal for all judged completions; their total becomes NaN. With a binary
  part this is DAPO's dynamic sampling without the resampling. It reads a part, not the total,
  because a shaped total (length, format) differs within nearly every group. A group to which the
  part did not apply at all is left unchanged.
  Source: Yu et al. 2025, arXiv 2503.14476, sec. 3.2. Differs: the batch is not refilled; shapes
  stay fixed.
  """

  def keep(rewards):
    if part not in rewards.parts:
      raise ValueError(
        f'informative({part!r}): the reward has no such part; it has '
        f'{", ".join(rewards.parts) or "none"}'
      )
    x_PG = jnp.asarray(rewards.parts[part])
    judged_PG = ~jnp.isnan(x_PG)
    high_P = jnp.max(jnp.where(judged_PG, x_PG, -jnp.inf), axis=1)
    low_P = jnp.min(jnp.where(judged_PG, x_PG, jnp.inf), axis=1)
    kept_P = (high_P > low_P) | ~jnp.any(judged_PG, axis=1)
    return rewards.replace(total=jnp.where(kept_P[:, None], rewards.total, jnp.nan))

  return keep


# ---------------------------------------------------------------- shared by selectors


def spread(rng, rows, n):
  """n of the rows in random order, int32.

  Distinct if there are enough rows; otherwise their counts differ by at most one.
  """
  times, rest = divmod(n, len(rows))
  drawn = np.concatenate([np.tile(rows, times), rng.choice(rows, rest, replace=False)])
  return rng.permutation(drawn).astype(np.int32)


def repeat(order, n):
  """The first n items of `order`, repeated from its start if it is shorter."""
  return np.resize(order, n).astype(np.int32)


def check_capacity(size, capacity):
  """Raises ValueError when a pool exceeds the length of a selector's arrays."""
  if size > capacity:
    needed = 2 ** (size - 1).bit_length()
    raise ValueError(
      f'the pool holds {size} tasks, the selector remembers {capacity}; set capacity={needed} or '
      'more'
    )


def unchanged(state, indices, rewards):
  """The update of a selector that does not learn."""
  del indices, rewards
  return state


def no_state():
  """The initial state of a selector that has none."""
  return ()


def unprepared(state, pool, weights, key):
  """The preparation of a selector that scores nothing."""
  del pool, weights, key
  return state


def _size(pool):
  if not len(pool):
    raise ValueError('the pool is empty: acquire brought no tasks, so there is nothing to select')
  return len(pool)
