"""Combines rewards: weighted, watched, by_role, opened, tolerant. See `scores` for functions.

NaN means "not judged". A part is NaN where it did not apply; the total is NaN where no weighted
part applied. A RewardError passes through a composition with everything computed so far, so
`tolerant` works inside or around it.
"""

import dataclasses
import functools
import math
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from sirl.ops import keys
from sirl.rewards.check import check_reward
from sirl.rewards.scores import RewardError, batched, on_device, per_completion, per_group, shape_of
from sirl.runtime import hosts
from sirl.slots import Reward, Verify
from sirl.types import Rewards

__all__ = [
  'RewardError',
  'batched',
  'by_role',
  'on_device',
  'opened',
  'per_completion',
  'per_group',
  'tolerant',
  'watched',
  'weighted',
]

ERROR = '_error'  # suffix of the part that marks crashed completions
NO_TEXTS = ()  # in place of the texts of a row that a reward must not score


def weighted(**terms: tuple[float, Reward]) -> Reward:
  """Weighted sum of rewards.

  Example: weighted(correct=(1.0, verifier), format=(0.1, matches), length=(0, length)).

  Every term becomes a part under its keyword, unweighted; its other parts keep their names. A term
  of weight 0 is only a metric: computed and reported, never in the total. A completion is judged if
  a term of another weight judged it, and its total is the sum over these terms. Per-token rewards
  are summed in the same way.

  Raises: ValueError for a term that is not (weight, reward), or when no weight differs from 0.
  """
  for name, term in terms.items():
    if not (isinstance(term, tuple) and len(term) == 2 and callable(term[1])):
      raise ValueError(
        f'weighted: {name}={term!r} is not (weight, reward); write {name}=(1.0, reward).'
      )
    check_reward(term[1], f'weighted: {name}')
    if not _is_finite(term[0]):
      raise ValueError(f'weighted: the weight of {name} is {term[0]!r}; expected a finite number.')
  if not any(weight for weight, _ in terms.values()):
    raise ValueError(
      f'weighted: no term of {list(terms)} has a weight other than 0, so nothing would be rewarded.'
    )

  def reward(weights, samples, key):
    total: Any = None
    tokens: Any = None
    parts, errors = {}, []
    for name, (weight, term) in terms.items():
      term_key = keys.named(key, name)
      rewards = _attempt(term, weights, samples, term_key, errors)
      _merge(parts, _renamed(name, rewards), terms)
      if weight:
        total = _plus(total, weight, rewards.total)
        if rewards.tokens is not None:
          tokens = _plus(tokens, weight, rewards.tokens)
    return _unless(errors, Rewards(total, parts, tokens))

  return reward


def watched(reward: Reward, name: str, fn: Verify) -> Reward:
  """The reward with one more part, fn(task, text) of every completion, which the total ignores.

  A reward that already has a part of that name is returned unchanged.
  """
  check_reward(reward)
  watch = per_completion(fn, workers=1)

  def with_part(weights, samples, key):
    found = reward(weights, samples, key)
    if name in found.parts:
      return found
    parts = {**found.parts, name: watch(weights, samples, key).total}
    return dataclasses.replace(found, parts=parts)

  return with_part


def by_role(**rewards: Reward | None) -> Reward:
  """Judges each task by the reward of its role: by_role(propose=learnability, solve=verifier).

  None leaves the tasks of a role unjudged. Each reward sees the rows of other roles without texts,
  so it does not score them and shapes stay fixed. Parts of the same name are merged.
  Raises: ValueError for a task whose role is not named.
  """

  for role, judge in rewards.items():
    if judge is not None:
      check_reward(judge, f'by_role: {role}')

  def reward(weights, samples, key):
    roles = [task.role for task in samples.tasks]
    for task in samples.tasks:
      if task.role not in rewards:
        raise ValueError(
          f'by_role: task {task.id!r} has role {task.role!r}, but only {", ".join(rewards)} are '
          f'judged; add {task.role}=reward, or {task.role}=None to leave it unjudged.'
        )
    nothing: Any = hosts.global_rows(np.full(shape_of(samples), np.nan, np.float32))
    total, parts, errors = nothing, {}, []
    tokens: Any = None
    for role, judge in rewards.items():
      if judge is None:
        continue
      mine_PG = hosts.global_rows(
        np.broadcast_to(np.asarray([[r == role] for r in roles], bool), shape_of(samples))
      )
      texts = [ts if r == role else NO_TEXTS for r, ts in zip(roles, samples.texts)]
      view = dataclasses.replace(samples, texts=texts)
      found = _attempt(judge, weights, view, keys.named(key, role), errors)
      total = _where(mine_PG, found.total, total)
      if found.tokens is not None:
        before = 0.0 if tokens is None else tokens
        tokens = _where(mine_PG[..., None], found.tokens, before)
      for name, part in found.parts.items():
        parts[name] = _where(mine_PG, part, parts.get(name, nothing))
    return _unless(errors, Rewards(total, parts, tokens))

  return reward


