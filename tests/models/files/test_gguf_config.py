"""No key of a GGUF file by which llama.cpp computes is ignored."""

import json

import numpy as np
import pytest

from sirl.models.files import gguf, gguf_config

from support import tiny_gguf


class Tensor:
  """What `read` asks of an embedding: its reversed shape."""

  shape = (32, 40)


TENSORS = {'token_embd.weight': Tensor()}
GEMMA = {'attention.sliding_window': 4, 'attention.key_length': 8}


def metadata(family='llama', **numbers):
  numbers = tiny_gguf.LLAMA | (GEMMA if family == 'gemma3' else {}) | numbers
  return {'general.architecture': family} | {f'{family}.{key}': n for key, n in numbers.items()}


def config_of(family='llama', **numbers):
  return gguf_config.read(gguf_config.FAMILIES[family], metadata(family, **numbers), TENSORS)


def refusal(family, numbers):
  """The message with which a file of these numbers is refused, or None."""
  try:
    config_of(family, **numbers)
  except ValueError as error:
    return str(error)
  return None


@pytest.mark.parametrize('family', gguf_config.FAMILIES)
def test_a_key_that_llama_cpp_computes_by_is_used_or_refused(family, caplog):
  assert len(gguf_config.computed_by_llama_cpp()) > 80
  before = config_of(family)
  plain = metadata(family)
  for key in sorted(gguf_config.computed_by_llama_cpp() - gguf_config.HARMLESS):
    given = plain.get(f'{family}.{key}')
    # With two layers, only a pattern of 1 is another one.
    other = given * 2 if given else 1 if key.endswith('sliding_window_pattern') else 24
    message = refusal(family, {key: other})
    if message is None:
      assert config_of(family, **{key: other}) != before, f'{key} of {family} is ignored'
    else:
      assert key in message or 'wide, and their values and rotary' in message
  assert not caplog.records


@pytest.mark.parametrize(
  ('family', 'numbers', 'message'),
  [
    ('llama', {'rope.dimension_count': 4}, r'rope\.dimension_count=4 .* heads are 8 wide'),
    ('llama', {'attention.key_length': 16}, r'dimension_count=8 .* heads are 16 wide'),
    ('qwen3', {'attention.value_length': 4}, r'attention\.value_length=4'),
    ('llama', {'attention.sliding_window': 32}, r'sliding_window=32 changes the computation'),
    ('llama', {'expert_count': 8}, r'llama\.expert_count=8'),
    ('gemma3', {'attn_logit_softcapping': 50.0}, r'attn_logit_softcapping=50\.0'),
    ('gemma3', {'attention.sliding_window_pattern': [True, True]}, 'pattern=True is not supported'),
    ('gemma3', {'attention.sliding_window_pattern': 0}, 'pattern=0 is not supported'),
    ('llama', {'rope.scaling.type': 'longrope'}, "type='longrope' is not supported"),
    ('llama', {'rope.scaling.attn_factor': 0.5}, r'rope\.scaling\.attn_factor=0\.5'),
    ('qwen2', {'pooling_type': 3}, r'qwen2\.pooling_type=3'),
    ('qwen3', {'attention.causal': False}, r'qwen3\.attention\.causal=False'),
  ],
)
def test_numbers_that_would_be_computed_otherwise_are_refused(family, numbers, message):
  with pytest.raises(ValueError, match=message):
    config_of(family, **numbers)


def test_other_kinds_of_files_are_refused():
  with pytest.raises(ValueError, match=r"general\.type='adapter'; expected a file of type model"):
    gguf_config.family_of(metadata() | {'general.type': 'adapter'})
  with pytest.raises(ValueError, match=r'adapter\.lora\.alpha=16 belongs to another kind'):
    gguf_config.check_keys(gguf_config.FAMILIES['llama'], metadata() | {'adapter.lora.alpha': 16})


@pytest.mark.parametrize(
  ('numbers', 'scaling'),
  [
    ({'rope.scaling.factor': 4.0}, {'rope_type': 'linear', 'factor': 4.0}),
    ({'rope.scale_linear': 4.0}, {'rope_type': 'linear', 'factor': 4.0}),
    ({'rope.scaling.type': 'none', 'rope.scaling.factor': 4.0}, None),
    ({'rope.scaling.type': 'linear'}, None),
  ],
)
def test_a_factor_without_a_type_is_linear_as_in_llama_cpp(numbers, scaling):
  assert config_of(**numbers).get('rope_scaling') == scaling


def test_a_factor_beside_a_table_of_divisors_is_refused(tmp_path):
  weights = tiny_gguf.llama_weights() | {'rope_freqs.weight': np.ones(4, np.float32)}
  numbers = tiny_gguf.LLAMA | {'rope.scaling.factor': 4.0}
  file = tiny_gguf.write(tmp_path / 'x.gguf', weights, numbers=numbers)
  with pytest.raises(ValueError, match=r'factor=4\.0 and rope_freqs\.weight together'):
    gguf.convert(file, tmp_path / 'x')


def test_neutral_values_and_wide_windows_are_accepted(caplog):
  numbers = {'expert_count': 0, 'attention.causal': True, 'logit_scale': 1.0}
  assert config_of(**numbers, **{'attention.sliding_window': 64}) == config_of()
  assert not caplog.records


def test_the_softcap_of_gemma3_is_read():
  assert config_of('gemma3', final_logit_softcapping=30.0)['final_logit_softcapping'] == 30.0


def test_unknown_keys_are_named_in_one_warning(tmp_path, caplog):
  numbers = tiny_gguf.LLAMA | {'flux': 3, 'attention.spin': 2}
  file = tiny_gguf.write(tmp_path / 'x.gguf', tiny_gguf.llama_weights(), numbers=numbers)
  config = json.loads((gguf.convert(file, tmp_path / 'x') / 'config.json').read_text())
  assert config['num_hidden_layers'] == 2
  (record,) = caplog.records
  assert 'are ignored: llama.attention.spin, llama.flux;' in record.getMessage()


def test_what_the_decoder_cannot_compute_is_refused_before_weights_are_written(tmp_path):
  numbers = tiny_gguf.LLAMA | {'attention.head_count_kv': 8}
  file = tiny_gguf.write(tmp_path / 'x.gguf', tiny_gguf.llama_weights(), numbers=numbers)
  with pytest.raises(ValueError, match='heads=4 cannot be shared evenly by kv_heads=8'):
    gguf.convert(file, tmp_path / 'x')
  assert not (tmp_path / 'x').exists()
