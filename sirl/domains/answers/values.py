"""What an answer is read as: a quantity, a tuple, a set, a matrix, an equation, words."""

from typing import NamedTuple

from sirl.domains.answers.algebra import Value
from sirl.domains.answers.expression import Tree


class Quantity(NamedTuple):
  """An expression and its unit; unit is () without one."""

  tree: Tree
  value: Value
  unit: tuple


class Brackets(NamedTuple):
  """A tuple, an interval or a vector, with its brackets."""

  brackets: str
  items: tuple


class Items(NamedTuple):
  """A set or a bare list: order does not count. either: joined by 'or'."""

  items: tuple
  either: bool = False


class Union(NamedTuple):
  """Sets or intervals joined by a cup: order does not count."""

  items: tuple


class Matrix(NamedTuple):
  """Rows of entries; kind is 'determinant' for vmatrix, else 'matrix'."""

  kind: str
  rows: tuple


class Named(NamedTuple):
  """A value under a name: x = 5, f(x) = 2x, x in [1, 2], x >= 2."""

  name: str
  item: tuple


class Relation(NamedTuple):
  """left - right, related to 0 by '=', 'ne', '<' or 'le'."""

  sign: str
  difference: Value


class Parts(NamedTuple):
  """A ratio, a time or a number with a base: each part counts as it stands."""

  kind: str
  parts: tuple


class Choice(NamedTuple):
  """A choice with its text: (B) 12. It is equal to its letter and to its text."""

  letter: str
  item: tuple


class Words(NamedTuple):
  """Anything else; upper and lower case of words of two letters or more do not differ."""

  text: str
  spelling: str = ''  # with its case
