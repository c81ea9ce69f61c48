"""One decoder for Llama, SmolLM2, Qwen2, Qwen2.5, Qwen3, Gemma 2 and Gemma 3 text.

Read it top down: `Architecture` lists how the families differ, `Decoder` is the whole forward pass,
`Block` is one layer, and the parts of a layer follow. The caller gives the mask and the positions;
no code here uses columns, padding or pad ids.

Letters: B rows, T query positions, S source positions, D width, N query heads = K kv heads * R, H
head width, F ffw width, V vocabulary. Weights are stored (out, in), as in Hugging Face files.
"""

import dataclasses
import math

import jax
import jax.numpy as jnp
from flax import nnx

from sirl import ranges
from sirl.models import attention, rope, stack
from sirl.models.cache import check_shapes, own_heads, packed_heads, write
from sirl.models.product import product
from sirl.ops.prefill import Causal
from sirl.runtime import sharding

DTYPES = ('float32', 'bfloat16', 'float16')
ACTIVATIONS = {
  'silu': jax.nn.silu,
  'gelu_tanh': lambda x: jax.nn.gelu(x, approximate=True),
}


@dataclasses.dataclass(frozen=True, kw_only=True)
class Architecture:
  """All settings in which decoders differ. Hashable and JSON-friendly.

  Raises: ValueError for contradictory settings.
  """

  vocab: int  # V, rows of the embedding; may exceed the tokenizer's ids
  width: int  # D
  layers: int
  heads: int  # N
  kv_heads: int  # K
  head_width: int  # H; need not be D / N
  ffw: int  # F
  context: int = 8192  # positions the weights were trained for; recorded, not enforced
  norm_eps: float = 1e-6
  rope_theta: float = 10_000.0
  rope_scaling: rope.Scaling | None = None
  activation: str = 'silu'  # of the gate; a key of ACTIVATIONS
  tied: bool = True  # the embedding is also the head
  qkv_bias: bool = False  # Qwen2
  qk_norm: bool = False  # RMSNorm on every query and key head: Qwen3, Gemma 3
  # RMSNorm also on what attention and ffw add to the residual stream: Gemma
  post_norms: bool = False
  norm_plus_one: bool = False  # norms multiply by 1 + weight: Gemma
  embed_scale: float = 1.0  # Gemma: sqrt(D)
  query_scale: int | None = None  # scores are divided by sqrt(query_scale); None: head_width
  attention_softcap: float | None = None  # scores become cap * tanh(scores / cap): Gemma 2
  logit_softcap: float | None = None  # Gemma 2
  # number of newest keys that a local layer sees, the token itself included
  sliding_window: int | None = None
  local_layers: tuple[int, ...] = ()  # indices of the layers with a sliding window
  # rope_theta of local layers, without scaling; None: as in the other layers. Gemma 3
  rope_local_theta: float | None = None
  value_head: bool = False  # adds one scalar output per position
  dtype: str = 'float32'  # of the computation; params, norms, softmax and logits stay float32
  remat: str = 'none'  # a key of `stack.REMAT`

  def __post_init__(self):
    for name in ('vocab', 'width', 'layers', 'heads', 'kv_heads', 'head_width', 'ffw', 'context'):
      ranges.whole(name, getattr(self, name))
    if self.heads % self.kv_heads:
      raise ValueError(
        f'heads={self.heads} cannot be shared evenly by kv_heads={self.kv_heads}; '
        f'choose a divisor of {self.heads}'
      )
    if self.head_width % 2:
      raise ValueError(
        f'head_width={self.head_width} is odd, but rotary embedding turns pairs; choose an even one'
      )
    if self.local_layers and not self.sliding_window:
      raise ValueError(
        f'local_layers={self.local_layers} need a window; '
        f'set sliding_window to a positive number of tokens'
      )
    if any(not 0 <= layer < self.layers for layer in self.local_layers):
      raise ValueError(
        f'local_layers={self.local_layers} must be indices below layers={self.layers}'
      )
    for name, known in (('activation', ACTIVATIONS), ('dtype', DTYPES), ('remat', stack.REMAT)):
      if getattr(self, name) not in known:
        raise ValueError(
          f'{name}={getattr(self, name)!r} is unknown; expected one of {", ".join(known)}'
        )


