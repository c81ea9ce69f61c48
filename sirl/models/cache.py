"""The cache of keys and values: made, checked and written."""

import jax
import jax.numpy as jnp
from jax.sharding import PartitionSpec as Spec

from sirl.ops.platform import platform

LANES = 128  # a TPU pads the last axis of an array to a multiple of this


def heads_together(a):
  """J, the number of kv heads whose keys lie side by side in the cache, to fill a TPU's lanes.

  With H = 64 and J = 1, half of the cache's memory would be padding. Elsewhere, and for heads of
  128, J is 1. Where `tensor` of the mesh splits the heads, those of one device stay together.
  """
  if platform() != 'tpu':
    return 1
  tensor = jax.sharding.get_abstract_mesh().shape.get('tensor', 1)
  splits = a.kv_heads % tensor == 0
  fitting = [
    j
    for j in range(1, a.kv_heads + 1)
    if a.kv_heads % j == 0
    and j * a.head_width <= LANES
    and (not splits or a.kv_heads // j % tensor == 0)
  ]
  return max(fitting, default=1)


def packed_heads(q_BTKRH, k_BTKH, v_BTKH, together):
  """Queries, keys and values for a cache that has J kv heads side by side, see `heads_together`.

  A query is zero but in the features of its own kv head, so products with the keys of all J heads
  give those with its own: J times the operations, which decoding has to spare, and no transposed
  copy of the cache.
  """
  B, T, K, R, H = q_BTKRH.shape
  apart = q_BTKRH.reshape(B, T, K // together, together, R, 1, H)
  own = jnp.eye(together, dtype=q_BTKRH.dtype)[:, None, :, None]  # [J, 1, J, 1]
  q_packed = (apart * own).reshape(B, T, K // together, together * R, together * H)
  beside = lambda x: x.reshape(B, T, K // together, together * H)
  return q_packed, beside(k_BTKH), beside(v_BTKH)


def own_heads(mixed, together):
  """The features of each query's own kv head: [B, T, K / J, J * R, J * H] to [B, T, K, R, H]."""
  B, T, P, JR, JH = mixed.shape
  apart = mixed.reshape(B, T, P, together, JR // together, together, JH // together)
  own = jnp.eye(together, dtype=bool)[:, None, :, None]
  found = jnp.sum(jnp.where(own, apart, 0), axis=5)
  return found.reshape(B, T, P * together, JR // together, JH // together)


def init_cache(a, rows, slots):
  """Zeros for B rows of S slots: a tuple over layers of (keys, values), each [B, K / J, S, J * H].

  The arrays have the compute dtype. J is `heads_together`.
  """
  J = heads_together(a)
  zeros = lambda: jnp.zeros((rows, a.kv_heads // J, slots, J * a.head_width), a.dtype)
  return tuple((zeros(), zeros()) for _ in range(a.layers))


def check_shapes(tokens_BT, mask_BTS, cache, start_B):
  """Raises ValueError when tokens, mask and cache do not fit together."""
  B, T = tokens_BT.shape
  if cache is None and start_B is not None:
    raise ValueError('start_B says where in a cache tokens are written; give that cache too')
  S, more = T, ''
  if cache is not None:
    S = cache[0][0].shape[2]
    if start_B is None:
      S, more = (
        max(S + T, mask_BTS.shape[2]),
        ' or more: without start_B tokens stand after the cache',
      )
  if mask_BTS.shape != (B, T, S):
    raise ValueError(
      f'mask_BTS has shape {list(mask_BTS.shape)}, expected [B={B}, T={T}, S={S}]{more}'
    )
  if T > S:
    raise ValueError(f'{T} tokens do not fit into a cache of {S} slots; make the cache larger')


def newest(mask_BTS, window):
  """Keeps the last `window` True entries of every query: its newest keys, in whatever slots.

  mask  0 1 1 1 1 0     seen from the right  4 4 3 2 1 0     window 2 -> 0 0 0 1 1 0
  """
  if mask_BTS.shape[-1] <= window:
    return mask_BTS
  seen_BTS = jnp.cumsum(mask_BTS[..., ::-1], axis=-1, dtype=jnp.int32)[..., ::-1]
  return mask_BTS & (seen_BTS <= window)


def write(cache_BKSH, new_BKTH, start_B, slots):
  """The cache with row b's T new entries at slots start_B[b] onwards.

  If start_B is None, the entries follow those of the cache, and zeros fill it up to `slots`.
  """
  B, K, _, _ = new_BKTH.shape
  new_BKTH = new_BKTH.astype(cache_BKSH.dtype)
  if start_B is None:
    both_BKSH = jnp.concatenate([cache_BKSH, new_BKTH], axis=2)
    return jnp.pad(both_BKSH, ((0, 0), (0, 0), (0, slots - both_BKSH.shape[2]), (0, 0)))
  if start_B.ndim == 0:  # the same slot for all rows
    if platform() != 'cpu':  # a TPU would transpose the whole cache for a scatter
      return jax.lax.dynamic_update_slice(cache_BKSH, new_BKTH, (0, 0, start_B, 0))
    start_B = jnp.broadcast_to(start_B, (B,))  # a CPU would copy the whole cache for a slice
  put, heads = _put, Spec(None, 'tensor')
  mesh = jax.sharding.get_abstract_mesh()
  free = 'tensor' not in mesh.manual_axes and mesh.shape.get('tensor', 1) > 1
  if free and K % mesh.shape['tensor'] == 0:  # the compiler would gather all heads
    put = jax.shard_map(
      _put, in_specs=(heads, heads, Spec()), out_specs=heads, axis_names={'tensor'}, check_vma=False
    )
  return put(cache_BKSH, new_BKTH, start_B)


def _put(cache_BKSH, new_BKTH, start_B):
  """The entries at each row's own slots."""
  B, K, T, _ = new_BKTH.shape
  # Indexed by row, head and slot. XLA turns a single update into a slice, and with one row it would
  # copy the whole cache around it. A TPU would write slices of several slots in a loop over rows.
  if T == 1:  # the same, which a CPU writes faster
    at = cache_BKSH.at[jnp.arange(B)[:, None], jnp.arange(K), start_B[:, None]]
    return at.set(new_BKTH[:, :, 0], unique_indices=True, mode='promise_in_bounds')
  slots_BT = jnp.minimum(start_B, cache_BKSH.shape[2] - T)[:, None] + jnp.arange(T)
  at = cache_BKSH.at[jnp.arange(B)[:, None, None], jnp.arange(K)[:, None], slots_BT[:, None]]
  return at.set(new_BKTH, unique_indices=True, mode='promise_in_bounds')
