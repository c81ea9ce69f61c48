"""Which GGUF file a folder was converted from: its content, and the code that converted it."""

import hashlib
import pathlib

from sirl.models.files import weights

RECORD = 'converted_from.json'
CODE = ('gguf.py', 'gguf_config.py', 'gguf_tensors.py', 'gguf_tokenizer.py')


def identity(file):
  """What tells two versions of a file apart without reading it, and two of the converting code."""
  here, code = pathlib.Path(__file__).parent, hashlib.sha256()
  for name in CODE:
    code.update((here / name).read_bytes())
  stat = file.stat()
  return {
    'file': file.name,
    'size': stat.st_size,
    'time': stat.st_mtime_ns,
    'code': code.hexdigest(),
  }


def sha256(file):
  with file.open('rb') as stream:
    return hashlib.file_digest(stream, 'sha256').hexdigest()


def write(folder, file, before):
  """Writes the record of a conversion that began when the file's identity was `before`.

  Raises: ValueError if the file has changed since.
  """
  record = before | {'sha256': sha256(file)}
  if identity(file) != before:
    raise ValueError(f'{file} changed while it was converted; try again')
  weights.write_json(folder / RECORD, record)


def fits(folder, file):
  """Whether the folder holds the conversion of just this file by just this code.

  A file of the recorded size and time is the same. Otherwise its content decides.
  """
  if not (folder / RECORD).is_file():
    return False
  record, now = weights.read_json(folder / RECORD, ''), identity(file)
  if not {'size', 'time', 'code', 'sha256'} <= record.keys() or record['code'] != now['code']:
    return False
  if all(record[key] == now[key] for key in ('size', 'time')):
    return True
  return record['size'] == now['size'] and record['sha256'] == sha256(file)