class Decoder(nnx.Module):
  """Tokens -> hidden states -> logits.

  `constrain` is applied to the residual stream [B, T, D] after the embedding and after every layer.
  If weights are sharded over a mesh, it must pin the activations' sharding; otherwise the compiler
  shards features and reduces activations. By default it is the identity.
  """

  def __init__(self, architecture: Architecture, *, constrain=None):
    a = architecture
    self.architecture = a
    self.constrain = constrain or (lambda x_BTD: x_BTD)
    self.embed = Embedding(a)
    self.layers = nnx.List([Block(a, local=i in a.local_layers) for i in range(a.layers)])
    shapes = jax.tree.map(jnp.shape, nnx.split(self.layers[0])[1])
    self.layer_shapes = tuple(jax.tree.leaves(shapes, is_leaf=lambda x: isinstance(x, tuple)))
    self.final_norm = RMSNorm(a.width, a)
    self.head = None if a.tied else Linear(a.width, a.vocab, a)
    self.value_head = Linear(a.width, 1, a, bias=True, std=0.0) if a.value_head else None

  def hidden(self, tokens_BT, positions_BT, mask_BTS, cache=None, start_B=None):
    """Hidden states after the final norm, and the keys and values.

    Args:
      tokens_BT: int [B, T].
      positions_BT: int [B, T], the number of real tokens before each token, not its column.
      mask_BTS: a `prefill.Causal`, or bool [B, T, S], True where query t may see source s, itself
        included. The sources that a row may see must be in the order of their positions along S. A
        query that may see nothing gives finite numbers without meaning.
      cache: None: S = T, and the tokens attend to one another. Otherwise a tuple over layers of
        (keys, values), each [B, K, slots, H], or with heads side by side, see
        `cache.heads_together`.
      start_B: int [B], int [] if all rows have the same, or None; used with a cache. If given, the
        cache has S slots; row b's T tokens are written to slots start_B[b] .. start_B[b] + T - 1
        and attend over all S. The caller must ensure start_B[b] + T <= S, which cannot be checked
        under jit. If None, the tokens follow the slots of the cache, and empty slots fill it up to
        S. If the caller does not use the wider cache, remat stores none.

    Returns: x_BTD in the compute dtype, and the cache with the tokens written. Without a cache, the
      returned one holds exactly the tokens (S = T).
    Raises: ValueError when shapes do not fit.
    """
    a = self.architecture
    check_shapes(tokens_BT, mask_BTS, cache, start_B)
    mask_BTS = attention.chosen(mask_BTS, a)
    rotation = rope.rotation(positions_BT, a.head_width, a.rope_theta, a.rope_scaling)
    local_rotation = rotation
    if a.local_layers and a.rope_local_theta is not None:
      local_rotation = rope.rotation(positions_BT, a.head_width, a.rope_local_theta, None)
    local_mask_BTS = attention.near(mask_BTS, a) if a.local_layers else mask_BTS
    views = (rotation, mask_BTS), (local_rotation, local_mask_BTS)

    x_BTD = self.constrain(self.embed(tokens_BT))
    through = self.layers, x_BTD, views, cache, start_B, self.constrain
    by_device = 'fsdp' in jax.sharding.get_abstract_mesh().manual_axes
    whole = self.layer_shapes if by_device else None
    decoding = start_B is not None  # no gradients then, and the cache is written in place
    if a.remat == 'none' or decoding:
      x_BTD, cache = stack.written_out(*through, whole)
    else:
      x_BTD, cache = stack.looped(*through, a.remat, whole)
    return self.final_norm(x_BTD), cache

  def unembed(self, x):
    """Logits, float32 [..., V], of hidden states [..., D]."""
    weight_VD = self.embed.weight if self.head is None else self.head.weight
    logits = product(x, weight_VD[...], jnp.float32)
    return attention.capped(logits, self.architecture.logit_softcap)

  def value(self, x):
    """float32 [...] of hidden states [..., D]; needs architecture.value_head."""
    if self.value_head is None:
      raise ValueError('this architecture has no value head; build it with value_head=True')
    return self.value_head(x, jnp.float32)[..., 0]


class Block(nnx.Module):
  """Pre-norm attention and gated ffw, each added to the residual stream."""

  def __init__(self, a: Architecture, *, local):
    self.local = local
    self.attention_norm = RMSNorm(a.width, a)
    self.attention = Attention(a)
    self.attention_post_norm = RMSNorm(a.width, a) if a.post_norms else None
    self.mlp_norm = RMSNorm(a.width, a)
    self.mlp = MLP(a)
    self.mlp_post_norm = RMSNorm(a.width, a) if a.post_norms else None

  def __call__(self, x_BTD, rotation, mask_BTS, cache, start_B):
    added_BTD, cache = self.attention(
      self.attention_norm(x_BTD), rotation, mask_BTS, cache, start_B
    )
    if self.attention_post_norm is not None:
      added_BTD = self.attention_post_norm(added_BTD)
    x_BTD = x_BTD + added_BTD

    added_BTD = self.mlp(self.mlp_norm(x_BTD))
    if self.mlp_post_norm is not None:
      added_BTD = self.mlp_post_norm(added_BTD)
    return x_BTD + added_BTD, cache


