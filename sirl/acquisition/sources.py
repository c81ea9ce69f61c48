"""Combinators for sources of tasks."""

import dataclasses

import jax

from sirl.ops import keys
from sirl.slots import Acquire, Acquirer, check_function, check_kind


def once(tasks) -> Acquire:
  """Returns all the tasks in round 0, and none in later rounds."""
  tasks = list(tasks)

  def acquire(weights, pool, context):
    del weights, pool
    return list(tasks) if context.round == 0 else []

  return acquire


def chain(*acquires: Acquire) -> Acquire:
  """Concatenates the tasks of several sources.

  Each source has its own key. Its pool also contains the tasks that the earlier sources just found.
  """

  def acquire(weights, pool, context):
    found = []
    for i, source in enumerate(acquires):
      own = dataclasses.replace(context, key=jax.random.fold_in(context.key, i))
      found += source(weights, pool.in_memory(found), own)
    return found

  return acquire


def acquirer(acquire: Acquire | None = None, **remembering: Acquirer) -> Acquirer:
  """Combines a plain Acquire and named sources with memory into one Acquirer.

  Its state is {name: state}. The plain function gets the round's key. Each named source gets its
  own key, and a pool that also contains the tasks of the sources before it.
  Raises: ValueError for a value of another form.
  """
  if acquire is not None:
    check_function('acquire', acquire)
  for name, each in remembering.items():
    check_kind(f'acquirer {name}', each, Acquirer)

  def init():
    return {name: source.init() for name, source in remembering.items()}

  def acquired(memory, weights, pool, context):
    found = [] if acquire is None else acquire(weights, pool, context)
    memory = dict(memory)
    for name, source in remembering.items():
      own = dataclasses.replace(context, key=keys.named(context.key, name))
      more, memory[name] = source.acquire(memory[name], weights, pool.in_memory(found), own)
      found = [*found, *more]
    return found, memory

  return Acquirer(init, acquired)
