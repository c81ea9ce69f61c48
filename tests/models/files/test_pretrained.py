"""Folders of weights: reading, writing, and one clear error for each possible fault."""

import dataclasses
import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from huggingface_hub import constants as huggingface_hub_constants
from safetensors import numpy as safetensors

from sirl.models import functional
from sirl.models.files import pretrained
from sirl.models.presets import preset


@pytest.fixture
def toy(tmp_path):
  """A saved toy: (folder, architecture, params)."""
  architecture = preset('toy', width=16, layers=2, head_width=4, ffw=8, vocab=12)
  params = functional.build(architecture).init(jax.random.key(0))
  pretrained.save(tmp_path / 'toy', params, architecture)
  return tmp_path / 'toy', architecture, params


def rewrite(folder, change):
  """Applies `change` to the dict of tensors of a folder."""
  tensors = safetensors.load_file(folder / 'model.safetensors')
  change(tensors)
  safetensors.save_file(tensors, folder / 'model.safetensors', {'format': 'pt'})


@pytest.mark.parametrize('dtype', ['bfloat16', 'float16'])
def test_half_precision_files_are_read_as_the_rounded_numbers(dtype, toy):
  folder, architecture, params = toy
  pretrained.save(folder, params, architecture, dtype=dtype)
  assert json.loads((folder / 'config.json').read_text())['dtype'] == dtype
  _, loaded, _ = pretrained.load(folder)
  jax.tree.map(lambda x, y: np.testing.assert_array_equal(x.astype(dtype), y), params, loaded)
  assert loaded['embed']['weight'].dtype == jnp.float32


def test_value_head_starts_at_zero_and_is_kept_by_save(toy, tmp_path, caplog):
  folder, _, _ = toy
  model, params, architecture = pretrained.load(folder, value_head=True)
  x = jnp.ones((3, 16))
  np.testing.assert_array_equal(model.value(params, x), np.zeros(3))
  params['value_head']['weight'] += 1.0
  pretrained.save(tmp_path / 'critic', params, architecture)
  model, params, _ = pretrained.load(tmp_path / 'critic', value_head=True)
  np.testing.assert_array_equal(model.value(params, x), np.full(3, 16.0))
  with caplog.at_level('INFO', 'sirl'):
    assert pretrained.load(tmp_path / 'critic')[0].value is None
  (record,) = [r for r in caplog.records if 'value_head.weight' in r.getMessage()]
  assert (record.levelname, record.name.split('.')[0]) == ('INFO', 'sirl')  # the console shows it


def test_saving_again_replaces_shards_and_carries_the_tokenizer(toy, tmp_path):
  folder, architecture, params = toy
  (folder / 'tokenizer.json').write_text('{}')
  config = json.loads((folder / 'config.json').read_text())
  (folder / 'config.json').write_text(json.dumps(config | {'eos_token_id': 7}))
  target = tmp_path / 'target'
  pretrained.save(target, params, architecture, max_shard_bytes=1000)
  assert (target / 'model.safetensors.index.json').is_file()
  pretrained.save(target, params, architecture, tokenizer_from=folder)
  names = sorted(file.name for file in target.iterdir())
  assert names == ['config.json', 'model.safetensors', 'tokenizer.json']
  assert json.loads((target / 'config.json').read_text())['eos_token_id'] == 7


@pytest.mark.parametrize('kept_bytes', [4, 100, -4])
def test_truncated_file_is_named(kept_bytes, toy):
  file = toy[0] / 'model.safetensors'
  file.write_bytes(file.read_bytes()[:kept_bytes])
  with pytest.raises(ValueError, match=r'model\.safetensors is truncated.*fetch it again'):
    pretrained.load(toy[0])


def test_missing_shard_is_named(toy):
  folder, architecture, params = toy
  pretrained.save(folder, params, architecture, max_shard_bytes=1000)
  sorted(folder.glob('model-*'))[1].unlink()
  with pytest.raises(FileNotFoundError, match=r'model-00002-of-.*is missing.*fetch the remaining'):
    pretrained.load(folder)


def test_missing_and_unexpected_tensors_are_named(toy):
  folder, _, _ = toy
  name = 'model.layers.1.mlp.up_proj.weight'
  rewrite(folder, lambda tensors: tensors.update(extra=tensors.pop(name)))
  with pytest.raises(ValueError, match=r'layers\.1\.mlp\.up_proj\.weight \[8, 16\] is missing'):
    pretrained.load(folder)
  rewrite(folder, lambda tensors: tensors.update({name: tensors['extra']}))
  with pytest.raises(ValueError, match=r'tensor extra \[8, 16\] is unexpected'):
    pretrained.load(folder)


def test_wrong_shape_is_named(toy):
  name = 'model.layers.0.self_attn.k_proj.weight'
  rewrite(toy[0], lambda tensors: tensors.update({name: tensors[name].T.copy()}))
  with pytest.raises(ValueError, match=r'k_proj\.weight has shape \[16, 8\], expected \[8, 16\]'):
    pretrained.load(toy[0])


INV_FREQ = 'model.layers.0.self_attn.rotary_emb.inv_freq'
TABLE = np.array([1.0, 10_000**-0.5], np.float16)  # of theta 10000 and heads of 4


