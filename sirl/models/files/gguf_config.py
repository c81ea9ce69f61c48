"""The metadata of a GGUF file as a config.json.

llama.cpp computes by more keys than this decoder. The gguf package lists them: a key of that list
that is not read here is refused unless its value is neutral, and any other key is warned about by
name. Names of keys follow after the family's, as in 'llama.rope.freq_base'.
"""

import dataclasses
import logging
import math
from typing import Any

import gguf
import numpy as np

from sirl.models.files.gguf_tokenizer import INSTEAD

log = logging.getLogger(__name__)

BLOCK = {
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
QK_NORM = {'attn_q_norm': 'self_attn.q_norm', 'attn_k_norm': 'self_attn.k_norm'}
GEMMA_NORMS = {
  'ffn_norm': 'pre_feedforward_layernorm',
  'post_attention_norm': 'post_attention_layernorm',
  'post_ffw_norm': 'post_feedforward_layernorm',
}


@dataclasses.dataclass(frozen=True)
class Family:
  """Names and layout of a model family in GGUF and in Hugging Face files."""

  name: str  # general.architecture
  model_type: str
  architecture: str
  block: dict[str, str]  # name inside a block -> Hugging Face name inside a layer
  permuted: bool = False  # rows of q and k are interleaved: a head pairs rows 2i and 2i + 1
  norm_offset: float = 0.0  # the number that the file adds to norm weights


FAMILIES = {
  'llama': Family('llama', 'llama', 'LlamaForCausalLM', BLOCK, permuted=True),
  'qwen2': Family('qwen2', 'qwen2', 'Qwen2ForCausalLM', BLOCK),
  'qwen3': Family('qwen3', 'qwen3', 'Qwen3ForCausalLM', BLOCK | QK_NORM),
  'gemma3': Family(
    'gemma3',
    'gemma3_text',
    'Gemma3ForCausalLM',
    BLOCK | QK_NORM | GEMMA_NORMS,
    norm_offset=1.0,
  ),
}

READ = {
  'context_length', 'embedding_length', 'feed_forward_length', 'block_count',
  'attention.head_count', 'attention.head_count_kv', 'attention.key_length',
  'attention.layer_norm_rms_epsilon', 'rope.freq_base', 'rope.scaling.type', 'rope.scaling.factor',
  'rope.scale_linear',  # of older files
  # checked against the width of a head
  'attention.value_length', 'attention.key_length_swa', 'attention.value_length_swa',
  'rope.dimension_count', 'rope.dimension_count_swa',
}  # fmt: skip
READ_BY = {
  'gemma3': {
    'attention.sliding_window', 'attention.sliding_window_pattern', 'rope.freq_base_swa',
    'final_logit_softcapping',
  },
}  # fmt: skip
HARMLESS = {
  'vocab_size',  # the embedding has the rows
  'tensor_data_layout',  # of q and k, the same in all files
  'rope.scaling.original_context_length', 'rope.scaling.finetuned',  # only yarn reads them
}  # fmt: skip
OFF = (0, False)  # what switches off most keys
NEUTRAL = {  # other values by which nothing changes
  'attention.causal': (True,),
  'logit_scale': (0, 1), 'residual_scale': (0, 1), 'embedding_scale': (0, 1),
  'rope.scaling.attn_factor': (1,), 'rope.scaling.yarn_attn_factor': (1,),
}  # fmt: skip
OTHER_MODELS = ('adapter.', 'clip.', 'diffusion.', 'xielu.')
NO_NUMBERS = ('general.', 'tokenizer.', 'split.', 'quantize.', 'GGUF.')  # descriptions, tokenizer


def family_of(meta):
  """The Family of a file's metadata. Raises ValueError for a file that is no model of one."""
  kind, name = meta.get('general.type', 'model'), meta.get('general.architecture')
  if kind != 'model':
    raise ValueError(f'general.type={kind!r}; expected a file of type model. {INSTEAD}')
  if name not in FAMILIES:
    raise ValueError(
      f'general.architecture={name!r} is not supported; known: {", ".join(FAMILIES)}. {INSTEAD}'
    )
  return FAMILIES[name]


def check_keys(family, meta):
  """Raises ValueError for a key that llama.cpp computes by and this decoder does not.

  Warns about keys that the gguf package does not know either.
  """
  known, prefix, unknown = computed_by_llama_cpp(), f'{family.name}.', []
  ignored = READ | READ_BY.get(family.name, set()) | HARMLESS
  for name, value in meta.items():
    key = name.removeprefix(prefix)
    if name.startswith(OTHER_MODELS):
      raise ValueError(f'{name}={value!r} belongs to another kind of model. {INSTEAD}')
    if name.startswith(NO_NUMBERS) or key in ignored:
      continue
    wide = key == 'attention.sliding_window' and value >= meta.get(f'{prefix}context_length', 0)
    if not name.startswith(prefix) or key not in known:
      unknown.append(name)
    elif value not in NEUTRAL.get(key, OFF) and not wide:
      raise ValueError(
        f'{name}={value!r} changes the computation and is not supported for {family.name}. '
        f'{INSTEAD}'
      )
  if unknown:
    log.warning(
      'the GGUF file has keys that are not known here and are ignored: %s; check that none of them '
      'changes the computation',
      ', '.join(sorted(unknown)),
    )


def computed_by_llama_cpp(keys=gguf.Keys):
  """Names of the keys that the gguf package lists for the numbers of a model."""
  names = set()
  for name, value in vars(keys).items():
    if isinstance(value, type) and not name.startswith('_'):
      names |= computed_by_llama_cpp(value)
    elif isinstance(value, str) and value.startswith('{arch}.'):
      names.add(value.removeprefix('{arch}.'))
  return names


def read(family, meta, tensors):
  """The config.json, as a dict. Raises ValueError for a key that is missing or not supported."""
  check_keys(family, meta)

  def number(key, *default) -> Any:
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

  heads, hidden = number('attention.head_count'), number('embedding_length')
  config: dict[str, Any] = {
    'architectures': [family.architecture],
    'model_type': family.model_type,
    'vocab_size': int(tensor(tensors, 'token_embd.weight').shape[1]),  # GGUF shapes are reversed
    'hidden_size': hidden,
    'intermediate_size': number('feed_forward_length'),
    'num_hidden_layers': number('block_count'),
    'num_attention_heads': heads,
    'num_key_value_heads': number('attention.head_count_kv', heads),
    'head_dim': number('attention.key_length', hidden // heads),
    'max_position_embeddings': number('context_length'),
    'rms_norm_eps': number('attention.layer_norm_rms_epsilon'),
    'rope_theta': number('rope.freq_base', 10000.0),
    'hidden_act': 'silu',
    'attention_bias': False,
    'attention_dropout': 0.0,
    'tie_word_embeddings': _tied(tensors),
    'use_cache': True,
  }
  _check_widths(family, number, config['head_dim'])
  scaling = _rope_scaling(family, number, config, tensors)
  if scaling is not None:
    config['rope_scaling'] = scaling
  if family.name == 'gemma3':
    config |= _gemma3(number, config)
  return config


def _check_widths(family, number, head_dim):
  """Raises ValueError unless all heads are equally wide and turned as a whole."""
  for key in ('attention.value_length', 'attention.key_length_swa', 'attention.value_length_swa',
              'rope.dimension_count', 'rope.dimension_count_swa'):  # fmt: skip
    width = number(key, head_dim)
    if width != head_dim:
      raise ValueError(
        f'{family.name}.{key}={width} is not supported: heads are {head_dim} wide, and their '
        f'values and rotary embedding must be as wide. {INSTEAD}'
      )


def _short(value):
  """The shortest decimal that is the same float32: 1e-05, not 9.999999747378752e-06."""
  return float(str(np.float32(value)))


def tensor(tensors, name):
  """tensors[name]. Raises ValueError if the file lacks it."""
  if name not in tensors:
    raise ValueError(f'the file has no tensor {name!r}; it is not a complete language model')
  return tensors[name]


def _tied(tensors):
  head, embed = tensors.get('output.weight'), tensor(tensors, 'token_embd.weight')
  return head is None or (
    head.tensor_type == embed.tensor_type and np.array_equal(head.data, embed.data)
  )


def _rope_scaling(family, number, config, tensors):
  """The rope_scaling of config.json, or None. As in llama.cpp, a factor without a type is linear."""
  kind, factor = number('rope.scaling.type', 'linear'), number('rope.scaling.factor', 0)
  factor = factor or number('rope.scale_linear', 0) or 1
  freqs = tensors.get('rope_freqs.weight') if family.name == 'llama' else None
  if kind not in ('none', 'linear'):
    raise ValueError(f'rope.scaling.type={kind!r} is not supported, only linear. {INSTEAD}')
  if kind == 'linear' and factor != 1:
    if freqs is not None:
      raise ValueError(
        f'rope.scaling.factor={factor} and rope_freqs.weight together are not supported. {INSTEAD}'
      )
    return {'rope_type': 'linear', 'factor': factor}
  return None if freqs is None else _llama3_scaling(freqs.data, config)


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


def _gemma3(number, config):
  """Config entries common to the text models of Gemma 3; the file lacks some of them."""
  layers, pattern = config['num_hidden_layers'], number('attention.sliding_window_pattern', 6)
  if isinstance(pattern, bool) or not isinstance(pattern, int) or pattern < 1:
    raise ValueError(
      f'gemma3.attention.sliding_window_pattern={pattern!r} is not supported; expected the number '
      f'of layers from one full attention to the next. {INSTEAD}'
    )
  # Only the 27B model (62 layers) scales queries by width / heads instead of the head width.
  scalar = (
    config['hidden_size'] // config['num_attention_heads'] if layers == 62 else config['head_dim']
  )
  return {
    'hidden_activation': 'gelu_pytorch_tanh',
    'rope_theta': number('rope.freq_base', 1000000.0),
    'rope_local_base_freq': number('rope.freq_base_swa', 10000.0),
    'sliding_window': number('attention.sliding_window'),
    'final_logit_softcapping': number('final_logit_softcapping', 0) or None,
    'layer_types': [
      'full_attention' if (layer + 1) % pattern == 0 else 'sliding_attention'
      for layer in range(layers)
    ],
    'query_pre_attn_scalar': scalar,
  }
