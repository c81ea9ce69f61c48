"""Whole-tree operations: flattening groups, norms, copies."""

import jax
import jax.numpy as jnp


def flatten_groups(tree):
  """[P, G, ...] leaves -> [P * G, ...].

  Only this function and `split_groups` know that rows are prompt-major.
  """
  return jax.tree.map(lambda x: x.reshape(x.shape[0] * x.shape[1], *x.shape[2:]), tree)


def split_groups(tree, group_size):
  """[P * G, ...] leaves -> [P, G, ...]."""
  return jax.tree.map(lambda x: x.reshape(-1, group_size, *x.shape[1:]), tree)


def split_leading(tree, parts):
  """[P, ...] leaves -> [parts, P / parts, ...], for a scan over slices of P.

  Raises: ValueError if `parts` does not divide P.
  """

  def split(x):
    if x.shape[0] % parts:
      raise ValueError(
        f'{x.shape[0]} rows cannot be cut into {parts} equal parts; '
        f'choose a divisor of {x.shape[0]}'
      )
    return x.reshape(parts, x.shape[0] // parts, *x.shape[1:])

  return jax.tree.map(split, tree)


def global_norm(tree):
  """Euclidean norm over all leaves, float32 []."""
  squares = [jnp.sum(jnp.square(x.astype(jnp.float32))) for x in jax.tree.leaves(tree)]
  return jnp.sqrt(jnp.sum(jnp.stack(squares)))


def copy(tree):
  """Copies every array into a new buffer, so the copy survives when the original is donated."""
  return jax.tree.map(jnp.copy, tree)


def ema(old, new, decay):
  """decay * old + (1 - decay) * new, leaf by leaf."""
  return jax.tree.map(lambda a, b: decay * a + (1 - decay) * b, old, new)


def merged(frozen, trained):
  """Merges two nested dicts with different leaves; returns `trained` itself if `frozen` is None.

  Raises: ValueError for an array that is in both.
  """
  if frozen is None:
    return trained
  both = {**frozen, **trained}
  for name in frozen.keys() & trained.keys():
    if not (isinstance(frozen[name], dict) and isinstance(trained[name], dict)):
      raise ValueError(f'{name!r} is both frozen and trained; every array belongs to one of them')
    both[name] = merged(frozen[name], trained[name])
  return both
