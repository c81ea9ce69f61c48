"""GGUF files written as llama.cpp writes them, converted back, and read by transformers."""

import json

import gguf as gguf_package
import ml_dtypes
import numpy as np
import pytest
from gguf import GGMLQuantizationType as Kind

from sirl.models import tokenizer
from sirl.models.files import gguf, gguf_tensors
from sirl.models.files.weights import read_tensors
from sirl.tasks import turns

from support import tiny_gguf


def converted(tmp_path, *arguments, dtype='float32', **keywords):
  file = tiny_gguf.write(tmp_path / 'model.gguf', *arguments, **keywords)
  return gguf.convert(file, tmp_path / 'folder', dtype=dtype)


def equal(got, expected):
  assert got.keys() == expected.keys()
  for name in expected:
    np.testing.assert_array_equal(got[name], expected[name], err_msg=name)


# ---------------------------------------------------------------- weights


@pytest.mark.parametrize('tied', [True, False])
def test_float32_weights_come_back_exactly(tmp_path, tied):
  weights = tiny_gguf.llama_weights(tied=tied)
  folder = converted(tmp_path, weights)
  equal(read_tensors(folder), weights)
  assert json.loads((folder / 'config.json').read_text())['tie_word_embeddings'] is tied


def test_quantized_weights_are_those_of_the_unpermuted_matrix(tmp_path):
  """Quantization blocks lie within rows, so it commutes with a permutation of rows."""
  weights = tiny_gguf.llama_weights()
  types = {name: Kind.Q4_0 for name, array in weights.items() if array.ndim == 2}
  types['model.embed_tokens.weight'] = Kind.Q8_0
  folder = converted(tmp_path, weights, types=types)
  rounded = lambda array, kind: gguf_package.quants.dequantize(
    gguf_package.quants.quantize(array, kind), kind
  )
  equal(
    read_tensors(folder),
    {
      name: rounded(array, types[name]) if name in types else array
      for name, array in weights.items()
    },
  )


def test_rows_dequantized_in_pieces_are_the_same(tmp_path, monkeypatch):
  weights = tiny_gguf.llama_weights()
  # 7 rows of 32 at a time, which divides no matrix here.
  monkeypatch.setattr(gguf_tensors, 'CHUNK', 7 * 32)
  equal(read_tensors(converted(tmp_path, weights)), weights)


def test_bfloat16_rounds_to_nearest(tmp_path):
  weights = tiny_gguf.llama_weights()
  folder = converted(tmp_path, weights, dtype='bfloat16')
  equal(
    read_tensors(folder),
    {name: array.astype(ml_dtypes.bfloat16) for name, array in weights.items()},
  )
  assert json.loads((folder / 'config.json').read_text())['dtype'] == 'bfloat16'


def test_an_output_matrix_equal_to_the_embedding_counts_as_tied(tmp_path):
  weights = tiny_gguf.llama_weights()
  folder = converted(tmp_path, weights | {'lm_head.weight': weights['model.embed_tokens.weight']})
  assert json.loads((folder / 'config.json').read_text())['tie_word_embeddings'] is True
  equal(read_tensors(folder), weights)


def test_config_has_the_decimals_of_the_original(tmp_path):
  config = json.loads((converted(tmp_path, tiny_gguf.llama_weights()) / 'config.json').read_text())
  assert config['rms_norm_eps'] == 1e-5  # the file holds float32(1e-5) = 9.999999747378752e-06
  assert config['rope_theta'] == 5000.0
  assert (config['head_dim'], config['num_key_value_heads'], config['eos_token_id']) == (8, 2, [2])