def opened(prefix: str, reward: Reward) -> Reward:
  """The reward of prefix + completion, for prompts that already end with the prefix.

  Many chat templates write the opening <think> themselves, so no completion has one. A format
  reward then needs opened('<think>', per_completion(tagged('think'))), and so does one written for
  another library. Other rewards beside it still see the completion alone.
  """
  check_reward(reward, f'opened({prefix!r}, ...)')

  def with_prefix(weights, samples, key):
    texts = [[prefix + text for text in texts] for texts in samples.texts]
    return reward(weights, dataclasses.replace(samples, texts=texts), key)

  return with_prefix


def tolerant(reward: Reward) -> Reward:
  """Continues after a crash: a broken completion is not judged.

  The part '<name>_error' is 1 for a broken completion, else 0. The name is the reward's own, or
  'reward' for a composition. Around one term of `weighted`, the other terms still judge the
  completion. Around the whole `weighted`, a completion with any broken term is not judged.

  It goes around a reward: tolerant(per_completion(fn)).
  """
  check_reward(reward, 'tolerant', 'rewards.tolerant')

  def tolerated(weights, samples, key):
    errors = []
    rewards = _attempt(reward, weights, samples, key, errors)
    own = _own(rewards)
    total: Any = rewards.total
    parts: dict[str, Any] = dict(rewards.parts)
    failed_PG = functools.reduce(lambda a, b: a | b, [e.failed for e in errors], _never(total))
    if errors:
      total = _where(failed_PG, _numpy(total).full_like(total, np.nan), total)
      parts |= {name: total for name in own}
    parts[(own[0] if own else 'reward') + ERROR] = failed_PG.astype(np.float32)
    return Rewards(total, parts, rewards.tokens)

  return tolerated


def _own(rewards):
  """Names of the parts that are the total itself."""
  return [name for name, part in rewards.parts.items() if part is rewards.total]


def _attempt(reward, weights, samples, key, errors):
  try:
    return reward(weights, samples, key)
  except RewardError as error:
    errors.append(error)
    return error.rewards


def _unless(errors, rewards):
  """Returns the rewards; if there are errors, raises the first one with the rewards attached."""
  if not errors:
    return rewards
  failed_PG = functools.reduce(lambda a, b: a | b, [error.failed for error in errors])
  raise RewardError(str(errors[0]), rewards, failed_PG) from (errors[0].__cause__ or errors[0])


def _renamed(name, rewards):
  """Parts of a term: its own part and its error part take the term's name; others keep theirs."""
  own = _own(rewards)
  parts = {name: rewards.total}
  for part, value in rewards.parts.items():
    if part in own:
      continue
    is_error = part in [o + ERROR for o in own] or part == 'reward' + ERROR
    parts[name + ERROR if is_error else part] = value
  return parts


def _merge(parts, more, terms):
  for name, part in more.items():
    if name in parts:
      raise ValueError(
        f'weighted: two terms of {list(terms)} bring a part named {name!r}; rename the term, or '
        'the entry it returns.'
      )
    parts[name] = part


def _plus(total, weight, term) -> Any:
  """total + weight * term. A NaN term or total counts as absent; NaN plus NaN is NaN."""
  xp = _numpy(term) if total is None else _numpy(term, total)
  added = np.float32(weight) * term
  if total is None:
    return added
  return xp.where(xp.isnan(total), added, xp.where(xp.isnan(term), total, total + added))


def _where(condition, yes, no) -> Any:
  return _numpy(condition, yes, no).where(condition, yes, no)


def _never(total):
  xp = _numpy(total)
  return xp.zeros(total.shape, bool)


def _numpy(*arrays):
  """numpy if all arrays are on the host; jax.numpy if one is on a device."""
  return jnp if any(isinstance(array, jax.Array) for array in arrays) else np


def _is_finite(weight):
  return isinstance(weight, (int, float, np.number)) and math.isfinite(weight)
