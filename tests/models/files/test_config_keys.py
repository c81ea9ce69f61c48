"""No key of a config.json that changes the computation is ignored."""

import copy
import logging

import numpy as np
import pytest
from transformers import AutoConfig

from sirl.models import rope
from sirl.models.files import config_keys, families

SIZES = {
  'vocab_size': 40, 'hidden_size': 32, 'intermediate_size': 24, 'num_hidden_layers': 3,
  'num_attention_heads': 4, 'num_key_value_heads': 2, 'head_dim': 12, 'rms_norm_eps': 0.03,
  'max_position_embeddings': 64,
}  # fmt: skip
PLAIN = {'rope_type': 'default', 'rope_theta': 70.0}
YARN = {'rope_type': 'yarn', 'factor': 4.0, 'original_max_position_embeddings': 16}
LLAMA3 = {
  'rope_type': 'llama3', 'factor': 4.0, 'low_freq_factor': 1.0, 'high_freq_factor': 3.0,
  'original_max_position_embeddings': 16,
}  # fmt: skip


def config_of(family, **changes):
  return {'model_type': family} | SIZES | changes


def read(family, **changes):
  return families.architecture_from_config(config_of(family, **changes))


def stated(family):
  """Every key that transformers writes for the family, with its windows in use."""
  windows = {'use_sliding_window': True, 'sliding_window': 3, 'max_window_layers': 1}
  windows = windows if family.startswith('qwen') else {'sliding_window': 3}
  numbers = SIZES | ({} if family == 'llama' else windows)
  config = AutoConfig.for_model(family, **numbers).to_dict()
  return {key: value for key, value in config.items() if family != 'llama' or key != 'layer_types'}


OTHER = {  # another value of a key whose type does not say one
  'rope_parameters': {'rope_type': 'linear', 'rope_theta': 7.0, 'factor': 3.0},
  'layer_types': ['full_attention', 'full_attention', 'sliding_attention'],
  'num_hidden_layers': 2, 'num_attention_heads': 8, 'num_key_value_heads': 1,
  'hidden_act': 'relu', 'hidden_activation': 'relu', 'head_dim': 6, '_sliding_window_pattern': 2,
}  # fmt: skip


def changed(key, value):
  if key in OTHER:
    return OTHER[key]
  return not value if isinstance(value, bool) else 7 if value is None else value + 1


def tried(config):
  """(Architecture, None), or (None, message) of a config that is refused."""
  try:
    return families.architecture_from_config(config), None
  except ValueError as error:
    return None, str(error)


@pytest.mark.parametrize('family', families.FAMILIES)
def test_every_key_that_transformers_writes_is_known(family, caplog):
  config = stated(family)
  families.architecture_from_config(config)
  assert not caplog.records, 'a new key of transformers: sort it into the tables of config_keys'
  names = (config_keys.READ | config_keys.READ_BY[family]) & config.keys()
  assert {'rope_parameters', 'rms_norm_eps', 'tie_word_embeddings'} <= names


@pytest.mark.parametrize('family', families.FAMILIES)
def test_a_key_that_is_not_harmless_changes_the_decoder_or_is_refused(family):
  config = stated(family)
  before = families.architecture_from_config(config)
  harmless = config_keys.HARMLESS | config_keys.HARMLESS_IN.get(family, set()) | {'model_type'}
  makers = {'max_window_layers', '_sliding_window_pattern', 'num_hidden_layers'}  # of layer_types
  for key in config.keys() - harmless:
    given = {k: v for k, v in config.items() if k != 'layer_types' or key not in makers}
    after, refusal = tried(given | {key: changed(key, config[key])})
    assert after != before, f'{key} of {family} is ignored'
    assert after or key in refusal or OTHER.get(key) == 'relu', refusal


