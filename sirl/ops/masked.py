"""Reductions over the True entries of a mask. Masked-out values may be anything, NaN included.

To average over several parts of a batch, add their sums and counts and divide at the end: a mean of
means is wrong if the parts differ in size.
"""

import jax.numpy as jnp


def clean(x, where):
  """x with 0 outside the mask. Masked-out NaN and inf do not reach values or gradients."""
  return jnp.where(where, x, jnp.zeros((), jnp.asarray(x).dtype))


def sum(x, where, axis=None):
  """Sum of masked-in entries; float32 of the reduced shape."""
  return jnp.sum(clean(x, where), axis=axis)


def count(where, axis=None):
  """Number of True entries as float32."""
  return jnp.sum(where, axis=axis, dtype=jnp.float32)


def mean(x, where, axis=None, empty=0.0):
  """Mean of masked-in entries; `empty` where there is none: NaN in a metric, 0 in a loss."""
  n = count(where, axis)
  return jnp.where(n > 0, sum(x, where, axis) / jnp.maximum(n, 1.0), empty)


def std(x, where, axis=None, ddof=0):
  """Standard deviation of masked-in entries with divisor n - ddof; 0 where n <= ddof."""
  n = count(where, axis)
  center = jnp.expand_dims(mean(x, where, axis), axis) if axis is not None else mean(x, where)
  squares = sum(jnp.square(clean(x, where) - center), where, axis)
  variance = squares / jnp.maximum(n - ddof, 1.0)
  return jnp.where(n > ddof, jnp.sqrt(jnp.where(variance > 0, variance, 1.0)) * (variance > 0), 0.0)


def max(x, where, axis=None, empty=-jnp.inf):
  """Maximum of masked-in entries; `empty` where there is none."""
  return jnp.max(jnp.where(where, x, empty), axis=axis)


def min(x, where, axis=None, empty=jnp.inf):
  """Minimum of masked-in entries; `empty` where there is none."""
  return jnp.min(jnp.where(where, x, empty), axis=axis)
