"""Attention: the plain form, and blocked kernels over a mask that is known by its structure.

The plain form makes an array of scores, [B, K, R, T, S]. For long sequences there are kernels that
keep the scores of a block on the chip, in both directions: JAX's own splash attention on a TPU, and
cuDNN's flash attention, through `jax.nn`, on an NVIDIA GPU. Both agree with the plain form up to
rounding. `chosen` decides which mask goes to a kernel.
"""

import dataclasses
import functools
import math

import jax
import jax.numpy as jnp
from jax.sharding import PartitionSpec as Spec

from sirl.models.cache import newest
from sirl.ops.platform import platform
from sirl.ops.prefill import Causal
from sirl.runtime.sharding import ROWS

MASKED = -1e30  # finite, so that a row that may see nothing gives an average instead of NaN
BLOCK = 128  # splash attention's blocks are multiples of a TPU's lanes
LONG = 256  # least sources for which a kernel pays
WIDEST = 128  # head width up to which cuDNN has both directions on all its GPUs
AMPERE = 8.0  # least compute capability of cuDNN's flash attention


def chosen(see, a):
  """`see` as it is where a kernel takes it, else as a dense mask, bool [B, T, S].

  float32 models take the plain form: in the kernels, or in their gradients, products have half
  precision.

  Args: see: bool [B, T, S] or a `Causal`; a: Architecture.
  """
  if not isinstance(see, Causal):
    return see
  B, _, S = see.shape
  fits = platform() in KERNELS and S >= LONG
  if fits and platform() == 'tpu':
    fits = a.dtype == 'bfloat16'
  elif fits:
    fits = a.dtype != 'float32' and a.attention_softcap is None and a.head_width % 8 == 0
    fits = fits and a.head_width <= WIDEST and _has_flash(jax.devices()[0])
  if not fits or _split(B, a.heads, a.kv_heads) is None:
    return see.dense()
  narrow = a.local_layers and a.sliding_window < S
  return dataclasses.replace(see, window=a.sliding_window if narrow else None)


def near(see, a):
  """What `chosen` gives, for the local layers."""
  if isinstance(see, Causal):
    return dataclasses.replace(see, local=True)
  return newest(see, a.sliding_window)


def _has_flash(device):
  """Whether cuDNN has flash attention for a GPU. A CPU plans for another machine, which has it."""
  if device.platform == 'cpu':
    return True
  capability = device.compute_capability  # such as '9.0'; 'gfx942' on an AMD GPU
  return capability[0].isdigit() and float(capability) >= AMPERE


def plain(q_BTKRH, k_BKSH, v_BKSH, mask_BTS, *, divide, softcap=None):
  """Mixed values, [B, T, K, R, H]. The scores are float32, and divided by `divide`."""
  scores_BKRTS = jnp.einsum(
    'BTKRH,BKSH->BKRTS', q_BTKRH, k_BKSH, preferred_element_type=jnp.float32
  )
  scores_BKRTS = capped(scores_BKRTS / divide, softcap)
  scores_BKRTS = jnp.where(mask_BTS[:, None, None], scores_BKRTS, MASKED)
  weights_BKRTS = jax.nn.softmax(scores_BKRTS, axis=-1).astype(q_BTKRH.dtype)
  # The product keeps heads before tokens, so it reads the values in their memory layout.
  return jnp.moveaxis(jnp.einsum('BKRTS,BKSH->BKRTH', weights_BKRTS, v_BKSH), 3, 1)


def capped(x, cap):
  """cap * tanh(x / cap), or x where cap is None."""
  return x if cap is None else cap * jnp.tanh(x / cap)


def blocked(
  q_BTNH, k_BKSH, v_BKSH, see: Causal, *, scale, softcap=None, kernel=None, interpret=False
):
  """Mixed values, [B, T, N, H], of queries that see the valid sources up to their own.

  Args:
    scale: multiplies the scores.
    softcap: scores become softcap * tanh(scores / softcap).
    kernel: a value of KERNELS; None: that of the platform.
    interpret: runs without the kernel's device, slowly.
  """
  B, _, N, _ = q_BTNH.shape
  split = _split(B, N, k_BKSH.shape[1])
  assert split is not None, 'chosen() decides that'
  rows, heads, free = split
  given = kernel or KERNELS[platform()], see.start, scale, softcap, interpret
  whole, narrow = (functools.partial(*given, window) for window in (None, see.window))

  def run(local, *arguments):  # a scan over layers does not know which of them are local
    return jax.lax.cond(local, narrow, whole, *arguments)

  if see.window is None or isinstance(see.local, bool):
    of_layer = narrow if see.local else whole
    run = lambda _, *arguments: of_layer(*arguments)
  if free:
    queries, sources = Spec(rows, None, heads), Spec(rows, heads)
    run = jax.shard_map(
      run, in_specs=(Spec(), queries, sources, sources, Spec(rows)), out_specs=queries,
      axis_names=free, check_vma=False,
    )  # fmt: skip
  return run(jnp.asarray(see.local), q_BTNH, k_BKSH, v_BKSH, see.valid)


