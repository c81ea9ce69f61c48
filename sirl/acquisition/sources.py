"""Combining sources of tasks."""

import dataclasses

import jax

from sirl.types import Acquire


def once(tasks) -> Acquire:
  """All the tasks in round 0, nothing later."""
  tasks = list(tasks)

  def acquire(params, pool, context):
    del params, pool
    return list(tasks) if context.round == 0 else []

  return acquire


def chain(*acquires: Acquire) -> Acquire:
  """The tasks of several sources. A later source sees those of the earlier ones in its pool, and has its own key."""

  def acquire(params, pool, context):
    found = []
    for i, source in enumerate(acquires):
      own = dataclasses.replace(context, key=jax.random.fold_in(context.key, i))
      found += source(params, pool.in_memory(found), own)
    return found

  return acquire