def test_llama3_rope_scaling_is_recognised_by_its_divisors(tmp_path):
  transformers = pytest.importorskip('transformers')
  pytest.importorskip('torch')
  from transformers.modeling_rope_utils import ROPE_INIT_FUNCTIONS

  scaling = {'rope_type': 'llama3', 'factor': 32.0, 'low_freq_factor': 1.0, 'high_freq_factor': 4.0}
  scaling |= {'original_max_position_embeddings': 8192, 'rope_theta': 500000.0}
  config = transformers.LlamaConfig(
    hidden_size=32,
    num_attention_heads=4,
    head_dim=8,
    max_position_embeddings=131072,
    rope_parameters=scaling,
  )
  scaled = ROPE_INIT_FUNCTIONS['llama3'](config, 'cpu')[0].numpy()
  divisors = (500000.0 ** -(np.arange(0, 8, 2) / 8) / scaled).astype(np.float32)

  weights = tiny_gguf.llama_weights() | {'rope_freqs.weight': divisors}
  numbers = tiny_gguf.LLAMA | {'rope.freq_base': 500000.0}
  got = json.loads((converted(tmp_path, weights, numbers=numbers) / 'config.json').read_text())
  assert got['rope_scaling'] == {
    key: value for key, value in scaling.items() if key != 'rope_theta'
  }

  with pytest.raises(ValueError, match=r'rope_freqs\.weight'):
    converted(tmp_path, weights | {'rope_freqs.weight': divisors * 1.1}, numbers=numbers)


def models():
  """family -> (transformers config, numbers of the GGUF file). No size equals its default."""
  import transformers

  vocab = tiny_gguf.VOCAB
  base = {'vocab_size': vocab, 'hidden_size': 32, 'intermediate_size': 64, 'num_hidden_layers': 2}
  base |= {
    'num_attention_heads': 4,
    'num_key_value_heads': 2,
    'max_position_embeddings': 64,
    'rms_norm_eps': 1e-5,
  }
  theta = {'rope_parameters': {'rope_type': 'default', 'rope_theta': 5000.0}}
  wide = {'head_dim': 16}
  key = {'attention.key_length': 16}
  gemma = wide | {'num_hidden_layers': 6, 'sliding_window': 4, 'query_pre_attn_scalar': 16}
  return {
    'llama': (transformers.LlamaConfig(**base, **theta, tie_word_embeddings=False), {}),
    'qwen2': (transformers.Qwen2Config(**base, **theta, tie_word_embeddings=False), {}),
    'qwen3': (transformers.Qwen3Config(**base, **theta, **wide, tie_word_embeddings=True), key),
    'gemma3': (
      transformers.Gemma3TextConfig(**(base | gemma)),
      key | {'block_count': 6, 'attention.sliding_window': 4, 'rope.freq_base': 1000000.0},
    ),
  }


@pytest.mark.parametrize('family', ['llama', 'qwen2', 'qwen3', 'gemma3'])
def test_converted_folder_has_the_logits_of_the_original(tmp_path, family):
  torch = pytest.importorskip('torch')
  transformers = pytest.importorskip('transformers')
  config, numbers = models()[family]
  torch.manual_seed(0)
  original = transformers.AutoModelForCausalLM.from_config(
    config, attn_implementation='eager'
  ).eval()
  with torch.no_grad():  # norms and biases are constant at the start, which would hide a mistake
    for parameter in original.parameters():
      parameter.normal_(0, 0.3)
  weights = {name: tensor.numpy() for name, tensor in original.state_dict().items()}
  if config.tie_word_embeddings:
    del weights['lm_head.weight']

  arch_numbers = {
    key: v for key, v in (tiny_gguf.LLAMA | numbers).items() if key != 'rope.dimension_count'
  }
  folder = converted(tmp_path, weights, arch=family, numbers=arch_numbers)
  loaded, info = transformers.AutoModelForCausalLM.from_pretrained(
    folder, attn_implementation='eager', output_loading_info=True
  )
  assert not info['missing_keys']
  assert not info['unexpected_keys']
  ids = torch.arange(10, 22)[None]
  with torch.no_grad():
    expected, got = original(ids).logits, loaded.eval()(ids).logits
  tolerance = 0 if family != 'gemma3' else 1e-4  # (w + 1) - 1 rounds
  np.testing.assert_allclose(got.numpy(), expected.numpy(), rtol=tolerance, atol=tolerance)


# ---------------------------------------------------------------- tokenizer


def folder_with(tmp_path, **changes):
  return converted(tmp_path, tiny_gguf.llama_weights(), tokenizer=tiny_gguf.BYTE_LEVEL | changes)


