"""Translates between Hugging Face's names and ours, in both directions.

`Architecture` corresponds to config.json, and paths of params to tensor names. Tables list what
each family implies, how its config names our fields, and how its tensors are named. `config_keys`
decides what happens to every key of a config, `config_rope` reads rotary embeddings.
"""

import dataclasses

from sirl import ranges
from sirl.models.files import config_keys
from sirl.models.files.config_rope import read_rope, write_rope
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
STATED = {  # fields without which the reference implementation takes a number of its own
  'llama': (),
  'qwen2': ('kv_heads',),
  'qwen3': ('kv_heads', 'head_width'),
  'gemma2': ('kv_heads', 'head_width'),
  'gemma3_text': ('kv_heads', 'head_width'),
}
WINDOW = 4096  # sliding_window of a config that does not say
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
    names the key. Unknown keys are warned about by name.
  """
  family = config.get('model_type')
  if family not in FAMILIES:
    raise ValueError(
      f'model_type {family!r} is not supported; expected one of {", ".join(FAMILIES)}. '
      f'Multimodal checkpoints must first be reduced to their text model.'
    )
  config_keys.check(config, family)

  fields = {
    ours: config[theirs] for ours, theirs in NUMBERS.items() if config.get(theirs) is not None
  }
  needed = ('vocab', 'width', 'layers', 'heads', 'ffw', *STATED[family])
  missing = [NUMBERS[name] for name in needed if name not in fields]
  if missing:
    raise ValueError(
      f'config of {family} lacks {", ".join(missing)}; '
      f'take the config.json that belongs to the weights'
    )
  if 'norm_eps' in fields:
    fields['norm_eps'] = ranges.real('rms_norm_eps', fields['norm_eps'], 0)
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
  """The fields sliding_window and local_layers of a config.json; empty without a window.

  Raises: ValueError for layers of an unknown kind, or of a window that is not given.
  """
  types = config.get('layer_types')
  if family == 'llama' or (types is None and not _windowed(config, family)):
    return {}
  if types is None and family.startswith('qwen'):
    first = config.get('max_window_layers', 28)
    local = [i >= first for i in range(layers)]
  elif types is None:
    every = config.get('sliding_window_pattern', config.get('_sliding_window_pattern'))
    every = every or (6 if family == 'gemma3_text' else 2)
    local = [(i + 1) % every != 0 for i in range(layers)]
  else:
    other = sorted(set(types) - {'sliding_attention', 'full_attention'})
    if other:
      raise ValueError(
        f'layer_types holds {other[0]!r}, which is not supported; '
        f'expected sliding_attention and full_attention'
      )
    local = [kind == 'sliding_attention' for kind in types]
  if len(local) != layers:
    raise ValueError(
      f'layer_types has {len(local)} entries, expected one for each of {layers} layers'
    )
  if not _windowed(config, family):
    if any(local):
      raise ValueError(
        'layer_types holds sliding_attention, but the config has no window; '
        'complete sliding_window (and use_sliding_window) or make every layer full_attention'
      )
    return {}
  local_layers = tuple(i for i in range(layers) if local[i])
  return {'sliding_window': config.get('sliding_window', WINDOW), 'local_layers': local_layers}


def _windowed(config, family):
  """Whether a config.json has a sliding window."""
  if family.startswith('qwen') and not config.get('use_sliding_window'):
    return False
  return config.get('sliding_window', WINDOW) is not None


def read_gemma(config, family, width):
  """Fields that only the Gemma families have."""
  softcaps = (50.0, 30.0) if family == 'gemma2' else (None, None)
  attention_softcap = config.get('attn_logit_softcapping', softcaps[0])
  if family == 'gemma3_text' and attention_softcap is not None:
    raise ValueError(
      f'attn_logit_softcapping={attention_softcap} is not supported for gemma3_text, whose '
      f'reference implementation ignores it; expected None'
    )
  scalar = config.get('query_pre_attn_scalar', 256)
  if scalar != int(scalar):
    raise ValueError(f'query_pre_attn_scalar={scalar} is not supported; expected a whole number')
  return {
    'embed_scale': width**0.5,
    'query_scale': int(scalar),
    'attention_softcap': attention_softcap,
    'logit_softcap': config.get('final_logit_softcapping', softcaps[1]),
  }


def layer_type(a, layer):
  """The name that a config.json gives to the attention of a layer."""
  return 'sliding_attention' if layer in a.local_layers else 'full_attention'
