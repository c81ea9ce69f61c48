"""The product of rows with a weight, laid out for the platform."""

import jax
import jax.numpy as jnp

from sirl.ops.platform import platform

FEW_ROWS = 64  # most tokens for which a CPU has the weight as left factor; slower from 128 on


def product(x, weight, dtype):
  """x [..., in] times weight (out, in), inputs in x's dtype, result in `dtype`.

  x is flattened to rows. The gradient of the weight is then a product over one axis, and XLA makes
  no transposed copy of x or of its gradient.

  On a CPU, XLA repacks the right factor of every product. With few rows, as in decoding, repacking
  the weight costs as much as the product, so the weight is the left factor. The barrier keeps XLA
  from swapping the factors back. The result must be transposed, which costs little in comparison.
  """
  x_RI = x.reshape(-1, x.shape[-1])
  weight = weight.astype(x.dtype)
  if len(x_RI) <= FEW_ROWS and platform() == 'cpu':
    y_OR = jnp.einsum('OI,RI->OR', weight, x_RI, preferred_element_type=dtype)
    y_RO = jax.lax.optimization_barrier(y_OR).T
  else:
    y_RO = jnp.einsum('RI,OI->RO', x_RI, weight, preferred_element_type=dtype)
  return y_RO.reshape(*x.shape[:-1], len(weight))
