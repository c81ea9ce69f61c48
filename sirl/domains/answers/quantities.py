"""Reads a quantity: an expression with a unit before it (dollars) or after it."""

import re
from fractions import Fraction

from sirl.domains.answers import expression, meaning, units
from sirl.domains.answers.algebra import Unread
from sirl.domains.answers.expression import Tree
from sirl.domains.answers.values import Quantity

_DERIVATIVE = re.compile(
  r'\\frac\s*\{\s*d[a-zA-Z]?\s*\}\s*\{\s*d[a-zA-Z]\s*\}|(?<![a-zA-Z])d[a-zA-Z]?\s*/\s*d[a-zA-Z]'
)
_SCALES = {'hundred': 2, 'thousand': 3, 'million': 6, 'billion': 9, 'trillion': 12}
_SCALED = re.compile(rf'([-+]?[0-9.]+)\s*⟦?\s*({"|".join(_SCALES)})(?![a-zA-Z])\s*(⟧?)')
_DOZEN = re.compile(r'([-+]?[0-9]+(?:\.[0-9]+)?)\s*(⟦?)\s*dozen(?![a-zA-Z])')
# \sin 30^\circ and \sin(30^\circ)
_DEGREES = re.compile(
  r'(\\?(?:sin|cos|tan|cot|sec|csc))\s*(?=[({ 0-9])[({]?\s*([0-9]+(?:\.[0-9]+)?)\s*⟦degrees⟧\s*(?:(?<=\()[)}]|[)}]|(?![0-9a-zA-Z]))'
)


def quantity(text):
  """An expression, with a unit before it (dollars) or after it. Raises: Unread."""
  text = text.strip()
  unit, before = (), re.fullmatch(r'([-+]?)\s*⟦dollars⟧\s*(.*)|([-+]?)\s*[€£]\s*(.*)', text)
  if before:
    unit = (
      ('dollars' if before[2] is not None else 'euros' if '€' in text else 'pounds sterling', 1),
    )
    text = (before[1] or before[3] or '') + (before[2] if before[2] is not None else before[4])
  text = _DOZEN.sub(
    lambda m: f'{Fraction(m[1]) * 12} ⟦' if m[2] else f'{Fraction(m[1]) * 12} ', _counted(text)
  )
  text = _SCALED.sub(
    lambda m: rf'{m[1]} \times 10^{{{_SCALES[m[2]]}}} {"⟦" if m[3] else ""}', text, count=1
  )
  text = _DEGREES.sub(r'\1(\\frac{\2 \\pi}{180})', text)
  text, after = _without_unit(re.sub(r'⟦\s*$', '', text))
  if unit and after and after != unit:
    if after[0][0] != 'dollars' and any(power < 0 for _, power in after):
      after = tuple(sorted(unit + after))
    else:
      raise Unread('two units')
  if _DERIVATIVE.search(text):
    raise Unread('dy/dx is no quotient of letters')
  tree = expression.parse(text)
  bare = tree.operands[0] if tree.kind == 'neg' else tree
  if 'infty' in text and bare != Tree('name', ('infty',)):
    raise Unread('arithmetic with infinity')
  return Quantity(tree, meaning.value(tree), after or unit)


def _counted(text):
  """8 of '8 more', '8 more pages', '8 dollars more' and '8 times': what is counted, without 'than'."""
  text = re.sub(
    r'(?<=[0-9a-z}⟧])\s*(?:⟦\s*(?:more|extra|times)\s*⟧|\s(?:more|extra|times))$', '', text
  )
  return re.sub(r'(?<=[0-9}])(\s*⟦?)\s*(?:more|extra) (?!than\b)(?=[a-z])', r'\1 ', text)


def _without_unit(text):
  """(the text before its unit, the unit); the unit is () if there is none."""
  for match in re.finditer(
    r'(?=⟦)|(?<=[0-9)}\]])\s*(?=[a-zA-ZΩ])|\s+(?=[a-zA-ZΩ]|/\s*[a-zA-Z⟦])', text
  ):
    head, tail = text[: match.start()], text[match.end() :]
    if not head.strip() or not re.search(r'[0-9)}\]!a-zA-Z|]\s*$', head):
      continue
    spaced = match.group() or tail.startswith('⟦')
    first = re.match(r'⟦?\s*([a-zA-ZΩ]+)', tail)
    if first is None or (len(first[1]) == 1 and not spaced):
      continue  # 5m is five times m
    unit = units.read(tail)
    if (
      unit is not None and (spaced or units.known(first[1])) and not _may_be_letters(first[1], head)
    ):
      return head.strip(), unit
  return text, ()


def _may_be_letters(word, head):
  """Whether a word after a number may be a product of letters: in 2 ab the unit would be a guess."""
  letter = re.search(r'[a-zA-Z]\s*$', head) and not re.search(r'\\[a-zA-Z]+\s*$', head)
  return bool(letter) and not units.known(word)
