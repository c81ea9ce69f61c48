"""Converts a GGUF file to a Hugging Face folder without torch: configuration, weights, tokenizer.

Weights are dequantized to float32 (or bfloat16) a few rows at a time and streamed into one
safetensors file, so the peak memory is far below the size of the model. `gguf_config` converts the
metadata and `gguf_tokenizer` the tokenizer.

Families: llama (SmolLM2 too), qwen2, qwen3, gemma3 (text). Split files, mixtures of experts and
vision towers are not supported. Order of this file: the public function, reading, weights.
"""

import pathlib

import gguf
import numpy as np

from sirl.models.files import families, gguf_config, gguf_tensors, gguf_tokenizer, origin, weights
from sirl.models.files.gguf_config import BLOCK, tensor
from sirl.models.files.gguf_tokenizer import INSTEAD

_CODES = {'float32': 'F32', 'bfloat16': 'BF16'}  # names of dtypes in safetensors


def convert(path, folder, *, dtype='float32'):
  """Writes config, weights, tokenizer and generation config of the GGUF file `path` into `folder`.

  `config.json` and the record of the file (`origin`) are written last: a folder that lacks one of
  them is not complete.

  Args: dtype: of the weights written, 'float32' or 'bfloat16'.
  Returns: the folder as a `pathlib.Path`.
  Raises: FileNotFoundError, and ValueError for a truncated or unsupported file; the message says
    what is not supported.
  """
  if dtype not in _CODES:
    raise ValueError(f'dtype={dtype!r} is not supported; choose one of {", ".join(_CODES)}')
  path = pathlib.Path(path)
  meta, tensors = _read(path)
  before = origin.identity(path)
  try:
    family = gguf_config.family_of(meta)
    config = gguf_config.read(family, meta, tensors) | {'dtype': dtype}
    families.architecture_from_config(config)  # refuses what the decoder cannot compute
    entries = _entries(family, config, tensors)
    tokenizer, tokenizer_config, generation_config = gguf_tokenizer.read(meta, config)
  except ValueError as error:
    raise ValueError(f'{path}: {error}') from error

  folder = pathlib.Path(folder)
  folder.mkdir(parents=True, exist_ok=True)
  (folder / origin.RECORD).unlink(missing_ok=True)
  (folder / 'config.json').unlink(missing_ok=True)
  weights.write_json(folder / 'tokenizer.json', tokenizer)
  weights.write_json(folder / 'tokenizer_config.json', tokenizer_config)
  weights.write_json(folder / 'generation_config.json', generation_config)
  gguf_tensors.write_safetensors(folder / weights.WEIGHTS, entries, _CODES[dtype])
  weights.write_json(folder / 'config.json', config | generation_config)
  origin.write(folder, path, before)
  return folder


# ---------------------------------------------------------------- reading


def _read(path):
  """Metadata as a dict of plain values, and {name: gguf tensor}."""
  if not path.is_file():
    raise FileNotFoundError(f'{path} does not exist; expected a GGUF file')
  with path.open('rb') as file:
    magic = file.read(4)
  if magic != b'GGUF':
    raise ValueError(f'{path} is not a GGUF file: it starts with {magic!r}, expected {b"GGUF"!r}')
  try:
    reader = gguf.GGUFReader(path)
    meta = {name: field.contents() for name, field in reader.fields.items()}
  except (ValueError, IndexError, KeyError, OverflowError) as error:
    # The reader slices past the end of a short file, and numpy then raises an unrelated error.
    size = path.stat().st_size
    raise ValueError(
      f'{path} ({size:,} bytes) is truncated or damaged ({error}); fetch the file again'
    ) from error
  if reader.byte_order != 'I':
    raise ValueError(f'{path} has the other byte order than this machine. {INSTEAD}')
  if meta.get('split.count', 0) > 1:
    raise ValueError(
      f'{path} is one of {meta["split.count"]} split files; merge them into one file first'
    )
  return meta, {tensor.name: tensor for tensor in reader.tensors}


# ---------------------------------------------------------------- weights


def _entries(family, config, tensors):
  """[(Hugging Face name, gguf tensor, row order or None, offset to subtract)] of the whole model.

  Raises: ValueError for a missing or unknown tensor.
  """
  names = {
    'token_embd.weight': 'model.embed_tokens.weight',
    'output_norm.weight': 'model.norm.weight',
  }
  for layer in range(config['num_hidden_layers']):
    for ours, theirs in family.block.items():
      names[f'blk.{layer}.{ours}.weight'] = f'model.layers.{layer}.{theirs}.weight'
    for ours in ('attn_q', 'attn_k', 'attn_v') if family.name == 'qwen2' else ():
      names[f'blk.{layer}.{ours}.bias'] = f'model.layers.{layer}.{BLOCK[ours]}.bias'
  if not config['tie_word_embeddings']:
    names['output.weight'] = 'lm_head.weight'

  # An equal copy of the embedding is not written; rope_freqs.weight is in the configuration.
  used = {'output.weight', *(['rope_freqs.weight'] if family.name == 'llama' else [])}
  unknown = sorted(set(tensors) - set(names) - used)
  if unknown:
    raise ValueError(
      f'{len(unknown)} tensors have no place in {family.architecture}, '
      f'the first is {unknown[0]!r}. {INSTEAD}'
    )
  for ours in names:
    tensor(tensors, ours)
  return [
    (theirs, tensors[ours], _row_order(family, config, ours, tensors[ours]), _offset(family, ours))
    for ours, theirs in names.items()
  ]


def _offset(family, name):
  return family.norm_offset if name.endswith('norm.weight') else 0.0


def _row_order(family, config, name, tensor):
  """Row indices that bring q and k into Hugging Face's order; None where the order is the same.

  Hugging Face puts the first halves of a head's pairs before the second halves. The file holds one
  head of 6 rows as 0 3 1 4 2 5; its rows 0 2 4 1 3 5 are then 0 1 2 3 4 5.
  """
  part = name.split('.')[-2]
  if not family.permuted or part not in ('attn_q', 'attn_k'):
    return None
  heads = config['num_attention_heads' if part == 'attn_q' else 'num_key_value_heads']
  rows = heads * config['head_dim']
  if rows != tensor.shape[-1]:
    raise ValueError(
      f'{name} has {tensor.shape[-1]} rows, '
      f'expected {heads} heads x {config["head_dim"]} = {rows}. {INSTEAD}'
    )
  return np.arange(rows).reshape(heads, rows // heads // 2, 2).swapaxes(1, 2).reshape(-1)
