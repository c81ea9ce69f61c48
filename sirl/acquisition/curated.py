"""Tasks from data files: JSON lines, parquet, and TFDS in ArrayRecord form (without TensorFlow).

Each reader returns a list of Tasks in the order of the file. `prompt` and `answer` are field names
or functions of the row. `parse` turns the answer field into the answer that verifiers compare. A
malformed row raises a ValueError that names the file and the row.
"""

import gzip
import itertools
import json
import pathlib
from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np

from sirl.tasks import Task, content_id


def jsonl(
  path, *, prompt='question', answer='answer', parse=None, meta=(), name=None, limit=None
) -> list[Task]:
  """Tasks from a file with one JSON object per line, plain or gzipped (.gz). Skips blank lines.

  Args:
    prompt: field name, or row -> str.
    answer: field name, row -> str or None, or None for tasks without answers. A null in the file
      means that the answer is unknown.
    parse: str -> str or None, applied to the answer, such as `gsm8k_answer`. Returning None means
      that the answer is unusable, and raises.
    meta: names of further fields to keep.
    name: prefix of the tasks' ids; the file's stem by default.
    limit: at most this many rows, from the start; None for all.
  Raises: ValueError for a missing or empty file, and for a malformed row, naming file and line.
  """
  path = _existing(path)
  return _tasks(
    _json_rows(path), path, prompt, answer, parse, meta, name or path.name.split('.')[0], limit
  )


def parquet(
  path, *, prompt='question', answer='answer', parse=None, meta=(), name=None, limit=None
) -> list[Task]:
  """Tasks from a parquet file, or from all *.parquet files of a folder, sorted by name.

  Arguments as in `jsonl`.
  """
  path = _existing(path)
  return _tasks(_parquet_rows(path), path, prompt, answer, parse, meta, name or path.stem, limit)


def tfds(
  name_or_folder,
  split,
  *,
  data_dir=None,
  prompt='question',
  answer='answer',
  parse=None,
  meta=(),
  name=None,
  limit=None,
) -> list[Task]:
  """Tasks from a TFDS data set prepared with file_format='array_record'. Downloads nothing.

  TFDS's own 'parquet' format is refused: without TensorFlow it lost rows without an error.

  Args:
    name_or_folder: the folder of a prepared version ('.../gsm8k/1.0.0'), or the name of a data set
      under data_dir.
    split: such as 'train' or 'train[:10%]'.
  The other arguments are as in `jsonl`. Texts are decoded from bytes.
  """
  builder = _tfds_builder(name_or_folder, data_dir)
  place = f'{name_or_folder} [{split}]'
  rows = _tfds_rows(builder, split, place)
  return _tasks(rows, place, prompt, answer, parse, meta, name or builder.name, limit)


def gsm8k_answer(text: str) -> str | None:
  """The text after the last '####' of a GSM8K solution, without thousands separators.

  '... #### 1,080' gives '1080'; None without a '####' or with nothing after it.
  """
  _, mark, tail = text.rpartition('####')
  return (tail.strip().replace(',', '') or None) if mark else None


# ---------------------------------------------------------------- rows -> tasks


def _tasks(rows: Iterable, source, prompt, answer, parse, meta, name, limit):
  if limit is not None and limit < 1:
    raise ValueError(f'limit={limit}; expected at least 1, or None for all rows')
  tasks = [
    _task(row, place, prompt, answer, parse, meta, name)
    for place, row in itertools.islice(rows, limit)
  ]
  if not tasks:
    raise ValueError(f'{source} holds no rows')
  return tasks


def _task(row, place, prompt, answer, parse, meta, name):
  text = _text(_field(row, prompt, place), place, 'prompt')
  if text is None or not text.strip():
    raise ValueError(f'{place}: empty prompt; every row needs one')
  solution = None if answer is None else _text(_field(row, answer, place), place, 'answer')
  if solution is not None and parse is not None:
    parsed = parse(solution)
    if parsed is None:
      raise ValueError(f'{place}: {_called(parse)} finds no answer in {_short(solution)}')
    solution = parsed
  kept = {field: _field(row, field, place) for field in meta}
  return Task(id=content_id(name, text), prompt=text, answer=solution, origin='curated', meta=kept)


