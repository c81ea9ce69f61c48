r"""Reads an answer as a value: a quantity, a tuple, a set, a matrix, an equation, words, and so on.

`read` returns a type of `values`. Whatever is not read as a whole is `Words`, which are equal only
to the same words.
"""

import functools
import re

from sirl.domains.answers import meaning, quantities, tokens, typography, wording
from sirl.domains.answers.algebra import Unread
from sirl.domains.answers.expression import Tree
from sirl.domains.answers.values import (
  Brackets,
  Items,
  Matrix,
  Named,
  Parts,
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
  r'(?:⟦?\(?([A-J])\)\s*⟧?\s+(?=[\w\\⟦])|⟦\(([A-J])\)\s*⟧)(?!\s*(?:[,;]|⟦?\s*(?:and|or|is|not)\b|⟦?[A-J]⟧?$)|.*(?<![a-zA-Z])[A-J]\))'
)
_MATRIX = re.compile(
  r'\\begin\{([pbvBV]?matrix|array)\}(?:\{[lcr| ]*\})?(.*?)\\end\{\1\}', re.DOTALL
)
_FUNCTION = re.compile(r"[a-zA-Z]'{0,2}\s*\(\s*[a-zA-Z]\s*\)|[fghFGP]'{0,2}\(\s*-?[0-9]+\s*\)")
_BASES = {'two': '2', 'eight': '8', 'ten': '10', 'sixteen': '16'}
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
    return Words(wording.words_of(plain), plain)


def _answer(text):
  text = text.strip()
  labelled = _LABELLED.match(text)
  if labelled:
    return quantities.quantity(labelled[1] or labelled[2])  # (B) 12: a choice with its text
  choice = re.fullmatch(r'\(?\s*⟦?\(?([A-Za-z])\)?⟧?\s*\)|\(?⟦?\(?([A-Z])\)⟧?', text)
  if choice:
    return quantities.quantity(choice[1] or choice[2])
  if '\\pm' in text or '\\mp' in text:
    return _plus_and_minus(text)
  listed = _list(text)
  if listed is not None:
    return listed
  return _single(text)


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
  parts = split(joined, ';')
  parts = [part for piece in parts for part in split(piece, ',')]
  parts = [part for part in parts if part.strip()] if joined != text else parts
  if len(parts) < 2:
    return None
  _check_parts(parts)
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
  return Items(tuple(items))


def _is_interval(item):
  return isinstance(item, Named) and isinstance(item.item, Brackets) and item.name[0] != '('


def _check_parts(parts):
  """A comma may group or separate: '1,000,2' has the part 000, which no list would have."""
  for part in parts:
    if not part.strip() or re.match(r'\s*0[0-9]', part):
      raise Unread(f'a list with the part {part!r}')


def split(text, sign):
  """The parts of a text between the signs that stand in no brackets. Half-open intervals count as brackets."""
  parts, depth, start = [], 0, 0
  for match in re.finditer(
    rf'\\begin\{{|\\end\{{|\\[{{}}]|\\[a-zA-Z]+|[()\[\]{{}}⟦⟧]|{re.escape(sign)}', text
  ):
    token = match.group()
    if token == sign and depth == 0:
      parts.append(text[start : match.start()])
      start = match.end()
    elif token in ('(', '[', '{', '\\{', '\\begin{', '\\langle', '⟦'):
      depth += 1 + (token == '\\begin{')
    elif token in (')', ']', '}', '\\}', '\\rangle', '⟧'):
      depth -= 1
  if depth != 0:
    raise Unread('brackets that do not close')
  return [*parts, text[start:]]


def _single(text):
  """One value: not a bare list."""
  member = re.fullmatch(r'\s*([a-zA-Z](?:_\{?\w+\}?)?|\(.*?\))\s*\\in(?![a-zA-Z])(.*)', text)
  if member:
    return Named(_name(member[1]), _single(member[2].strip()))
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
  if re.fullmatch(
    r'[0-9]{1,3}(?:\s*:\s*[0-9]+(?:\.[0-9]+)?)+|[0-9a-z]+(?:\s*:\s*[0-9a-z]+)+', text
  ):
    return Parts(':', tuple(part.strip() for part in text.split(':')))
  base = re.fullmatch(
    r'\(?([0-9A-Fa-f]+)\)?_\{?\s*⟦?([0-9]{1,2}|two|eight|ten|sixteen)⟧?\s*\}?', text
  )
  if base and re.search('[0-9]', base[1][0]):
    return Parts('base', (base[1].lower().lstrip('0'), _BASES.get(base[2], base[2])))
  return _bracketed(text)


