"""Ranges of numbers: checks a number where it is given, with one message for all.

  ranges.whole('group_size', 0)   ValueError: group_size=0; expected an int of at least 1

Each check returns the number as a plain int or float, also if it was a numpy scalar. A field of a
Config takes a range as part of its type: `group_size: ranges.Count = 8`.
"""

import dataclasses
import functools
import inspect
import math
import numbers
import types
import typing
from typing import Annotated, Any

LARGEST = 2**31 - 1  # counts become int32


def whole(name: str, value, least: int | None = 1, most: int | None = LARGEST) -> int:
  """The value as an int. Raises ValueError unless it is one in [least, most]."""
  if isinstance(value, bool) or not isinstance(value, numbers.Integral):
    raise ValueError(f'{name}={value!r}; expected {_within("an int", least, most)}')
  if (least is not None and value < least) or (most is not None and value > most):
    raise ValueError(f'{name}={value}; expected {_within("an int", least, most)}')
  return int(value)


def real(
  name: str,
  value,
  least: float | None = None,
  most: float | None = None,
  *,
  above: float | None = None,
  below: float | None = None,
  infinite: bool = False,
) -> float:
  """The value as a float. Raises ValueError unless it is a number in the range, and not NaN.

  Args: above, below: bounds that the number may not equal; infinite: whether it may be infinite.
  """
  bounded = not {least, above} <= {None} and not {most, below} <= {None}
  wanted = 'a number' if infinite or bounded else 'a finite number'
  expected = f'{name}={value!r}; expected {_within(wanted, least, most, above, below)}'
  if isinstance(value, bool) or not isinstance(value, numbers.Real):
    raise ValueError(expected)
  try:
    found = float(value)
  except OverflowError:
    raise ValueError(expected) from None
  in_range = (
    (least is None or found >= least)
    and (most is None or found <= most)
    and (above is None or found > above)
    and (below is None or found < below)
  )
  if math.isnan(found) or (math.isinf(found) and not infinite) or not in_range:
    raise ValueError(expected)
  return found


def optional(name: str, value, check=whole, *bounds, **more) -> Any:
  """None, or what another check of this file returns."""
  try:
    return None if value is None else check(name, value, *bounds, **more)
  except ValueError as error:
    raise ValueError(f'{error}, or None') from None


def share(name: str, value) -> float:
  """A number in [0, 1]."""
  return real(name, value, 0, 1)


def seed(name: str, value) -> int:
  """A seed, in [0, 2**32): random keys read no more bits of it, so others would coincide."""
  return whole(name, value, 0, 2**32 - 1)


def _within(kind, least=None, most=None, above=None, below=None):
  """'an int of at least 1', 'a finite number in (0, 1]'."""
  low, high = (above if least is None else least), (below if most is None else most)
  high = None if high == LARGEST else high
  if low is None and high is None:
    return kind
  if high is None:
    return f'{kind} {"of at least" if above is None else "above"} {low:g}'
  if low is None:
    return f'{kind} {"of at most" if below is None else "below"} {high:g}'
  left, right = '[' if above is None else '(', ']' if below is None else ')'
  shown = (f'{x:g}' if isinstance(x, float) else x for x in (low, high))
  return f'{kind} in {left}{", ".join(map(str, shown))}{right}'


# ---------------------------------------------------------------- types of fields


def _natural(name, value):
  return whole(name, value, 0)


def _positive(name, value):
  return real(name, value, above=0)


def _not_negative(name, value):
  return real(name, value, 0)


Count = Annotated[int, whole]  # at least 1
Natural = Annotated[int, _natural]  # at least 0
Positive = Annotated[float, _positive]
NotNegative = Annotated[float, _not_negative]
Share = Annotated[float, share]
Seed = Annotated[int, seed]


def check(config, prefix: str = ''):
  """Replaces every number of a frozen dataclass by a plain int or float that its field allows.

  Raises: ValueError for a number out of the range in the field's type, and for a value of another
    type.
  """
  for field, hint in _hints(type(config)).items():
    value = fitted(prefix + field, getattr(config, field), hint)
    object.__setattr__(config, field, value)


@functools.cache
def _hints(kind):
  """{field: its type}. A field stated anew, as `lr: float = 1e-4`, keeps the range of its base."""
  ranged, plain = {}, {}
  for base in reversed(kind.__mro__):
    own, bare = typing.get_type_hints(base, include_extras=True), typing.get_type_hints(base)
    for name in inspect.get_annotations(base):
      if not own[name] == bare[name] == plain.get(name):
        ranged[name] = own[name]
      plain[name] = bare[name]
  return {field.name: ranged[field.name] for field in dataclasses.fields(kind)}


def fitted(name: str, value, hint) -> Any:
  """The value of a field with this type.

  Checks numbers, bools, texts, and tuples and unions of them. Values of other types stay unchecked.
  Raises: ValueError for another value than the type allows.
  """
  origin, inner = typing.get_origin(hint), typing.get_args(hint)
  if origin is Annotated:
    return hint.__metadata__[0](name, value) if callable(hint.__metadata__[0]) else value
  if origin in (typing.Union, types.UnionType):
    others = [option for option in inner if option is not type(None)]
    if len(others) > 1 or len(others) == len(inner) or value is None:
      return value
    return optional(name, value, fitted, others[0])
  if origin is tuple and inner:
    return _fitted_tuple(name, value, inner)
  if hint is int:
    return whole(name, value, None, None)
  if hint is float:
    return real(name, value)
  if hint in (bool, str) and not isinstance(value, hint):
    raise ValueError(f'{name}={value!r}; expected a {hint.__name__}')
  return value


def _fitted_tuple(name, value, inner):
  many = inner[1:] == (Ellipsis,)
  if not isinstance(value, tuple | list) or not (many or len(value) == len(inner)):
    raise ValueError(f'{name}={value!r}; expected a tuple{"" if many else f" of {len(inner)}"}')
  hints = inner[:1] * len(value) if many else inner
  return tuple(fitted(f'{name}[{i}]', x, hint) for i, (x, hint) in enumerate(zip(value, hints)))
