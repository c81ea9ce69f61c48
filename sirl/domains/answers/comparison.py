"""Whether two answers are the same value. docs/answers.md says what counts as equal."""

import functools
from typing import Any

from sirl.domains.answers import (
  algebra,
  expression,
  identities,
  meaning,
  reading,
  regions,
  typography,
)
from sirl.domains.answers.algebra import Unread
from sirl.domains.answers.expression import Tree
from sirl.domains.answers.values import (
  Brackets,
  Choice,
  Items,
  Matrix,
  Named,
  Parts,
  Quantity,
  Relation,
  Union,
  Words,
)  # fmt: skip

# Names of which everybody knows the order.
_COORDINATES = ('xy', 'xyz', 'ab', 'abc', 'abcd', 'mn', 'pq', 'pqr', 'uv', 'st', 'rs')


@functools.lru_cache(maxsize=4096)
def equal(answer, gold):
  """Whether an answer has the value of the task's own answer.

  Structures compare by component, numbers as exact rationals, expressions as quotients of
  polynomials. A gold with two or more decimals also takes an answer with more digits, a fraction or
  a root that rounds to it. What is not read as a value is equal to the same text only.
  The order of the arguments counts: 1/3 is right where the gold is 0.33, and not the reverse.

  Args: answer: str, or None for a text without an answer, which is wrong; gold: str.
  Returns: bool. Never raises on any text.
  Raises: TypeError for what is no text, such as the number 5.
  """
  if answer is None:
    return False
  for name, value in (('answer', answer), ('gold', gold)):
    if not isinstance(value, str):
      raise TypeError(
        f'{name}={value!r} is {type(value).__name__}; expected a text, such as str({value!r})'
      )
  plain = typography.plain(answer)
  if not plain:
    return False
  if plain == typography.plain(gold):
    return True
  try:
    return _same(reading.read(answer), reading.read(gold))
  except (Unread, RecursionError):
    return False


def same(a, b):
  """Whether two answers are equal both ways, as votes count them."""
  if a == b:
    return True
  exact_a, exact_b = _exact(a), _exact(b)
  if exact_a and exact_b:  # hundreds of answers are compared in pairs
    (number_a, unit_a), (number_b, unit_b) = exact_a, exact_b
    return number_a == number_b and (unit_a == unit_b or not (unit_a and unit_b))
  return equal(a, b) and equal(b, a)


@functools.lru_cache(maxsize=4096)
def _exact(text):
  """(number, unit) of a rational number that is worked out, else None."""
  read = reading.read(text)
  number = algebra.rational(read.value) if isinstance(read, Quantity) else None
  return None if number is None or not meaning.finished(read.tree) else (number, read.unit)


def _same(a: Any, b: Any):
  a, b = (reading.product_of(x) if isinstance(y, Quantity) else x for x, y in ((a, b), (b, a)))
  if isinstance(a, Choice) or isinstance(b, Choice):
    return _same_choice(a, b)
  if isinstance(a, Words) or isinstance(b, Words):
    return type(a) is type(b) and a.text == b.text != ''
  a, b = (_one_of(x) if not isinstance(y, Items) else x for x, y in ((a, b), (b, a)))
  a, b = (_point(x) if isinstance(y, Brackets) else x for x, y in ((a, b), (b, a)))
  if isinstance(a, Named) or isinstance(b, Named):
    return _same_named(a, b)
  if isinstance(a, Quantity) and isinstance(b, Quantity):
    return _same_quantity(a, b)
  if isinstance(a, Union) or isinstance(b, Union):
    same_region = regions.same(a, b)
    if same_region is not None:
      return same_region
  if type(a) is not type(b):
    return False
  if isinstance(a, Items | Union):
    return _same_set(a.items, b.items)
  if isinstance(a, Brackets):
    return a.brackets == b.brackets and _same_row(a.items, b.items)
  if isinstance(a, Matrix):
    rows = zip(a.rows, b.rows)
    return (
      a.kind == b.kind
      and len(a.rows) == len(b.rows)
      and all(_same_row(row_a, row_b) for row_a, row_b in rows)
    )
  if isinstance(a, Parts):
    return a == b
  assert isinstance(a, Relation)
  return _same_relation(a, b)