def _bracketed(text):
  opening = re.match(r'\\\{|\\langle(?![a-zA-Z])|[(\[{]', text)
  closing = re.search(r'(?:\\\}|\\rangle|[)\]}])$', text)
  if not opening or not closing:
    return None
  inside = text[opening.end() : closing.start()]
  kinds = opening.group() + closing.group()
  try:
    parts = [part for piece in split(inside, ';') for part in split(piece, ',')]
  except Unread:
    return None  # such as (1,2)+(3,4)
  if kinds == '\\{\\}':
    if '|' in inside or ':' in inside:
      raise Unread('a set by its property')
    parts = parts if inside.strip() else []
    _check_parts(parts)
    return Items(tuple(_single(part.strip()) for part in parts))
  if len(parts) < 2:
    return None
  _check_parts(parts)
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
    if not _is_name(sides[1]):
      raise Unread('a chain of inequalities without a letter in the middle')
    brackets = ('(' if signs[0] == '<' else '[') + (')' if signs[1] == '<' else ']')
    return Named(
      _name(sides[1]),
      Brackets(brackets, (quantities.quantity(sides[0]), quantities.quantity(sides[2]))),
    )
  raise Unread('a chain of relations')


def _equation(sides):
  left, right = sides[0], sides[-1]
  for side in sides[1:-1]:
    _answer(side)  # words between two signs are no side
  for name, other in ((left, right), (right, left))[: 2 if len(sides) == 2 else 1]:
    if _is_name(name) or (name is left and (_FUNCTION.fullmatch(left) or _bare_word(left))):
      named = Named(_name(name), _answer(other))
      if not (_is_name(name) and _mentions(named.item, quantities.quantity(name).tree)):
        return named  # x = 2y - x does not say what x is
  if re.fullmatch(r'\(\s*[a-zA-Z](?:\s*,\s*[a-zA-Z])+\s*\)', left):
    return Named(_name(left), _single(right))  # (x, y) = (1, 2)
  first, last = quantities.quantity(left), _single(right)
  if not isinstance(last, Quantity):
    return last
  if not _letters(first.tree):
    if not meaning.agree(first, last):
      raise Unread('two sides of different value')
    return last
  if len(sides) > 2:
    return last
  return Relation('=', _difference(first, last))


def _mentions(item, name):
  inside = lambda tree: tree == name or any(inside(x) for x in tree.operands if isinstance(x, Tree))
  return isinstance(item, Quantity) and inside(item.tree)


def _inequality(sides, sign):
  left, right = sides
  if _is_name(right) and not _is_name(left):
    left, right, sign = right, left, _FLIPPED.get(sign, sign)
  if sign == '\\ne':
    return Relation('ne', _difference(quantities.quantity(left), quantities.quantity(right)))
  if _is_name(left):
    bound = quantities.quantity(right)
    infinity = quantities.quantity('\\infty')
    if sign in ('<', '\\le'):
      brackets, items = (
        '(' + (')' if sign == '<' else ']'),
        (quantities.quantity('-\\infty'), bound),
      )
    else:
      brackets, items = ('(' if sign == '>' else '[') + ')', (bound, infinity)
    return Named(_name(left), Brackets(brackets, items))
  if sign in ('>', '\\ge'):
    left, right, sign = right, left, _FLIPPED[sign]
  return Relation(
    '<' if sign == '<' else 'le', _difference(quantities.quantity(left), quantities.quantity(right))
  )


def _difference(left, right):
  if left.unit or right.unit:
    raise Unread('a relation of quantities with units')
  return meaning.value(Tree('+', (left.tree, Tree('neg', (right.tree,)))))


def _is_name(text):
  return re.fullmatch(r'[a-zA-Z](?:_\{?\w+\}?)?|\\[a-zA-Z]+(?:_\{?\w+\}?)?', text) is not None and (
    text[0] != '\\' or text[1:].partition('_')[0] in tokens.GREEK - {'pi', 'infty'}
  )


def _bare_word(text):
  """A word, two or three points (AB) or an angle as the left side of an equation: a name."""
  return re.fullmatch(r'⟦[a-zA-Z ]+⟧|[a-zA-Z]{4,}|(?:m?\\angle\s*)?[A-Z]{1,3}', text) is not None


def _name(text):
  return re.sub(r'[\s{}⟦⟧]', '', text)


def _letters(tree):
  """Whether the tree has a letter other than pi, e and i."""
  if tree.kind == 'name':
    return tree.operands[0] not in ('pi', 'e', 'i')
  return any(_letters(part) for part in tree.operands if isinstance(part, Tree))