@pytest.mark.parametrize(
  ('family', 'change', 'message'),
  [
    # rotary embeddings: a factor without a kind, other keys, halves of a head
    ('llama', {'rope_scaling': {'factor': 4.0}}, r"factor=4\.0 .* not supported with rope_type 'def"),
    ('llama', {'rope_scaling': {'type': 'linear'}}, 'linear rope scaling lacks factor'),
    ('llama', {'rope_scaling': 'linear'}, "rope_scaling='linear' is a str; expected an object"),
    ('llama', {'rope_scaling': {'type': 'su', 'factor': 4.0}}, "rope scaling 'su' is not supported"),
    ('llama', {'rope_scaling': {'type': 'yarn', 'rope_type': 'linear', 'factor': 2.0}}, 'contradict'),
    ('llama', {'rope_scaling': {'rope_type': 'llama3', 'factor': 8.0}}, 'lacks low_freq_factor, high'),
    ('llama', {'rope_scaling': YARN | {'mscale': 0.7}}, r'mscale=0\.7 in the rope parameters'),
    ('llama', {'rope_scaling': YARN | {'attn_factor': 0.7}}, r'attn_factor=0\.7 in the rope'),
    ('llama', {'rope_scaling': YARN, 'original_max_position_embeddings': 32}, 'is 32 .* and 16 in'),
    ('llama', {'rope_scaling': YARN, 'rope_parameters': PLAIN}, 'both rope_parameters'),
    ('llama', {'rope_parameters': PLAIN | {'partial_rotary_factor': 0.5}}, r'rotary_factor=0\.5'),
    ('llama', {'rope_parameters': {'full_attention': PLAIN}}, 'expected rope_type and rope_theta'),
    ('gemma3_text', {'rope_parameters': PLAIN}, 'expected one entry for each kind of layer'),
    ('qwen2', {'partial_rotary_factor': 0.5}, r'partial_rotary_factor=0\.5 is not supported'),
    ('llama', {'rope_interleaved': True}, 'rope_interleaved=True'),
    ('llama', {'no_rope_layers': [1, 1, 0]}, 'no_rope_layers'),
    # factors, softcaps and windows of other families
    ('llama', {'embedding_multiplier': 12.0}, r'embedding_multiplier=12\.0'),
    ('qwen3', {'final_logit_softcapping': 30.0}, r'final_logit_softcapping=30\.0'),
    ('llama', {'sliding_window': 4096}, 'sliding_window=4096 is not supported for llama'),
    ('gemma2', {'sliding_window_pattern': 6}, 'sliding_window_pattern=6 is not supported for gemma2'),
    ('qwen3', {'layer_types': ['linear_attention'] * 3}, "layer_types holds 'linear_attention'"),
    ('qwen3', {'layer_types': ['sliding_attention'] * 3}, 'the config has no window'),
    ('gemma3_text', {'query_pre_attn_scalar': 0.5}, r'query_pre_attn_scalar=0\.5'),
    # other names and other types of the keys that are read
    ('llama', {'layer_norm_epsilon': 1e-5}, r'layer_norm_epsilon=1e-05 .* rms_norm_eps is 0\.03'),
    ('llama', {'tie_word_embeddings': 'false'}, "'false' is a str; expected true or false"),
    ('llama', {'num_hidden_layers': 2.5}, r'num_hidden_layers=2\.5 is a float; expected a whole'),
    ('qwen3', {'head_dim': None}, 'config of qwen3 lacks head_dim'),
    ('qwen2', {'num_key_value_heads': None}, 'config of qwen2 lacks num_key_value_heads'),
  ],
)  # fmt: skip
def test_what_would_be_computed_otherwise_is_refused_by_name(family, change, message):
  with pytest.raises(ValueError, match=message):
    read(family, **change)


@pytest.mark.parametrize('key', ['rope_theta', 'rms_norm_eps'])
@pytest.mark.parametrize('value', ['x', -1.0, [1.0]])
def test_a_number_of_another_form_is_refused_with_its_key(key, value):
  with pytest.raises(ValueError, match=f'^{key}=.*; expected a'):
    read('llama', **{key: value})


def test_neutral_values_of_refused_keys_are_accepted(caplog):
  smollm2 = {'rope_interleaved': False, 'is_llama_config': True, 'rope_scaling': None}
  assert read('llama', **smollm2, mlp_bias=False, embedding_multiplier=1.0) == read('llama')
  assert read('gemma2', sliding_window=8, sliding_window_size=8) == read('gemma2', sliding_window=8)
  finetuned = {'rope_scaling': YARN | {'finetuned': True}}
  assert read('llama', **finetuned) == read('llama', rope_scaling=YARN)
  assert not caplog.records


def test_unknown_keys_are_named_in_one_warning(caplog):
  with caplog.at_level(logging.WARNING):
    read('llama', flux=3, auto_map={'AutoModel': 'x.Y'}, nothing=None)
  (record,) = caplog.records
  assert 'not known here and are ignored: auto_map, flux;' in record.getMessage()


SCALED = {
  'linear': {'rope_type': 'linear', 'factor': 4.0},
  'old name': {'type': 'linear', 'factor': 4.0},
  'llama3': LLAMA3,
  'llama3 without its context': {k: n for k, n in LLAMA3.items() if not k.startswith('original')},
  'yarn': YARN,
  'yarn with every number': YARN | {
    'beta_fast': 8.0, 'beta_slow': 2.0, 'attention_factor': 0.7, 'truncate': False,
  },
  'yarn that shrinks': YARN | {'factor': 0.5},
}  # fmt: skip


@pytest.mark.parametrize('case', SCALED)
def test_accepted_scalings_turn_as_those_of_transformers(case):
  pytest.importorskip('torch')
  from transformers.modeling_rope_utils import ROPE_INIT_FUNCTIONS

  scaling = {'rope_scaling': SCALED[case], 'rope_theta': 70.0}
  theirs = AutoConfig.for_model('llama', **SIZES, **copy.deepcopy(scaling))
  expected, factor = ROPE_INIT_FUNCTIONS[theirs.rope_parameters['rope_type']](theirs, 'cpu')
  a = read('llama', **scaling)
  frequencies, amplitude = rope.stretched(a.rope_theta, a.head_width, a.rope_scaling)
  np.testing.assert_allclose(frequencies, expected.numpy(), rtol=1e-6)
  assert amplitude == pytest.approx(factor)


def test_scaling_under_its_old_name_is_used():
  old = {'rope_theta': 70.0, 'rope_scaling': {'type': 'linear', 'factor': 2.0}}
  assert read('llama', **old).rope_scaling == rope.Scaling(kind='linear', factor=2.0)
  assert read('llama', **old).rope_theta == 70.0


def test_a_window_that_gemma_does_not_state_is_that_of_transformers():
  config = config_of('gemma2')
  expected = AutoConfig.for_model('gemma2', **SIZES).sliding_window
  architecture = families.architecture_from_config(config)
  assert (architecture.sliding_window, architecture.local_layers) == (expected, (0, 2))


def test_local_layers_without_a_theta_of_their_own_take_the_default_of_gemma3():
  parts = {'full_attention': PLAIN, 'sliding_attention': {'rope_type': 'default'}}
  assert read('gemma3_text', rope_parameters=parts).rope_local_theta == 1e4
