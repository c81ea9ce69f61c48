"""What scoring functions may return, and what is said of one that failed."""

import functools
import inspect
import math
import numbers
from collections.abc import Iterator, Mapping, Set
from typing import Any

import numpy as np

from sirl.rewards import calls
from sirl.runtime import plural, worker

SHOWN = 500  # characters of a text in an error message
LARGEST = float(np.finfo(np.float32).max)


class Bad(ValueError):
  """A function returned something that is not a score."""


def name_of(fn) -> str:
  """The function's or object's own __name__, under any functools.partial.

  'reward' for a lambda; the lower-case type name for an object without __name__.
  """
  while isinstance(fn, functools.partial) and not hasattr(fn, '__name__'):
    fn = fn.func
  name = getattr(fn, '__name__', None) or type(fn).__name__.lower()
  return 'reward' if name == '<lambda>' else str(name)


def listed(scores, n):
  """Exactly n results of a list, tuple, array, tensor or generator.

  If the whole call failed, each of them is the exception.
  """
  if isinstance(scores, Exception):
    return [scores] * n
  if isinstance(scores, (str, bytes, Mapping, Set)) or not _in_order(scores):
    return [Bad(f'returned {_shown(scores)}, expected a list of {n} scores')] * n
  scores = list(scores)
  if len(scores) != n:
    return [
      Bad(
        f'returned {plural.counted(len(scores), "score")} for {plural.counted(n, "completion")}; '
        'return one score, or None, for each'
      )
    ] * n
  return scores


def scored(result, name):
  """(score, other numbers) of one returned value, as floats; NaN for None."""
  if not isinstance(result, Mapping):
    return number(result, 'the score'), {}
  if 'score' not in result:
    raise Bad(f"returned a mapping without 'score' (it has {', '.join(map(repr, result))})")
  others = {}
  for part, value in result.items():
    if part == 'score' or not is_number(value):
      continue
    if part == name:
      raise Bad(
        f'returned a part {part!r}, which is the name of the score itself; rename that entry'
      )
    others[str(part)] = number(value, f'the part {part!r}')
  return number(result['score'], 'the score'), others


def is_number(value) -> bool:
  """Whether a value is None, a number, or an array or tensor that holds a single one."""
  if value is None or isinstance(value, (numbers.Number, np.bool_)):
    return True
  return math.prod(getattr(value, 'shape', (0,))) == 1


def plain(value):
  """The number that a numpy scalar, or an array or tensor of one entry, holds; others as they are."""
  return value.item() if is_number(value) and hasattr(value, 'item') else value


def is_nan(value) -> bool:
  """Whether a value, or the one entry of an array or tensor, is NaN."""
  value = plain(value)
  return isinstance(value, (float, np.floating)) and math.isnan(value)


def number(value, what) -> float:
  """The value as a float; NaN for None. Raises Bad for anything else."""
  if value is None:
    return math.nan
  if isinstance(value, (str, bytes)):
    raise Bad(f'returned {value!r} as {what}, expected a number or None')
  try:
    found = float(plain(value))
  except (TypeError, ValueError) as error:
    raise Bad(f'returned {_shown(value)} as {what}, expected a number or None') from error
  if not math.isfinite(found) or abs(found) > LARGEST:
    raise Bad(
      f'returned {found} as {what}; return None for "not judged", otherwise a finite number'
    )
  return found


def with_parts(score, parts: Mapping[str, Any]):
  """A returned score with further parts; the first exception among them takes its place."""
  if isinstance(score, Exception) or not parts:
    return score
  broken = [value for value in parts.values() if isinstance(value, Exception)]
  return (
    broken[0]
    if broken
    else {**(score if isinstance(score, Mapping) else {'score': score}), **parts}
  )


def message(name, task, g, text, error, failures, calls_made) -> str:
  """What a person reads when completion g of a task could not be judged."""
  shown = text if len(text) <= SHOWN else text[:SHOWN] + f'... ({len(text)} characters)'
  answer = '' if task.answer is not None else ' (this task has no answer)'
  lines = [
    f'reward {name!r} {_said(error)}',
    f'on task {task.id!r}{answer}, completion {g}: {shown!r}',
    *getattr(error, '__notes__', ()),
    f'{failures} of {calls_made} completions failed, this is the first. Correct the reward, or '
    'wrap it in rewards.tolerant(...) to count such completions as not judged.',
  ]
  return '\n  '.join(lines)


def _said(error):
  if isinstance(error, (Bad, calls.NeedsMainThread)):
    return str(error)
  line = error.line if isinstance(error, calls.Crashed) else worker.line_of(error)
  kind = '' if isinstance(error, calls.Crashed) else f'{type(error).__name__}: '
  return f'raised {kind}{error}' + (f' ({line}; --traceback shows the calls)' if line else '')


def _in_order(scores):
  sized = hasattr(scores, '__len__') and getattr(scores, 'shape', None) != ()
  return isinstance(scores, Iterator) or (sized and hasattr(scores, '__getitem__'))


def _shown(value):
  if inspect.iscoroutine(value):
    value.close()
    return 'a coroutine (write async def)'
  return type(value).__name__
