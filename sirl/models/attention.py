"""Attention over a mask that is known by its structure, through a blocked kernel where there is one.

The plain form makes an array of scores, [B, K, R, T, S]. On a TPU, long sequences pass through
JAX's own splash attention, which keeps the scores of a block on the chip, in both directions. The
two agree up to rounding.
Source: github.com/jax-ml/jax, jax/experimental/pallas/ops/tpu/splash_attention.
"""

import functools
import math

import jax
import jax.numpy as jnp
from jax.sharding import PartitionSpec as Spec

from sirl.ops.platform import platform
from sirl.ops.prefill import Causal
from sirl.runtime.sharding import ROWS

BLOCK = 128  # the kernel's blocks are multiples of a TPU's lanes
LONG = 256  # least sources for which the kernel pays


def chosen(see, a):
  """`see` as it is where the kernel takes it, else as a dense mask, bool [B, T, S].

  Args: see: bool [B, T, S] or a `Causal`; a: Architecture.
  """
  if not isinstance(see, Causal):
    return see
  # One scan over layers selects between the masks of local and global ones, so these are arrays.
  fits = platform() == 'tpu' and see.shape[2] >= LONG and not a.local_layers
  return see if fits and _split(see.shape[0], a.heads, a.kv_heads) is not None else see.dense()


def blocked(q_BTNH, k_BKSH, v_BKSH, see: Causal, *, scale, softcap=None, interpret=False):
  """Mixed values, [B, T, N, H], of queries that see the valid sources up to their own.

  Args:
    scale: multiplies the scores.
    softcap: scores become softcap * tanh(scores / softcap).
    interpret: runs the kernel without a TPU, slowly.
  """
  B, _, N, _ = q_BTNH.shape
  split = _split(B, N, k_BKSH.shape[1])
  assert split is not None, 'chosen() decides that'
  rows, heads, free = split
  run = functools.partial(_on_one_device, see.start, softcap, interpret)
  arguments = (q_BTNH * scale).astype(q_BTNH.dtype).swapaxes(1, 2), k_BKSH, v_BKSH, see.valid
  if free:
    of_heads = Spec(rows, heads)
    run = jax.shard_map(
      run, in_specs=(of_heads, of_heads, of_heads, Spec(rows)), out_specs=of_heads,
      axis_names=free, check_vma=False,
    )  # fmt: skip
  return run(*arguments).swapaxes(1, 2)


def _split(B, N, K):
  """How the kernel is split: (axes of rows, axis of heads, all free axes); None if it cannot be.

  A kernel is not split by the compiler, so every axis that is not manual yet becomes it.
  """
  mesh = jax.sharding.get_abstract_mesh()
  free = {axis for axis in mesh.shape if axis not in mesh.manual_axes}
  if mesh.size <= 1:
    return (), None, set()
  rows = tuple(axis for axis in ROWS if axis in free)
  tensor = mesh.shape.get('tensor', 1) if 'tensor' in free else 1
  if B % math.prod(mesh.shape[axis] for axis in rows) or N % tensor or K % tensor:
    return None
  return rows, 'tensor' if 'tensor' in free else None, free


def _on_one_device(start, softcap, interpret, q_BNTH, k_BKSH, v_BKSH, valid_BS):
  """The kernel on the rows and heads of one device. Pads T and S to whole blocks."""
  from jax.experimental.pallas.ops.tpu.splash_attention import (
    splash_attention_kernel as splash,
  )
  from jax.experimental.pallas.ops.tpu.splash_attention import splash_attention_mask as masks

  _, N, T, _ = q_BNTH.shape
  S = k_BKSH.shape[2]
  queries = -(-T // BLOCK) * BLOCK
  sources = -(-max(S, start + queries) // BLOCK) * BLOCK
  longer = lambda x, n: jnp.pad(x, ((0, 0), (0, 0), (0, n - x.shape[2]), (0, 0)))
  valid_BS = jnp.pad(valid_BS, ((0, 0), (0, sources - S)))
  # Padding sees padding: a query that sees nothing would give NaN.
  segments_BS = valid_BS.astype(jnp.int32)
  segments = splash.SegmentIds(segments_BS[:, start : start + queries], segments_BS)
  mask = masks.MultiHeadMask([masks.CausalMask((queries, sources), offset=start)] * N)
  kernel = splash.make_splash_mha_single_device(
    mask, block_sizes=_blocks(queries, sources), attn_logits_soft_cap=softcap, interpret=interpret
  )
  mixed = jax.vmap(kernel)(
    longer(q_BNTH, queries), longer(k_BKSH, sources), longer(v_BKSH, sources), segments
  )
  return mixed[:, :, :T]


def _blocks(queries, sources):
  """Block sizes that divide; large blocks are faster, up to the chip's fast memory."""
  from jax.experimental.pallas.ops.tpu.splash_attention import (
    splash_attention_kernel as splash,
  )

  largest = lambda n: next(b for b in (512, 256, 128) if n % b == 0)
  q, kv = largest(queries), largest(sources)
  return splash.BlockSizes(
    block_q=q, block_kv=kv, block_kv_compute=kv, block_q_dkv=q, block_kv_dkv=kv,
    block_kv_dkv_compute=kv, block_q_dq=q, block_kv_dq=kv,
  )  # fmt: skip
