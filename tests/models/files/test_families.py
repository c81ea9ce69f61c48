"""Every model family against transformers: read and written, float32, tiny random checkpoints."""

import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from sirl.models.files import pretrained

torch = pytest.importorskip('torch')
transformers = pytest.importorskip('transformers')

SIZES = {
  'vocab_size': 40,
  'hidden_size': 32,
  'intermediate_size': 24,
  'num_hidden_layers': 3,
  'num_attention_heads': 4,
  'num_key_value_heads': 2,
  'head_dim': 12,  # not hidden / heads = 8
  'rms_norm_eps': 0.03,
  'max_position_embeddings': 64,
  'pad_token_id': 0,
}
GEMMA = SIZES | {'sliding_window': 3, 'query_pre_attn_scalar': 5, 'final_logit_softcapping': 20.0}
LLAMA3 = {
  'rope_type': 'llama3',
  'rope_theta': 50.0,
  'factor': 4.0,
  'low_freq_factor': 1.0,
  'high_freq_factor': 3.0,
  'original_max_position_embeddings': 16,
}
YARN = {
  'rope_type': 'yarn',
  'rope_theta': 50.0,
  'factor': 4.0,
  'original_max_position_embeddings': 16,
  'beta_fast': 4.0,
}
THETA = {'rope_parameters': {'rope_type': 'default', 'rope_theta': 70.0}}
GEMMA_THETAS = {
  'rope_parameters': {
    'full_attention': {'rope_type': 'linear', 'rope_theta': 300.0, 'factor': 2.0},
    'sliding_attention': {'rope_type': 'default', 'rope_theta': 20.0},
  }
}
WINDOW = {'use_sliding_window': True, 'sliding_window': 3, 'max_window_layers': 1}
CASES = {
  'llama': ('llama', SIZES | THETA | {'tie_word_embeddings': False}),
  'llama-tied-llama3': ('llama', SIZES | {'rope_parameters': LLAMA3, 'tie_word_embeddings': True}),
  'llama-yarn': ('llama', SIZES | {'rope_parameters': YARN}),
  'qwen2': ('qwen2', SIZES | THETA | WINDOW | {'tie_word_embeddings': False}),
  'qwen2-tied': ('qwen2', SIZES | THETA | {'tie_word_embeddings': True}),
  'qwen3': ('qwen3', SIZES | THETA | {'tie_word_embeddings': False}),
  'qwen3-tied': ('qwen3', SIZES | THETA | {'tie_word_embeddings': True}),
  'gemma2': ('gemma2', GEMMA | THETA | {'attn_logit_softcapping': 2.0}),
  'gemma3': ('gemma3_text', GEMMA | GEMMA_THETAS | {'sliding_window_pattern': 2}),
  'gemma3-untied': ('gemma3_text', GEMMA | {'tie_word_embeddings': False}),
}
TOKENS = np.random.default_rng(0).integers(1, 40, (2, 11))
VALID = np.arange(11) >= np.array([[0], [4]])  # the second row is left-padded
POSITIONS = np.maximum(VALID.cumsum(1) - 1, 0)
MASK = np.tril(np.ones((11, 11), bool)) & VALID[:, None]


def reference(folder):
  """transformers' float32 logits of TOKENS for a folder, where VALID."""
  model = transformers.AutoModelForCausalLM.from_pretrained(folder, attn_implementation='eager')
  with torch.no_grad():
    out = model.float()(
      torch.tensor(TOKENS),
      attention_mask=torch.tensor(VALID.astype(int)),
      position_ids=torch.tensor(POSITIONS),
    )
  return out.logits.numpy()[VALID]


def ours(model, params):
  x_BTD, _ = model.hidden(params, jnp.array(TOKENS), jnp.array(POSITIONS), jnp.array(MASK))
  return np.asarray(model.unembed(params, x_BTD))[VALID]


@pytest.fixture(scope='module')
def folders(tmp_path_factory):
  """{case: folder that transformers wrote}, with weights large enough that every mistake shows."""
  made = {}
  for case, (family, numbers) in CASES.items():
    torch.manual_seed(1)
    config = transformers.AutoConfig.for_model(family, **numbers)
    model = transformers.AutoModelForCausalLM.from_config(config)
    for name, parameter in model.named_parameters():
      spread = 0.2 if 'norm' in name or 'bias' in name else 0.25
      noise = spread * torch.randn_like(parameter)
      parameter.data = noise + parameter.data if 'norm' in name else noise
    made[case] = tmp_path_factory.mktemp(case) / 'model'
    model.save_pretrained(made[case])
  return made


FAST = ('llama', 'qwen3-tied', 'gemma3')  # the others are of `make test-all`


@pytest.mark.parametrize(
  'case', [pytest.param(case, marks=[pytest.mark.all] * (case not in FAST)) for case in CASES]
)
def test_logits_equal_transformers_and_survive_saving(case, folders, tmp_path):
  expected = reference(folders[case])
  model, params, architecture = pretrained.load(folders[case])
  assert expected.std() > 0.5  # the comparison has something to compare
  np.testing.assert_allclose(ours(model, params), expected, atol=1e-4, rtol=0)

  pretrained.save(tmp_path, params, architecture, max_shard_bytes=8000)
  assert len(list(tmp_path.glob('model-*-of-*.safetensors'))) > 1
  np.testing.assert_allclose(reference(tmp_path), expected, atol=1e-6, rtol=0)
  _, params_again, architecture_again = pretrained.load(tmp_path)
  assert architecture_again == architecture
  jax.tree.map(np.testing.assert_array_equal, params_again, params)


@pytest.mark.parametrize(
  ('case', 'old_keys'),
  [
    ('llama', {'rope_theta': 70.0}),
    ('llama-tied-llama3', {'rope_theta': 50.0, 'rope_scaling': {**LLAMA3, 'type': 'llama3'}}),
    (
      'gemma3',
      {
        'rope_theta': 300.0,
        'rope_local_base_freq': 20.0,
        'rope_scaling': {'rope_type': 'linear', 'factor': 2.0},
      },
    ),
  ],
)
def test_rope_keys_of_older_configs_mean_the_same(case, old_keys, folders, tmp_path):
  config = json.loads((folders[case] / 'config.json').read_text())
  assert 'rope_parameters' in config
  del config['rope_parameters']
  (tmp_path / 'config.json').write_text(json.dumps(config | old_keys))
  old = pretrained.read_architecture(tmp_path)
  assert old == pretrained.read_architecture(folders[case])
