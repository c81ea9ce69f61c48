"""Reads weights from Hugging Face folders, hub names and GGUF files, and writes such folders.

A folder holds config.json and model.safetensors, or shards with model.safetensors.index.json. Files
are mapped into memory and read tensor by tensor, without torch. Contents that do not fit raise one
error, which names the file or tensor, the expectation and the remedy. `save` writes weights alone;
`export.export` writes them with a tokenizer.
"""

import os
import pathlib
import re
import shutil
import tempfile

import jax
import jax.numpy as jnp
import numpy as np

from sirl.models import functional, presets
from sirl.models.files import families, gguf_cache, unused, weights
from sirl.models.transformer import Architecture

CONFIG = 'config.json'
TOKENIZER_FILES = (
  'tokenizer.json',
  'tokenizer_config.json',
  'tokenizer.model',
  'special_tokens_map.json',
  'added_tokens.json',
  'vocab.json',
  'merges.txt',
  'chat_template.jinja',
  'generation_config.json',
)
TOKEN_IDS = ('bos_token_id', 'eos_token_id', 'pad_token_id')


def load(
  path_or_name,
  *,
  dtype='float32',
  param_dtype='float32',
  value_head=False,
  remat='none',
  constrain=None,
):
  """(Model, params, Architecture) of a pretrained model.

  Args:
    path_or_name: a folder, a .gguf file or a folder with one, or a hub name such as
      'Qwen/Qwen3-0.6B'.
    dtype, remat: of the computation, see `Architecture`.
    param_dtype: of the params; use float32 to train.
    value_head: adds a value head, which is zero unless the folder was saved with one.
    constrain: see `functional.build`.

  Raises: FileNotFoundError for a missing file or an unreachable hub; ValueError for contents that
    do not fit.
  """
  folder = locate(path_or_name)
  architecture = read_architecture(folder, dtype=dtype, value_head=value_head, remat=remat)
  model = functional.build(architecture, constrain=constrain)
  params = read_params(folder, architecture, param_dtype)
  # jnp.asarray might share the host's memory, and a shared array cannot be donated.
  params = jax.tree.map(jnp.array, params)
  return model, params, architecture


def save(
  folder,
  params,
  architecture,
  *,
  dtype=None,
  tokenizer_from=None,
  token_ids=None,
  max_shard_bytes=5_000_000_000,
):
  """Writes a folder that `load` and transformers' AutoModelForCausalLM read; config.json last.

  Args:
    folder: made if missing; weights of an earlier save in it are replaced.
    params, architecture: as `load` returns them, in the same order.
    dtype: to store weights in, such as 'bfloat16'; None: as they are.
    tokenizer_from: folder whose tokenizer files and special token ids are carried over.
    token_ids: special token ids for config.json, by the names in TOKEN_IDS.
    max_shard_bytes: no file grows larger, unless a single tensor does.

  A value head is stored as value_head.weight and value_head.bias. transformers says that it does
  not use these two, and loads the rest.

  Raises: ValueError if no family can express the architecture, if params are not its own, and if
    the two are swapped.
  """
  check_arguments(params, architecture)
  config = families.config_from_architecture(architecture)
  flat = functional.flatten(params)
  expected = functional.flatten(functional.shapes(architecture))
  check_same(
    {path: leaf.shape for path, leaf in expected.items()},
    {path: leaf.shape for path, leaf in flat.items()},
    'params',
  )
  stored = {families.tensor_name(path, architecture): flat[path] for path in expected}
  config['dtype'] = np.dtype(dtype or next(iter(stored.values())).dtype).name
  copied = []
  if tokenizer_from is not None:
    source = pathlib.Path(tokenizer_from)
    config |= stored_token_ids(source)
    copied = [source / name for name in TOKENIZER_FILES if (source / name).is_file()]
  config |= token_ids or {}

  folder = pathlib.Path(folder)
  folder.mkdir(parents=True, exist_ok=True)
  with tempfile.TemporaryDirectory(dir=folder) as scratch:
    scratch = pathlib.Path(scratch)  # an earlier save stays complete until this one is
    weights.write_tensors(scratch, stored, dtype, max_shard_bytes)
    weights.write_json(scratch / CONFIG, config)
    for file in copied:
      shutil.copyfile(file, scratch / file.name)
    for old in [*folder.glob('model*.safetensors'), folder / weights.INDEX, folder / CONFIG]:
      old.unlink(missing_ok=True)
    for file in sorted(scratch.iterdir(), key=lambda file: file.name == CONFIG):
      os.replace(file, folder / file.name)


def check_arguments(params, architecture):
  """Raises ValueError unless these are a params tree and an Architecture, in this order."""
  if isinstance(architecture, Architecture) and isinstance(params, dict):
    return
  if isinstance(params, Architecture):
    raise ValueError(
      f'params and architecture are swapped: the params are an Architecture and the architecture '
      f'is a {type(architecture).__name__}; the order is that of load, params before architecture'
    )
  if architecture is None:
    raise ValueError(
      'this model cannot be exported: it has no architecture, and only that of a model made by '
      'sirl.models.build or files.pretrained.load says which Hugging Face family it belongs to'
    )
  if not isinstance(architecture, Architecture):
    raise ValueError(
      f'architecture is a {type(architecture).__name__}, expected an Architecture; '
      f'give model.architecture'
    )
  raise ValueError(f'params are a {type(params).__name__}, expected a nested dict of arrays')


