"""Converts a GGUF file to a Hugging Face folder without torch: configuration, weights, tokenizer.

Weights are dequantized to float32 (or bfloat16) a few rows at a time and streamed into one
safetensors file, so the peak memory is far below the size of the model. `gguf_tokenizer` converts
the tokenizer.

Families: llama (SmolLM2 too), qwen2, qwen3, gemma3 (text). Split files, mixtures of experts and
vision towers are not supported. Order of this file: the public function, reading, configuration,
weights.
"""

import dataclasses
import math
import pathlib
from typing import Any

import gguf
import numpy as np

from sirl.models.files import gguf_tensors, gguf_tokenizer, weights
from sirl.models.files.gguf_tokenizer import INSTEAD

_CODES = {'float32': 'F32', 'bfloat16': 'BF16'}  # names of dtypes in safetensors


def convert(path, folder, *, dtype='float32'):
  """Writes config, weights, tokenizer and generation config of the GGUF file `path` into `folder`.

  `config.json` is written last: a folder that lacks it is not complete.

  Args: dtype: of the weights written, 'float32' or 'bfloat16'.
  Returns: the folder as a `pathlib.Path`.
  Raises: FileNotFoundError, and ValueError for a truncated or unsupported file; the message says
    what is not supported.
  """
  if dtype not in _CODES:
    raise ValueError(f'dtype={dtype!r} is not supported; choose one of {", ".join(_CODES)}')
  meta, tensors = _read(pathlib.Path(path))
  try:
    family = _family(meta)
    config = _config(family, meta, tensors) | {'dtype': dtype}
    entries = _entries(family, config, tensors)
    tokenizer, tokenizer_config, generation_config = gguf_tokenizer.read(meta, config)
  except ValueError as error:
    raise ValueError(f'{path}: {error}') from error

  folder = pathlib.Path(folder)
  folder.mkdir(parents=True, exist_ok=True)
  (folder / 'config.json').unlink(missing_ok=True)
  weights.write_json(folder / 'tokenizer.json', tokenizer)
  weights.write_json(folder / 'tokenizer_config.json', tokenizer_config)
  weights.write_json(folder / 'generation_config.json', generation_config)
  gguf_tensors.write_safetensors(folder / weights.WEIGHTS, entries, _CODES[dtype])
  weights.write_json(folder / 'config.json', config | generation_config)
  return folder


# ---------------------------------------------------------------- reading


def _read(path):
  """Metadata as a dict of plain values, and {name: gguf tensor}."""
  if not path.is_file():
    raise FileNotFoundError(f'{path} does not exist; expected a GGUF file')
  with path.open('rb') as file:
    magic = file.read(4)
  if magic != b'GGUF':
    raise ValueError(f'{path} is not a GGUF file: it starts with {magic!r}, expected {b"GGUF"!r}')
  try:
    reader = gguf.GGUFReader(path)
    meta = {name: field.contents() for name, field in reader.fields.items()}
  except (ValueError, IndexError, KeyError, OverflowError) as error:
    # The reader slices past the end of a short file, and numpy then raises an unrelated error.
    size = path.stat().st_size
    raise ValueError(
      f'{path} ({size:,} bytes) is truncated or damaged ({error}); fetch the file again'
    ) from error
  if reader.byte_order != 'I':
    raise ValueError(f'{path} has the other byte order than this machine. {INSTEAD}')
  if meta.get('split.count', 0) > 1:
    raise ValueError(
      f'{path} is one of {meta["split.count"]} split files; merge them into one file first'
    )
  return meta, {tensor.name: tensor for tensor in reader.tensors}


# ---------------------------------------------------------------- configuration

_BLOCK = {
  'attn_norm': 'input_layernorm',
  'attn_q': 'self_attn.q_proj',
  'attn_k': 'self_attn.k_proj',
  'attn_v': 'self_attn.v_proj',
  'attn_output': 'self_attn.o_proj',
  'ffn_norm': 'post_attention_layernorm',
  'ffn_gate': 'mlp.gate_proj',
  'ffn_up': 'mlp.up_proj',
  'ffn_down': 'mlp.down_proj',
}
_QK_NORM = {'attn_q_norm': 'self_attn.q_norm', 'attn_k_norm': 'self_attn.k_norm'}
_GEMMA_NORMS = {
  'ffn_norm': 'pre_feedforward_layernorm',
  'post_attention_norm': 'post_attention_layernorm',
  'post_ffw_norm': 'post_feedforward_layernorm',
}


