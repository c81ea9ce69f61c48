"""Reads and writes folders of safetensors files as dicts of arrays, without torch.

This file is independent of any model. Files are mapped into memory, so a tensor uses no memory
until it is read.
"""

import json
import math

import ml_dtypes
import numpy as np
from safetensors import SafetensorError
from safetensors import numpy as safetensors

from sirl.runtime import files as written
from sirl.runtime import json_text

WEIGHTS, INDEX = 'model.safetensors', 'model.safetensors.index.json'
ADAPTER = 'adapter_config.json'
DTYPES = {
  'F64': np.dtype(np.float64),
  'F32': np.dtype(np.float32),
  'F16': np.dtype(np.float16),
  'BF16': np.dtype(ml_dtypes.bfloat16),
}


def read_tensors(folder):
  """name -> array mapped from the folder's safetensors files.

  Raises: FileNotFoundError for missing files; ValueError for damaged ones, and where files would
    stay unread that another reader applies.
  """
  if (folder / ADAPTER).is_file():
    raise ValueError(
      f'{folder} holds {ADAPTER}, an adapter that changes the weights; '
      f'merge it into the weights and save them, or remove it'
    )
  if (folder / INDEX).is_file() and (folder / WEIGHTS).is_file():
    raise ValueError(
      f'{folder} holds both {WEIGHTS} and {INDEX}, which may be of two checkpoints; remove one'
    )
  if (folder / INDEX).is_file():
    where = read_json(folder / INDEX, '')['weight_map']
    shards = {file: read_safetensors(folder / file) for file in sorted(set(where.values()))}
    for name, file in where.items():
      if name not in shards[file]:
        raise ValueError(
          f'{folder / file}: tensor {name} is missing, which {INDEX} places there; fetch both again'
        )
    for file, tensors in shards.items():
      extra = sorted(name for name in tensors if where.get(name) != file)
      if extra:
        raise ValueError(
          f'{folder / file}: tensor {extra[0]} is not placed there by {INDEX}; fetch both again'
        )
    return {name: shards[file][name] for name, file in where.items()}
  if not (folder / WEIGHTS).is_file():
    raise FileNotFoundError(
      f'{folder} has neither {WEIGHTS} nor {INDEX}; '
      f'fetch the weights, or export a torch .bin checkpoint as safetensors'
    )
  return read_safetensors(folder / WEIGHTS)


def read_safetensors(file):
  """name -> read-only array mapped from one file.

  Layout of the file: length of the header, header in JSON, data.
  """
  if not file.is_file():
    raise FileNotFoundError(f'{file} is missing, which {INDEX} names; fetch the remaining shards')
  size = file.stat().st_size
  with open(file, 'rb') as stream:
    length = int.from_bytes(stream.read(8), 'little')
    raw = stream.read(length) if 8 + length <= size else b''
  try:
    header = json.loads(raw)
    header.pop('__metadata__', None)
    end = 8 + length + max((entry['data_offsets'][1] for entry in header.values()), default=0)
  except (ValueError, AttributeError, TypeError, KeyError) as error:
    raise ValueError(
      f'{file} is truncated or no safetensors file: its {size} bytes begin with no readable '
      f'header; fetch it again'
    ) from error
  if size < end:
    raise ValueError(f'{file} is truncated: {size} of {end} bytes; fetch it again')
  data = np.memmap(file, np.uint8, 'r') if size else np.zeros(0, np.uint8)
  return {name: view(file, data[8 + length :], name, entry) for name, entry in header.items()}


def view(file, data, name, entry):
  """One tensor of a mapped file, read-only."""
  dtype, shape, (start, stop) = DTYPES.get(entry['dtype']), entry['shape'], entry['data_offsets']
  if dtype is None:
    raise ValueError(
      f'{file}: tensor {name} is stored as {entry["dtype"]}, expected one of {", ".join(DTYPES)}; '
      f'use the unquantised checkpoint'
    )
  if stop - start != math.prod(shape) * dtype.itemsize:
    raise ValueError(
      f'{file}: tensor {name} has {stop - start} bytes, expected {entry["dtype"]} {shape}; '
      f'the file is damaged, fetch it again'
    )
  return data[start:stop].view(dtype).reshape(shape)


def write_tensors(folder, tensors, dtype, max_shard_bytes):
  """Writes one safetensors file, or as many as needed and their index.

  Args: dtype: of the stored tensors, None: as they are; max_shard_bytes: most bytes per file.
  """
  width = lambda x: x.size * np.dtype(dtype or x.dtype).itemsize
  shards, filled = [[]], 0
  for name, tensor in tensors.items():
    if shards[-1] and filled + width(tensor) > max_shard_bytes:
      shards.append([])
      filled = 0
    shards[-1].append(name)
    filled += width(tensor)

  files = [WEIGHTS]
  if len(shards) > 1:
    files = [f'model-{i + 1:05d}-of-{len(shards):05d}.safetensors' for i in range(len(shards))]
  for file, names in zip(files, shards, strict=True):
    arrays = {name: np.ascontiguousarray(np.asarray(tensors[name], dtype)) for name in names}
    metadata = {'format': 'pt'}  # transformers refuses files without it
    (folder / file).touch()
    mode = (folder / file).stat().st_mode  # of every new file; save_file lets only the owner read
    try:
      safetensors.save_file(arrays, folder / file, metadata)
    except SafetensorError as error:
      raise OSError(f'{folder / file} cannot be written: {error}') from error
    (folder / file).chmod(mode)
  if len(shards) > 1:
    weight_map = {name: file for file, names in zip(files, shards, strict=True) for name in names}
    total = sum(width(tensor) for tensor in tensors.values())
    write_json(folder / INDEX, {'metadata': {'total_size': total}, 'weight_map': weight_map})


def read_json(file, advice):
  """Contents of a JSON file.

  Raises: FileNotFoundError with the advice; ValueError for a file that is not JSON.
  """
  if not file.is_file():
    raise FileNotFoundError(f'{file} does not exist; {advice}')
  try:
    return json.loads(file.read_text(encoding='utf-8'))
  except ValueError as error:
    raise ValueError(f'{file} is no valid JSON ({error}); fetch it again') from error


def write_json(file, value):
  """Writes a value as indented JSON."""
  with written.named(file):
    file.write_text(json_text.dumps(value, indent=2) + '\n', encoding='utf-8')
