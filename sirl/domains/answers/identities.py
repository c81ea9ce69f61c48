r"""Equality of expressions with functions or nested roots, by their numbers to 50 digits.

`algebra` compares normal forms; it does not know that \ln 4 is 2 \ln 2, that \sqrt{3+2\sqrt2} is
1+\sqrt2 or that \sin 2x is 2 \sin x \cos x. Two short expressions of moderate numbers that agree to
50 digits, at several points if they have letters, are the same. What could agree at some points
only (a root or an absolute value of letters, a rounding) is not compared.
"""

import decimal
from decimal import Decimal

from sirl.domains.answers import algebra
from sirl.domains.answers.expression import Tree

_PRECISION = 90
_TOLERANCE = Decimal(10) ** -50
_LARGEST, _SMALLEST = (
  Decimal(10) ** 15,
  Decimal(10) ** -6,
)  # numbers on the way; outside, digits get lost
_MOST_CALLS = 16
_POINTS = 6
_LEAST_POINTS = 3  # at which both sides have to be defined
_POLES = (ArithmeticError, ValueError, OverflowError)


def equal(a, b):
  """Whether two Trees have equal numbers. False where one cannot be worked out."""
  letters = _letters(a) | _letters(b)
  if (
    'i' in letters
    or _calls(a) + _calls(b) > _MOST_CALLS
    or (letters and (_is_piecewise(a) or _is_piecewise(b)))
  ):
    return False
  with decimal.localcontext(prec=_PRECISION):
    defined = 0
    for point in range(_POINTS if letters else 1):
      at = {letter: _coordinate(i, point) for i, letter in enumerate(sorted(letters))}
      x, y = number(a, at), number(b, at)
      if (x is None) != (y is None) or (x is not None and abs(x - y) > _TOLERANCE):
        return False
      defined += x is not None
  return defined >= (_LEAST_POINTS if letters else 1)


def number(tree, at=None):
  """The real number of a Tree to about 60 digits, or the whole number next to it; None if it has none.

  Args: at: {letter: Decimal}.
  """
  with decimal.localcontext(prec=_PRECISION):
    try:
      value = _number(tree, at or {})
    except _POLES:
      return None
    return round(value) if abs(value - round(value)) < _TOLERANCE else value


def _number(tree, at):
  value = _operation(tree, at)
  if abs(value) < _TOLERANCE:
    return Decimal(0)
  if not _SMALLEST <= abs(value) <= _LARGEST:
    raise ValueError('a number of which digits get lost')
  return value


def _operation(tree, at):
  kind, operands = tree
  if kind == 'number':
    return Decimal(operands[0].numerator) / Decimal(operands[0].denominator)
  if kind == 'name':
    known = {'pi': algebra.PI, 'e': Decimal(1).exp()} | at
    if operands[0] not in known:
      raise ValueError('a letter')
    return known[operands[0]]
  if kind == 'call':
    return _call(operands[0], [_number(operand, at) for operand in operands[1:]])
  numbers = [_number(operand, at) for operand in operands]
  if kind == 'neg':
    return -numbers[0]
  if kind == '/':
    return numbers[0] / numbers[1]
  if kind == 'root':
    return _root(*numbers)
  if kind == '^':
    if numbers[0] < 0 and numbers[1] != int(numbers[1]):
      raise ValueError('a root of a negative number')
    return numbers[0] ** numbers[1]
  total = numbers[0]
  for other in numbers[1:]:
    total = total * other if kind == '*' else total + other
  return total


def _root(radicand, degree):
  if degree != int(degree) or degree < 1 or (radicand < 0 and degree % 2 == 0):
    raise ValueError('no real root')
  size = abs(radicand) ** (1 / degree) if radicand else Decimal(0)
  return size.copy_sign(radicand)


def _call(name, arguments):
  x = arguments[0]
  if name == 'log_':
    if arguments[1] <= 0:
      raise ValueError('a base below 0')
    return x.ln() / arguments[1].ln()
  if name not in _FUNCTIONS or len(arguments) != 1:
    raise ValueError('a function that is not worked out')
  return _FUNCTIONS[name](x)


def _positive_ln(x):
  if x <= 0:
    raise ValueError('a logarithm of what is not positive')
  return x.ln()


def _sin(x):
  x %= 2 * algebra.PI
  term = total = x
  for k in range(1, 200):
    term *= -x * x / ((2 * k) * (2 * k + 1))
    total += term
    if abs(term) < Decimal(10) ** -_PRECISION:
      break
  return total


def _cos(x):
  return _sin(x + algebra.PI / 2)


def _over(a, b):
  if abs(b) < _TOLERANCE:
    raise ValueError('a pole')
  return a / b


def _arctan(x):
  halvings = 4
  for _ in range(halvings):
    x = x / (1 + (1 + x * x).sqrt())
  power = total = x
  for k in range(1, 200):
    power *= -x * x
    total += power / (2 * k + 1)
    if abs(power) < Decimal(10) ** -_PRECISION:
      break
  return total * 2**halvings


def _arcsin(x):
  if abs(x) > 1:
    raise ValueError('an arcsine of more than 1')
  return (algebra.PI / 2).copy_sign(x) if abs(x) == 1 else _arctan(x / (1 - x * x).sqrt())


_FUNCTIONS = {
  'sin': _sin, 'cos': _cos, 'tan': lambda x: _over(_sin(x), _cos(x)), 'cot': lambda x: _over(_cos(x), _sin(x)),
  'sec': lambda x: _over(Decimal(1), _cos(x)), 'csc': lambda x: _over(Decimal(1), _sin(x)),
  'arcsin': _arcsin, 'arccos': lambda x: algebra.PI / 2 - _arcsin(x), 'arctan': _arctan, 'ln': _positive_ln, 'exp': Decimal.exp,
  'sinh': lambda x: (x.exp() - (-x).exp()) / 2, 'cosh': lambda x: (x.exp() + (-x).exp()) / 2, 'abs': abs,
}  # fmt: skip


def _letters(tree):
  """The names of a tree but pi and e."""
  if tree.kind == 'name':
    return {tree.operands[0]} - {'pi', 'e'}
  return set().union(*(_letters(part) for part in tree.operands if isinstance(part, Tree)))


def _calls(tree):
  return (tree.kind in ('call', 'root')) + sum(
    _calls(part) for part in tree.operands if isinstance(part, Tree)
  )


def _is_piecewise(tree):
  """Whether letters stand under a root, a fractional power or an absolute value, or in an index of a name."""
  parts = [part for part in tree.operands if isinstance(part, Tree)]
  rooted = tree.kind == 'root' or tree.operands[0] == 'abs'
  if tree.kind == '^':
    rooted = not (parts[1].kind == 'number' and parts[1].operands[0].denominator == 1) and bool(
      _letters(parts[0])
    )
  return (rooted and bool(_letters(tree))) or any(map(_is_piecewise, parts))


def _coordinate(letter, point):
  """A number that no short text names: negative at every other point."""
  size = (Decimal(2 + 3 * letter + 7 * point)).sqrt().exp() % 3 + Decimal(1) / 7
  return -size if (point + letter) % 2 else size
