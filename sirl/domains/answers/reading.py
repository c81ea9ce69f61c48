r"""Reads an answer as a value: a quantity, a tuple, a set, a matrix, an equation, words, and so on.

`read` returns a type of `values`. Whatever is not read as a whole is `Words`, which are equal only
to the same words.
"""

import functools
import re

from sirl.domains.answers import (
  algebra,
  forms,
  meaning,
  names,
  numerals,
  quantities,
  regions,
  separators,
  typography,
  wording,
)
from sirl.domains.answers.algebra import Unread
from sirl.domains.answers.expression import Tree
from sirl.domains.answers.values import (
  Brackets,
  Choice,
  Items,
  Matrix,
  Named,
  Quantity,
  Relation,
  Union,
  Words,
)  # fmt: skip

_RELATION = re.compile(r'\\(?:le|ge|ne)(?![a-zA-Z])|[<>=]')
_WORD_SIGNS = re.compile(
  r'⟦\s*(and|or)\s*⟧|\\(?:land|lor|wedge|vee)(?![a-zA-Z])|(?<![a-zA-Z])(and|or)(?![a-zA-Z])'
)
_AND = re.compile(r'(?<![a-zA-Z])(?:and|\\land|\\wedge)(?![a-zA-Z])')
_LABELLED = re.compile(
  r'(?:⟦?(?:(?:[oO]ption|[cC]hoice)\s*\(?([A-J])\s*[:.)]\)?)\s*⟧?\s+(?=\S)|⟦?\(?([A-J])\)\s*⟧?\s+(?=[\w\\⟦])|⟦\(([A-J])\)\s*⟧)(?!\s*(?:[,;]|⟦?\s*(?:and|or|is|not)\b|⟦?[A-J]⟧?$)|.*(?<![a-zA-Z])[A-J]\))'
)
_MATRIX = re.compile(
  r'\\begin\{([pbvBV]?matrix|array)\}(?:\{[lcr| ]*\})?(.*?)\\end\{\1\}', re.DOTALL
)
_REALS = ('\\mathbb{R}', '\\mathbb R', '\\Re')
_WITHOUT = re.compile(
  r'\\mathbb\s*\{?R\}?\s*(?:\\(?:setminus|smallsetminus|backslash)|-)\s*(\\\{.*\\\})'
)
_DESCRIBED = re.compile(
  r'\\\{\s*(?P<name>[a-zA-Z])\s*(?:\\in\s*\\mathbb\s*\{?R\}?\s*)?(?:\||:)\s*(?P<condition>[^{}|:]*)\\\}'
)
_FLIPPED = {'>': '<', '\\ge': '\\le', '<': '>', '\\le': '\\ge'}


@functools.lru_cache(maxsize=4096)
def read(text):
  """The value of an answer: one of the types of `values`. Never raises."""
  plain = typography.plain(text)
  if not plain or len(text.strip()) > typography.LIMIT:
    return Words(plain)
  try:
    return _answer(wording.signs(plain))
  except (Unread, RecursionError):
    return _in_words(plain)


def _in_words(plain):
  """A number in words, or Words."""
  spoken = re.sub('[⟦⟧]', ' ', plain).strip()
  digits = numerals.in_digits(spoken)
  try:
    return (
      Words(wording.words_of(plain), plain) if digits == spoken else quantities.quantity(digits)
    )
  except (Unread, RecursionError):
    return Words(wording.words_of(plain), plain)


def _answer(text):
  text = text.strip()
  labelled = _LABELLED.match(text)
  if labelled:  # (B) 12: a choice with its text
    rest = re.sub(r'^\s*⟧|^⟦\s*⟧', '', text[labelled.end() :]).strip()
    return Choice(next(filter(None, labelled.groups())), read(rest))
  choice = re.fullmatch(
    r'\(?\s*⟦?\(?([A-Za-z])\)?⟧?\s*\)|\(?⟦?\(?([A-Z])\)⟧?|⟦?(?:[oO]ption|[cC]hoice)⟧?\s*⟦?\(?([A-J])\)?⟧?',
    text,
  )
  if choice:
    return quantities.quantity(next(filter(None, choice.groups())))
  if '\\pm' in text or '\\mp' in text:
    return _plus_and_minus(text)
  return forms.date(text) or _list(text) or _single(text)


def _plus_and_minus(text):
  upper = re.sub(r'\\pm(?![a-zA-Z])', '+', re.sub(r'\\mp(?![a-zA-Z])', '-', text))
  lower = re.sub(r'\\pm(?![a-zA-Z])', '-', re.sub(r'\\mp(?![a-zA-Z])', '+', text))
  if len(re.findall(r'\\(?:pm|mp)(?![a-zA-Z])', text)) > 1:
    raise Unread('two signs of plus and minus')
  items = []
  for half in (upper, lower):
    found = _answer(half)
    items += found.items if isinstance(found, Items) else [found]
  return Items(tuple(items))