def _same_choice(a, b):
  """(B) 12 is B, (B) and 12."""
  if isinstance(a, Choice) and isinstance(b, Choice):
    return a.letter == b.letter
  choice, other = (a, b) if isinstance(a, Choice) else (b, a)
  is_letter = isinstance(other, Quantity) and other.tree == Tree('name', (choice.letter,))
  return is_letter or _same(choice.item, other)


def _same_row(a, b):
  return len(a) == len(b) and all(_same(x, y) for x, y in zip(a, b))


def _same_set(a, b):
  """Whether every item of one has a partner of its own in the other.

  x = 1, y = 2 is not 1, 2: only a name that all items share may be left out.
  """
  if len(a) != len(b) or (_names(a) != _names(b) and max(len(_names(a)), len(_names(b))) > 1):
    return False
  rest = list(b)
  for item in a:
    partner = next((i for i, other in enumerate(rest) if _same(item, other)), None)
    if partner is None:
      return False
    del rest[partner]
  return True


def _one_of(listed):
  """1/2 of '1/2 or 0.5': one value in two spellings."""
  if not isinstance(listed, Items) or not listed.either:
    return listed
  first = listed.items[0]
  return first if all(_same(first, item) for item in listed.items[1:]) else listed


def _point(listed):
  """x = 1, y = 2 as the point (1, 2): the names in alphabetical order, whichever comes first in the list."""
  items = listed.items if isinstance(listed, Items) else ()
  if not items or not all(isinstance(item, Named) and len(item.name) == 1 for item in items):
    return listed
  named = sorted(items, key=lambda item: item.name)
  whole = ''.join(item.name for item in named)
  return Brackets('()', tuple(item.item for item in named)) if whole in _COORDINATES else listed


def _names(items):
  return {item.name for item in items if isinstance(item, Named)}


def _same_named(a, b):
  """x = 5 is 5 and x = 5, not y = 5; an equation may also be written another way round."""
  if isinstance(a, Named) and isinstance(b, Named):
    return a.name == b.name and _same(a.item, b.item)
  if isinstance(a, Relation) or isinstance(b, Relation):
    named, relation = (a, b) if isinstance(a, Named) else (b, a)
    return relation.sign == '=' and _same_relation(_as_relation(named), relation)
  return _same(a.item if isinstance(a, Named) else a, b.item if isinstance(b, Named) else b)


def _as_relation(named):
  if not isinstance(named.item, Quantity) or named.item.unit:
    raise Unread('an equation of something else than an expression')
  left = meaning.value(expression.parse(named.name))
  return Relation('=', algebra.add(left, named.item.value, -1))


def _same_relation(a, b):
  if a.sign != b.sign:
    return False
  ratio = algebra.proportion(a.difference, b.difference)
  return ratio is not None and (ratio > 0 or a.sign in ('=', 'ne'))


def _same_quantity(a, b):
  if a.unit and b.unit and a.unit != b.unit:
    return False
  number_a, number_b = algebra.rational(a.value), algebra.rational(b.value)
  if number_a is not None and number_b is not None:
    ready_a, ready_b = meaning.finished(a.tree), meaning.finished(b.tree)
    if not (ready_a and ready_b):  # 12-5 is a question, not the answer 7
      return meaning.shape(a.tree) == meaning.shape(b.tree)
  return algebra.equal(a.value, b.value) or meaning.rounds_to(a, b) or _same_by_identity(a, b)


def _same_by_identity(a, b):
  """Whether two expressions, one of them with functions or nested roots, have the same numbers."""
  hidden = algebra.has_whole_atom(a.value) or algebra.has_whole_atom(b.value)
  return (
    hidden
    and meaning.closed_form(a.tree)
    and meaning.closed_form(b.tree)
    and identities.equal(a.tree, b.tree)
  )
