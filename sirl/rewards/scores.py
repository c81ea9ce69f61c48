"""Makes Rewards from scoring functions: per_completion, per_group, batched, on_device.

A Reward is (weights, samples, key) -> Rewards, with arrays float32 [P, G]. NaN in them means "not
judged". A function says so by returning None. If it returns NaN, crashes or returns the wrong
number of scores, the Reward raises a RewardError that names the task and the text.
"""

import asyncio
import functools
import inspect
import math
from collections.abc import Callable, Mapping, Sequence
from concurrent import futures
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from sirl.runtime import hosts
from sirl.slots import Reward
from sirl.types import Rewards, named

SHOWN = 500  # characters of a text in an error message
LARGEST = float(np.finfo(np.float32).max)


class RewardError(ValueError):
  """A scoring function failed. The error carries all other results, for `tolerant`."""

  def __init__(self, message: str, rewards: Rewards, failed):
    super().__init__(message)
    self.rewards = rewards  # NaN where scoring failed
    self.failed = failed  # bool [P, G]


def per_completion(fn: Callable, *, workers: int = 32) -> Reward:
  """Scores every completion on its own: fn(task, text) -> number, None (not judged), or a mapping.

  A mapping holds the reward under 'score'. Its other numbers become parts; other entries are
  dropped. The function's name is the name of its part. Calls run in threads, and results keep their
  order. Coroutine functions run in one event loop. Functions that must run in the main thread need
  workers=1.

  Args: workers: number of calls at a time.
  Raises: RewardError from the returned Reward.
  """
  name = name_of(fn)

  def reward(weights, samples, key):
    del weights, key
    calls = [
      (p, g, (task, text))
      for p, (task, texts) in enumerate(zip(samples.tasks, samples.texts, strict=True))
      for g, text in enumerate(texts)
    ]
    results = _map(fn, [arguments for _, _, arguments in calls], workers)
    return _gather(name, samples, {(p, g): result for (p, g, _), result in zip(calls, results)})

  return reward


def per_group(fn: Callable, *, workers: int = 32) -> Reward:
  """Scores the completions of a task together: fn(task, texts) -> one score per text.

  Each score is as in per_completion. For votes and comparisons. Groups run in threads, and results
  keep their order.
  """
  name = name_of(fn)

  def reward(weights, samples, key):
    del weights, key
    rows = [p for p, texts in enumerate(samples.texts) if len(texts)]
    groups = _map(fn, [(samples.tasks[p], samples.texts[p]) for p in rows], workers)
    results = {}
    for p, scores in zip(rows, groups):
      scores = _listed(scores, len(samples.texts[p]))
      results |= {(p, g): score for g, score in enumerate(scores)}
    return _gather(name, samples, results)

  return reward


def batched(fn: Callable, *, name: str) -> Reward:
  """Scores all completions of the process in one call: fn(samples) -> (scores, parts).

  scores has one entry per text, prompt-major, each as in per_completion. parts maps a name to such
  a list.
  """

  def reward(weights, samples, key):
    del weights, key
    places = [(p, g) for p, texts in enumerate(samples.texts) for g in range(len(texts))]
    if not places:
      return _gather(name, samples, {})
    (result,) = _map(fn, [(samples,)], 1)
    scores, parts = (result, {}) if isinstance(result, Exception) else result
    columns = {part: _listed(values, len(places)) for part, values in parts.items()}
    scores = _listed(scores, len(places))
    results = {
      place: _with_parts(score, {part: values[i] for part, values in columns.items()})
      for i, (place, score) in enumerate(zip(places, scores))
    }
    return _gather(name, samples, results)

  return reward


def on_device(fn: Callable, *, of: str = 'policy') -> Reward:
  """Scores arrays with a jitted function: fn(params, rollouts) -> float [P, G].

  fn may also return (scores, judged bool [P, G]). params are those of the weights named `of`.
  Raises: RewardError from the returned Reward for another shape, or for NaN or inf in a judged
    score.
  """
  name = name_of(fn)

  @jax.jit
  def score(params, rollouts):
    result = fn(params, rollouts)
    scores_PG, judged_PG = result if isinstance(result, tuple) else (result, None)
    scores_PG = jnp.asarray(scores_PG, jnp.float32)
    judged_PG = jnp.ones(scores_PG.shape, bool) if judged_PG is None else judged_PG
    broken_PG = judged_PG & ~jnp.isfinite(scores_PG)
    return jnp.where(judged_PG & ~broken_PG, scores_PG, jnp.nan), broken_PG, jnp.sum(broken_PG)

  def reward(weights, samples, key):
    del key
    scores_PG, broken_PG, broken = score(named(weights, of), samples.rollouts)
    expected = samples.rollouts.truncated.shape
    if scores_PG.shape != expected:
      raise RewardError(
        f'reward {name!r} returned scores of shape {list(scores_PG.shape)}, expected [P, G] = '
        f'{list(expected)}; return one score per completion.',
        _alone(name, jnp.full(expected, jnp.nan, jnp.float32)),
        jnp.ones(expected, bool),
      )
    rewards = _alone(name, scores_PG)
    if int(broken):
      raise RewardError(
        f'reward {name!r} is NaN or infinite for {int(broken)} of {math.prod(expected)} '
        'completions; return (scores, judged) with judged False where there is nothing to judge.',
        rewards,
        broken_PG,
      )
    return rewards

  return reward


