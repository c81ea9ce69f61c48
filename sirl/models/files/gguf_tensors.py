"""Writes the tensors of a GGUF file as safetensors."""

import json
import struct
from typing import Any

import gguf
import numpy as np

from sirl.models.files import weights
from sirl.models.files.gguf_tokenizer import INSTEAD
from sirl.runtime import files

CHUNK = 2**22  # elements dequantized at a time


def write_safetensors(path, entries, code):
  """Streams the tensors into a file: 8 bytes of header length, the header as JSON, the arrays."""
  dtype = weights.DTYPES[code]
  header: dict[str, Any] = {'__metadata__': {'format': 'pt'}}
  end = 0
  for name, tensor, _, _ in entries:
    start, end = end, end + tensor.n_elements * dtype.itemsize
    shape = [int(size) for size in reversed(tensor.shape)]
    header[name] = {'dtype': code, 'shape': shape, 'data_offsets': [start, end]}
  text = json.dumps(header).encode()
  text += b' ' * (-len(text) % 8)

  with files.named(path), path.open('wb') as file:
    file.write(struct.pack('<Q', len(text)) + text)
    for _, tensor, order, offset in entries:
      for rows in dequantized(tensor, order):
        file.write(np.ascontiguousarray(rows - np.float32(offset), dtype).tobytes())


def dequantized(tensor, order):
  """Yields the tensor as float32 arrays of some rows each; no quantization block crosses a row."""
  data = tensor.data if order is None else tensor.data[order]
  step = max(1, CHUNK // int(tensor.shape[0])) if data.ndim > 1 else len(data)
  for start in range(0, len(data), step):
    try:
      yield gguf.quants.dequantize(data[start : start + step], tensor.tensor_type)
    except NotImplementedError as error:
      raise ValueError(
        f'{tensor.name} is stored as {tensor.tensor_type.name}, '
        f'which cannot be dequantized. {INSTEAD}'
      ) from error
