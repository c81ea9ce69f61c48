"""Published architectures by name, and small ones to train from scratch.

`toy` learns small procedural tasks on a laptop. `tiny` and `small` are sizes for measurements. The
others have the numbers of the published config files.
"""

import dataclasses
import difflib

from sirl.models.rope import Scaling
from sirl.models.transformer import Architecture


def preset(name, **changes):
  """The named architecture with changed fields: preset('toy', vocab=codec.vocab, value_head=True).

  Raises: ValueError for an unknown name or field; it suggests the nearest known one.
  """
  if name not in PRESETS:
    raise ValueError(
      f'unknown preset {name!r}{nearest(name, PRESETS)}; known: {", ".join(PRESETS)}'
    )
  fields = [field.name for field in dataclasses.fields(Architecture)]
  for field in changes:
    if field not in fields:
      raise ValueError(
        f'an architecture has no field {field!r}{nearest(field, fields)}; '
        f'known: {", ".join(fields)}'
      )
  return dataclasses.replace(PRESETS[name], **changes)


def nearest(word, words):
  """', did you mean ...?' for a misspelt word, or ''."""
  matches = difflib.get_close_matches(word, list(words), n=1, cutoff=0.4)
  return f', did you mean {matches[0]!r}?' if matches else ''


def llama(*, width, layers, heads, kv_heads, ffw, head_width=64, norm_eps=1e-5, **rest):
  """An architecture of the Llama family."""
  return Architecture(
    width=width,
    layers=layers,
    heads=heads,
    kv_heads=kv_heads,
    head_width=head_width,
    ffw=ffw,
    norm_eps=norm_eps,
    **rest,
  )


def llama3(factor, **numbers):
  """An architecture of the Llama 3.x families, with their frequency scaling."""
  scaling = Scaling(kind='llama3', factor=factor, original_context=8192)
  return llama(
    vocab=128_256, rope_theta=500_000.0, rope_scaling=scaling, context=131_072, **numbers
  )


def qwen2(*, vocab=151_936, context=32_768, **numbers):
  """An architecture of the Qwen2 and Qwen2.5 families."""
  return llama(
    vocab=vocab, context=context, rope_theta=1e6, norm_eps=1e-6, qkv_bias=True, **numbers
  )


def qwen3(**numbers):
  """An architecture of the Qwen3 family."""
  return llama(
    vocab=151_936,
    context=40_960,
    rope_theta=1e6,
    norm_eps=1e-6,
    qk_norm=True,
    head_width=128,
    **numbers,
  )


def gemma3(*, width, layers, heads, kv_heads, ffw):
  """An architecture of the Gemma 3 text family: every sixth layer is global, the others local."""
  return Architecture(
    vocab=262_144,
    width=width,
    layers=layers,
    heads=heads,
    kv_heads=kv_heads,
    head_width=256,
    ffw=ffw,
    context=32_768,
    norm_eps=1e-6,
    rope_theta=1e6,
    rope_local_theta=1e4,
    activation='gelu_tanh',
    qk_norm=True,
    post_norms=True,
    norm_plus_one=True,
    embed_scale=width**0.5,
    query_scale=256,
    sliding_window=512,
    local_layers=tuple(i for i in range(layers) if (i + 1) % 6),
  )


PRESETS = {
  'toy': llama(
    vocab=260, width=128, layers=3, heads=4, kv_heads=2, head_width=32, ffw=384, context=1024
  ),
  'tiny': llama(vocab=512, width=256, layers=4, heads=4, kv_heads=4, ffw=704, context=2048),
  'small': llama(vocab=8192, width=512, layers=8, heads=8, kv_heads=4, ffw=1408, context=4096),
  'smollm2-135m': llama(
    vocab=49_152, width=576, layers=30, heads=9, kv_heads=3, ffw=1536, rope_theta=1e5
  ),
  'smollm2-360m': llama(
    vocab=49_152, width=960, layers=32, heads=15, kv_heads=5, ffw=2560, rope_theta=1e5
  ),
  'smollm2-1.7b': llama(
    vocab=49_152, width=2048, layers=24, heads=32, kv_heads=32, ffw=8192, rope_theta=1.3e5
  ),
  'llama3.2-1b': llama3(32.0, width=2048, layers=16, heads=32, kv_heads=8, ffw=8192),
  'llama3.2-3b': llama3(
    32.0, width=3072, layers=28, heads=24, kv_heads=8, ffw=8192, head_width=128
  ),
  'llama3.1-8b': llama3(
    8.0, width=4096, layers=32, heads=32, kv_heads=8, ffw=14_336, head_width=128, tied=False
  ),
  'llama3.1-70b': llama3(
    8.0, width=8192, layers=80, heads=64, kv_heads=8, ffw=28_672, head_width=128, tied=False
  ),
  'qwen2.5-0.5b': qwen2(width=896, layers=24, heads=14, kv_heads=2, ffw=4864),
  'qwen2.5-1.5b': qwen2(width=1536, layers=28, heads=12, kv_heads=2, ffw=8960, head_width=128),
  'qwen2.5-3b': qwen2(width=2048, layers=36, heads=16, kv_heads=2, ffw=11_008, head_width=128),
  'qwen2.5-7b': qwen2(
    vocab=152_064,
    width=3584,
    layers=28,
    heads=28,
    kv_heads=4,
    ffw=18_944,
    head_width=128,
    tied=False,
  ),
  'qwen3-0.6b': qwen3(width=1024, layers=28, heads=16, kv_heads=8, ffw=3072),
  'qwen3-1.7b': qwen3(width=2048, layers=28, heads=16, kv_heads=8, ffw=6144),
  'qwen3-4b': qwen3(width=2560, layers=36, heads=32, kv_heads=8, ffw=9728),
  'qwen3-8b': qwen3(width=4096, layers=36, heads=32, kv_heads=8, ffw=12_288, tied=False),
  'gemma3-270m': gemma3(width=640, layers=18, heads=4, kv_heads=1, ffw=2048),
  'gemma3-1b': gemma3(width=1152, layers=26, heads=4, kv_heads=1, ffw=6912),
}
