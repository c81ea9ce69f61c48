"""Makes Rewards from scoring functions: per_completion, per_group, batched, on_device.

A Reward is (weights, samples, key) -> Rewards, with arrays float32 [P, G]. NaN in them means "not
judged". A function says so by returning None. If it returns NaN, crashes or returns the wrong
number of scores, the Reward raises a RewardError that names the task, the text and the line.

Each wrapper checks the function's arguments at once, and `calls` says where it may run.
"""

import math
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from sirl.rewards import calls, values
from sirl.rewards.check import check_function
from sirl.runtime import hosts
from sirl.slots import Reward
from sirl.types import Rewards, named


class RewardError(ValueError):
  """A scoring function failed. The error carries all other results, for `tolerant`."""

  def __init__(self, message: str, rewards: Rewards, failed):
    super().__init__(message)
    self.rewards = rewards  # NaN where scoring failed
    self.failed = failed  # bool [P, G]


def per_completion(fn: Callable, *, workers: int = 32, run: calls.Executor | None = None) -> Reward:
  """Scores every completion on its own: fn(task, text) -> number, None (not judged), or a mapping.

  A mapping holds the reward under 'score'. Its other numbers become parts; other entries are
  dropped. The function's name is the name of its part. Results keep their order.

  Args:
    workers: number of calls at a time, in threads. Coroutine functions run in one event loop.
    run: another executor, such as `calls.processes(timeout=10)` or `calls.main_thread()`.
  Raises: ValueError for a function of other arguments; RewardError from the returned Reward.
  """
  check_function(fn, 'per_completion', ('task', 'text'))
  return each(fn, lambda *row: row, name=values.name_of(fn), run=run or calls.threads(workers))


def each(fn: Callable, arguments: Callable, *, name: str, run: calls.Executor) -> Reward:
  """Scores every completion on its own, as in per_completion, by the call arguments(task, text)."""

  def reward(weights, samples, key):
    del weights, key
    rows = {
      (p, g): arguments(task, text)
      for p, (task, texts) in enumerate(zip(samples.tasks, samples.texts, strict=True))
      for g, text in enumerate(texts)
    }
    return _gather(name, samples, dict(zip(rows, run(fn, [*rows.values()]))))

  return reward


def per_group(fn: Callable, *, workers: int = 32, run: calls.Executor | None = None) -> Reward:
  """Scores the completions of a task together: fn(task, texts) -> one score per text.

  For votes and comparisons. Each score, and workers and run, are as in per_completion.
  """
  check_function(fn, 'per_group', ('task', 'texts'))
  name, run = values.name_of(fn), run or calls.threads(workers)

  def reward(weights, samples, key):
    del weights, key
    rows = [p for p, texts in enumerate(samples.texts) if len(texts)]
    groups = run(fn, [(samples.tasks[p], samples.texts[p]) for p in rows])
    results = {}
    for p, scores in zip(rows, groups):
      scores = values.listed(scores, len(samples.texts[p]))
      results |= {(p, g): score for g, score in enumerate(scores)}
    return _gather(name, samples, results)

  return reward


def batched(fn: Callable, *, name: str) -> Reward:
  """Scores all completions of the process in one call: fn(samples) -> (scores, parts).

  scores has one entry per text, prompt-major, each as in per_completion. parts maps a name to such
  a list.
  """
  check_function(fn, 'batched', ('samples',))
  run = calls.threads(1)

  def reward(weights, samples, key):
    del weights, key
    places = [(p, g) for p, texts in enumerate(samples.texts) for g in range(len(texts))]
    if not places:
      return _gather(name, samples, {})
    (result,) = run(fn, [(samples,)])
    scores, parts = (result, {}) if isinstance(result, Exception) else result
    columns = {part: values.listed(column, len(places)) for part, column in parts.items()}
    scores = values.listed(scores, len(places))
    results = {
      place: values.with_parts(score, {part: column[i] for part, column in columns.items()})
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
  check_function(fn, 'on_device', ('params', 'rollouts'))
  name = values.name_of(fn)

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


# ---------------------------------------------------------------- results


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
      score, others = values.scored(result, name)
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
    message = values.message(
      name, samples.tasks[p], g, samples.texts[p][g], error, len(errors), len(results)
    )
    raise RewardError(message, rewards, hosts.global_rows(failed_PG)) from error
  return rewards


def shape_of(samples):
  """(P, G) of this process's rows."""
  return len(samples.tasks), samples.rollouts.truncated.shape[1]


def _alone(name, scores_PG):
  return Rewards(scores_PG, {name: scores_PG})