def locate(path_or_name):
  """The Hugging Face folder of a path or hub name: fetched or converted from GGUF where necessary.

  A GGUF file is converted once, see `gguf_cache`, and again when it has changed.
  """
  path = pathlib.Path(path_or_name)
  if path.is_file():
    if path.suffix != '.gguf':
      raise ValueError(
        f'{path} is a file; expected a folder with {CONFIG}, a .gguf file or a hub name'
      )
    return gguf_cache.converted(path)
  if path.is_dir():
    if (path / CONFIG).is_file():
      return path
    found = sorted(path.glob('*.gguf'))
    if len(found) == 1:
      return gguf_cache.converted(found[0])
    what = f'{len(found)} .gguf files; name one of them' if found else 'no .gguf file either'
    raise FileNotFoundError(f'folder {path} has no {CONFIG}, and {what}')
  if re.fullmatch(r'[A-Za-z0-9][\w.-]*/[\w.-]+', str(path_or_name)) and not path.parent.is_dir():
    return fetched(str(path_or_name))
  raise FileNotFoundError(
    f'{path} does not exist; expected a folder with {CONFIG}, a .gguf file or a hub name like '
    f'Qwen/Qwen3-0.6B'
  )


def architecture_named(path_or_name, **changes):
  """The Architecture of a model without its weights: nothing is downloaded.

  Args:
    path_or_name: a folder, a .gguf file, a preset such as 'qwen3-8b', or a hub name whose preset is
      known, such as 'Qwen/Qwen3-8B'.
    changes: fields of the Architecture.
  Raises: ValueError for a name that is none of these; FileNotFoundError as `locate`.
  """
  if pathlib.Path(path_or_name).exists():
    return read_architecture(locate(path_or_name), **changes)
  name = re.sub(r'-(instruct|it|base|chat|pt)$', '', str(path_or_name).split('/')[-1].lower())
  name = name.replace('-3-', '3-').replace('-3.', '3.')  # gemma-3-1b, llama-3.2-1b
  if name not in presets.PRESETS:
    raise ValueError(
      f'model={path_or_name}: no such folder, and no architecture of that name is known'
      f'{presets.nearest(name, presets.PRESETS)}; known: {", ".join(presets.PRESETS)}'
    )
  return presets.preset(name, **changes)


def read_architecture(folder, **changes):
  """Architecture of a folder's config.json, with some fields changed."""
  file = pathlib.Path(folder) / CONFIG
  config = weights.read_json(
    file, f'the folder of a Hugging Face model has one beside {weights.WEIGHTS}'
  )
  try:
    return families.architecture_from_config(config, **changes)
  except ValueError as error:
    raise ValueError(f'{file}: {error}') from error


def read_params(folder, architecture, dtype='float32'):
  """Nested dict of numpy arrays of `dtype` from the folder's safetensors files."""
  folder = pathlib.Path(folder)
  tensors = weights.read_tensors(folder)
  paths = functional.flatten(functional.shapes(architecture))
  names = {path: families.tensor_name(path, architecture) for path in paths}
  if 'value_head.weight' not in tensors:
    names = {path: name for path, name in names.items() if not path.startswith('value_head')}
  for name in sorted(set(tensors) - set(names.values())):
    if unused.may_be_left_out(name, tensors, architecture, folder):
      del tensors[name]
  check_same(
    {name: paths[path].shape for path, name in names.items()},
    {name: tensor.shape for name, tensor in tensors.items()},
    str(folder),
  )
  filled = {
    path: np.array(tensors[names[path]], dtype) if path in names else np.zeros(shape.shape, dtype)
    for path, shape in paths.items()
  }
  return functional.unflatten(filled)


def check_same(expected, got, where):
  """Compares two dicts of name -> shape.

  Raises: ValueError about the first difference, with the number of further ones.
  """
  for names, what, advice in (
    ([name for name in expected if name not in got], 'is missing', 'complete the checkpoint'),
    ([name for name in got if name not in expected], 'is unexpected', 'remove it'),
  ):
    if names:
      name = names[0]
      shape = list(expected.get(name, got.get(name)))
      more = f' (and {len(names) - 1} more)' if len(names) > 1 else ''
      raise ValueError(
        f'{where}: tensor {name} {shape} {what}{more}; {advice}, or use the config that belongs '
        f'to it (family, number of layers, tie_word_embeddings)'
      )
  for name, shape in expected.items():
    if tuple(got[name]) != tuple(shape):
      raise ValueError(
        f'{where}: tensor {name} has shape {list(got[name])}, expected {list(shape)} (out, in); '
        f'use the config that belongs to the weights'
      )


def stored_token_ids(folder):
  """The special token ids in a folder's config.json."""
  config = weights.read_json(
    folder / CONFIG, 'tokenizer_from must be the folder of a Hugging Face model'
  )
  return {key: config[key] for key in TOKEN_IDS if key in config}


def fetched(name):
  """The local folder of a hub model; it is downloaded unless it is in the cache."""
  import huggingface_hub  # only this path may use the network

  patterns = ['*.json', '*.safetensors', '*.txt', '*.model', '*.jinja']
  try:
    return pathlib.Path(huggingface_hub.snapshot_download(name, allow_patterns=patterns))
  except Exception as error:
    raise FileNotFoundError(
      f'no folder {name!r} here, and the hub model of that name could not be fetched '
      f'({type(error).__name__}: {str(error).splitlines()[0] if str(error) else "no details"}); '
      f'check the name and the connection, or give the path of a downloaded folder'
    ) from error