def pieces(folder, text):
  transformers = pytest.importorskip('transformers')
  return transformers.AutoTokenizer.from_pretrained(folder).tokenize(text)


def test_smollm_cuts_digits_off_before_whitespace_is_cut(tmp_path):
  folder = folder_with(tmp_path)
  assert pieces(folder, '\n\n1') == ['ĊĊ', '1']
  assert pieces(folder, '  12') == ['ĠĠ', '1', '2']  # though '12' is a token
  assert pieces(folder, '  the') == ['Ġ', 'Ġthe']


def test_gpt2_leaves_the_last_blank_with_what_follows(tmp_path):
  folder = folder_with(tmp_path, pre='gpt-2')
  assert pieces(folder, '\n\n1') == ['Ċ', 'Ċ', '1']
  assert pieces(folder, '1234') == ['1234']


def test_llama3_takes_digits_by_three(tmp_path):
  folder = folder_with(tmp_path, pre='llama-bpe', add_bos_token=True)
  assert pieces(folder, '1234') == ['123', '4']
  codec = tokenizer.pretrained(folder)
  assert codec.encode('the')[0] != 1


@pytest.mark.parametrize(
  'text', ['\n\n1', "it's  12\r\n\n the\t1234 ", 'e\u0301 \u00e9 漢字!?\n x', ' \n the']
)
def test_qwen2_cuts_as_transformers_own_class_does(tmp_path, text):
  transformers = pytest.importorskip('transformers')
  folder = folder_with(tmp_path, pre='qwen2')
  model = json.loads((folder / 'tokenizer.json').read_text())['model']
  merges = [tuple(pair) for pair in model['merges']]
  assert pieces(folder, text) == transformers.Qwen2Tokenizer(
    vocab=model['vocab'], merges=merges
  ).tokenize(text)


def test_unknown_pretokenizer_is_named(tmp_path):
  with pytest.raises(ValueError, match=r"tokenizer\.ggml\.pre='tekken'"):
    folder_with(tmp_path, pre='tekken')
  with pytest.raises(ValueError, match=r"tokenizer\.ggml\.model='bert'"):
    folder_with(tmp_path, model='bert')


def test_padding_rows_of_the_embedding_are_no_tokens(tmp_path):
  tokens = [*tiny_gguf.TOKENS, '[PAD267]', '[PAD268]']
  changes = {'tokens': tokens, 'token_type': [*tiny_gguf.BYTE_LEVEL['token_type'], 5, 5]}
  folder = converted(
    tmp_path, tiny_gguf.llama_weights(vocab=len(tokens)), tokenizer=tiny_gguf.BYTE_LEVEL | changes
  )
  codec = tokenizer.pretrained(folder)
  assert codec.vocab == tiny_gguf.VOCAB
  assert codec.decode(codec.encode('[PAD267]')) == '[PAD267]'


SPM_PIECES = [
  '<pad>',
  '<eos>',
  '<bos>',
  '<unk>',
  '  ',
  '<turn>',
  *(f'<0x{b:02X}>' for b in range(256)),
]
SPM_NORMAL = ['▁a', 'ab', 'bc', '▁ab', '▁', 'a', 'b', 'c', '\n']  # best score first
SPM = {
  'model': 'llama',
  'tokens': SPM_PIECES + SPM_NORMAL,
  'token_type': [3, 3, 3, 2, 4, 3] + [6] * 256 + [1] * len(SPM_NORMAL),
  'scores': [0.0] * len(SPM_PIECES) + [-float(rank) for rank in range(len(SPM_NORMAL))],
  'bos_token_id': 2,
  'eos_token_id': 1,
  'eot_token_id': 5,
  'unknown_token_id': 3,
  'padding_token_id': 0,
  'add_bos_token': True,
  'add_space_prefix': False,
}