@dataclasses.dataclass(frozen=True)
class _Family:
  """Names and layout of a model family in GGUF and in Hugging Face files."""

  name: str  # general.architecture
  model_type: str
  architecture: str
  block: dict[str, str]  # name inside a block -> Hugging Face name inside a layer
  permuted: bool = False  # rows of q and k are interleaved: a head pairs rows 2i and 2i + 1
  norm_offset: float = 0.0  # the number that the file adds to norm weights


_FAMILIES = {
  'llama': _Family('llama', 'llama', 'LlamaForCausalLM', _BLOCK, permuted=True),
  'qwen2': _Family('qwen2', 'qwen2', 'Qwen2ForCausalLM', _BLOCK),
  'qwen3': _Family('qwen3', 'qwen3', 'Qwen3ForCausalLM', _BLOCK | _QK_NORM),
  'gemma3': _Family(
    'gemma3',
    'gemma3_text',
    'Gemma3ForCausalLM',
    _BLOCK | _QK_NORM | _GEMMA_NORMS,
    norm_offset=1.0,
  ),
}


def _family(meta):
  name = meta.get('general.architecture')
  if name not in _FAMILIES:
    raise ValueError(
      f'general.architecture={name!r} is not supported; known: {", ".join(_FAMILIES)}. {INSTEAD}'
    )
  if meta.get(f'{name}.expert_count', 0):
    raise ValueError(f'{name}: mixtures of experts are not supported')
  return _FAMILIES[name]