# ---------------------------------------------------------------- calling a user's function


def _map(fn, calls, workers):
  """Results of fn(*arguments) in the order of calls. A failed call gives its exception."""
  if inspect.iscoroutinefunction(fn) or inspect.iscoroutinefunction(type(fn).__call__):
    # In a thread of its own, because a notebook already runs an event loop.
    with futures.ThreadPoolExecutor(1) as thread:
      return thread.submit(asyncio.run, _map_async(fn, calls, workers)).result()

  def attempt(arguments):
    try:
      return fn(*arguments)
    except Exception as error:
      return error

  return hosts.ordered_map(attempt, calls, workers)


async def _map_async(fn, calls, workers):
  places = asyncio.Semaphore(workers)

  async def attempt(arguments):
    async with places:
      try:
        return await fn(*arguments)
      except Exception as error:
        return error

  return await asyncio.gather(*map(attempt, calls))


class _Bad(ValueError):
  """fn returned something that is not a score."""


def _listed(scores, n):
  """Exactly n results. If the whole call failed, each of them is the exception."""
  if isinstance(scores, Exception):
    return [scores] * n
  if isinstance(scores, (str, bytes, Mapping)) or not isinstance(
    scores, (Sequence, np.ndarray, jax.Array)
  ):
    scores = _Bad(f'returned {type(scores).__name__}, expected a list of {n} scores')
  elif len(scores) != n:
    scores = _Bad(
      f'returned {len(scores)} scores for {n} completions; return one score, or None, for each'
    )
  return [scores] * n if isinstance(scores, Exception) else list(scores)


def _with_parts(score, parts):
  if isinstance(score, Exception) or not parts:
    return score
  broken = [value for value in parts.values() if isinstance(value, Exception)]
  return (
    broken[0]
    if broken
    else {**(score if isinstance(score, Mapping) else {'score': score}), **parts}
  )


def _gather(name, samples, results):
  """Rewards [P, G] from results by place; raises the first failure in prompt-major order."""
  shape = shape_of(samples)
  scores_PG = np.full(shape, np.nan, np.float32)
  failed_PG = np.zeros(shape, bool)
  extras, errors = {}, {}
  for place, result in results.items():
    try:
      if isinstance(result, Exception):
        raise result
      score, others = _score(result, name)
    except Exception as error:
      failed_PG[place], errors[place] = True, error
      continue
    scores_PG[place] = score
    for part, value in others.items():
      extras.setdefault(part, np.full(shape, np.nan, np.float32))[place] = value

  total: Any = hosts.global_rows(scores_PG)
  parts: dict[str, Any] = {part: hosts.global_rows(extras[part]) for part in sorted(extras)}
  rewards = Rewards(total, {name: total, **parts})
  if errors:
    (p, g), error = next(iter(errors.items()))
    message = _message(
      name, samples.tasks[p], g, samples.texts[p][g], error, len(errors), len(results)
    )
    raise RewardError(message, rewards, hosts.global_rows(failed_PG)) from error
  return rewards


def _score(result, name):
  """(score, other numbers) of one returned value, as floats; NaN for None."""
  if not isinstance(result, Mapping):
    return _number(result, 'the score'), {}
  if 'score' not in result:
    raise _Bad(f"returned a mapping without 'score' (it has {', '.join(map(repr, result))})")
  others = {}
  for part, value in result.items():
    if part == 'score' or isinstance(value, (str, bytes, Mapping, list, tuple)):
      continue
    if part == name:
      raise _Bad(
        f'returned a part {part!r}, which is the name of the score itself; rename that entry'
      )
    others[str(part)] = _number(value, f'the part {part!r}')
  return _number(result['score'], 'the score'), others


def _number(value, what):
  if value is None:
    return math.nan
  if isinstance(value, (str, bytes)):
    raise _Bad(f'returned {value!r} as {what}, expected a number or None')
  try:
    number = float(value)
  except (TypeError, ValueError) as error:
    raise _Bad(f'returned {type(value).__name__} as {what}, expected a number or None') from error
  if not math.isfinite(number) or abs(number) > LARGEST:
    raise _Bad(
      f'returned {number} as {what}; return None for "not judged", otherwise a finite number'
    )
  return number


def _message(name, task, g, text, error, failures, calls):
  shown = text if len(text) <= SHOWN else text[:SHOWN] + f'... ({len(text)} characters)'
  what = str(error) if isinstance(error, _Bad) else f'raised {type(error).__name__}: {error}'
  answer = '' if task.answer is not None else ' (this task has no answer)'
  return (
    f'reward {name!r} {what}\n  on task {task.id!r}{answer}, completion {g}: {shown!r}\n  '
    f'{failures} of {calls} completions failed, this is the first. Correct the reward, or wrap it '
    'in rewards.tolerant(...) to count such completions as not judged.'
  )


# ---------------------------------------------------------------- names and shapes


def shape_of(samples):
  """(P, G) of this process's rows."""
  return len(samples.tasks), samples.rollouts.truncated.shape[1]


def name_of(fn):
  """The name of a function, under any functools.partial.

  'reward' for a lambda; the lower-case type name for a callable object.
  """
  while isinstance(fn, functools.partial):
    fn = fn.func
  name = fn.__name__ if inspect.isroutine(fn) else type(fn).__name__.lower()
  return 'reward' if name == '<lambda>' else name


def _alone(name, scores_PG):
  return Rewards(scores_PG, {name: scores_PG})
