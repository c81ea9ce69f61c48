"""Tries a reward on right and wrong answers before a run: does it pay the right one more?

A scorer may fail without an error. It expects the answer in a box, its library hides an exception,
or the tasks carry their answers in another field. All of these look like a policy that never gets
anything right.
"""

from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from sirl.rewards.scores import RewardError
from sirl.runtime import hosts
from sirl.slots import Reward
from sirl.tasks import Task
from sirl.types import Rollouts, Samples

TRIED = 4  # tasks
FAILS = 'the reward fails on an answer of its own task'  # begins what is said of an exception
# How the answer may be written. The first is the solution that a demonstration would show.
FORMS = ('{}', r'\boxed{{{}}}', '#### {}', '<answer>{}</answer>', 'Answer: {}')


def warning(
  reward: Reward, tasks: Sequence[Task], solution: Callable[[Task], str | None]
) -> str | None:
  """What is wrong with the reward of the tasks' own answers; None if nothing is.

  It compares the total of a task's own solution with that of another task's, in the usual forms of
  an answer until one is paid more than the wrong one. Rewards that need weights, and those that
  draw random numbers, are not tried, and neither are tasks without answers.
  """
  pairs = _pairs(tasks, solution)
  if not pairs or hosts.count() > 1:
    return None
  first = None
  for form in FORMS:
    shown = [(task, form.format(right), form.format(wrong)) for task, right, wrong in pairs]
    try:
      totals = _totals(reward, shown, seed=0)
      if np.isnan(totals).all():
        first = first or (
          f'the reward gives no number for {_cut(shown[0][1])}, nor for {_cut(shown[0][2])}, of the '
          f'task {_cut(shown[0][0].text)}. Does it return one? None and NaN mean not judged'
        )
        continue
      if np.isnan(totals[:, 1]).all():
        return (
          f'the reward gives no number for a wrong answer, {_cut(shown[0][2])}, of the task '
          f'{_cut(shown[0][0].text)}. Return 0 for it: None and NaN mean not judged, and '
          'right answers alone give a group no contrast'
        )
      right, wrong = np.nan_to_num(totals).T
      if np.all(right >= wrong) and np.any(right > wrong):
        return None
      if not np.array_equal(totals, _totals(reward, shown, seed=1), equal_nan=True):
        return None
    except RewardError as error:
      return first or f'{FAILS}: {error}'
    except Exception:  # it reads weights, or more completions of a task
      return None
    if np.any(right < wrong):
      row = int(np.argmax(wrong - right))
      return _said('less than a wrong one', shown[row], right[row], wrong[row])
    first = first or _said('no more than a wrong one', shown[0], right[0], wrong[0])
  return first


def _pairs(tasks, solution):
  """(task, its solution, a solution that differs in answer) of some tasks."""
  solved = [(task, solution(task)) for task in tasks[: 4 * TRIED]]
  solved = [(task, text) for task, text in solved if text is not None]
  pairs = []
  for task, text in solved:
    others = (x for other, x in solved if x != text and other.answer != task.answer)
    if (wrong := next(others, None)) is not None:
      pairs.append((task, text, wrong))
  return pairs[:TRIED]


def _totals(reward, shown, seed):
  """Rewards float32 [tasks, (right, wrong)] of texts that no policy wrote."""
  texts = [[right, wrong] for _, right, wrong in shown]
  tokens = np.zeros((len(shown), 2, 2), np.int32)
  chosen = jnp.asarray(np.broadcast_to([False, True], tokens.shape))
  rollouts = Rollouts(
    tokens=jnp.asarray(tokens),
    valid=jnp.ones_like(chosen),
    action=chosen,
    logp=jnp.zeros(tokens.shape),
    truncated=jnp.zeros(tokens.shape[:2], bool),
  )
  samples = Samples([task for task, _, _ in shown], texts, rollouts, step=0)
  nobody: Any = {'policy': None}
  return np.asarray(reward(nobody, samples, jax.random.key(seed)).total)


def _said(what, shown, right, wrong):
  task, gold, other = shown
  return (
    f'the reward pays a right answer {what}: {right:g} for {_cut(gold)}, {wrong:g} for '
    f'{_cut(other)}, of the task {_cut(task.text)}. Does it read the answer where the tasks have '
    'it, and in a form that the policy can write?'
  )


def _cut(text):
  return repr(text if len(text) <= 80 else text[:80] + '...')
