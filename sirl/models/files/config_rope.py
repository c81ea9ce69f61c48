"""Rotary embeddings as a config.json states them, read and written.

Both forms are read, `rope_parameters` (transformers 5) and `rope_theta` with `rope_scaling`
(before). The first is written. A key that the kind of scaling does not use is refused: the file
then means something else than what would be computed.
"""

from sirl import ranges
from sirl.models.rope import Scaling

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
NEEDED = {
  'linear': ('factor',),
  'llama3': ('factor', 'low_freq_factor', 'high_freq_factor'),
  'yarn': ('factor',),
}
NAMES = ('rope_type', 'type', 'rope_theta', 'finetuned')  # not numbers of a scaling
NEUTRAL = {'factor': 1, 'partial_rotary_factor': 1, 'attention_factor': 1}
KEPT = 'original_max_position_embeddings'


def read_rope(config, family):
  """The fields rope_theta, rope_scaling and rope_local_theta of a config.json.

  Raises: ValueError for parameters that are contradictory or not supported.
  """
  written, scaling = config.get('rope_parameters') or {}, config.get('rope_scaling') or {}
  for name, value in (('rope_parameters', written), ('rope_scaling', scaling)):
    if not isinstance(value, dict):
      raise ValueError(f'{name}={value!r} is a {type(value).__name__}; expected an object')
  if written and scaling:
    raise ValueError(
      f'both rope_parameters={written} and rope_scaling={scaling} are given; '
      f'write one of them, rope_parameters with its rope_theta'
    )
  by_layer = family == 'gemma3_text'
  nested = 'full_attention' in written or 'sliding_attention' in written
  if written and nested != by_layer:
    raise ValueError(
      f'rope_parameters={written} of {family}: expected '
      f'{"one entry for each kind of layer" if by_layer else "rope_type and rope_theta"}'
    )
  full = (written.get('full_attention') or {}) if nested else written or scaling
  theta = config.get('rope_theta') or (1e6 if by_layer else 1e4)
  fields = {
    'rope_theta': ranges.real('rope_theta', full.get('rope_theta') or theta, above=0),
    'rope_scaling': read_scaling(full, config),
  }
  if not by_layer:
    return fields
  local = written.get('sliding_attention') or {}
  local_theta = local.get('rope_theta') or config.get('rope_local_base_freq') or 1e4
  local_theta = ranges.real('rope_theta of sliding layers', local_theta, above=0)
  local_scaling = read_scaling(local, config)
  if (local_theta, local_scaling) == (fields['rope_theta'], fields['rope_scaling']):
    return fields
  if local_scaling is not None:
    raise ValueError(
      f'scaled rope of sliding layers is not supported: {local}; expected rope_type default'
    )
  return fields | {'rope_local_theta': local_theta}


def read_scaling(parameters, config):
  """The rope `Scaling` of a config.json's rope parameters, or None for plain rope.

  Raises: ValueError for a kind that is not supported, for a number that the kind does not use, as
    one without any kind, and for a number that it lacks.
  """
  kinds = {parameters[key] for key in ('rope_type', 'type') if parameters.get(key)} or {'default'}
  if len(kinds) > 1:
    raise ValueError(f'rope_type and type contradict each other in {parameters}; remove one')
  kind = kinds.pop()
  given = {
    key: number
    for key, number in parameters.items()
    if key not in NAMES and number is not None and NEUTRAL.get(key) != number
  }
  if kind != 'default' and kind not in SCALING_USED:
    raise ValueError(
      f'rope scaling {kind!r} is not supported; expected one of {", ".join(SCALING_USED)}'
    )
  used = {SCALING[ours]: ours for ours in SCALING_USED.get(kind, ())}
  for key, number in given.items():
    if key not in used and key != KEPT:
      raise ValueError(
        f'{key}={number!r} in the rope parameters is not supported with rope_type {kind!r}; '
        f'remove it, or name the rope_type that uses it'
      )
  if kind == 'default':
    return None

  given = {key: parameters[key] for key in used if parameters.get(key) is not None}
  missing = [key for key in NEEDED[kind] if key not in given]
  if missing:
    raise ValueError(
      f'{kind} rope scaling lacks {", ".join(missing)}: {parameters}; complete the config'
    )
  outside = config.get(KEPT)
  if None not in (outside, given.get(KEPT)) and outside != given[KEPT]:
    raise ValueError(
      f'{KEPT} is {outside} in the config and {given[KEPT]} in its rope parameters; '
      f'write the context that the model was trained for in both'
    )
  if KEPT in used:
    given.setdefault(KEPT, outside or config.get('max_position_embeddings') or 0)
  return Scaling(kind=kind, **{used[key]: number for key, number in given.items()})


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