def _split(B, N, K):
  """How the kernel is split: (axes of rows, axis of heads, all free axes); None if it cannot be.

  A kernel is not split by the compiler, so every axis that is not manual yet becomes it.
  """
  mesh = jax.sharding.get_abstract_mesh()
  free = {axis for axis in mesh.shape if axis not in mesh.manual_axes}
  rows = tuple(axis for axis in ROWS if axis in free)
  tensor = mesh.shape.get('tensor', 1) if 'tensor' in free else 1
  if B % math.prod(mesh.shape[axis] for axis in rows) or N % tensor or K % tensor:
    return None
  return rows, 'tensor' if 'tensor' in free else None, free


def splash(start, scale, softcap, interpret, window, q_BTNH, k_BKSH, v_BKSH, valid_BS):
  """JAX's kernel for TPU, on the rows and heads of one device. Pads T and S to whole blocks.

  Source: github.com/jax-ml/jax, jax/experimental/pallas/ops/tpu/splash_attention.
  """
  from jax.experimental.pallas.ops.tpu import splash_attention

  q_BNTH = (q_BTNH * scale).astype(q_BTNH.dtype).swapaxes(1, 2)
  _, N, T, _ = q_BNTH.shape
  S = k_BKSH.shape[2]
  queries = -(-T // BLOCK) * BLOCK
  sources = -(-max(S, start + queries) // BLOCK) * BLOCK
  longer = lambda x, n: jnp.pad(x, ((0, 0), (0, 0), (0, n - x.shape[2]), (0, 0)))
  valid_BS = jnp.pad(valid_BS, ((0, 0), (0, sources - S)))
  # Padding sees padding: a query that sees nothing would give NaN.
  segments_BS = valid_BS.astype(jnp.int32)
  segments = splash_attention.SegmentIds(segments_BS[:, start : start + queries], segments_BS)
  seen = None if window is None else window - 1, 0  # beside a query's own source
  mask = splash_attention.LocalMask((queries, sources), seen, offset=start)
  kernel = splash_attention.make_splash_mha_single_device(
    splash_attention.MultiHeadMask([mask] * N),
    block_sizes=_blocks(queries, sources),
    attn_logits_soft_cap=softcap,
    interpret=interpret,
  )
  mixed = jax.vmap(kernel)(
    longer(q_BNTH, queries), longer(k_BKSH, sources), longer(v_BKSH, sources), segments
  )
  return mixed[:, :, :T].swapaxes(1, 2)


def _blocks(queries, sources):
  """Block sizes that divide; large blocks are faster, up to the chip's fast memory."""
  from jax.experimental.pallas.ops.tpu import splash_attention

  largest = lambda n: next(b for b in (512, 256, 128) if n % b == 0)
  q, kv = largest(queries), largest(sources)
  return splash_attention.BlockSizes(
    block_q=q, block_kv=kv, block_kv_compute=kv, block_q_dkv=q, block_kv_dkv=kv,
    block_kv_dkv_compute=kv, block_q_dq=q, block_kv_dq=kv,
  )  # fmt: skip


def flash(start, scale, softcap, interpret, window, q_BTNH, k_BKSH, v_BKSH, valid_BS):
  """cuDNN's kernel for NVIDIA GPUs, on the rows and heads of one device. Has no softcap.

  It takes a causal mask, and sequences that stand at the front. So the valid sources move there, in
  their order, and a query goes where its own source goes:

    valid   0 0 1 1 1 0
    order   2 3 4 0 1 5   the source at each place
    place   3 4 0 1 2 5   the place of each source

  A query that is not valid gives zero. In interpret mode XLA computes what cuDNN would; the kernel
  itself needs a GPU. Its gradients are summed in no fixed order, unless XLA_FLAGS has
  --xla_gpu_exclude_nondeterministic_ops=true.
  Source: jax.nn.dot_product_attention.
  """
  assert softcap is None, 'chosen() decides that'
  (B, T, *_), S = q_BTNH.shape, valid_BS.shape[1]
  counts_B1 = jnp.sum(valid_BS, axis=1, keepdims=True, dtype=jnp.int32)
  order_BS = jnp.argsort(~valid_BS, axis=1, stable=True)
  after = lambda mask_BS: jnp.cumsum(mask_BS, axis=1, dtype=jnp.int32) - 1
  place_BS = jnp.where(valid_BS, after(valid_BS), counts_B1 + after(~valid_BS))
  real_BS11 = (jnp.arange(S) < counts_B1)[..., None, None]
  rows_B1 = jnp.arange(B)[:, None]
  # No place is taken twice, so the gradient needs no sums.
  taken = lambda x, where: x.at[rows_B1, where].get(unique_indices=True, mode='promise_in_bounds')
  # Zero in both directions: cuDNN may leave anything where there is no sequence.
  front = lambda x_BSNH: jnp.where(real_BS11, taken(x_BSNH, order_BS), 0)
  q_BSNH = jnp.pad(q_BTNH, ((0, 0), (start, S - start - T), (0, 0), (0, 0)))
  lengths_B = jnp.maximum(counts_B1[:, 0], 1)
  mixed_BSNH = jax.nn.dot_product_attention(
    front(q_BSNH), front(k_BKSH.swapaxes(1, 2)), front(v_BKSH.swapaxes(1, 2)), scale=scale,
    is_causal=True, query_seq_lengths=lengths_B, key_value_seq_lengths=lengths_B,
    local_window_size=None if window is None else (window - 1, 0),
    implementation='xla' if interpret else 'cudnn',
  )  # fmt: skip
  return taken(jnp.where(real_BS11, mixed_BSNH, 0), place_BS[:, start : start + T])


KERNELS = {'tpu': splash, 'gpu': flash}  # by platform
