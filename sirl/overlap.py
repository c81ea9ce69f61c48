"""Generation and reward of one batch, overlapping: while one slice of it is judged, the next one is generated.

  main     generate 0 | generate 1         | generate 2         | wait
  thread              | read 0, reward 0   | read 1, reward 1   | read 2, reward 2

Reading is fetching the tokens and turning them into text: the main thread never waits for it, nor does the device.

A slice takes an equal part of every shard's rows, so putting the slices together moves no row to another device.
"""

import concurrent.futures
import contextlib
import dataclasses
import functools
import time

import jax
import jax.numpy as jnp
import numpy as np

from sirl.runtime import sharding


def overlapped(generate, reward, weights, tasks, key_generate, key_reward, slices):
  """Samples and Rewards as generate and reward would give for the whole batch, and when generation was done.

  Returns: Samples, Rewards, seconds on the clock of time.perf_counter.
  Raises: ValueError when P does not divide; what generate and reward raise.
  """
  mesh = jax.sharding.get_mesh()
  shards = sharding.row_shards(mesh)
  numbers = slice_numbers(len(tasks), slices, shards)

  def judge(samples):
    len(samples.texts)  # read here, whatever the reward looks at
    with contextlib.nullcontext() if mesh.empty else jax.set_mesh(mesh):  # a thread begins without
      return reward(weights, samples, key_reward)

  with concurrent.futures.ThreadPoolExecutor(1) as thread:
    parts, judged = [], []
    for rows in numbers:
      parts.append(generate(weights, tasks, key_generate, rows=rows))
      judged.append(thread.submit(judge, parts[-1]))
    jax.block_until_ready([part.rollouts for part in parts])
    generated = time.perf_counter()
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
  """Trees of [P / slices, ...] leaves as one of [P, ...], in the order that `slice_numbers` cut, sharded as `where`."""

  def rows_of(*arrays):
    split = [x.reshape(shards, -1, *x.shape[1:]) for x in arrays]
    x = jnp.stack(split, axis=1).reshape(-1, *arrays[0].shape[1:])
    return x if where is None else jax.lax.with_sharding_constraint(x, where)

  return jax.tree.map(rows_of, *slices)


def slice_numbers(rows, slices, shards):
  """int numpy [slices, rows / slices]: the rows of each slice, as many of every shard.

  Raises: ValueError when rows is no multiple of slices * shards.
  """
  if rows % (slices * shards):
    raise ValueError(
      f'prompts={rows} cannot be cut into slices={slices} on {shards} data shards; '
      f'choose prompts as a multiple of {slices * shards}'
    )
  numbers = np.arange(rows).reshape(shards, slices, -1)
  return numbers.swapaxes(0, 1).reshape(slices, -1)


def interleaved(lists, width):
  """This process's rows of the whole batch, from those of the slices; None if they have none."""
  if lists[0] is None:
    return None
  starts = range(0, len(lists[0]), width)
  return [item for start in starts for part in lists for item in part[start : start + width]]
