"""Combining sources of tasks."""

import dataclasses

import jax

from sirl.ops import keys
from sirl.slots import Acquire, Acquirer


def once(tasks) -> Acquire:
  """All the tasks in round 0, nothing later."""
  tasks = list(tasks)

  def acquire(weights, pool, context):
    del weights, pool
    return list(tasks) if context.round == 0 else []

  return acquire


def chain(*acquires: Acquire) -> Acquire:
  """The tasks of several sources. A later source sees those of the earlier ones in its pool, and has its own key."""

  def acquire(weights, pool, context):
    found = []
    for i, source in enumerate(acquires):
      own = dataclasses.replace(context, key=jax.random.fold_in(context.key, i))
      found += source(weights, pool.in_memory(found), own)
    return found

  return acquire


def acquirer(acquire: Acquire | None = None, **remembering: Acquirer) -> Acquirer:
  """A plain function, and sources with memory under names, as one Acquirer; its state is {name: state}.

  The plain function has the round's key. Each later source sees the tasks of those before it in its pool, and has a key of
  its own.
  """

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
