"""Overlaps generation and reward: while one slice of a batch is judged, the next is generated.

main     generate 0 | generate 1         | generate 2         | wait
thread              | read 0, reward 0   | read 1, reward 1   | read 2, reward 2

"Read" fetches the tokens and decodes them to text, in the thread, so neither the main thread nor
the device waits for it.

A slice takes an equal part of every shard's rows, so joining the slices moves no row to another
device.
"""

import concurrent.futures
import contextlib
import dataclasses
import functools
import time

import jax
import jax.numpy as jnp
import numpy as np

from sirl.runtime import sharding, stopwatch


def overlapped(generate, reward, weights, tasks, key_generate, key_reward, slices):
  """Generates and judges a batch in slices, with the same result as for the whole batch.

  The exceptions are rewards that look at the whole batch, see `gro.make_step`.
  Returns: Samples, Rewards, and the time.perf_counter() value, in seconds, when generation ended.
  Raises: ValueError when P does not divide; what generate and reward raise.
  """
  mesh = jax.sharding.get_mesh()
  shards = sharding.row_shards(mesh)
  numbers = slice_numbers(len(tasks), slices, shards)

  def judge(samples):
    len(samples.texts)  # fetches and decodes the texts in this thread
    # A thread starts without a mesh.
    with contextlib.nullcontext() if mesh.empty else jax.set_mesh(mesh):
      return reward(weights, samples, key_reward)

  with concurrent.futures.ThreadPoolExecutor(1) as thread:
    parts, judged = [], []
    for rows in numbers:
      parts.append(generate(weights, tasks, key_generate, rows=rows))
      judged.append(thread.submit(judge, parts[-1]))
    jax.block_until_ready([part.rollouts for part in parts])
    generated = time.perf_counter()
    stopwatch.announce('reward')  # what is left of it; the rest ran beside generation
    rewards = [future.result() for future in judged]

  where = None if mesh.size <= 1 else sharding.batch_sharding(mesh)
  rollouts, rewards = joined(
    [(part.rollouts, given) for part, given in zip(parts, rewards)], shards=shards, where=where
  )
  width = len(tasks) // (slices * shards)
  samples = dataclasses.replace(
    parts[0],
    tasks=interleaved([part.tasks for part in parts], width),
    texts=interleaved([part.texts for part in parts], width),
    rollouts=rollouts,
    first=interleaved([part.first for part in parts], width),
    counted=jax.tree.map(lambda *values: sum(values), *(part.counted for part in parts)),
  )
  return samples, rewards, generated


@functools.partial(jax.jit, static_argnames=('shards', 'where'))
def joined(slices, *, shards, where):
  """Joins trees of [P / slices, ...] leaves into one of [P, ...], sharded as `where`.

  Undoes the cut of `slice_numbers`.
  """

  def rows_of(*arrays):
    split = [x.reshape(shards, -1, *x.shape[1:]) for x in arrays]
    x = jnp.stack(split, axis=1).reshape(-1, *arrays[0].shape[1:])
    return x if where is None else jax.lax.with_sharding_constraint(x, where)

  return jax.tree.map(rows_of, *slices)


def slice_numbers(rows, slices, shards):
  """int numpy [slices, rows / slices]: the rows of each slice, equally many from every shard.

  Raises: ValueError when rows is not a multiple of slices * shards.
  """
  if rows % (slices * shards):
    raise ValueError(
      f'prompts={rows} cannot be cut into slices={slices} on {shards} data shards; '
      f'choose prompts as a multiple of {slices * shards}'
    )
  numbers = np.arange(rows).reshape(shards, slices, -1)
  return numbers.swapaxes(0, 1).reshape(slices, -1)


def interleaved(lists, width):
  """Joins this process's rows of the slices in the order of the whole batch.

  None if the slices have none.
  """
  if lists[0] is None:
    return None
  starts = range(0, len(lists[0]), width)
  return [item for start in starts for part in lists for item in part[start : start + width]]
