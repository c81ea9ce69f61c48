"""Rows of data files, each with its place: JSON lines, parquet, and TFDS in ArrayRecord form.

A place is text such as 'train.jsonl, line 8'. NaN, with which numpy and pandas write a missing
number, becomes None. A file that is damaged, or that mixes splits, is an error that names it.
"""

import decimal
import gzip
import json
import logging
import pathlib
import re
import zlib
from collections.abc import Iterator
from typing import Any

import numpy as np

from sirl.runtime import plural

# The name of a part of a data set, such as train-00000-of-00002.parquet, also with a hash after it.
SHARD = re.compile(r'(?P<before>.*?)(?P<i>\d+)-of-(?P<n>\d+)(-[0-9a-f]{16})?(?P<after>\D.*|)')

log = logging.getLogger(__name__)


def existing(path):
  """The path. Logs a warning for a file that is one of several shards, of which it reads no other."""
  path = pathlib.Path(path)
  if not path.exists():
    raise ValueError(f'{path} does not exist (looked from {pathlib.Path.cwd()})')
  shard = SHARD.fullmatch(path.name)
  if shard and path.is_file() and int(shard['n']) > 1:
    log.warning('%s is one of %d shards, and the others are not read', path, int(shard['n']))
  return path


def check_shards(files):
  """Raises ValueError if a shard is missing among files of one folder, by the numbers in their names."""
  found = {}
  for file in files:
    if shard := SHARD.fullmatch(file.name):
      found.setdefault((shard['before'], shard['n'], shard['after']), []).append(shard['i'])
  for (before, n, after), indices in found.items():
    first = int(int(n) in map(int, indices))  # numbered from 0, or from 1 up to n
    wanted = [f'{i:0{len(n)}d}' for i in range(first, first + int(n))]
    if missing := [f'{before}{i}-of-{n}{after}' for i in wanted if i not in indices]:
      shown = ', '.join(missing[:4]) + ', ...' * (len(missing) > 4)
      raise ValueError(
        f'{files[0].parent} lacks {len(missing)} of {plural.counted(int(n), "shard")}: {shown}; '
        'copy the rest, or give the path of one file to read it alone'
      )


def of_split(found, split, *, chosen=False):
  """The rows of one split, told apart by their field 'split'; without a split, all rows.

  Args: chosen: the files were chosen by split, so rows need no such field.
  Raises: ValueError for rows of several splits when none is named, and where the split cannot be
    told or does not occur.
  """
  seen = []
  for place, row in found:
    of = row.get('split') if isinstance(row.get('split'), str) else None
    seen += [of] if of is not None and of not in seen else []
    if split is None and len(seen) > 1:
      raise ValueError(
        f'{place}: rows of several splits are mixed here, {seen[0]!r} and {of!r}; '
        f'name one with split=, or keep each in a file of its own'
      )
    if split is not None and of is None and not chosen:
      raise ValueError(
        f"{place}: no field 'split', by which rows of split {split!r} are told; leave split= out"
      )
    if split is None or of in (None, split):
      yield place, row
  if split is not None and seen and split not in seen:
    raise ValueError(f'no row of split {split!r}; there are {", ".join(map(repr, seen))}')


def json_rows(path) -> Iterator[tuple[str, dict[str, Any]]]:
  if path.is_dir():
    raise ValueError(f'{path} is a folder; jsonl reads one file')
  for number, line in _lines(path):
    place = f'{path}, line {number}'
    if not line.strip():
      continue
    try:
      row = json.loads(line.decode('utf-8-sig'), object_pairs_hook=_each_once)
    except ValueError as error:  # also JSONDecodeError, UnicodeDecodeError
      raise ValueError(f'{place}: not JSON in UTF-8 ({error}): {short(line)}') from error
    if not isinstance(row, dict):
      raise ValueError(
        f'{place}: {type(row).__name__} {short(row)}; expected one JSON object a line'
      )
    yield place, plain(row)


def _lines(path):
  opened: Any = gzip.open if path.suffix == '.gz' else open
  with opened(path, 'rb') as file:
    try:
      yield from enumerate(file, start=1)
    except (EOFError, OSError, zlib.error) as error:
      raise ValueError(f'{path} is damaged or cut ({first_line(error)}); copy it again') from error


def _each_once(pairs):
  row = dict(pairs)
  if len(row) < len(pairs):
    names = [name for name, _ in pairs]
    twice = next(name for name in names if names.count(name) > 1)
    raise ValueError(f'the field {twice!r} is given twice')
  return row


