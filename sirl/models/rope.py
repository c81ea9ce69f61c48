"""Rotary position embedding: rotates each pair of a head's features by an angle.

The angle is proportional to the position. Half-split form, as in Hugging Face files: feature i is
paired with feature i + H/2.
Source: Su et al. 2021, arXiv 2104.09864.
"""

import dataclasses
import math

import jax.numpy as jnp
import numpy as np

from sirl import ranges
from sirl.ops.platform import platform

KINDS = ('linear', 'llama3', 'yarn')


@dataclasses.dataclass(frozen=True, kw_only=True)
class Scaling:
  """Stretches the rotary frequencies for contexts longer than the trained one."""

  kind: str  # one of KINDS
  factor: float  # new context / trained context
  original_context: int = 0  # trained context in tokens; llama3 and yarn
  low_frequency: float = 1.0  # llama3: waves longer than original_context / this are stretched
  high_frequency: float = 4.0  # llama3: waves shorter than original_context / this are kept
  # yarn: pairs that turn more often than this over original_context are kept
  beta_fast: float = 32.0
  beta_slow: float = 1.0  # yarn: pairs that turn less often than this are stretched
  # yarn: multiplies queries and keys; None: 0.1 ln(factor) + 1
  attention_factor: float | None = None
  truncate: bool = True  # yarn: round the ends of the ramp outwards to whole pairs

  def __post_init__(self):
    if self.kind not in KINDS:
      raise ValueError(
        f'rope scaling {self.kind!r} is not supported; expected one of {", ".join(KINDS)}'
      )
    ranges.real('rope scaling: factor', self.factor, above=0)
    if self.kind != 'linear' and self.original_context < 1:
      raise ValueError(
        f'{self.kind} rope scaling needs original_context, the tokens it was trained on'
      )


def rotation(positions_BT, head_width, theta, scaling):
  """(cos, sin), each float32 [B, T, 1, H/2], of the angles for `rotate`."""
  frequencies, amplitude = stretched(theta, head_width, scaling)
  angles = positions_BT[..., None, None].astype(jnp.float32) * jnp.asarray(frequencies, jnp.float32)
  cos, sin = kept(amplitude * jnp.stack([jnp.cos(angles), jnp.sin(angles)]))
  return cos, sin


def kept(x):
  """x [..., H/2], computed only once on a CPU too.

  On a CPU, XLA fuses the cosines into every operation that reads them. Every head of every layer
  then computed its own, in both passes, which took a tenth of an update of a small model. XLA
  ignores `optimization_barrier` when it fuses, but never fuses across a matrix product, so x is
  multiplied by the identity.
  """
  if platform() != 'cpu':
    return x
  return jnp.einsum('...h,hk->...k', x, jnp.eye(x.shape[-1], dtype=x.dtype), precision='highest')


def rotate(x_BTNH, cos_sin):
  """x rotated, in float32 and then cast back."""
  if platform() == 'tpu' and x_BTNH.shape[1] > 1:
    return rotate_by_product(x_BTNH, cos_sin)
  cos, sin = cos_sin
  first, second = jnp.split(x_BTNH.astype(jnp.float32), 2, axis=-1)
  turned = jnp.concatenate([first * cos - second * sin, second * cos + first * sin], axis=-1)
  return turned.astype(x_BTNH.dtype)


def rotate_by_product(x_BTNH, cos_sin):
  """`rotate` for many tokens on a TPU, where halves of a head would fill lanes badly.

  A product with a signed permutation swaps the halves; it is exact.
  """
  cos, sin = (jnp.concatenate([half, half], axis=-1) for half in cos_sin)
  swap_HH = jnp.kron(np.array([[0, 1], [-1, 0]]), jnp.eye(x_BTNH.shape[-1] // 2))
  swapped = jnp.einsum('BTNH,HJ->BTNJ', x_BTNH, swap_HH.astype(x_BTNH.dtype), precision='highest')
  return (x_BTNH * cos + swapped * sin).astype(x_BTNH.dtype)


def stretched(theta, head_width, scaling):
  """Radians per position of every pair, float64 numpy [H/2], and the factor on cos and sin."""
  frequencies = theta ** (-np.arange(0, head_width, 2) / head_width)
  if scaling is None:
    return frequencies, 1.0
  if scaling.kind == 'linear':
    return frequencies / scaling.factor, 1.0
  if scaling.kind == 'llama3':
    return llama3(frequencies, scaling), 1.0
  return yarn(frequencies, theta, head_width, scaling)


def llama3(frequencies, scaling):
  """Stretches long waves, keeps short ones, interpolates between.

  Source: Llama 3.1's released code.
  """
  turns = scaling.original_context * frequencies / (2 * math.pi)  # over the original context
  keep = (turns - scaling.low_frequency) / (scaling.high_frequency - scaling.low_frequency)
  keep = np.clip(keep, 0.0, 1.0)
  return keep * frequencies + (1 - keep) * frequencies / scaling.factor


def yarn(frequencies, theta, head_width, scaling):
  """As llama3, with a ramp over pair indices and a factor on cos and sin.

  Source: Peng et al. 2023, arXiv 2309.00071, sec. 3.
  """

  def pair(turns):  # index of the pair that turns this often over the original context
    return (
      head_width
      * math.log(scaling.original_context / (turns * 2 * math.pi))
      / (2 * math.log(theta))
    )

  low, high = pair(scaling.beta_fast), pair(scaling.beta_slow)
  if scaling.truncate:
    low, high = math.floor(low), math.ceil(high)
  low, high = max(low, 0), min(high, head_width - 1)
  # As in the released code, to avoid a division by zero.
  high = high + 0.001 if high == low else high
  stretch = np.clip((np.arange(head_width // 2) - low) / (high - low), 0.0, 1.0)
  amplitude = scaling.attention_factor
  if amplitude is None:
    amplitude = 0.1 * math.log(scaling.factor) + 1.0 if scaling.factor > 1 else 1.0
  return stretch * frequencies / scaling.factor + (1 - stretch) * frequencies, amplitude
