"""Tasks from data files: JSON lines, parquet, and TFDS in ArrayRecord form (without TensorFlow).

Each reader returns a list of Tasks in the order of the file. `prompt` and `answer` are field names
or functions of the row. `parse` turns the answer field into the answer that verifiers compare. A
malformed row raises a ValueError that names the file and the row. Rows that repeat a question are
returned and counted in a warning.
"""

import itertools
import json
import logging
import operator
from collections.abc import Iterable

from sirl import names, ranges
from sirl.acquisition import rows
from sirl.acquisition.rows import short
from sirl.runtime import plural
from sirl.tasks import Task, content_id

log = logging.getLogger(__name__)


def jsonl(
  path,
  *,
  prompt='question',
  answer='answer',
  parse=None,
  meta=(),
  name=None,
  limit=None,
  split=None,
  answered=False,
  same=operator.eq,
) -> list[Task]:
  """Tasks from a file with one JSON object per line, plain or gzipped (.gz). Skips blank lines.

  Args:
    prompt: field name, or row -> str.
    answer: field name, row -> str or None, or None for tasks without answers. Null, NaN, an empty
      text and a row without the field mean that the answer is unknown.
    parse: str -> str or None, applied to the answer, such as `gsm8k_answer`. Returning None means
      that the answer is unusable, and raises.
    meta: names of further fields to keep.
    name: prefix of the tasks' ids; the file's stem by default.
    limit: at most this many rows, from the start; None for all.
    split: keeps the rows whose field 'split' is this; needed where rows of several splits are
      mixed.
    answered: whether a row without an answer raises if others have one, and a field of answers that
      no row has. If not, a message counts such rows.
    same: whether two answers to a repeated question agree, such as `answers.same`: 1 and 1.0.
  Raises: ValueError for a missing or empty file, for several splits when none is named, and for a
    malformed row, naming file and line.
  """
  path = rows.existing(path)
  name = name or path.name.split('.')[0]
  found = rows.of_split(rows.json_rows(path), split)
  return _tasks(found, path, prompt, answer, parse, meta, name, limit, answered, same)


def parquet(path, *, split=None, name=None, **options) -> list[Task]:
  """Tasks from a parquet file, or from the *.parquet files of a folder, sorted by name.

  Args:
    split: such as 'train': only the files with this word in their name, or the rows of one file
      whose field 'split' is this. A folder with files of several splits, as data hubs lay them
      out, is refused without it.
    name, options: as in `jsonl`.
  """
  path = rows.existing(path)
  found = rows.of_split(rows.parquet_rows(path, split), split, chosen=path.is_dir())
  return _tasks(found, path, name=name or path.stem, **(DEFAULTS | options))


def tfds(name_or_folder, split, *, data_dir=None, name=None, **options) -> list[Task]:
  """Tasks from a TFDS data set prepared with file_format='array_record'. Downloads nothing.

  TFDS's own 'parquet' format is refused: without TensorFlow it lost rows without an error.

  Args:
    name_or_folder: the folder of a prepared version ('.../gsm8k/1.0.0'), or the name of a data set
      under data_dir.
    split: such as 'train' or 'train[:10%]'.
    name, options: as in `jsonl`. Texts are decoded from bytes.
  Raises: ValueError also for a shard that is damaged, naming it.
  """
  builder = rows.tfds_builder(name_or_folder, data_dir)
  place = f'{name_or_folder} [{split}]'
  found = rows.tfds_rows(builder, split, place)
  return _tasks(found, place, name=name or builder.name, **(DEFAULTS | options))


DEFAULTS = {
  'prompt': 'question',
  'answer': 'answer',
  'parse': None,
  'meta': (),
  'limit': None,
  'answered': False,
  'same': operator.eq,
}


def gsm8k_answer(text: str) -> str | None:
  """The text after the last '####' of a GSM8K solution, without thousands separators.

  '... #### 1,080' gives '1080'; None without a '####' or with nothing after it.
  """
  _, mark, tail = text.rpartition('####')
  return (tail.strip().replace(',', '') or None) if mark else None


# ---------------------------------------------------------------- rows -> tasks