def _list(text):
  """Items of a bare list, joined by commas, semicolons, 'and' or 'or'; None if there is one item."""
  joined = _WORD_SIGNS.sub(' ; ', text)
  parts = separators.split(joined, ';')
  parts = [part for piece in parts for part in separators.split(piece, ',')]
  parts = [part for part in parts if part.strip()] if joined != text else parts
  if len(parts) < 2:
    return None
  separators.check_parts(parts)
  items = [_single(part.strip()) for part in parts]
  if any(isinstance(item, Words) for item in items):
    raise Unread('a list with words')
  if (
    joined != text
    and all(_is_interval(item) for item in items)
    and len({item.name for item in items}) == 1
    and not _AND.search(text)
  ):
    return Named(items[0].name, Union(tuple(item.item for item in items)))
  units_ = [item.unit for item in items if isinstance(item, Quantity)]
  if len(units_) == len(items) and units_[-1] and not any(units_[:-1]):  # 3 and 5 cm
    items = [item._replace(unit=units_[-1]) for item in items]
  return Items(tuple(items), either=joined != text and not _AND.search(text))


def _is_interval(item):
  return isinstance(item, Named) and isinstance(item.item, Brackets) and item.name[0] != '('


def _single(text):
  """One value: not a bare list."""
  member = re.fullmatch(r'\s*([a-zA-Z](?:_\{?\w+\}?)?|\(.*?\))\s*\\in(?![a-zA-Z])(.*)', text)
  if member:
    return Named(names.name_of(member[1]), _single(member[2].strip()))
  if text in _REALS:
    return regions.ALL
  without = _WITHOUT.fullmatch(text)
  if without:
    return regions.all_but(_single(without[1]))
  described = _DESCRIBED.fullmatch(text)
  if described:
    return regions.described(described['name'], _answer(described['condition']))
  relations = _split_relations(text)
  if relations:
    return _related(*relations)
  if '\\cup' in text:
    parts = re.split(r'\\cup(?![a-zA-Z])', text)
    return Union(tuple(_single(part.strip()) for part in parts))
  structured = _structured(text)
  return structured if structured is not None else quantities.quantity(text)


def _structured(text):
  """A matrix, a tuple, an interval, a set, a ratio or a number with a base; None for others."""
  matrix = _MATRIX.fullmatch(re.sub(r'^[(\[]\s*(\\begin.*\})\s*[)\]]$', r'\1', text))
  if matrix:
    rows = [row for row in re.split(r'\\\\(?:\s*\[[^\]]*\])?|\\cr', matrix[2]) if row.strip()]
    kind = 'determinant' if matrix[1] in ('vmatrix', 'Vmatrix') else 'matrix'
    return Matrix(
      kind, tuple(tuple(_single(cell.strip()) for cell in row.split('&')) for row in rows)
    )
  if text == '\\emptyset' or re.fullmatch(r'\\\{\s*\\\}|\{\s*\}', text):
    return Items(())
  return forms.standing_alone(text) or _bracketed(text)


def _bracketed(text):
  opening = re.match(r'\\\{|\\langle(?![a-zA-Z])|[(\[{]', text)
  closing = re.search(r'(?:\\\}|\\rangle|[)\]}])$', text)
  if not opening or not closing:
    return None
  inside = text[opening.end() : closing.start()]
  kinds = opening.group() + closing.group()
  try:
    parts = [
      part for piece in separators.split(inside, ';') for part in separators.split(piece, ',')
    ]
  except Unread:
    return None  # such as (1,2)+(3,4)
  if kinds == '\\{\\}':
    if '|' in inside or ':' in inside:
      raise Unread('a set by its property')
    parts = parts if inside.strip() else []
    separators.check_parts(parts)
    return Items(tuple(_single(part.strip()) for part in parts))
  if len(parts) < 2:
    return None
  separators.check_parts(parts)
  items = tuple(_single(part.strip()) for part in parts)
  if any(isinstance(item, Named | Relation) for item in items):
    return Items(items) if kinds == '()' else None
  if kinds == '{}':
    return Items(items)
  return Brackets(kinds.replace('\\langle', '<').replace('\\rangle', '>'), items)


# ---------------------------------------------------------------- relations