class Attention(nnx.Module):
  """Grouped-query attention: R = N / K query heads share one kv head, without copies of it."""

  def __init__(self, a: Architecture):
    self.architecture = a
    queries, keys = a.heads * a.head_width, a.kv_heads * a.head_width
    self.q = Linear(a.width, queries, a, bias=a.qkv_bias)
    self.k = Linear(a.width, keys, a, bias=a.qkv_bias)
    self.v = Linear(a.width, keys, a, bias=a.qkv_bias)
    self.o = Linear(queries, a.width, a, std=residual_std(queries, a))
    self.q_norm = RMSNorm(a.head_width, a) if a.qk_norm else None
    self.k_norm = RMSNorm(a.head_width, a) if a.qk_norm else None

  def __call__(self, x_BTD, rotation, mask_BTS, cache, start_B):
    a = self.architecture
    B, T, _ = x_BTD.shape
    heads = lambda x, n: sharding.whole_heads(x, n).reshape(B, T, n, a.head_width)
    q_BTNH = heads(self.q(x_BTD), a.heads)
    k_BTKH, v_BTKH = heads(self.k(x_BTD), a.kv_heads), heads(self.v(x_BTD), a.kv_heads)
    if self.q_norm is not None and self.k_norm is not None:
      q_BTNH, k_BTKH = self.q_norm(q_BTNH), self.k_norm(k_BTKH)
    q_BTNH, k_BTKH = rope.rotate(q_BTNH, rotation), rope.rotate(k_BTKH, rotation)

    q_BTKRH = q_BTNH.reshape(B, T, a.kv_heads, a.heads // a.kv_heads, a.head_width)
    together = 1 if cache is None else cache[0].shape[-1] // a.head_width
    if together > 1:
      q_BTKRH, k_BTKH, v_BTKH = packed_heads(q_BTKRH, k_BTKH, v_BTKH, together)
    k_BKSH, v_BKSH = k_BTKH.swapaxes(1, 2), v_BTKH.swapaxes(1, 2)
    if cache is not None:
      S = mask_BTS.shape[-1]
      k_BKSH, v_BKSH = write(cache[0], k_BKSH, start_B, S), write(cache[1], v_BKSH, start_B, S)

    divide = math.sqrt(a.query_scale or a.head_width)
    if isinstance(mask_BTS, Causal):
      mixed = attention.blocked(
        q_BTNH, k_BKSH, v_BKSH, mask_BTS, scale=1 / divide, softcap=a.attention_softcap
      )
    else:
      mixed = attention.plain(
        q_BTKRH, k_BKSH, v_BKSH, mask_BTS, divide=divide, softcap=a.attention_softcap
      )
      if together > 1:
        mixed = own_heads(mixed, together)
    return self.o(mixed.reshape(B, T, a.heads * a.head_width)), (k_BKSH, v_BKSH)


class MLP(nnx.Module):
  """down(activation(gate(x)) * up(x)). Source: Shazeer 2020, arXiv 2002.05202."""

  def __init__(self, a: Architecture):
    self.activation = ACTIVATIONS[a.activation]
    self.gate = Linear(a.width, a.ffw, a)
    self.up = Linear(a.width, a.ffw, a)
    self.down = Linear(a.ffw, a.width, a, std=residual_std(a.ffw, a))

  def __call__(self, x_BTD):
    # Rows, because a TPU's compiler joins the activation to the products only without a reshape.
    x_RD = x_BTD.reshape(-1, x_BTD.shape[-1])
    return self.down(self.activation(self.gate(x_RD)) * self.up(x_RD)).reshape(x_BTD.shape)


class RMSNorm(nnx.Module):
  """x / rms(x) * weight over the last axis, in float32."""

  def __init__(self, width, a: Architecture):
    self.eps, self.plus_one, self.dtype = a.norm_eps, a.norm_plus_one, a.dtype
    self.weight = nnx.Param(jnp.full(width, 0.0 if a.norm_plus_one else 1.0, jnp.float32))

  def __call__(self, x):
    x = x.astype(jnp.float32)
    x = x * jax.lax.rsqrt(jnp.mean(jnp.square(x), axis=-1, keepdims=True) + self.eps)
    weight = self.weight[...].astype(jnp.float32)
    return (x * (1.0 + weight if self.plus_one else weight)).astype(self.dtype)


class Embedding(nnx.Module):
  """The rows of weight [V, D] for the token ids, times the scale of the family."""

  def __init__(self, a: Architecture):
    self.scale, self.dtype = a.embed_scale, a.dtype
    self.weight = noise((a.vocab, a.width), EMBED_STD)

  def __call__(self, tokens_BT):
    x_BTD = self.weight[...][tokens_BT].astype(self.dtype)
    return x_BTD * jnp.asarray(self.scale, self.dtype)


class Linear(nnx.Module):
  """x weight^T + bias with weight (out, in): the layout of the files, and faster on a CPU."""

  def __init__(self, inputs, outputs, a: Architecture, *, bias=False, std=None):
    self.dtype = a.dtype
    std = 1 / math.sqrt(inputs) if std is None else std
    self.weight = noise((outputs, inputs), std)
    self.bias = nnx.Param(jnp.zeros(outputs)) if bias else None

  def __call__(self, x, dtype=None):
    dtype = dtype or self.dtype
    y = product(x, self.weight[...], dtype)
    return y if self.bias is None else y + self.bias[...].astype(dtype)


def noise(shape, std):
  """A parameter that `functional` fills with normal noise of standard deviation std.

  One draw fills all parameters, which compiles fast.
  """
  return nnx.Param(jnp.zeros(shape), std=std)


EMBED_STD = 0.02  # small against the layers; nearly uniform first predictions when tied


def residual_std(inputs, a):
  """1 / sqrt(inputs * n), with n = 2 * layers additions to the residual stream (GPT-2)."""
  return 1 / math.sqrt(inputs * 2 * a.layers)
