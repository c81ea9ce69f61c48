r"""Names that a value may have: x, f(x), \angle ABC, \cos\theta; and letters in an expression."""

import re

from sirl.domains.answers import tokens
from sirl.domains.answers.expression import Tree
from sirl.domains.answers.values import Quantity

# The left side of an equation that only says what was asked: f(x), f(2), \cos\theta, |z|, dy/dx, \lim ...
_QUESTION = re.compile(
  r"[a-zA-Z]'{0,2}\s*\(\s*[a-zA-Z]\s*\)|[fghFGP]'{0,2}\(\s*-?[0-9]+\s*\)"
  r'|\\?(?:sin|cos|tan|cot|sec|csc|ln|log)\s*(?:[a-zA-Z]|\\[a-z]+|\(\s*[a-zA-Z]\s*\)|(?:\\angle\s*)?[A-Z]{1,3})'
  r'|\|\s*[a-zA-Z]{1,2}\s*\||\\overline\{\s*[A-Z]{2}\s*\}|d[a-z]/d[a-z]|\\frac\{\s*d[a-z]\s*\}\{\s*d[a-z]\s*\}'
  r'|\\(?:lim|i?int|sum|prod)(?![a-zA-Z]).*',
  re.DOTALL,
)


def is_question(text):
  """Whether the left side of an equation only names what was asked for."""
  return is_bare_word(text) or _QUESTION.fullmatch(text) is not None


def is_name(text):
  """A letter, perhaps with an index: x, x_1, \\alpha."""
  return re.fullmatch(r'[a-zA-Z](?:_\{?\w+\}?)?|\\[a-zA-Z]+(?:_\{?\w+\}?)?', text) is not None and (
    text[0] != '\\' or text[1:].partition('_')[0] in tokens.GREEK - {'pi', 'infty'}
  )


def is_bare_word(text):
  """A word, two or three points (AB) or an angle as the left side of an equation: a name."""
  return re.fullmatch(r'⟦[a-zA-Z ]+⟧|[a-zA-Z]{4,}|(?:m?\\angle\s*)?[A-Z]{1,3}', text) is not None


def name_of(text):
  """The name without spaces and braces."""
  return re.sub(r'[\s{}⟦⟧]', '', text)


def has_letters(tree):
  """Whether the tree has a letter other than pi, e and i."""
  if tree.kind == 'name':
    return tree.operands[0] not in ('pi', 'e', 'i')
  return any(has_letters(part) for part in tree.operands if isinstance(part, Tree))


def mentions(item, name):
  """Whether a quantity has the name in it: x in x = 2y - x."""
  inside = lambda tree: tree == name or any(inside(x) for x in tree.operands if isinstance(x, Tree))
  return isinstance(item, Quantity) and inside(item.tree)
