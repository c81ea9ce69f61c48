"""Which GGUF file a folder was converted from: its content, and the code that converted it."""

import hashlib
import pathlib

from sirl.models.files import weights

RECORD = 'converted_from.json'
CODE = ('gguf.py', 'gguf_config.py', 'gguf_tensors.py', 'gguf_tokenizer.py')


def identity(file):
  """What tells two versions of a file apart without reading it, and two of the converting code."""
  stat = file.stat()
  return {'file': file.name, 'size': stat.st_size, 'time': stat.st_mtime_ns, 'code': code()}


def code():
  """SHA-256 of the code that converts."""
  here = pathlib.Path(__file__).parent
  return hashlib.sha256(b''.join((here / name).read_bytes() for name in CODE)).hexdigest()


def by_this_code(folder):
  """Whether the folder was converted by the code as it is now."""
  record = folder / RECORD
  return record.is_file() and weights.read_json(record, '').get('code') == code()


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
  if not by_this_code(folder):
    return False
  record, now = weights.read_json(folder / RECORD, ''), identity(file)
  if all(record[key] == now[key] for key in ('size', 'time')):
    return True
  return record['size'] == now['size'] and record['sha256'] == sha256(file)
