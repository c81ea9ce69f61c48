"""Processes and threads: which process prints, which rows it holds, and ordered work on threads.

With one process every function here is the identity or a plain loop. With several, each process
holds its own rows of a batch [P, ...], and the device arrays are global.
"""

import concurrent.futures
import json
import os

import jax
import numpy as np
from jax.experimental import multihost_utils
from jax.sharding import NamedSharding, PartitionSpec

from sirl import ranges
from sirl.runtime import plural


def initialize():
  """Joins the processes of a run; call it before any other use of JAX.

  On TPU and under Slurm JAX finds the other processes by itself. Elsewhere it needs three
  environment variables: JAX_COORDINATOR_ADDRESS (host:port of process 0), JAX_NUM_PROCESSES and
  JAX_PROCESS_ID.
  Raises: ValueError if only some of them are set, or if one of the last two is not a number.
  """
  names = ('JAX_COORDINATOR_ADDRESS', 'JAX_NUM_PROCESSES', 'JAX_PROCESS_ID')
  given = {name: os.environ[name] for name in names if name in os.environ}
  if not given:
    jax.distributed.initialize()
    return
  address, processes, own = (given.get(name, '') for name in names)
  if not (address and processes.isdigit() and own.isdigit()):
    said = ', '.join(f'{name}={given.get(name)}' for name in names)
    raise ValueError(
      f'{said}: expected all three, an address host:port and two numbers, or none of them'
    )
  jax.distributed.initialize(address, int(processes), int(own))


def index():
  """This process's number, 0 on a single machine."""
  return jax.process_index()


def count():
  """Number of processes."""
  return jax.process_count()


def is_first():
  """True on the process that writes files and prints."""
  return index() == 0


def barrier(name):
  """Waits until every process has called it; does nothing with one process."""
  if count() > 1:
    multihost_utils.sync_global_devices(name)


def ordered_map(fn, items, workers=1):
  """[fn(item) for item in items] on `workers` threads, in the order of the items.

  An exception is raised again after the other calls have finished or were cancelled. If several
  calls fail, the exception of the smallest index is raised.

  Raises: ValueError when workers < 1; whatever fn raises.
  """
  ranges.whole('ordered_map: workers', workers)
  items = list(items)
  if workers == 1 or len(items) < 2:
    return [fn(item) for item in items]
  with concurrent.futures.ThreadPoolExecutor(min(workers, len(items))) as pool:
    futures = [pool.submit(fn, item) for item in items]
    results = []
    for future in futures:
      try:
        results.append(future.result())
      except BaseException:
        # Later items are cancelled. Earlier ones have all succeeded, so this is the smallest index.
        pool.shutdown(wait=True, cancel_futures=True)
        raise
    return results


def share(items):
  """This process's part of a sequence that every process holds; parts are consecutive and equal.

  Raises: ValueError if the sequence cannot be split evenly over the processes.
  """
  n = count()
  if len(items) % n:
    raise ValueError(
      f'{plural.counted(len(items), "task")} cannot be split over {n} processes; choose prompts as '
      f'a multiple of {n}'
    )
  size = len(items) // n
  return items[index() * size : (index() + 1) * size]


def global_rows(array, mesh=None):
  """One global array [P, ...] from each process's rows [P_local, ...], split over (data, fsdp).

  Processes hold consecutive rows in the order of their index. The mesh defaults to the one set by
  `jax.set_mesh`. Without a mesh, or with a mesh of one device, the array is returned unchanged.
  Raises: ValueError for several processes without a mesh.
  """
  mesh = jax.sharding.get_mesh() if mesh is None else mesh
  if mesh.empty and count() > 1:
    raise ValueError(
      f'global_rows needs a mesh when {count()} processes run; call it inside jax.set_mesh(mesh)'
    )
  if mesh.empty or mesh.size == 1:
    return array
  axes = tuple(name for name in ('data', 'fsdp') if name in mesh.axis_names)
  sharding = NamedSharding(mesh, PartitionSpec(axes))
  return jax.make_array_from_process_local_data(sharding, np.asarray(array))


def local_rows(array) -> np.ndarray:
  """This process's rows [P_local, ...] of a global array [P, ...] with any sharding, as numpy.

  Raises: ValueError if the rows cannot be split evenly over the processes, or if some of this
    process's rows lie only on other processes.
  """
  if not isinstance(array, jax.Array) or array.is_fully_addressable:
    return np.asarray(array)
  size, rest = divmod(array.shape[0], count())
  if rest:
    raise ValueError(
      f'{plural.counted(array.shape[0], "row")} cannot be split over {count()} processes'
    )
  return assembled(array, index() * size, size)


def assembled(array, first, size) -> np.ndarray:
  """Rows first .. first + size - 1 of a global array as numpy [size, ...], from local shards.

  A shard may hold further rows (a compiled program may replicate its results) or only some columns.
  Raises: ValueError if the shards do not cover the rows.
  """
  rows = np.empty((size, *array.shape[1:]), array.dtype)
  covered = np.zeros(rows.shape, bool)
  for shard in array.addressable_shards:
    start, stop, _ = shard.index[0].indices(array.shape[0])
    low, high = max(start, first), min(stop, first + size)
    if low < high:
      where = (slice(low - first, high - first), *shard.index[1:])
      rows[where] = np.asarray(shard.data)[low - start : high - start]
      covered[where] = True
  if not covered.all():
    raise ValueError(
      f'rows {first} to {first + size - 1} of an array {array.shape} are not all on this process, '
      f'its sharding is {array.sharding}; shard rows over (data, fsdp), as hosts.global_rows does'
    )
  return rows


def everywhere(tree):
  """The tree's arrays, sharded or not, as numpy on every process; local ones in one transfer."""

  def here(x):
    return not isinstance(x, jax.Array) or x.is_fully_addressable or x.is_fully_replicated

  apart = lambda x: x if here(x) else multihost_utils.process_allgather(x, tiled=True)
  return jax.tree.map(np.asarray, jax.device_get(jax.tree.map(apart, tree)))


def gather(items):
  """The items of all processes as one list, ordered by process. Items are JSON values."""
  if count() == 1:
    return list(items)
  own = json.dumps(items).encode()
  sizes = multihost_utils.process_allgather(np.int32(len(own)))
  sent = multihost_utils.process_allgather(np.frombuffer(own.ljust(int(max(sizes))), np.uint8))
  return [item for text in sent for item in json.loads(np.asarray(text, np.uint8).tobytes())]


def agree(value):
  """The JSON value of process 0, on every process, so that all make the same decision.

  The values of the other processes are ignored.
  """
  if count() == 1:
    return value
  # The value is sent as text. JAX would round it to float32, and its shape may differ by process.
  own = json.dumps(value).encode()
  size = int(multihost_utils.broadcast_one_to_all(np.int32(len(own))))
  sent = multihost_utils.broadcast_one_to_all(np.frombuffer(own.ljust(size)[:size], np.uint8))
  return json.loads(np.asarray(sent, np.uint8).tobytes())
