r"""Parses an expression, such as '2\sqrt{3}', 'x^2+1' or '1 1/2', into a tree and its exact value.

`parse` returns a Tree; `value` works it out with `algebra`. What may be read in two ways, such as
1/2x, raises Unread.
"""

import math
import re
from fractions import Fraction
from typing import NamedTuple

from sirl.domains.answers.algebra import Unread
from sirl.domains.answers.tokens import FUNCTIONS, GREEK, tokens


class Tree(NamedTuple):
  """An expression: an operation and its operands.

  kind: number, mixed, name, +, neg, *, /, ^, root, call. A number holds (Fraction, decimals or None); a
    name holds its text; a call holds the function and its arguments.
  """

  kind: str
  operands: tuple


_END = ('end', '')
_ONE = Tree('number', (Fraction(1), None))
_DEEPEST = 40  # nested groups


def parse(text):
  """The Tree of an expression. Raises: Unread."""
  parser = _Parser(tokens(text))
  tree = parser.sum()
  if parser.peek() != _END:
    raise Unread(f'{parser.peek()[1]!r} is left over')
  return tree


class _Parser:
  """Recursive descent over the tokens of one expression."""

  def __init__(self, found):
    self.tokens = [*found, _END]
    self.at = 0
    self.depth = 0

  def peek(self, *, spaces=False):
    at = self.at
    while not spaces and self.tokens[at][0] == 'space':
      at += 1
    return self.tokens[at]

  def take(self):
    while self.tokens[self.at][0] == 'space':
      self.at += 1
    self.at += self.tokens[self.at] != _END
    return self.tokens[self.at - 1]

  def accept(self, *texts):
    if self.peek()[1] in texts and self.peek() != _END:
      return self.take()[1]
    return None

  def expect(self, text):
    if not self.accept(text):
      raise Unread(f'expected {text!r}, found {self.peek()[1]!r}')

  def sum(self):
    self.depth += 1
    if self.depth > _DEEPEST:
      raise Unread('too many nested groups')
    terms = [self.signed()]
    while sign := self.accept('+', '-'):
      term = self.product()
      terms.append(Tree('neg', (term,)) if sign == '-' else term)
    self.depth -= 1
    return terms[0] if len(terms) == 1 else Tree('+', tuple(terms))

  def signed(self):
    sign = self.accept('+', '-')
    term = self.product()
    return Tree('neg', (term,)) if sign == '-' else term

  def product(self):
    """Factors with and without a sign between them; a quotient ends at its first factor."""
    left, slash = self.factor(), False
    while True:
      if self.accept('*', '\\cdot', '\\times', '\\ast'):
        left, slash = _times(left, self.signed_factor()), False
      elif self.accept('\\div'):  # 10 ÷ 2 is 10 times 1/2: still to be worked out
        left, slash = _times(left, Tree('/', (_ONE, self.signed_factor()))), True
      elif self.accept('/'):
        if slash:
          raise Unread('two slashes in a row')
        kind, text = self.peek()
        if kind == 'letters' and len(text) > 1 and text not in FUNCTIONS | GREEK:
          raise Unread(f'the letters {text} after a slash may stand above or below')
        left, slash = Tree('/', (left, self.signed_factor())), True
      elif self.starts_factor():
        if slash:
          raise Unread('a factor after a slash may stand above or below')
        left = self.beside(left)
      else:
        return left

  def signed_factor(self):
    if self.accept('-'):
      return Tree('neg', (self.factor(),))
    return self.factor()

  def starts_factor(self):
    kind, text = self.peek()
    if kind == 'command':
      return text[1:] in GREEK | FUNCTIONS | {'frac', 'sqrt', 'binom', 'lfloor', 'lceil', 'pi'}
    return kind in ('number', 'letters') or text in ('(', '{') or (text == '|' and not self.in_bars)

  in_bars = False

  def beside(self, left):
    """left times what stands right beside it, or a mixed number such as 1 1/2."""
    spaced = self.peek(spaces=True)[0] == 'space'
    kind, text = self.peek()
    whole = left.kind == 'number' and left.operands[1] is None
    if kind == 'number' and _is_factorial(left):  # 3!4!
      return _times(left, self.factor())
    if kind == 'number':
      numerator = self.factor()
      if not (whole and spaced and _is_whole(numerator) and self.accept('/')):
        raise Unread('a number right after a number')
      denominator = self.factor()
      return _mixed(left, numerator, denominator)
    if whole and text == '\\frac':
      right = self.factor()
      if right.kind == '/' and all(_is_whole(operand) for operand in right.operands):
        return _mixed(left, *right.operands)
      return _times(left, right)
    return _times(left, self.factor())

  def factor(self):
    base = self.primary()
    if self.accept('!'):
      base = Tree('call', ('factorial', base))
      if self.peek()[1] == '!':
        raise Unread('a double factorial')
    if self.accept('^'):
      base = Tree('^', (base, self.exponent()))
      if self.peek()[1] == '^':
        raise Unread('a power of a power without brackets')
    return base

  def exponent(self):
    if self.accept('{'):
      inner = self.sum()
      self.expect('}')
      return inner
    if self.accept('-'):
      return Tree('neg', (self.primary(single=True),))
    return self.primary(single=True)

  def group(self):
    """{...} as the argument of a command, or a single sign: the 1 and the 2 of \\frac12."""
    if self.accept('{'):
      inner = self.sum()
      self.expect('}')
      return inner
    kind, text = self.peek()
    if kind == 'number' and text.isdigit():
      self.take()
      if len(text) > 1:  # one digit is taken, the others stay
        self.tokens[self.at - 1] = ('number', text[1:])
        self.at -= 1
      return Tree('number', (Fraction(text[0]), None))
    return self.primary(single=True)

  def primary(self, single=False):
    kind, text = self.take()
    if kind == 'number':
      return _number(text)
    if kind == 'letters':
      return self.letters(text, single)
    if text in ('(', '{', '[') and not (single and text == '['):
      inner = self.sum()
      self.expect({'(': ')', '{': '}', '[': ']'}[text])
      return inner
    if text == '|':
      self.in_bars = True
      inner = self.sum()
      self.in_bars = False
      self.expect('|')
      return Tree('call', ('abs', inner))
    if text in ('\\lfloor', '\\lceil'):
      inner = self.sum()
      self.expect({'\\lfloor': '\\rfloor', '\\lceil': '\\rceil'}[text])
      return Tree('call', ('floor' if text == '\\lfloor' else 'ceil', inner))
    if kind == 'command':
      return self.command(text[1:])
    raise Unread(
      f'{text!r} where a value should stand' if text else 'the end where a value should stand'
    )

  def command(self, name):
    if name == 'frac':
      glued = self.tokens[self.at][0] == 'number' and len(self.tokens[self.at][1]) > 2
      if glued:
        raise Unread('\\frac with more than two digits')
      return Tree('/', (self.group(), self.group()))
    if name == 'sqrt':
      return self.root()
    if name == 'binom':
      return Tree('call', ('binom', self.group(), self.group()))
    if name in FUNCTIONS:
      return self.call(name)
    if name in GREEK:
      return self.subscripted(name)
    raise Unread(f'the command \\{name} is not read')

  def root(self):
    degree = Tree('number', (Fraction(2), None))
    if self.accept('['):
      degree = self.sum()
      self.expect(']')
    if self.peek()[0] == 'number' and len(self.peek()[1]) > 1:
      raise Unread('\\sqrt with several digits and no braces')
    return Tree('root', (self.group(), degree))

  def call(self, name):
    """sin x, sin(x), \\log_2 8, \\sin^2 x. An argument without brackets is one factor and its letters."""
    base = exponent = None
    if self.accept('_'):
      base = self.group()
    if self.accept('^'):
      exponent = self.exponent()
    if self.peek()[1] == '(':
      self.take()
      arguments = [self.sum()]
      while self.accept(','):
        arguments.append(self.sum())
      self.expect(')')
    elif self.peek()[1] == '{':
      arguments = [self.group()]
    else:
      arguments = [self.factor()]
      while arguments[0].kind in ('number', '*') and self.peek()[0] in ('letters', 'command'):
        if not self.starts_factor() or self.peek()[1].lstrip('\\') in FUNCTIONS:
          break
        arguments = [_times(arguments[0], self.factor())]
      if self.peek()[0] == 'letters' and self.peek()[1] not in FUNCTIONS:
        raise Unread('a letter after an argument without brackets')
    if exponent is not None and exponent.kind == 'neg':
      raise Unread('an inverse function or a reciprocal')
    if name == 'sqrt':
      return Tree('root', (arguments[0], Tree('number', (Fraction(2), None))))
    tree = Tree(
      'call', (name if base is None else name + '_', *arguments, *([base] if base else []))
    )
    return tree if exponent is None else Tree('^', (tree, exponent))

  def letters(self, text, single):
    """A function, a greek letter, or up to three letters as a product."""
    if text in FUNCTIONS:
      return self.call(text)
    if text in GREEK - {'xi', 'nu', 'mu', 'pi', 'Pi', 'Xi'} or text == 'pi':
      return self.subscripted(text)
    if len(text) > 3 or (len(text) > 1 and (single or self.stands_alone())):
      raise Unread(f'{text!r} is a word')
    factors = [Tree('name', (letter,)) for letter in text[:-1]]
    last = self.subscripted(text[-1])
    if not factors:
      return last
    if self.peek()[1] in ('^', '!'):  # x y^2: the power is of the last letter
      self.at -= 1
      self.tokens[self.at] = ('letters', text[-1])
      last = self.factor()
    return Tree('*', (*factors, last))

  def stands_alone(self):
    """Whether the token just taken touches nothing: a word, not a product such as 2xy."""
    before, after = self.tokens[max(0, self.at - 2) : self.at - 1], self.tokens[self.at]
    return (not before or before[0][0] == 'space') and after[0] in ('space', 'end')

  def subscripted(self, name):
    if self.tokens[self.at][1] != '_':
      return Tree('name', (name,))
    self.take()
    if self.accept('{'):
      inside = []
      while self.peek() != _END and self.peek()[1] != '}':
        inside.append(self.take()[1])
      self.expect('}')
      return Tree('name', (f'{name}_{"".join(inside)}',))
    return Tree('name', (f'{name}_{self.take()[1]}',))