def _split_relations(text):
  """(sides, signs) of a chain such as 1 < x \\le 3; None without a relation outside brackets."""
  signs, sides, depth, start = [], [], 0, 0
  for match in re.finditer(rf'{_RELATION.pattern}|\\[{{}}]|[()\[\]{{}}]', text):
    token = match.group()
    if token[-1] in '([{':
      depth += 1
    elif token[-1] in ')]}':
      depth -= 1
    elif depth == 0:
      sides.append(text[start : match.start()])
      signs.append(token)
      start = match.end()
  if not signs:
    return None
  sides.append(text[start:])
  sides = [_spelled(side.strip()) for side in sides]
  if any(not side.strip() for side in sides[1:]) or (not sides[0].strip()):
    raise Unread('a relation without a side')
  return sides, signs


def _spelled(text):
  """'x*y' for 'xy', which alone would be a word."""
  return '*'.join(text) if re.fullmatch('[a-z]{2,3}', text) else text


def product_of(words):
  """The product that a word of two or three letters is beside an expression: xy is x y."""
  spelled = _spelled(words.spelling) if isinstance(words, Words) else ''
  return quantities.quantity(spelled) if '*' in spelled else words


def _related(sides, signs):
  if set(signs) == {'='}:
    return _equation(sides)
  if len(signs) == 1:
    return _inequality(sides, signs[0])
  if len(signs) == 2 and (set(signs) <= {'<', '\\le'} or set(signs) <= {'>', '\\ge'}):
    if signs[0] in ('>', '\\ge'):
      sides, signs = sides[::-1], [_FLIPPED[sign] for sign in signs[::-1]]
    if not names.is_name(sides[1]):
      raise Unread('a chain of inequalities without a letter in the middle')
    brackets = ('(' if signs[0] == '<' else '[') + (')' if signs[1] == '<' else ']')
    return Named(
      names.name_of(sides[1]),
      Brackets(brackets, (quantities.quantity(sides[0]), quantities.quantity(sides[2]))),
    )
  raise Unread('a chain of relations')


def _equation(sides):
  left, right = sides[0], sides[-1]
  for side in sides[1:-1]:
    middle = _answer(side)  # words between two signs are no side
    if isinstance(middle, Quantity) and not names.has_letters(middle.tree):
      _check_agreement(middle, _answer(right))  # x = 3 = 5
  for name, other in ((left, right), (right, left))[: 2 if len(sides) == 2 else 1]:
    if names.is_name(name) or (name is left and names.is_question(left)):
      named = Named(names.name_of(name), _answer(other))
      if not (names.is_name(name) and names.mentions(named.item, quantities.quantity(name).tree)):
        return named  # x = 2y - x does not say what x is
  if re.fullmatch(r'\(\s*[a-zA-Z](?:\s*,\s*[a-zA-Z])+\s*\)', left):
    return Named(names.name_of(left), _single(right))  # (x, y) = (1, 2)
  first, last = quantities.quantity(left), _single(right)
  if len(sides) == 2 and isinstance(last, Quantity) and not names.has_letters(first.tree):
    first, last = (last, first) if names.has_letters(last.tree) else (first, last)  # 25 = x^2 + y^2
  if not isinstance(last, Quantity):
    return last
  if not names.has_letters(first.tree):
    _check_agreement(first, last)
    return last
  if len(sides) > 2:
    return last
  return Relation('=', _difference(first, last))


def _check_agreement(side, last):
  """Raises: Unread where two numbers on the sides of an equation differ."""
  numbers = isinstance(last, Quantity) and not names.has_letters(last.tree)
  if numbers and not meaning.agree(side, last):
    raise Unread('two sides of different value')


def _inequality(sides, sign):
  left, right = sides
  if names.is_name(right) and not names.is_name(left):
    left, right, sign = right, left, _FLIPPED.get(sign, sign)
  if sign == '\\ne':
    if names.is_name(left) and algebra.approximate(quantities.quantity(right).value) is not None:
      return Named(names.name_of(left), regions.all_but(Items((quantities.quantity(right),))))
    return Relation('ne', _difference(quantities.quantity(left), quantities.quantity(right)))
  if names.is_name(left):
    bound = quantities.quantity(right)
    infinity = quantities.quantity('\\infty')
    if sign in ('<', '\\le'):
      brackets, items = (
        '(' + (')' if sign == '<' else ']'),
        (quantities.quantity('-\\infty'), bound),
      )
    else:
      brackets, items = ('(' if sign == '>' else '[') + ')', (bound, infinity)
    return Named(names.name_of(left), Brackets(brackets, items))
  if sign in ('>', '\\ge'):
    left, right, sign = right, left, _FLIPPED[sign]
  return Relation(
    '<' if sign == '<' else 'le', _difference(quantities.quantity(left), quantities.quantity(right))
  )


def _difference(left, right):
  if left.unit or right.unit:
    raise Unread('a relation of quantities with units')
  return meaning.value(Tree('+', (left.tree, Tree('neg', (right.tree,)))))