def test_sentencepiece_merges_by_score_and_falls_back_to_bytes(tmp_path):
  weights = tiny_gguf.llama_weights(vocab=len(SPM['tokens']))
  folder = converted(
    tmp_path, weights, tokenizer=SPM, template='{{ bos_token }}<turn>{{ messages[0].content }}'
  )
  assert pieces(folder, 'abc') == ['ab', 'c']  # 'ab' scores above 'bc'
  assert pieces(folder, 'c abc') == ['c', '▁a', 'bc']  # '▁a' first, so no 'ab' is left; then 'bc'
  assert pieces(folder, 'é') == ['<0xC3>', '<0xA9>']
  assert pieces(folder, 'a   a') == [
    'a',
    '  ',
    '▁a',
  ]  # the user-defined piece is matched before merging

  codec = tokenizer.pretrained(folder)
  for text in ('a   ab\n é漢', ' a', '  ', 'a<turn>b'):
    assert codec.decode(codec.encode(text)) == text
  assert codec.render(turns('a')) == [2, 5, SPM['tokens'].index('a')]  # one <bos>: the template's
  assert (codec.pad_id, codec.eos_ids, codec.vocab) == (0, (1, 5), len(SPM['tokens']))


def test_sentencepiece_with_a_prefix_space_gives_the_text_back(tmp_path):
  weights = tiny_gguf.llama_weights(vocab=len(SPM['tokens']))
  folder = converted(tmp_path, weights, tokenizer=SPM | {'add_space_prefix': True}, template=None)
  codec = tokenizer.pretrained(folder)
  assert pieces(folder, 'ab') == ['▁ab']
  assert codec.decode(codec.encode('ab c')) == 'ab c'
  assert codec.render(turns('c'))[0] == 2  # no template: the tokenizer's <bos>


# ---------------------------------------------------------------- bad files


def test_every_truncation_is_one_clear_error(tmp_path):
  file = tiny_gguf.write(tmp_path / 'whole.gguf', tiny_gguf.llama_weights())
  whole = file.read_bytes()
  cut = tmp_path / 'cut.gguf'
  lengths = [0, 3, 4, 10, 24, 30, 100, 2000, 5000, 9000, 12000, len(whole) // 2, len(whole) - 64]
  for length in lengths:
    cut.write_bytes(whole[:length])
    with pytest.raises(ValueError, match=r'cut\.gguf.*(truncated or damaged|not a GGUF file)'):
      gguf.convert(cut, tmp_path / 'folder')
  assert not (tmp_path / 'folder').exists()


def test_what_is_missing_or_unknown_is_named(tmp_path):
  weights = tiny_gguf.llama_weights()
  lacking = {name: array for name, array in weights.items() if 'layers.1.mlp.up' not in name}
  with pytest.raises(ValueError, match=r"no tensor 'blk\.1\.ffn_up\.weight'"):
    converted(tmp_path, lacking)
  with pytest.raises(ValueError, match=r"'blk\.0\.attn_q_norm\.weight'"):
    converted(
      tmp_path, weights | {'model.layers.0.self_attn.q_norm.weight': np.ones(8, np.float32)}
    )
  with pytest.raises(ValueError, match=r"general\.architecture='rwkv7'"):
    converted(tmp_path, weights, arch='rwkv7')
  numbers = {key: value for key, value in tiny_gguf.LLAMA.items() if key != 'block_count'}
  with pytest.raises(ValueError, match=r'lacks llama\.block_count'):
    converted(tmp_path, weights, numbers=numbers)
  with pytest.raises(ValueError, match=r"rope\.scaling\.type='yarn'"):
    converted(tmp_path, weights, numbers=tiny_gguf.LLAMA | {'rope.scaling.type': 'yarn'})
  with pytest.raises(ValueError, match=r'head_count_kv differs between layers: \[2, 4\]'):
    converted(tmp_path, weights, numbers=tiny_gguf.LLAMA | {'attention.head_count_kv': [2, 4]})
  with pytest.raises(ValueError, match=r'model\.gguf: .*eos_token_id=9999'):
    folder_with(tmp_path, eos_token_id=9999)
  with pytest.raises(ValueError, match="dtype='float16'"):
    converted(tmp_path, weights, dtype='float16')
  with pytest.raises(FileNotFoundError, match='does not exist'):
    gguf.convert(tmp_path / 'none.gguf', tmp_path / 'folder')