def _config(family, meta, tensors):
  def read(key, *default) -> Any:
    value = meta.get(f'{family.name}.{key}', *default)
    if isinstance(value, list):  # some files give one number per layer
      if len(set(value)) != 1:
        raise ValueError(f'{family.name}.{key} differs between layers: {value}. {INSTEAD}')
      value = value[0]
    if value is None and not default:
      raise ValueError(
        f'the file lacks {family.name}.{key}, which the configuration needs; fetch it again'
      )
    return _short(value) if isinstance(value, float) else value

  heads, hidden = read('attention.head_count'), read('embedding_length')
  config: dict[str, Any] = {
    'architectures': [family.architecture],
    'model_type': family.model_type,
    'vocab_size': int(_tensor(tensors, 'token_embd.weight').shape[1]),  # GGUF shapes are reversed
    'hidden_size': hidden,
    'intermediate_size': read('feed_forward_length'),
    'num_hidden_layers': read('block_count'),
    'num_attention_heads': heads,
    'num_key_value_heads': read('attention.head_count_kv', heads),
    'head_dim': read('attention.key_length', read('rope.dimension_count', None) or hidden // heads),
    'max_position_embeddings': read('context_length'),
    'rms_norm_eps': read('attention.layer_norm_rms_epsilon'),
    'rope_theta': read('rope.freq_base', 10000.0),
    'hidden_act': 'silu',
    'attention_bias': family.name == 'llama' and 'blk.0.attn_q.bias' in tensors,
    'attention_dropout': 0.0,
    'tie_word_embeddings': _tied(tensors),
    'use_cache': True,
  }
  scaling = _rope_scaling(read, config, tensors)
  if scaling is not None:
    config['rope_scaling'] = scaling
  if family.name == 'gemma3':
    config |= _gemma3(read, config)
  return config


def _short(value):
  """The shortest decimal that is the same float32: 1e-05, not 9.999999747378752e-06."""
  return float(str(np.float32(value)))


def _tensor(tensors, name):
  if name not in tensors:
    raise ValueError(f'the file has no tensor {name!r}; it is not a complete language model')
  return tensors[name]


def _tied(tensors):
  head, embed = tensors.get('output.weight'), _tensor(tensors, 'token_embd.weight')
  return head is None or (
    head.tensor_type == embed.tensor_type and np.array_equal(head.data, embed.data)
  )


def _rope_scaling(read, config, tensors):
  kind = read('rope.scaling.type', 'none')
  if kind == 'linear':
    return {'rope_type': 'linear', 'factor': read('rope.scaling.factor')}
  if kind != 'none':
    raise ValueError(f'rope.scaling.type={kind!r} is not supported, only linear. {INSTEAD}')
  if 'rope_freqs.weight' in tensors:
    return _llama3_scaling(tensors['rope_freqs.weight'].data, config)
  return None


def _llama3_scaling(factors, config):
  """The scaling of Llama 3.1 in the form of config.json.

  The file holds the resulting divisors instead of the four numbers. Three of the numbers are the
  same in every model.
  """
  scaling = {
    'rope_type': 'llama3',
    'factor': float(np.max(factors)),
    'low_freq_factor': 1.0,
    'high_freq_factor': 4.0,
    'original_max_position_embeddings': 8192,
  }
  pairs = np.arange(0, config['head_dim'], 2) / config['head_dim']
  wavelengths = 2 * math.pi * config['rope_theta'] ** pairs  # tokens
  turns = 8192 / wavelengths
  smooth = np.clip((turns - 1.0) / (4.0 - 1.0), 0.0, 1.0)
  expected = 1 / ((1 - smooth) / scaling['factor'] + smooth)
  if factors.shape != expected.shape or not np.allclose(factors, expected, rtol=1e-4):
    raise ValueError(
      f'rope_freqs.weight is not the scaling of Llama 3.1, the only one known. {INSTEAD}'
    )
  return scaling


def _gemma3(read, config):
  """Config entries common to the text models of Gemma 3; the file lacks some of them."""
  layers, pattern = config['num_hidden_layers'], read('attention.sliding_window_pattern', 6)
  # Only the 27B model (62 layers) scales queries by width / heads instead of the head width.
  scalar = (
    config['hidden_size'] // config['num_attention_heads'] if layers == 62 else config['head_dim']
  )
  return {
    'hidden_activation': 'gelu_pytorch_tanh',
    'rope_theta': read('rope.freq_base', 1000000.0),
    'rope_local_base_freq': read('rope.freq_base_swa', 10000.0),
    'sliding_window': read('attention.sliding_window'),
    'layer_types': [
      'full_attention' if (layer + 1) % pattern == 0 else 'sliding_attention'
      for layer in range(layers)
    ],
    'query_pre_attn_scalar': scalar,
  }


# ---------------------------------------------------------------- weights


def _entries(family, config, tensors):
  """[(Hugging Face name, gguf tensor, row order or None, offset to subtract)] of the whole model.

  Raises: ValueError for a missing or unknown tensor.
  """
  names = {
    'token_embd.weight': 'model.embed_tokens.weight',
    'output_norm.weight': 'model.norm.weight',
  }
  for layer in range(config['num_hidden_layers']):
    for ours, theirs in family.block.items():
      names[f'blk.{layer}.{ours}.weight'] = f'model.layers.{layer}.{theirs}.weight'
    for ours, theirs in _biases(family, config).items():
      names[f'blk.{layer}.{ours}.bias'] = f'model.layers.{layer}.{theirs}.bias'
  if not config['tie_word_embeddings']:
    names['output.weight'] = 'lm_head.weight'

  unknown = sorted(set(tensors) - set(names) - {'output.weight', 'rope_freqs.weight'})
  if unknown:
    raise ValueError(
      f'{len(unknown)} tensors have no place in {family.architecture}, '
      f'the first is {unknown[0]!r}. {INSTEAD}'
    )
  for ours in names:
    _tensor(tensors, ours)
  return [
    (theirs, tensors[ours], _row_order(family, config, ours, tensors[ours]), _offset(family, ours))
    for ours, theirs in names.items()
  ]


def _biases(family, config):
  if family.name == 'qwen2':
    return {key: _BLOCK[key] for key in ('attn_q', 'attn_k', 'attn_v')}
  if config['attention_bias']:
    return {key: _BLOCK[key] for key in ('attn_q', 'attn_k', 'attn_v', 'attn_output')}
  return {}


def _offset(family, name):
  return family.norm_offset if name.endswith('norm.weight') else 0.0


def _row_order(family, config, name, tensor):
  """Row indices that bring q and k into Hugging Face's order; None where the order is the same.

  Hugging Face puts the first halves of a head's pairs before the second halves. The file holds one
  head of 6 rows as 0 3 1 4 2 5; its rows 0 2 4 1 3 5 are then 0 1 2 3 4 5.
  """
  part = name.split('.')[-2]
  if not family.permuted or part not in ('attn_q', 'attn_k'):
    return None
  heads = config['num_attention_heads' if part == 'attn_q' else 'num_key_value_heads']
  rows = heads * config['head_dim']
  if rows != tensor.shape[-1]:
    raise ValueError(
      f'{name} has {tensor.shape[-1]} rows, '
      f'expected {heads} heads x {config["head_dim"]} = {rows}. {INSTEAD}'
    )
  return np.arange(rows).reshape(heads, rows // heads // 2, 2).swapaxes(1, 2).reshape(-1)
