"""JSON that every reader takes: numbers that JSON does not have are written as null or a word.

NaN becomes null, infinities become 'Infinity' and '-Infinity'. All files of the project are written
through `dumps` or `plain`; `number` gives back what was written.
"""

import functools
import json
import math

INFINITE = {'Infinity': math.inf, '-Infinity': -math.inf}


def plain(value):
  """The value with null for NaN and words for infinities, in dicts, lists and tuples too."""
  if isinstance(value, dict):
    return {name: plain(each) for name, each in value.items()}
  if isinstance(value, list | tuple):
    return [plain(each) for each in value]
  if isinstance(value, float) and not math.isfinite(value):
    return None if math.isnan(value) else f'{"-" if value < 0 else ""}Infinity'
  return value


def number(value):
  """A metric that was read from a file: NaN for null, an infinity for its word."""
  return math.nan if value is None else _infinite(value)


def loads(text: str):
  """JSON in which the words of infinities, as values of names, are numbers again; null stays None."""
  return json.loads(text, object_hook=lambda row: {k: _infinite(v) for k, v in row.items()})


def _infinite(value):
  return INFINITE.get(value, value) if isinstance(value, str) else value


def dumps(value, *, indent: int | None = None, sort_keys: bool = False) -> str:
  """The value as one line of JSON, or as indented lines.

  Letters stand as they are, but for texts that UTF-8 cannot hold (half a surrogate pair, as in a
  name of a file that is not UTF-8): these are escaped.
  """
  written = functools.partial(
    json.dumps, plain(value), indent=indent, sort_keys=sort_keys, allow_nan=False
  )
  text = written(ensure_ascii=False)
  try:
    text.encode()
  except UnicodeEncodeError:
    return written()
  return text