def test_equal_leftovers_of_old_exports_are_left_out(toy):
  folder, _, params = toy
  copy = np.asarray(params['embed']['weight'])
  rewrite(folder, lambda tensors: tensors.update({'lm_head.weight': copy, INV_FREQ: TABLE}))
  assert pretrained.load(folder)[2].tied


def test_a_head_that_differs_from_the_tied_embedding_is_refused(toy):
  folder, _, params = toy
  head = np.array(params['embed']['weight'])
  head[-1, -1] += 1e-6
  rewrite(folder, lambda tensors: tensors.update({'lm_head.weight': head}))
  with pytest.raises(
    ValueError, match=r'lm_head\.weight differs .* write false there to use the head'
  ):
    pretrained.load(folder)
  config = folder / 'config.json'
  config.write_text(
    config.read_text().replace('"tie_word_embeddings": true', '"tie_word_embeddings": false')
  )
  _, params, architecture = pretrained.load(folder)
  assert not architecture.tied
  np.testing.assert_array_equal(params['head']['weight'], head)


def test_rotary_frequencies_of_another_theta_are_refused(toy):
  other = np.array([1.0, 500_000**-0.5], np.float32)
  rewrite(toy[0], lambda tensors: tensors.update({INV_FREQ: other}))
  with pytest.raises(
    ValueError, match=r'inv_freq holds other rotary frequencies than config\.json'
  ):
    pretrained.load(toy[0])


def test_files_that_another_reader_would_apply_are_refused(toy):
  folder, architecture, params = toy
  (folder / 'adapter_config.json').write_text('{}')
  with pytest.raises(
    ValueError, match=r'adapter_config\.json, an adapter that changes the weights'
  ):
    pretrained.load(folder)
  (folder / 'adapter_config.json').unlink()

  single = (folder / 'model.safetensors').read_bytes()
  pretrained.save(folder, params, architecture, max_shard_bytes=1000)
  (folder / 'model.safetensors').write_bytes(single)
  with pytest.raises(
    ValueError, match=r'both model\.safetensors and model\.safetensors\.index\.json'
  ):
    pretrained.load(folder)
  (folder / 'model.safetensors').unlink()

  index = folder / 'model.safetensors.index.json'
  listed = json.loads(index.read_text())
  del listed['weight_map']['model.norm.weight']
  index.write_text(json.dumps(listed))
  with pytest.raises(ValueError, match=r'tensor model\.norm\.weight is not placed there by'):
    pretrained.load(folder)


def test_others_may_read_what_is_saved_if_they_may_read_new_files(toy):
  (toy[0] / 'new').touch()
  modes = {file.stat().st_mode for file in toy[0].iterdir()}
  assert len(modes) == 1


@pytest.mark.parametrize(
  ('change', 'message'),
  [
    ({'model_type': 'mamba'}, "model_type 'mamba' is not supported; expected one of llama"),
    ({'hidden_size': None}, 'lacks hidden_size'),
    ({'hidden_act': 'relu'}, "activation 'relu'"),
    ({'attention_bias': True}, 'attention_bias=True is not supported'),
    ({'quantization_config': {'bits': 4}}, 'quantization_config'),
    (
      {'rope_parameters': None, 'rope_scaling': {'type': 'dynamic', 'factor': 2.0}},
      "rope scaling 'dynamic'",
    ),
    ({'num_key_value_heads': 3}, 'heads=4 cannot be shared evenly by kv_heads=3'),
  ],
)
def test_unsupported_config_is_one_clear_error(change, message, toy):
  file = toy[0] / 'config.json'
  file.write_text(json.dumps(json.loads(file.read_text()) | change))
  with pytest.raises(ValueError, match=message) as error:
    pretrained.load(toy[0])
  assert str(file) in str(error.value)


def test_missing_paths_say_what_was_expected(toy, tmp_path):
  with pytest.raises(FileNotFoundError, match='does not exist; expected a folder'):
    pretrained.load(tmp_path / 'nothing')
  (tmp_path / 'empty').mkdir()
  with pytest.raises(FileNotFoundError, match=r'has no config\.json, and no \.gguf file either'):
    pretrained.load(tmp_path / 'empty')
  (toy[0] / 'model.safetensors').unlink()
  with pytest.raises(FileNotFoundError, match=r'neither model\.safetensors nor'):
    pretrained.load(toy[0])


def test_unreachable_hub_name_is_one_clear_error(monkeypatch):
  monkeypatch.setattr(huggingface_hub_constants, 'HF_HUB_OFFLINE', True)
  with pytest.raises(
    FileNotFoundError, match=r'nobody/nothing.*could not be fetched.*downloaded folder'
  ):
    pretrained.load('nobody/nothing')


def test_save_refuses_what_no_family_can_say(toy, tmp_path):
  _, architecture, params = toy
  odd = dataclasses.replace(architecture, embed_scale=4.0)
  with pytest.raises(ValueError, match=r'llama comes nearest but cannot say embed_scale=4\.0'):
    pretrained.save(tmp_path / 'odd', params, odd)
  with pytest.raises(ValueError, match=r'params: tensor head\.weight .* is missing'):
    pretrained.save(tmp_path / 'odd', params, dataclasses.replace(architecture, tied=False))
  assert not (tmp_path / 'odd').exists()
