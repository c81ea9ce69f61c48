"""Weights as decoding wants them: in the compute dtype, and whole over the fsdp axis.

A token loop reads all weights in every turn. Weights that are split over fsdp would be gathered in
every turn, so they are gathered once, before the loop. Matrices are also cast once; a GPU's
compiler would otherwise convert them in every turn. Vectors keep their dtype, because norms compute
in float32. The numbers are those that the model computes with in any case.
"""

import jax
import jax.numpy as jnp

from sirl.runtime import sharding


def for_decoding(model, params):
  """The weights of one generation, under jit. They take size / tensor bytes on every device."""
  dtype = getattr(model.architecture, 'dtype', None)

  def cast(x):
    matrix = x.ndim >= 2 and jnp.issubdtype(x.dtype, jnp.floating)
    return x.astype(dtype) if dtype is not None and matrix else x

  return sharding.gathered(jax.tree.map(cast, params))
