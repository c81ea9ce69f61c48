"""Descriptions of a checkpoint's contents, as JSON.

These are the shape, dtype and digest of each array by name, and the reports and versions.
"""

import dataclasses
import hashlib
import importlib.metadata
import json
import platform

import jax
import jax.numpy as jnp
import numpy as np

import sirl
from sirl.runtime import hosts, json_text

WORKERS = 4  # threads that hash leaves; hashing releases the GIL


def versions():
  """{package: version} of the packages that can change a run's results bit for bit."""
  packages = ('jax', 'jaxlib', 'flax', 'optax', 'orbax-checkpoint')
  found = {name: importlib.metadata.version(name) for name in packages}
  return {'python': platform.python_version(), 'sirl': sirl.__version__} | found


def report_json(report):
  """A Report as JSON values. `Report.from_json` reads it."""
  row = dataclasses.asdict(report)
  row['metrics'] = {name: float(value) for name, value in row['metrics'].items()}
  return json_text.plain(row)


def packed(memory):
  """The memory of a run's stages as JSON values.

  One with NaN or infinities, such as a best score of minus infinity, is packed into a text: JSON has
  no such numbers, and a resumed run must see the same ones.
  """
  try:
    json.dumps(memory, allow_nan=False)
  except ValueError:
    return json.dumps(memory)
  return memory


def unpacked(memory):
  """The memory that was packed."""
  return json.loads(memory) if isinstance(memory, str) else memory


def flat(tree):
  """{'learners.policy.params.embed.weight': leaf}; None and empty containers are omitted."""
  leaves = jax.tree_util.tree_leaves_with_path(tree)
  return {jax.tree_util.keystr(path, simple=True, separator='.'): leaf for path, leaf in leaves}


def abstract(leaf):
  """The leaf as a ShapeDtypeStruct with its sharding. Raises ValueError for a random key."""
  if not hasattr(leaf, 'dtype'):
    leaf = jnp.asarray(leaf)
  if jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key):
    raise ValueError(
      'a random key stands in the state; keys are addressed by counters and never saved'
    )
  sharding = getattr(leaf, 'sharding', None) or jax.sharding.SingleDeviceSharding(
    jax.local_devices()[0]
  )
  return jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=sharding)


def described(leaves):
  """{name: {shape, dtype, sha256}} of arrays."""

  def describe(array):
    host = np.ascontiguousarray(hosts.everywhere(array))
    digest = hashlib.sha256(host.reshape(-1).view(np.uint8).data).hexdigest()
    return {'shape': list(array.shape), 'dtype': str(array.dtype), 'sha256': digest}

  # With several processes, describing gathers an array. All processes must enter these collectives
  # in the same order, so use threads only with one process.
  workers = WORKERS if hosts.count() == 1 else 1
  return dict(zip(leaves, hosts.ordered_map(describe, leaves.values(), workers)))


def check_leaves(saved, wanted, serial):
  """Raises ValueError unless both, by name, have the same shapes and dtypes."""

  def fail(what):
    raise ValueError(
      f'checkpoint {serial} was written by another model, optimizer or selector: {what}. Use a new '
      'workdir'
    )

  if missing := sorted(set(wanted) - set(saved)):
    fail(f'it lacks {missing[0]} and {len(missing) - 1} other arrays')
  if extra := sorted(set(saved) - set(wanted)):
    fail(f'it holds {extra[0]} and {len(extra) - 1} other arrays that this run has no place for')
  for name, leaf in wanted.items():
    here = (saved[name]['dtype'], tuple(saved[name]['shape']))
    if here != (str(leaf.dtype), leaf.shape):
      fail(f'{name} is {here[0]} {list(here[1])} there and {leaf.dtype} {list(leaf.shape)} here')


def body_digest(body):
  """SHA-256, in hex, of a JSON value."""
  return hashlib.sha256(json.dumps(body, sort_keys=True).encode()).hexdigest()


def first_line(error):
  """'Type: the first line of the message', without the middle of more than 300 characters."""
  text = str(error).strip().split('\n')[0]
  if len(text) > 300:  # a reason such as 'No space left on device' stands at the end
    text = f'{text[:140]} ... {text[-150:]}'
  return f'{type(error).__name__}: {text}'