def _field(row, field, place):
  """row[field], or field(row)."""
  if callable(field):
    try:
      return field(row)
    except Exception as error:
      raise ValueError(
        f'{place}: {_called(field)} raised {type(error).__name__}: {error}'
      ) from error
  if field not in row:
    raise ValueError(
      f'{place}: no field {field!r}; the row has {", ".join(map(repr, row)) or "none"}'
    )
  return row[field]


def _text(value, place, what):
  """A str, or None. Numbers are written out; anything else is an error."""
  if isinstance(value, bool) or not (value is None or isinstance(value, str | int | float)):
    raise ValueError(
      f'{place}: {what} is {type(value).__name__} {_short(value)}; expected text or a number'
    )
  return value if value is None or isinstance(value, str) else str(value)


def _called(fn):
  return getattr(fn, '__name__', repr(fn))


def _short(value):
  text = repr(value)
  return text if len(text) <= 80 else text[:77] + '...'


# ---------------------------------------------------------------- files -> (place, row)


def _existing(path):
  path = pathlib.Path(path)
  if not path.exists():
    raise ValueError(f'{path} does not exist (looked from {pathlib.Path.cwd()})')
  return path


def _json_rows(path) -> Iterator[tuple[str, dict[str, Any]]]:
  if path.is_dir():
    raise ValueError(f'{path} is a folder; jsonl reads one file')
  opened: Any = gzip.open if path.suffix == '.gz' else open
  with opened(path, 'rb') as file:
    for number, line in enumerate(file, start=1):
      place = f'{path}, line {number}'
      if not line.strip():
        continue
      try:
        row = json.loads(line.decode('utf-8-sig'))
      except ValueError as error:  # also JSONDecodeError, UnicodeDecodeError
        raise ValueError(f'{place}: not JSON in UTF-8 ({error}): {_short(line)}') from error
      if not isinstance(row, dict):
        raise ValueError(
          f'{place}: {type(row).__name__} {_short(row)}; expected one JSON object a line'
        )
      yield place, row


def _parquet_rows(path) -> Iterator[tuple[str, dict[str, Any]]]:
  import pyarrow
  from pyarrow import parquet as arrow

  files = sorted(path.glob('*.parquet')) if path.is_dir() else [path]
  for file in files:
    try:
      with arrow.ParquetFile(file) as table:
        number = 0
        for batch in table.iter_batches(batch_size=1024):
          for row in batch.to_pylist():
            number += 1
            yield f'{file}, row {number}', row
    except (pyarrow.ArrowException, OSError) as error:
      raise ValueError(f'{file}: not a readable parquet file ({error})') from error


def _tfds_builder(name_or_folder, data_dir):
  import tensorflow_datasets

  try:
    if pathlib.Path(name_or_folder).is_dir():
      builder = tensorflow_datasets.builder_from_directory(name_or_folder)
    else:
      builder = tensorflow_datasets.builder(str(name_or_folder), data_dir=data_dir)
  except Exception as error:  # TFDS raises many types
    raise ValueError(
      f'TFDS finds no prepared data set {str(name_or_folder)!r} (data_dir={data_dir}): '
      f'{_first_line(error)}. Give the folder that holds dataset_info.json.'
    ) from error
  form = builder.info.file_format
  if form is not None and form.value != 'array_record':
    raise ValueError(
      f"{name_or_folder} is stored as {form.value}; prepare it with file_format='array_record', "
      'the one format that is read whole without TensorFlow'
    )
  return builder


def _tfds_rows(builder: Any, split, place) -> Iterator[tuple[str, dict[str, Any]]]:
  try:
    source = builder.as_data_source(split=split)
  except Exception as error:  # TFDS raises many types
    splits = ', '.join(builder.info.splits) or 'none prepared'
    raise ValueError(f'{place}: no such split (splits: {splits}): {_first_line(error)}') from error
  for index in range(len(source)):
    yield f'{place}, row {index}', _plain(source[index])


def _plain(value) -> Any:
  """Converts TFDS values to JSON values: bytes to text, numpy to Python."""
  if isinstance(value, dict):
    return {name: _plain(item) for name, item in value.items()}
  if isinstance(value, list | tuple):
    return [_plain(item) for item in value]
  if isinstance(value, bytes):
    return value.decode()
  if isinstance(value, np.ndarray | np.generic):
    return _plain(value.tolist())
  return value


def _first_line(error):
  return (str(error).strip().splitlines() or [type(error).__name__])[0]