def _is_factorial(tree):
  last = tree.operands[-1] if tree.kind == '*' else tree
  return last.kind == 'call' and last.operands[0] == 'factorial'


def _is_whole(tree):
  return tree.kind == 'number' and tree.operands[1] is None


def _mixed(whole, above, below):
  return Tree('mixed', (whole, Tree('/', (above, below))))


def _times(left, right):
  return Tree('*', (*left.operands, right) if left.kind == '*' else (left, right))


def _number(text):
  """A Tree of a number: its exact value, and the digits after its point (None for a whole number)."""
  repeating = re.fullmatch(r'([0-9]*)\.([0-9]*)\\(?:overline|bar|dot)\s*\{?([0-9]+)\}?', text)
  if repeating:
    whole, fixed, repeated = repeating.groups()
    value = Fraction(int(whole + fixed or '0')) + Fraction(int(repeated), 10 ** len(repeated) - 1)
    return Tree('number', (value / 10 ** len(fixed), math.inf))
  if '\\' in text:
    raise Unread(f'{text!r} is no number')
  mantissa, _, exponent = text.lower().partition('e')
  if exponent and abs(int(exponent)) > 400:
    raise Unread('an exponent that is too large')
  if re.fullmatch('00+[0-9]*', mantissa) and set(mantissa) == {'0'}:
    raise Unread(f'{mantissa!r} may be a part of a number')
  decimals = len(mantissa.partition('.')[2]) if '.' in mantissa.rstrip('.') else None
  tree = Tree('number', (Fraction(mantissa.rstrip('.') or '0'), decimals))
  if not exponent:
    return tree
  ten = Tree('number', (Fraction(10), None))
  return Tree('*', (tree, Tree('^', (ten, Tree('number', (Fraction(int(exponent)), None))))))
