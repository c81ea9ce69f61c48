"""What a Tree of `expression` says: its exact value, its last decimal, whether it is worked out."""

import math
from fractions import Fraction
from typing import Any

from sirl.domains.answers import algebra, identities
from sirl.domains.answers.algebra import Unread
from sirl.domains.answers.expression import Tree

ROUNDED = 2  # decimals from which on a gold may be a rounded number
FLOAT = 15  # significant digits from which on a gold with decimals is a float64 that was printed
_FLOAT_ERROR = Fraction(1, 2**51)  # of the number: two units in the last place


def value(tree):
  """The exact algebra.Value of a Tree. Raises: Unread for zero denominators and huge numbers."""
  kind, operands = tree
  if kind == 'number':
    return algebra.number(operands[0])
  if kind == 'name':
    return algebra.atom('pi' if operands[0] == 'pi' else operands[0])
  if kind == 'neg':
    return algebra.multiply(algebra.number(-1), value(operands[0]))
  if kind == '/':
    return algebra.divide(value(operands[0]), value(operands[1]))
  if kind == '^':
    base, exponent = value(operands[0]), value(operands[1])
    if turned := _half_turns(base, exponent):
      return turned
    parts = (algebra.rational(exponent) or Fraction(1)).denominator
    if parts > 1 and parts % 2 and algebra.negative(base):
      raise Unread('(-8)^{1/3} is -2 or a complex number')
    return algebra.power(base, exponent)
  if kind == 'root':
    return algebra.power(value(operands[0]), algebra.divide(algebra.number(1), value(operands[1])))
  if kind == 'call':
    return _call(operands[0], [value(operand) for operand in operands[1:]])
  combine = algebra.multiply if kind == '*' else algebra.add
  total = value(operands[0])
  for operand in operands[1:]:
    total = combine(total, value(operand))
  return total


def _half_turns(base, exponent):
  """e^{k i pi / 2} as 1, i, -1 or -i; None for any other power."""
  ((monomial, k),) = exponent.above.items() if len(exponent.above) == 1 else ((None, Fraction(0)),)
  is_turn = monomial is not None and dict(monomial) == {algebra.IMAGINARY: 1, 'pi': 1}
  if (
    not is_turn
    or exponent.below != algebra.ONE
    or (2 * k).denominator != 1
    or base != algebra.atom('e')
  ):
    return None
  return algebra.power(algebra.atom(algebra.IMAGINARY), algebra.number(2 * k % 4))


def _call(name, arguments):
  numbers: list[Any] = [algebra.rational(argument) for argument in arguments]
  known = all(n is not None for n in numbers)
  whole = known and all(n.denominator == 1 and 0 <= n <= 200 for n in numbers)
  if name == 'factorial' and whole:
    return algebra.number(math.factorial(int(numbers[0])))
  if name == 'binom' and whole:
    return algebra.number(math.comb(int(numbers[0]), int(numbers[1])))
  if name == 'abs' and known:
    return algebra.number(abs(numbers[0]))
  if name == 'abs':  # |3 - x| is |x - 3|
    negated = algebra.multiply(algebra.number(-1), arguments[0])
    arguments = [min(arguments[0], negated, key=lambda value: repr(algebra.key(value)))]
  if name in ('floor', 'ceil') and known:
    return algebra.number((math.floor if name == 'floor' else math.ceil)(numbers[0]))
  if name == 'exp':
    return algebra.power(algebra.atom('e'), arguments[0])
  if name == 'log_' and known and numbers[1] > 1 and numbers[0] > 0:
    for k in range(-64, 65):
      if numbers[1] ** k == numbers[0]:
        return algebra.number(k)
  return algebra.atom((name, *map(algebra.key, arguments)))


def finished(tree):
  """Whether a tree of numbers is an answer, not a sum or product of plain numbers to be worked out.

  1/2, 2^10 - 1 and 1.5 10^3 are answers; 12 - 5, 3 (4), (12 - 5)^1 and 12^1 - 5 are not.
  """
  return _finished(tree, lambda part: not _closed(part))


def closed_form(tree):
  r"""Whether a tree with functions is an answer: \sin 2x and 2 \ln 2 are, 12 - 5 \cos 0 is not."""
  return _finished(tree, lambda part: not _closed(part) and not _has_name(part))


def _finished(tree, is_plain):
  parts = [part for part in tree.operands if isinstance(part, Tree)]
  if tree.kind == '^' and parts[0] == Tree('name', ('e',)):
    return True
  if tree.kind in ('+', '*') and sum(map(is_plain, parts)) > 1:
    return False
  return all(_finished(part, is_plain) for part in parts)


