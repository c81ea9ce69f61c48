"""Exact values of expressions: quotients of polynomials in letters, roots of primes, pi, e, i.

A polynomial is a dict {monomial: Fraction}; a monomial is a sorted tuple of (atom, power). An atom
is a letter, a prime number under a root, or anything that is not worked out, such as sin(x), under
a key that two equal things share. So equal polynomials have equal values; values that are equal
only by an identity this file does not know (sin^2 + cos^2 = 1) count as different.
"""

import decimal
import itertools
import math
from fractions import Fraction
from typing import NamedTuple

LARGEST_POWER = 8  # a sum is expanded up to this power
MOST_TERMS = 48
MOST_BITS = 20_000  # of a number


class Unread(ValueError):
  """The text cannot be read as one value."""


class Value(NamedTuple):
  """above / below, two polynomials; below is never zero."""

  above: dict
  below: dict


ONE = {(): Fraction(1)}
IMAGINARY = 'i'


def number(value):
  """The Value of a Fraction or int."""
  return Value({(): Fraction(value)} if value else {}, ONE)


def atom(name):
  """The Value of a letter or of another atom (any hashable)."""
  return Value({((name, Fraction(1)),): Fraction(1)}, ONE)


def rational(value):
  """The Fraction that the value is, or None."""
  if value.below != ONE:
    ratio = _ratio(value.above, value.below)
    return Fraction(0) if not value.above else ratio
  if not value.above:
    return Fraction(0)
  return value.above[()] if set(value.above) == {()} else None


def equal(a, b):
  """Whether two values are equal for all values of their atoms."""
  return not _plus(_times(a.above, b.below), _times(b.above, a.below), -1)


def proportion(a, b):
  """The Fraction c with a = c b, or None if there is none; c is never 0."""
  left, right = _times(a.above, b.below), _times(b.above, a.below)
  return _ratio(left, right) if left and right else None


def negative(value):
  """Whether a value is a single term with a minus, such as -8 or -2x."""
  return value.below == ONE and len(value.above) == 1 and min(value.above.values()) < 0


def add(a, b, sign=1):
  """a + sign * b."""
  if a.below == b.below:
    return _value(_plus(a.above, b.above, sign), a.below)
  above = _plus(_times(a.above, b.below), _times(b.above, a.below), sign)
  return _value(above, _times(a.below, b.below))


def multiply(a, b):
  """a b."""
  return _value(_times(a.above, b.above), _times(a.below, b.below))


def divide(a, b):
  """a / b. Raises: Unread for a division by zero."""
  if not b.above:
    raise Unread('division by zero')
  return _value(_times(a.above, b.below), _times(a.below, b.above))


def power(base, exponent):
  """base ^ exponent, exact where the exponent is a number; else an atom.

  2^(n+1) is 2 2^n, e^(2x) is (e^x)^2.
  """
  k = rational(exponent)
  if k is not None:
    return _to_number(base, k)
  constant = exponent.above.get((), Fraction(0)) if exponent.below == ONE else Fraction(0)
  rest = add(exponent, number(constant), -1)
  content = _content(rest.above)
  rest = multiply(rest, number(1 / content))
  symbol = atom(('power', key(base), key(rest)))
  fixed = _to_number(base, constant) if constant else number(1)
  return multiply(fixed, _to_number(symbol, content))


def has_whole_atom(value):
  """Whether a function or a root of a sum stays whole in the value."""
  return any(
    isinstance(name, tuple)
    for polynomial in value
    for monomial in polynomial
    for name, _ in monomial
  )


def key(value):
  """A hashable name that only equal values share."""
  if value.below == ONE:
    return tuple(sorted(value.above.items(), key=repr))
  lead = value.below[min(value.below, key=repr)]
  parts = ({m: c / lead for m, c in part.items()} for part in (value.above, value.below))
  return tuple(tuple(sorted(part.items(), key=repr)) for part in parts)


def approximate(value, digits=60):
  """The real number as a Fraction, to `digits` significant digits; None if it has letters or i."""
  with decimal.localcontext(prec=digits + 20):
    above, below = _approximate(value.above), _approximate(value.below)
    return None if above is None or not below else Fraction(above) / Fraction(below)


# ---------------------------------------------------------------- polynomials


def _value(above, below):
  """With a monomial below divided out, so that most values have 1 below."""
  if len(above) * len(below) > 32 * MOST_TERMS:
    raise Unread('too many terms')
  if len(below) == 1 and below != ONE:
    ((monomial, coefficient),) = below.items()
    inverse = {tuple((name, -power) for name, power in monomial): 1 / coefficient}
    return Value(_times(above, inverse), ONE)
  return Value(above, below)


def _plus(a, b, sign=1):
  total = dict(a)
  for monomial, coefficient in b.items():
    total[monomial] = total.get(monomial, 0) + sign * coefficient
  return {monomial: coefficient for monomial, coefficient in total.items() if coefficient}


def _times(a, b):
  if len(a) * len(b) > 32 * MOST_TERMS:
    raise Unread('too many terms')
  total = {}
  for (m, c), (n, d) in itertools.product(a.items(), b.items()):
    monomial, factor = _product(m, n)
    total[monomial] = total.get(monomial, 0) + c * d * factor
  total = {monomial: coefficient for monomial, coefficient in total.items() if coefficient}
  if len(total) > MOST_TERMS:
    raise Unread('too many terms')
  return total