def parquet_rows(path, split) -> Iterator[tuple[str, dict[str, Any]]]:
  import pyarrow
  from pyarrow import parquet as arrow

  for file in parquet_files(path, split) if path.is_dir() else [path]:
    try:
      with arrow.ParquetFile(file) as table:
        number = 0
        for batch in table.iter_batches(batch_size=1024):
          for row in batch.to_pylist():
            number += 1
            yield f'{file}, row {number}', plain(row)
    except (pyarrow.ArrowException, OSError) as error:
      raise ValueError(f'{file}: not a readable parquet file ({error})') from error


def parquet_files(folder, split):
  """The files of one split in a folder, sorted by name.

  Files of one split differ in numbers and hashes only, as 'train-00000-of-00002.parquet' does.
  Raises: ValueError for files of several splits when none is named, and for a split without files.
  """
  files = sorted(folder.glob('*.parquet'))
  if not files:
    below = sorted({str(file.parent) for file in folder.rglob('*.parquet')})
    hint = f'; there are some in {", ".join(below)}, name one of these' if below else ''
    raise ValueError(f'{folder} holds no .parquet file{hint}')
  first_of: dict[str, str] = {}
  for file in files:
    stem = re.sub(r'-[0-9a-f]{16}$', '', file.stem)
    first_of.setdefault(re.sub(r'\d+', '#', stem), file.name)
  if split is not None:
    word = re.compile(rf'(?<![A-Za-z]){re.escape(split)}(?!_?[A-Za-z])')  # not 'train' of train_sft
    kept = [file for file in files if word.search(file.stem)]
  else:
    kept = files if len(first_of) == 1 else []
  if not kept:
    what = 'holds files of several splits' if split is None else f'holds no file of split {split!r}'
    raise ValueError(
      f'{folder} {what}: {", ".join(first_of.values())}; name one with split=, such as '
      "split='train', or give the path of one file"
    )
  check_shards(kept)
  return kept


def tfds_builder(name_or_folder, data_dir):
  import tensorflow_datasets

  try:
    if pathlib.Path(name_or_folder).is_dir():
      builder = tensorflow_datasets.builder_from_directory(name_or_folder)
    else:
      builder = tensorflow_datasets.builder(str(name_or_folder), data_dir=data_dir)
  except Exception as error:  # TFDS raises many types
    raise ValueError(
      f'TFDS finds no prepared data set {str(name_or_folder)!r} (data_dir={data_dir}): '
      f'{first_line(error)}. Give the folder that holds dataset_info.json.'
    ) from error
  form = builder.info.file_format
  if form is not None and form.value != 'array_record':
    raise ValueError(
      f"{name_or_folder} is stored as {form.value}; prepare it with file_format='array_record', "
      'the one format that is read whole without TensorFlow'
    )
  return builder


def tfds_rows(builder: Any, split, place) -> Iterator[tuple[str, dict[str, Any]]]:
  try:
    source = builder.as_data_source(split=split)
  except Exception as error:  # TFDS raises many types
    splits = ', '.join(builder.info.splits) or 'none prepared'
    raise ValueError(f'{place}: no such split (splits: {splits}): {first_line(error)}') from error
  shards = builder.info.splits[split].file_instructions
  for shard in shards:
    _check_shard(shard, place)
  names = [shard.filename for shard in shards for _ in range(shard.take)]
  for index, name in enumerate(names):
    try:
      row = source[index]
    except Exception as error:  # array_record raises RuntimeError, TFDS many types
      raise ValueError(
        f'{place}, row {index}: {name} is damaged ({first_line(error)}); copy or prepare it again'
      ) from error
    yield f'{place}, row {index}', plain(row)


def _check_shard(shard, place):
  """Raises ValueError for a file that is missing or cut.

  The reader gives empty rows where a file ends at the end of a block.
  """
  from array_record.python import array_record_module

  try:
    found = array_record_module.ArrayRecordReader(str(shard.filename)).num_records()
  except Exception as error:  # array_record raises RuntimeError
    found = f'no readable rows ({first_line(error)})'
  if found != shard.examples_in_shard:
    raise ValueError(
      f'{place}: {shard.filename} is damaged, cut or missing: it holds {found}, expected '
      f'{shard.examples_in_shard} rows; copy or prepare it again'
    )


def plain(value) -> Any:
  """Values of JSON: bytes as text, numpy's as Python's, decimals as text, NaN as None."""
  if isinstance(value, dict):
    return {name: plain(item) for name, item in value.items()}
  if isinstance(value, list | tuple):
    return [plain(item) for item in value]
  if isinstance(value, bytes):
    return value.decode()
  if isinstance(value, np.ndarray | np.generic):
    return plain(value.tolist())
  if isinstance(value, decimal.Decimal):
    return None if value.is_nan() else str(value)
  return None if isinstance(value, float) and value != value else value


def first_line(error):
  return (str(error).strip().splitlines() or [type(error).__name__])[0]


def short(value):
  """The repr of a value, at most 80 characters."""
  text = repr(value)
  return text if len(text) <= 80 else text[:77] + '...'
