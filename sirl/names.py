"""Names that a user gives: an unknown or a missing one is an error that shows the known ones.

  names.check(['lrr'], ['lr', 'seed'], 'Config')
    ValueError: Config has no 'lrr'; did you mean 'lr'?

`by_name` gives a dataclass these errors in place of Python's TypeError.
"""

import difflib
import functools
import inspect
from collections.abc import Callable, Iterable
from typing import TypeVar

Kind = TypeVar('Kind', bound=type)


def nearest(name: str, known: Iterable[str]) -> str | None:
  """The known name of which this one may be a misspelling."""
  return next(iter(difflib.get_close_matches(name, list(known), n=1)), None)


def hint(name: str, known: Iterable[str]) -> str:
  """'did you mean lr?' with quotes around lr, or 'there are lr, seed' where nothing is near."""
  near = nearest(name, known)
  return f'there are {", ".join(known)}' if near is None else f'did you mean {near!r}?'


def check(given: Iterable[str], known: Iterable[str], owner: str):
  """Raises ValueError for the first given name that is not known."""
  known = list(known)
  for name in given:
    if name not in known:
      raise ValueError(f'{owner} has no {name!r}; {hint(name, known)}')


def by_name(**sources: str) -> Callable[[Kind], Kind]:
  """A decorator for a keyword-only dataclass: a misspelt or missing field raises ValueError.

  Args: sources: {field: what makes its value}, which the message shows where the field is missing.
  """

  def decorated(kind: Kind) -> Kind:
    made = kind.__init__
    parameters = [*inspect.signature(made).parameters.values()][1:]

    @functools.wraps(made)
    def __init__(self, *values, **fields):
      try:
        made(self, *values, **fields)
      except TypeError:
        _explain(kind.__name__, parameters, values, fields, sources)
        raise

    kind.__init__ = __init__
    return kind

  return decorated


def _explain(owner, parameters, values, fields, sources):
  """Raises ValueError if these arguments do not fit the parameters."""
  if values:
    raise ValueError(
      f'{owner} takes its fields by name; write {owner}({parameters[0].name}={values[0]!r}, ...)'
    )
  check(fields, [parameter.name for parameter in parameters], owner)
  for parameter in parameters:
    if parameter.default is parameter.empty and parameter.name not in fields:
      made = f'; {sources[parameter.name]} makes one' if parameter.name in sources else ''
      raise ValueError(f'{owner} needs {parameter.name}={made}')
