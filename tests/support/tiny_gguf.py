"""Writes tiny GGUF files the way llama.cpp's converter does, from Hugging Face names."""

import gguf
import numpy as np

BYTES = [chr(b) for b in [*range(33, 127), *range(161, 173), *range(174, 256)]] + [
  chr(256 + n) for n in range(68)
]  # the 256 letters of byte-level BPE; Ġ is the space, Ċ the newline
SPECIAL = ['<|endoftext|>', '<|im_start|>', '<|im_end|>']
MERGES = ['Ċ Ċ', 'Ġ Ġ', 'h e', 'Ġ t', 'Ġt he', '1 2', '12 3', '123 4']
TOKENS = [*SPECIAL, *BYTES, *(merge.replace(' ', '') for merge in MERGES)]
VOCAB = len(TOKENS)
TEMPLATE = "{% for m in messages %}<|im_start|>{{ m['role'] }}\n{{ m['content'] }}<|im_end|>\n{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"

LLAMA = {
  'block_count': 2,
  'context_length': 64,
  'embedding_length': 32,
  'feed_forward_length': 64,
  'attention.head_count': 4,
  'attention.head_count_kv': 2,
  'attention.layer_norm_rms_epsilon': 1e-5,
  'rope.freq_base': 5000.0,
  'rope.dimension_count': 8,
}
BLOCK = {
  'input_layernorm': 'attn_norm',
  'self_attn.q_proj': 'attn_q',
  'self_attn.k_proj': 'attn_k',
  'self_attn.v_proj': 'attn_v',
  'self_attn.o_proj': 'attn_output',
  'self_attn.q_norm': 'attn_q_norm',
  'self_attn.k_norm': 'attn_k_norm',
  'post_attention_layernorm': 'ffn_norm',
  'mlp.gate_proj': 'ffn_gate',
  'mlp.up_proj': 'ffn_up',
  'mlp.down_proj': 'ffn_down',
}
GEMMA = BLOCK | {
  'pre_feedforward_layernorm': 'ffn_norm',
  'post_attention_layernorm': 'post_attention_norm',
  'post_feedforward_layernorm': 'post_ffw_norm',
}
BYTE_LEVEL = {
  'model': 'gpt2',
  'pre': 'smollm',
  'tokens': TOKENS,
  'token_type': [3] * len(SPECIAL) + [1] * (len(TOKENS) - len(SPECIAL)),
  'merges': MERGES,
  'bos_token_id': 1,
  'eos_token_id': 2,
  'unknown_token_id': 0,
  'padding_token_id': 2,
}


def llama_weights(seed=0, *, vocab=VOCAB, tied=True):
  """Random float32 weights under Hugging Face names, of the model that LLAMA describes."""
  rng = np.random.default_rng(seed)
  shapes = {'model.embed_tokens.weight': (vocab, 32), 'model.norm.weight': (32,)}
  if not tied:
    shapes['lm_head.weight'] = (vocab, 32)
  for layer in range(2):
    part = {
      'self_attn.q_proj': (32, 32),
      'self_attn.k_proj': (16, 32),
      'self_attn.v_proj': (16, 32),
    }
    part |= {
      'self_attn.o_proj': (32, 32),
      'input_layernorm': (32,),
      'post_attention_layernorm': (32,),
    }
    part |= {'mlp.gate_proj': (64, 32), 'mlp.up_proj': (64, 32), 'mlp.down_proj': (32, 64)}
    shapes |= {f'model.layers.{layer}.{name}.weight': shape for name, shape in part.items()}
  return {name: rng.normal(0, 0.5, shape).astype(np.float32) for name, shape in shapes.items()}


def write(
  path, weights, *, arch='llama', numbers=LLAMA, tokenizer=BYTE_LEVEL, template=TEMPLATE, types=None
):
  """Writes a GGUF file.

  Args: types: {Hugging Face name: gguf quantization type} for matrices not stored in float32.
  """
  writer = gguf.GGUFWriter(path, arch)
  for key, value in numbers.items():
    add_value(writer, f'{arch}.{key}', value)
  for key, value in tokenizer.items():
    add_value(writer, f'tokenizer.ggml.{key}', value)
  if template:
    writer.add_string('tokenizer.chat_template', template)

  for name, array in weights.items():
    if arch == 'llama' and ('q_proj' in name or 'k_proj' in name):
      heads = numbers['attention.head_count' if 'q_proj' in name else 'attention.head_count_kv']
      heads = heads[0] if isinstance(heads, list) else heads
      array = interleaved(array, heads)
    if arch == 'gemma3' and 'norm' in name:
      array = array + 1
    kind = (types or {}).get(name)
    if kind is None:
      writer.add_tensor(gguf_name(name, arch), array)
    else:
      writer.add_tensor(gguf_name(name, arch), gguf.quants.quantize(array, kind), raw_dtype=kind)
  writer.write_header_to_file()
  writer.write_kv_data_to_file()
  writer.write_tensors_to_file()
  writer.close()
  return path


def add_value(writer, name, value):
  kinds = {bool: writer.add_bool, int: writer.add_uint32, float: writer.add_float32}
  (kinds | {str: writer.add_string, list: writer.add_array})[type(value)](name, value)


def interleaved(array, heads):
  """Rows in llama.cpp's order: the two halves of each head alternate."""
  return (
    array.reshape(heads, 2, len(array) // heads // 2, *array.shape[1:])
    .swapaxes(1, 2)
    .reshape(array.shape)
  )


def gguf_name(name, arch):
  outer = {'model.embed_tokens': 'token_embd', 'model.norm': 'output_norm', 'lm_head': 'output'}
  outer['rope_freqs'] = 'rope_freqs'  # has no Hugging Face name
  stem, kind = name.rsplit('.', 1)
  if stem in outer:
    return f'{outer[stem]}.{kind}'
  _, _, layer, rest = stem.split('.', 3)
  return f'blk.{layer}.{(GEMMA if arch == "gemma3" else BLOCK)[rest]}.{kind}'
