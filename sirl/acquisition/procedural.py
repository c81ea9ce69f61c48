"""Tasks from a generator program, which also computes their answers.

A generator is `(rng, index, difficulty) -> Task` (see `domains/`). Each draw has its own random
state, seeded by a hash of (namespace, seed or key, index). Two namespaces therefore share no random
state. Task libraries that use adjacent integer seeds share nearly all their items. Different
states can still produce equal prompts in a small domain, so prompts are compared as well.
"""

import dataclasses
import hashlib
import logging

import jax
import numpy as np

from sirl import ranges
from sirl.slots import Acquire, checked_result
from sirl.tasks import Task, prompt_key

# A domain counts as exhausted after this many draws in a row without a new prompt.
PATIENCE = 2000


def procedural(generator, *, per_round, namespace='train', answers=True, exclude=()) -> Acquire:
  """Draws `per_round` new tasks each round at the run's current difficulty.

  When the domain runs out of new tasks, it returns fewer and logs a warning.

  Args:
    generator: (rng, index, difficulty) -> Task.
    answers: False removes answers and meta from the tasks, for methods that must not see them.
    exclude: tasks (a held-out set) whose prompts are never drawn.
  """
  per_round = ranges.whole('per_round', per_round)
  reserved = _prompts(exclude)

  def acquire(weights, pool, context):
    del weights
    key = np.asarray(jax.random.key_data(context.key)).tobytes().hex()
    taken = reserved | _prompts(pool)
    tasks, draws = _draw(generator, per_round, (namespace, key), float(context.difficulty), taken)
    if len(tasks) < per_round:
      logging.getLogger(__name__).warning(
        'round %d: %d of %d tasks acquired; %d draws at difficulty %g brought no more that are new',
        context.round, len(tasks), per_round, draws, context.difficulty,
      )  # fmt: skip
    return tasks if answers else [_without_answer(task) for task in tasks]

  return acquire


def fixed_set(
  generator, *, n, seed, namespace, difficulty=0.0, exclude=(), fewer=False
) -> list[Task]:
  """n distinct tasks that depend only on the arguments: held-out, anchor or warm-start tasks.

  Args:
    seed: int.
    namespace: a name such as 'heldout', different from that of the training tasks.
    exclude: tasks whose prompts are not drawn.
    fewer: True returns what there is when the domain has fewer than n tasks.
  Raises: ValueError if the domain has too few distinct tasks and `fewer` is False.
  """
  n, seed = ranges.whole('n', n), ranges.whole('seed', seed, None, None)
  difficulty = ranges.real('difficulty', difficulty, 0)
  reserved = _prompts(exclude)
  tasks, draws = _draw(generator, n, (namespace, seed), difficulty, reserved)
  if len(tasks) < n and not fewer:
    fits = f'ask for n={len(tasks)}' if tasks else 'exclude fewer'
    raise ValueError(
      f'{namespace!r} needs n={n} tasks, but {draws} draws at difficulty {difficulty:g} gave '
      f'{len(tasks)} distinct ones besides the {len(reserved)} that are excluded; {fits}, or take a '
      'larger domain (more digits, higher difficulty)'
    )
  return tasks


def rng_of(*parts):
  """A numpy Generator seeded by a hash of the parts (ints and strings)."""
  digest = hashlib.blake2b(repr(parts).encode(), digest_size=16).digest()
  return np.random.default_rng(int.from_bytes(digest, 'little'))


def _draw(generator, n, address, difficulty, taken):
  """(at most n tasks with distinct prompts outside `taken`, number of draws)."""
  tasks, seen = [], set(taken)
  index = misses = 0
  while len(tasks) < n and misses < PATIENCE:
    task = checked_result('generator', generator(rng_of(*address, index), index, difficulty), Task)
    index += 1
    key = prompt_key(task.prompt)
    if key in seen:
      misses += 1
    else:
      misses = 0
      seen.add(key)
      tasks.append(task)
  return tasks, index


def _prompts(tasks):
  return {prompt_key(task.prompt) for task in tasks}


def _without_answer(task):
  return dataclasses.replace(task, answer=None, meta={})
