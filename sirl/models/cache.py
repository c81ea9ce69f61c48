"""The cache of keys and values: made, checked and written."""

import jax
import jax.numpy as jnp


def init_cache(a, rows, slots):
  """Zeros for B rows of S slots: a tuple over layers of (keys, values), each [B, K, S, H].

  The arrays have the compute dtype.
  """
  zeros = lambda: jnp.zeros((rows, a.kv_heads, slots, a.head_width), a.dtype)
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
  B, K, T, _ = new_BKTH.shape
  new_BKTH = new_BKTH.astype(cache_BKSH.dtype)
  if start_B is None:
    both_BKSH = jnp.concatenate([cache_BKSH, new_BKTH], axis=2)
    return jnp.pad(both_BKSH, ((0, 0), (0, 0), (0, slots - both_BKSH.shape[2]), (0, 0)))
  if T == 1:
    # Indexed by row and head. XLA turns a single update into a slice, and with one row it would
    # copy the whole cache around it.
    slots = cache_BKSH.at[jnp.arange(B)[:, None], jnp.arange(K), start_B[:, None]]
    return slots.set(new_BKTH[:, :, 0], unique_indices=True, mode='promise_in_bounds')
  put = lambda cache_KSH, new_KTH, start: jax.lax.dynamic_update_slice(
    cache_KSH, new_KTH, (0, start, 0)
  )
  return jax.vmap(put)(cache_BKSH, new_BKTH, start_B)
