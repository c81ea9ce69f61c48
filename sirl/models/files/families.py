"""Translates between Hugging Face's names and ours, in both directions.

`Architecture` corresponds to config.json, and paths of params to tensor names. Tables list what
each family implies, how its config names our fields, and how its tensors are named. Rotary
embeddings are read in both forms, `rope_parameters` (transformers 5) and `rope_theta` with
`rope_scaling` (before), and written in the first.
"""

import dataclasses

from sirl.models.rope import Scaling
from sirl.models.transformer import Architecture

GEMMA = {
  'activation': 'gelu_tanh',
  'post_norms': True,
  'norm_plus_one': True,
}
FAMILIES = {  # model_type -> fields that the family implies and its config does not contain
  'llama': {},
  'qwen2': {'qkv_bias': True},
  'qwen3': {'qk_norm': True},
  'gemma2': GEMMA,
  'gemma3_text': GEMMA | {'qk_norm': True},
}
CLASSES = {
  'llama': 'LlamaForCausalLM',
  'qwen2': 'Qwen2ForCausalLM',
  'qwen3': 'Qwen3ForCausalLM',
  'gemma2': 'Gemma2ForCausalLM',
  'gemma3_text': 'Gemma3ForCausalLM',
}
ACTIVATIONS = {'silu': 'silu', 'gelu_pytorch_tanh': 'gelu_tanh'}
NUMBERS = {  # ours -> theirs, in every family
  'vocab': 'vocab_size',
  'width': 'hidden_size',
  'layers': 'num_hidden_layers',
  'heads': 'num_attention_heads',
  'kv_heads': 'num_key_value_heads',
  'head_width': 'head_dim',
  'ffw': 'intermediate_size',
  'context': 'max_position_embeddings',
  'norm_eps': 'rms_norm_eps',
  'tied': 'tie_word_embeddings',
}
SCALING = {  # ours -> theirs, in rope_parameters
  'factor': 'factor',
  'original_context': 'original_max_position_embeddings',
  'low_frequency': 'low_freq_factor',
  'high_frequency': 'high_freq_factor',
  'beta_fast': 'beta_fast',
  'beta_slow': 'beta_slow',
  'attention_factor': 'attention_factor',
  'truncate': 'truncate',
}
SCALING_USED = {
  'linear': ('factor',),
  'llama3': ('factor', 'original_context', 'low_frequency', 'high_frequency'),
  'yarn': ('factor', 'original_context', 'beta_fast', 'beta_slow', 'attention_factor', 'truncate'),
}
UNSUPPORTED = {  # key of a config -> the only values for which our decoder is right
  'attention_bias': (None, False),
  'mlp_bias': (None, False),
  'use_bidirectional_attention': (None, False),
  'quantization_config': (None,),
  'partial_rotary_factor': (None, 1, 1.0),
}
OURS_ALONE = ('value_head', 'dtype', 'remat')  # not in the config of any family
TAILS = {  # our name inside a layer -> theirs
  'attention_norm': 'input_layernorm',
  'attention.q': 'self_attn.q_proj',
  'attention.k': 'self_attn.k_proj',
  'attention.v': 'self_attn.v_proj',
  'attention.o': 'self_attn.o_proj',
  'attention.q_norm': 'self_attn.q_norm',
  'attention.k_norm': 'self_attn.k_norm',
  'mlp_norm': 'post_attention_layernorm',
  'mlp.gate': 'mlp.gate_proj',
  'mlp.up': 'mlp.up_proj',
  'mlp.down': 'mlp.down_proj',
}
POST_NORM_TAILS = {  # Gemma's post_attention_layernorm is not the norm of that name in Llama
  'attention_post_norm': 'post_attention_layernorm',
  'mlp_norm': 'pre_feedforward_layernorm',
  'mlp_post_norm': 'post_feedforward_layernorm',
}
TOPS = {
  'embed': 'model.embed_tokens',
  'final_norm': 'model.norm',
  'head': 'lm_head',
  'value_head': 'value_head',
}