def _product(m, n):
  """The monomial m n and a rational factor: roots of primes and i have their whole powers taken out."""
  powers = dict(m)
  for name, exponent in n:
    powers[name] = powers.get(name, 0) + exponent
  factor = Fraction(1)
  for name, exponent in list(powers.items()):
    if isinstance(name, int):  # a prime
      whole = math.floor(exponent)
      factor *= _bounded(Fraction(name), whole)
      powers[name] = exponent - whole
    elif name == IMAGINARY and exponent.denominator == 1:
      factor *= -1 if exponent % 4 >= 2 else 1
      powers[name] = exponent % 2
  kept = [(name, Fraction(exponent)) for name, exponent in powers.items() if exponent]
  return tuple(sorted(kept, key=repr)), factor


def _ratio(a, b):
  """The Fraction c with a = c b for two polynomials, or None."""
  if not a or a.keys() != b.keys():
    return None
  ratios = {a[monomial] / b[monomial] for monomial in a}
  return ratios.pop() if len(ratios) == 1 else None


def _content(polynomial):
  """The rational c such that polynomial / c has coprime whole coefficients, the first of them positive."""
  above = math.gcd(*(c.numerator for c in polynomial.values()))
  below = math.lcm(*(c.denominator for c in polynomial.values()))
  lead = polynomial[min(polynomial, key=repr)]
  return Fraction(above, below) * (1 if lead > 0 else -1)


# ---------------------------------------------------------------- powers


def _bounded(base, k):
  bits = max(base.numerator.bit_length(), base.denominator.bit_length())
  if abs(k) * bits > MOST_BITS or (base == 0 and k <= 0):
    raise Unread('a power that is too large, or of zero')
  return base**k


def _to_number(base, k):
  """base^k for a Fraction k."""
  if k == 1:
    return base
  if not base.above:
    if k <= 0:
      raise Unread('a power of zero')
    return base
  if k < 0:
    return divide(number(1), _to_number(base, -k))
  if k == 0:
    return number(1)
  if len(base.above) == 1 and base.below == ONE:
    ((monomial, coefficient),) = base.above.items()
    found = _monomial_power(monomial, coefficient, k)
    if found is not None:
      return found
  if k.denominator == 1 and k <= LARGEST_POWER:
    result = number(1)
    for _ in range(int(k)):
      result = multiply(result, base)
    return result
  if k.denominator == 1 or base.below != ONE:
    return atom_power(('base', key(base)), k)
  content = abs(_content(base.above))
  inner = multiply(base, number(1 / content))
  return multiply(_to_number(number(content), k), atom_power(('base', key(inner)), k))


def atom_power(name, k):
  """The Value name^k of an atom."""
  return Value({((name, k),): Fraction(1)}, ONE)


def _monomial_power(monomial, coefficient, k):
  """(coefficient monomial)^k, or None where the root is not a plain product, such as sqrt(x^2)."""
  if k.denominator == 1:
    powers = tuple((name, exponent * k) for name, exponent in monomial)
    reduced, factor = _product((), powers)
    return Value({reduced: _bounded(coefficient, int(k)) * factor}, ONE)
  even_root = k.denominator % 2 == 0
  result = number(1)
  for name, exponent in monomial:
    even = exponent.denominator == 1 and exponent % 2 == 0
    whole_even = (exponent * k).denominator == 1 and (exponent * k) % 2 == 0
    if isinstance(name, str) and (name == IMAGINARY or (even_root and even and not whole_even)):
      return None
    reduced, factor = _product((), ((name, exponent * k),))
    result = multiply(result, Value({reduced: factor}, ONE))
  if coefficient < 0:
    if even_root and (monomial or k.denominator != 2 or k.numerator != 1):
      return None
    sign = atom(IMAGINARY) if even_root else number(-1 if k.numerator % 2 else 1)
    result = multiply(result, sign)
  for part, direction in ((abs(coefficient.numerator), 1), (coefficient.denominator, -1)):
    for prime, exponent in _factors(part):
      reduced, factor = _product((), ((prime, Fraction(exponent * direction) * k),))
      result = multiply(result, Value({reduced: factor}, ONE))
  return result


def _factors(n):
  """(factor, exponent) of n by trial division; what is left above 10^4 counts as one factor."""
  found = []
  for prime in itertools.chain((2,), range(3, 10_000, 2)):
    if prime * prime > n:
      break
    exponent = 0
    while n % prime == 0:
      n, exponent = n // prime, exponent + 1
    if exponent:
      found.append((prime, exponent))
  return [*found, (n, 1)] if n > 1 else found


def _approximate(polynomial):
  total = decimal.Decimal(0)
  for monomial, coefficient in polynomial.items():
    term = decimal.Decimal(coefficient.numerator) / decimal.Decimal(coefficient.denominator)
    for name, exponent in monomial:
      base = {'e': decimal.Decimal(1).exp(), 'pi': PI}.get(name) if isinstance(name, str) else None
      base = decimal.Decimal(name) if isinstance(name, int) else base
      if base is None or abs(exponent) > 10_000:
        return None
      term *= base ** (decimal.Decimal(exponent.numerator) / decimal.Decimal(exponent.denominator))
    total += term
  return total


PI = decimal.Decimal(
  '3.14159265358979323846264338327950288419716939937510582097494459230781640628620899862803482534211'
)