def _tasks(found: Iterable, source, prompt, answer, parse, meta, name, limit, answered, same):
  ranges.optional('limit', limit)
  tasks, fieldless = [], []
  for place, row in itertools.islice(found, limit):
    tasks.append(_task(row, place, prompt, answer, parse, meta, name))
    if isinstance(answer, str) and answer not in row:
      fieldless.append((place, row))
  if not tasks:
    raise ValueError(f'{source} holds no rows')
  if len(fieldless) == len(tasks):
    _no_answers(fieldless, answer, answered)
  lacking = [task.place for task in tasks if task.answer is None]
  if 0 < len(lacking) < len(tasks):
    said = f'{lacking[0]}: no answer, and so in {len(lacking)} of {len(tasks)} rows'
    if answered:
      raise ValueError(
        f'{said}; give each row an answer or none, remove the row, or allow it with --set '
        'unanswered=true (answered=False in code)'
      )
    log.info('%s', said)
  warn_of_repeats(tasks, source, same)
  return tasks


def _no_answers(found, field, answered):
  """Raises ValueError for a field of answers that no row has; warns if answers may be missing.

  A name that is nearly that of another field is a misspelling, and raises in both cases.
  """
  (place, row), near = found[0], names.nearest(field, found[0][1])
  said = f'{place}: {_no_field(field, row)}, and none of {plural.counted(len(found), "row")} has it'
  if answered or near:
    hint = f'did you mean {near!r}? ' if near else ''
    raise ValueError(
      f'{said}; {hint}--set answer=FIELD names the field of the answers, and --set answer= says '
      'that there are none, for a method such as majority_vote (answer=None in code)'
    )
  log.warning('%s; so no task has an answer', said)


def warn_of_repeats(tasks, source, same=operator.eq):
  """Logs one warning with the number of rows that repeat a question, and of other answers to one."""
  first, conflicts = {}, {}
  for task in tasks:
    known = first.setdefault(task.id, task)
    pair = known.answer, task.answer
    agree = pair[0] is pair[1] if None in pair else same(*pair)
    if not agree:
      conflicts.setdefault(task.id, task)
  if len(first) == len(tasks):
    return
  said = (
    f'{source}: {len(tasks) - len(first)} of {plural.counted(len(tasks), "row")} repeat a question, '
    'and a run takes the first of each'
  )
  if conflicts:
    other = next(iter(conflicts.values()))
    known = first[other.id]
    said += (
      f'; {len(conflicts)} of {plural.counted(len(first), "question")} occur with different '
      f'answers, for example {known.place}: {known.answer!r}, and {other.place}: {other.answer!r}'
    )
  log.warning('%s', said)


def _task(row, place, prompt, answer, parse, meta, name):
  text = _text(_field(row, prompt, place), place, 'prompt')
  if text is None:
    raise ValueError(f'{place}: empty prompt; every row needs one')
  absent = answer is None or (isinstance(answer, str) and answer not in row)
  solution = None if absent else _text(_field(row, answer, place), place, 'answer')
  if solution is not None and parse is not None:
    parsed = parse(solution)
    if parsed is None:
      raise ValueError(f'{place}: {_called(parse)} finds no answer in {short(solution)}')
    solution = parsed
  kept = {field: _writable(_field(row, field, place), place, field) for field in meta}
  return Task(
    id=content_id(name, text),
    prompt=text,
    answer=solution,
    origin='curated',
    meta=kept,
    place=place,
  )


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
    raise ValueError(f'{place}: {_no_field(field, row)}')
  return row[field]


def _no_field(field, row):
  return f'no field {field!r}; the row has {", ".join(map(repr, row)) or "none"}'


def _text(value, place, what):
  """A str, or None for null, NaN and white space. Numbers are written out; others are an error."""
  if isinstance(value, bool) or not (value is None or isinstance(value, str | int | float)):
    raise ValueError(
      f'{place}: {what} is {type(value).__name__} {short(value)}; expected text or a number'
    )
  _writable(value, place, what)
  text = '' if value is None or value != value else str(value)
  return text if text.strip() else None


def _writable(value, place, what):
  """The value. Raises ValueError for one that cannot be written as JSON in UTF-8.

  These are infinities, halves of surrogate pairs and values that JSON does not have.
  """
  try:
    json.dumps(value, ensure_ascii=False, allow_nan=value != value).encode()
  except (TypeError, ValueError) as error:
    raise ValueError(
      f'{place}: {what} cannot be written as JSON in UTF-8 ({rows.first_line(error)}): '
      f'{short(value)}; correct the row or leave it out'
    ) from error
  return value


def _called(fn):
  return getattr(fn, '__name__', repr(fn))