def architecture_from_config(config, **changes):
  """Architecture of a parsed config.json.

  Args: config: dict; changes: fields to set on top, such as dtype or value_head.
  Raises: ValueError for an unsupported model_type, a missing number or an unsupported setting; it
    names the key.
  """
  family = config.get('model_type')
  if family not in FAMILIES:
    raise ValueError(
      f'model_type {family!r} is not supported; expected one of {", ".join(FAMILIES)}. '
      f'Multimodal checkpoints must first be reduced to their text model.'
    )
  for key, allowed in UNSUPPORTED.items():
    if config.get(key) not in allowed:
      raise ValueError(
        f'{key}={config[key]!r} is not supported for {family}; expected {allowed[-1]!r}'
      )

  fields = {
    ours: config[theirs] for ours, theirs in NUMBERS.items() if config.get(theirs) is not None
  }
  needed = ('vocab', 'width', 'layers', 'heads', 'ffw')
  missing = [NUMBERS[name] for name in needed if name not in fields]
  if missing:
    raise ValueError(
      f'config of {family} lacks {", ".join(missing)}; '
      f'take the config.json that belongs to the weights'
    )
  fields.setdefault('kv_heads', fields['heads'])
  fields.setdefault('head_width', fields['width'] // fields['heads'])
  fields.setdefault('tied', family.startswith('gemma'))
  fields |= FAMILIES[family] | read_activation(config, family) | read_rope(config, family)
  fields |= read_window(config, family, fields['layers'])
  if family.startswith('gemma'):
    fields |= read_gemma(config, family, fields['width'])
  return Architecture(**(fields | changes))


def config_from_architecture(architecture):
  """The config.json, as a dict, with which transformers builds the same decoder.

  It does not contain value_head, dtype and remat.

  Raises: ValueError if no family has this combination, naming the fields that would be lost.
  """
  a = architecture
  family = nearest_family(a)
  config = {'architectures': [CLASSES[family]], 'model_type': family}
  config |= {theirs: getattr(a, ours) for ours, theirs in NUMBERS.items()}
  spelled = {ours: theirs for theirs, ours in ACTIVATIONS.items()}[a.activation]
  config['hidden_activation' if family.startswith('gemma') else 'hidden_act'] = spelled
  config['rope_parameters'] = write_rope(a, family)
  if family != 'llama':
    config['sliding_window'] = a.sliding_window
    config['layer_types'] = [layer_type(a, i) for i in range(a.layers)]
  if family.startswith('qwen'):
    config['use_sliding_window'] = a.sliding_window is not None
  if family.startswith('gemma'):
    config['query_pre_attn_scalar'] = a.query_scale if a.query_scale is not None else a.head_width
    config['attn_logit_softcapping'] = a.attention_softcap
    config['final_logit_softcapping'] = a.logit_softcap

  neutral = {name: Architecture.__dataclass_fields__[name].default for name in OURS_ALONE}
  if a.query_scale is None and family.startswith('gemma'):
    neutral['query_scale'] = a.head_width
  expected = dataclasses.replace(a, **neutral)
  lost = [
    f'{field.name}={getattr(expected, field.name)!r}'
    for field in dataclasses.fields(a)
    if getattr(expected, field.name) != getattr(architecture_from_config(config), field.name)
  ]
  if lost:
    raise ValueError(
      f'no Hugging Face family has this decoder: {family} comes nearest but cannot say '
      f'{", ".join(lost)}; change these fields, or keep the params in a checkpoint instead'
    )
  return config


def tensor_name(path, architecture):
  """'layers.0.mlp.up.weight' -> 'model.layers.0.mlp.up_proj.weight'."""
  module, leaf = path.rsplit('.', 1)
  if not module.startswith('layers.'):
    return f'{TOPS[module]}.{leaf}'
  _, index, tail = module.split('.', 2)
  tails = TAILS | POST_NORM_TAILS if architecture.post_norms else TAILS
  return f'model.layers.{index}.{tails[tail]}.{leaf}'


def nearest_family(a):
  """The transformers model_type that computes what this architecture does."""
  if a.post_norms:
    return 'gemma3_text' if a.qk_norm else 'gemma2'
  if a.qk_norm:
    return 'qwen3'
  return 'qwen2' if a.qkv_bias or a.sliding_window else 'llama'


def read_activation(config, family):
  """{'activation': ...} of a config.json. Raises ValueError for one not in ACTIVATIONS."""
  gemma = family.startswith('gemma')  # older Gemma files hold a hidden_act that is not used
  default = 'gelu_pytorch_tanh' if gemma else 'silu'
  name = config.get('hidden_activation' if gemma else 'hidden_act') or default
  if name not in ACTIVATIONS:
    raise ValueError(
      f'activation {name!r} of {family} is not supported; expected one of {", ".join(ACTIVATIONS)}'
    )
  return {'activation': ACTIVATIONS[name]}


def read_window(config, family, layers):
  """The fields sliding_window and local_layers of a config.json; empty without a window."""
  window = config.get('sliding_window')
  if family.startswith('qwen') and not config.get('use_sliding_window'):
    window = None
  if family == 'llama' or window is None:
    return {}
  types = config.get('layer_types')
  if types is None and family.startswith('qwen'):
    first = config.get('max_window_layers', 28)
    local = [i >= first for i in range(layers)]
  elif types is None:
    every = config.get('sliding_window_pattern', config.get('_sliding_window_pattern'))
    every = every or (6 if family == 'gemma3_text' else 2)
    local = [(i + 1) % every != 0 for i in range(layers)]
  else:
    local = [kind == 'sliding_attention' for kind in types]
  if len(local) != layers:
    raise ValueError(
      f'layer_types has {len(local)} entries, expected one for each of {layers} layers'
    )
  return {'sliding_window': window, 'local_layers': tuple(i for i in range(layers) if local[i])}


def read_gemma(config, family, width):
  """Fields that only the Gemma families have."""
  softcaps = (50.0, 30.0) if family == 'gemma2' else (None, None)
  attention_softcap = config.get('attn_logit_softcapping', softcaps[0])
  if family == 'gemma3_text' and attention_softcap is not None:
    raise ValueError(
      f'attn_logit_softcapping={attention_softcap} is not supported for gemma3_text, whose '
      f'reference implementation ignores it; expected None'
    )
  return {
    'embed_scale': width**0.5,
    'query_scale': int(config.get('query_pre_attn_scalar', 256)),
    'attention_softcap': attention_softcap,
    'logit_softcap': config.get('final_logit_softcapping', softcaps[1]),
  }


def read_rope(config, family):
  """The fields rope_theta, rope_scaling and rope_local_theta of a config.json."""
  written = config.get('rope_parameters') or {}
  nested = isinstance(written.get('full_attention'), dict)
  full = written['full_attention'] if nested else written
  if config.get('rope_scaling'):
    full = {'rope_theta': full.get('rope_theta')} | config['rope_scaling']
  default_theta = config.get('rope_theta', 1e6 if family == 'gemma3_text' else 1e4)
  fields = {
    'rope_theta': float(full.get('rope_theta') or default_theta),
    'rope_scaling': read_scaling(full, config),
  }
  local = written.get('sliding_attention')
  if family == 'gemma3_text' and not local:
    local = {'rope_theta': config.get('rope_local_base_freq', 1e4)}
  if local and local != full:
    if read_scaling(local, config) is not None:
      raise ValueError(
        f'scaled rope of sliding layers is not supported: {local}; expected rope_type default'
      )
    fields['rope_local_theta'] = float(local['rope_theta'])
  return fields


def read_scaling(parameters, config):
  """The rope `Scaling` of a config.json's rope parameters, or None for plain rope.

  Raises: ValueError for a kind that is not supported.
  """
  kind = parameters.get('rope_type', parameters.get('type', 'default'))
  if kind == 'default':
    return None
  for key in ('mscale', 'mscale_all_dim', 'partial_rotary_factor', 'mrope_section'):
    if parameters.get(key):
      raise ValueError(
        f'{key}={parameters[key]!r} in the rope parameters is not supported; expected none'
      )
  context = config.get('max_position_embeddings', 0)
  numbers = {
    'original_max_position_embeddings': config.get('original_max_position_embeddings', context)
  }
  numbers |= {key: number for key, number in parameters.items() if number is not None}
  if numbers.get('factor') is None:
    raise ValueError(f'{kind} rope scaling lacks its factor: {parameters}; complete the config')
  used = SCALING_USED.get(kind, ('factor',))
  return Scaling(
    kind=kind, **{ours: numbers[SCALING[ours]] for ours in used if SCALING[ours] in numbers}
  )


def write_rope(a, family):
  """The rope entries of a config.json that transformers reads back."""
  full = {'rope_type': 'default', 'rope_theta': a.rope_theta}
  if a.rope_scaling is not None:
    kind = a.rope_scaling.kind
    numbers = {SCALING[ours]: getattr(a.rope_scaling, ours) for ours in SCALING_USED[kind]}
    full |= {'rope_type': kind} | {
      key: number for key, number in numbers.items() if number is not None
    }
  if family != 'gemma3_text':
    return full
  local = full
  if a.rope_local_theta is not None:
    local = {'rope_type': 'default', 'rope_theta': a.rope_local_theta}
  return {'full_attention': full, 'sliding_attention': local}


def layer_type(a, layer):
  """The name that a config.json gives to the attention of a layer."""
  return 'sliding_attention' if layer in a.local_layers else 'full_attention'
