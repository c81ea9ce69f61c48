"""Addressed randomness: a key is a function of (seed, purpose, counters), never of earlier splits.

A run's key is `at(seed, purpose, round, step)`. A row's key folds in the task's id and the sample's
index. A token's key folds in its index in the completion. So a sample's noise does not depend on
batch layout, slicing, hosts, worker timing or restarts. A resumed run needs its counters only, no
generator state.
"""

import hashlib

import jax
import jax.numpy as jnp
import numpy as np

from sirl import ranges

# The index of a purpose is part of every key, so append new purposes at the end.
PURPOSES = (
  'init',
  'acquire',
  'prepare',
  'select',
  'gro',
  'evaluate',
  'refine',
  'tasks',
  'bootstrap',
  'report',
  'anchor',
)


def at(seed, purpose, *counters):
  """Key of (seed, purpose, *counters).

  Args: seed: int in [0, 2**32); purpose: one of PURPOSES; counters: ints in [-1, 2**31), such as round and step.
  Raises: ValueError for an unknown purpose, or a seed out of range.
  """
  if purpose not in PURPOSES:
    raise ValueError(f'unknown purpose {purpose!r}; expected one of {", ".join(PURPOSES)}')
  key = jax.random.fold_in(jax.random.key(ranges.seed('seed', seed)), PURPOSES.index(purpose))
  for counter in counters:
    key = jax.random.fold_in(key, int(counter) + 1)  # round -1 means before any training
  return key


def text_id(text):
  """uint32 hash of a text (a task id, a prompt), the same in every process."""
  return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=4).digest(), 'little')


def named(key, name):
  """The key of a part that has a name, such as one term of a reward."""
  return jax.random.fold_in(key, np.uint32(text_id(name)))


def text_ids(texts):
  """`text_id` of every text, uint32 numpy [P]."""
  return np.asarray([text_id(text) for text in texts], np.uint32)


def occurrences(texts):
  """How often each text occurs earlier in the list, int32 numpy [P].

  A task drawn twice into one batch continues its sample numbering, so its groups differ.
  """
  seen = {}
  counts = []
  for text in texts:
    counts.append(seen.get(text, 0))
    seen[text] = counts[-1] + 1
  return np.asarray(counts, np.int32)


def rows(key, ids_P, first_P, group_size):
  """Keys [P, G] of samples first_P[p] .. first_P[p] + G - 1 of the tasks ids_P.

  Args: key: []; ids_P: uint32 [P]; first_P: int32 [P], index of the first sample; group_size: G.
  """

  def group(id_, first):
    task_key = jax.random.fold_in(key, id_)
    return jax.vmap(lambda g: jax.random.fold_in(task_key, g))(first + jnp.arange(group_size))

  return jax.vmap(group)(ids_P, first_P)


def token_noise(keys_B, count):
  """Uniform noise, float32 [B, count] in [0, 1): token t of row b uses keys_B[b] folded with t.

  All tokens are drawn at once, because inside a loop over tokens the hash would add several small
  operations to every iteration.
  """
  return uniform(token_keys(keys_B, jnp.zeros(len(keys_B), jnp.int32), count))


def token_keys(keys_B, first_B, count):
  """Keys [B, count] of tokens first_B[b] .. first_B[b] + count - 1 of every row."""
  return jax.vmap(jax.vmap(jax.random.fold_in, (None, 0)))(
    keys_B, first_B[:, None] + jnp.arange(count)
  )


def uniform(keys_BN):
  """Uniform noise for drawing tokens: one number per key, float32 [B, N] in [0, 1)."""
  return jax.vmap(jax.vmap(jax.random.uniform))(keys_BN)