def _has_name(tree):
  """Whether a letter or pi stands in a tree, outside of the functions in it."""
  parts = [part for part in tree.operands if isinstance(part, Tree)]
  return tree.kind == 'name' or (tree.kind != 'call' and any(map(_has_name, parts)))


def _closed(tree):
  """Whether a tree has a power, a root or a function that changes its number: not 5^1 or 1!."""
  parts = [part for part in tree.operands if isinstance(part, Tree)]
  if tree.kind in ('^', 'root', 'call'):
    result = algebra.rational(value(tree))
    if result is None:
      real = identities.number(tree)
      return real is None or abs(real) not in (0, 1)
    if result not in (0, 1, algebra.rational(value(parts[0]))):
      return True
  return any(_closed(part) for part in parts)


def _power_of_ten(tree):
  return tree.kind == '^' and tree.operands[0].operands == (Fraction(10), None)


def shape(tree):
  """The tree with the operands of sums and products in order: 3*4 and 4*3 have one shape."""
  kind, operands = tree
  if kind in ('number', 'name'):
    return kind, operands[0]
  parts = [shape(part) if isinstance(part, Tree) else part for part in operands]
  return (kind, *(sorted(parts, key=repr) if kind in '+*' else parts))


def repeats(tree):
  r"""Whether a tree is a repeating decimal, such as 0.\overline{3}."""
  kind, operands = tree
  return repeats(operands[0]) if kind == 'neg' else kind == 'number' and operands[1] == math.inf


def last_place(tree):
  """(place, decimals) of a decimal number: 0.33 has place 1/100 and 2 decimals; None for others.

  1.50 10^3 has place 10, and 2 decimals.
  """
  kind, operands = tree
  if kind == 'neg':
    return last_place(operands[0])
  if kind == 'number':
    decimals = operands[1] or 0
    return None if decimals == math.inf else (Fraction(1, 10**decimals), decimals)
  if kind == '*' and len(operands) == 2 and _power_of_ten(operands[1]):
    inner, scale = last_place(operands[0]), algebra.rational(value(operands[1]))
    return None if inner is None or scale is None else (inner[0] * scale, inner[1])
  return None


# ---------------------------------------------------------------- rounding


def rounds_to(answer, gold):
  """Whether the answer is more exact than a gold with decimals, and rounds to it, half up.

  Args: answer, gold: values.Quantity.
  """
  place, exact = last_place(gold.tree), algebra.rational(gold.value)
  if place is None or place[1] < ROUNDED or exact is None or _is_whole(exact, place):
    return False
  own = last_place(answer.tree)
  if _digits(exact, place) >= FLOAT and (
    own is None or _digits(algebra.rational(answer.value), own) < FLOAT
  ):
    number = _approximate(answer) if _is_worked_out(answer) else None
    return number is not None and abs(number - exact) <= abs(exact) * _FLOAT_ERROR
  if repeats(answer.tree):  # 0.272727... is not a slip of 0.27
    return False
  if own is not None and own[0] >= place[0]:
    return False
  if own is None and not _is_worked_out(answer):
    return False
  return _rounded(answer, place[0]) == exact


def _is_worked_out(answer):
  return algebra.rational(answer.value) is None or finished(answer.tree)


def _digits(number, place):
  """Significant digits of a decimal number with its last place."""
  return len(str(abs(int(number / place[0]))).strip('0'))


def agree(first, last):
  """Whether two sides of an equation of numbers are equal, the last one perhaps rounded."""
  place = last_place(last.tree)
  if algebra.equal(first.value, last.value) or first.unit != last.unit:
    return True
  if identities.equal(first.tree, last.tree):
    return True
  if place is None or not place[1]:
    return False
  return _rounded(first, place[0]) == algebra.rational(last.value)


def _approximate(quantity):
  """Its real number as a Fraction, or None."""
  number = algebra.approximate(quantity.value)
  if number is None and algebra.has_whole_atom(quantity.value):
    number = identities.number(quantity.tree)
  return None if number is None else Fraction(number)


def _rounded(quantity, place):
  """The number to a place, half up and away from zero; None if it is no real number."""
  number = _approximate(quantity)
  if number is None:
    return None
  rounded = math.floor(abs(number) / place + Fraction(1, 2)) * place
  return -rounded if number < 0 else rounded


def _is_whole(exact, place):
  """Whether 1.50 10^3 or 18.00 has no decimals that count."""
  return (exact / place[0] / 10 ** place[1]).denominator == 1
