"""Extracts answers from completions, and compares two answers.

The extractors (`exact`, `last_integer`, `last_number`, `boxed`, `tagged`, `final`) are
text -> str or None; None means that the text gives no single answer. `equal` compares two answers:
it normalises both, then compares them as strings, as exact rationals, and with a tolerance if one
is a decimal. There is no computer algebra: x+1 and 1+x differ.
Every function is linear in the length of a completion.
"""

import collections
import re
from fractions import Fraction

# ---------------------------------------------------------------- extraction

_INTEGER = r'(?:[0-9]{1,3}(?:,[0-9]{3})+(?![0-9])|[0-9]+)'
_NUMBER = re.compile(
  r'(?P<sign>(?<![\w)])[-+])?\$?'  # a minus is an operator in 12-5 and a sign in (-5)
  rf'(?P<value>(?:{_INTEGER}(?:\.[0-9]+)?|(?<![0-9])\.[0-9]+)'
  r'(?:[eE][-+]?[0-9]{1,3}(?![0-9]))?(?:/[0-9]+)?)'
)
_INTEGRAL = re.compile(r'(-?)0*([0-9]+?)(?:\.0+)?')
_BRACES = re.compile(r'\\(?:boxed|fbox)\s*\{|\\.|[{}]', re.DOTALL)
_ANSWER_IS = re.compile(r'answer\s{0,8}(?:is|:|=)', re.IGNORECASE)


def exact(text):
  """The whole text without surrounding white space; None if nothing remains."""
  return text.strip() or None


def last_number(text):
  """The last number of the text, without thousands separators and dollar sign, or None.

  Examples: '-1234.5', '3/4', '1e-3'.
  """
  last = _last(_NUMBER, text.replace('−', '-'))
  return None if last is None else _plain(last)


def last_integer(text):
  """The last number of the text if it is an integer, without leading zeros; else None.

  'so 3.50' gives None: reading 50, or an earlier number, would judge what was not answered.
  """
  number = last_number(text)
  integral = None if number is None else _INTEGRAL.fullmatch(number)
  if integral is None:
    return None
  sign, digits = integral.groups()
  return digits if digits == '0' else sign + digits


def boxed(text):
  r"""Contents of \boxed{...} with balanced braces; None without a closed box.

  Several boxes with different contents are hedging and give None. Of nested boxes, the innermost
  counts.
  """
  found = []  # (start, contents)
  stack = []  # start of each open box's contents; None for other braces
  for match in _BRACES.finditer(text):
    token = match.group()
    if token == '}' and stack:
      start = stack.pop()
      if start is not None and not (found and found[-1][0] > start):
        found.append((start, text[start : match.start()]))
    elif token == '{':
      stack.append(None)
    elif len(token) > 2:
      stack.append(match.end())
  return _only([contents for _, contents in found])


def tagged(text, tag='answer'):
  """Contents of <answer>...</answer>; None without a closed pair, or when pairs disagree."""
  found, start = [], None
  for match in re.finditer(rf'<(/?){re.escape(tag)}>', text):
    if not match.group(1):
      start = match.end()
    elif start is not None:
      found.append(text[start : match.start()])
      start = None
  return _only(found)


def final(text):
  r"""The answer in free text.

  Uses the box if the text has a \boxed, else the text after the last 'answer is', else the last
  number.
  """
  if '\\boxed' in text:
    return boxed(text)
  last = _last(_ANSWER_IS, text)
  if last is None:
    return last_number(text)
  line = text[last.end() :].replace('−', '-').lstrip().partition('\n')[0]
  number = _NUMBER.search(line)
  return _plain(number) if number else normalise(line) or None


def _last(pattern, text):
  """The last match, or None."""
  matches = collections.deque(pattern.finditer(text), maxlen=1)
  return matches[0] if matches else None


def _plain(number):
  sign = '-' if number['sign'] == '-' else ''
  return sign + number['value'].replace(',', '')


def _only(found):
  """The one distinct answer in `found`, stripped; None for several, none or an empty one."""
  first = normalise(found[0]) if found else ''
  agree = all(contents == found[0] or normalise(contents) == first for contents in found)
  return found[0].strip() or None if found and agree else None


# ---------------------------------------------------------------- comparison

LIMIT = 400  # characters; a longer answer is compared as a string only

_REWRITES = [
  (re.compile(pattern), replacement)
  for pattern, replacement in (
    (r'[−–]', '-'),
    (r'\\(?:left|right|displaystyle)(?![a-zA-Z])|\\[,;:!()\[\]]|\\?\$', ''),
    (r'\\quad(?![a-zA-Z])|\\ |~', ' '),
    (r'\\%', '%'),
    (r'\\(?:text|textbf|textit|mathrm|mathbf|mbox)\s?\{([^{}]*)\}', r'\1'),
    (r'\^\{?\\circ\}?|°', ' degrees'),
    (r'([0-9])\s*(\\[dt]?frac)', r'\1 \2'),  # 1\frac12 is one and a half, not 11/2
    (r'\\[dt]?frac\s*([0-9])\s*([0-9])', r'\1/\2'),
    (r'\\[dt]?frac\s*\{\s*(-?[\w.]+)\s*\}\s*\{\s*(-?[\w.]+)\s*\}', r'\1/\2'),
    (r'\\[dt]?frac\s*\{([^{}]*)\}\s*\{([^{}]*)\}', r'(\1)/(\2)'),
    (
      r'(?<![0-9.,])[0-9]{1,3}(?:(?:,|\{,\})[0-9]{3})+(?![0-9,])',
      lambda m: re.sub(r'[,{}]', '', m.group()),
    ),
    (r'\s+', ' '),
    (r'(?<!\w) | (?!\w)', ''),
    (r'\.+$|^\++|^[a-zA-Z]=', ''),
    (r'^\{([^{}]*)\}$', r'\1'),
  )
]

# The words of a line name the same unit. One-letter units are omitted: 5m may be five times m.
_UNITS = {
  word: line.split()[0]
  for line in (
    '% percent',
    'degrees degree deg',
    'dollars dollar usd',
    'cents cent',
    'euros euro eur',
    'mm millimeters millimeter millimetres',
    'cm centimeters centimeter centimetres',
    'meters meter metres metre',
    'km kilometers kilometer kilometres',
    'inches inch',
    'feet foot ft',
    'miles mile',
    'grams gram',
    'kg kilograms kilogram',
    'pounds pound lbs',
    'liters liter litres litre',
    'seconds second sec',
    'minutes minute min',
    'hours hour hrs',
    'days day',
    'weeks week',
    'months month',
    'years year',
    'units unit',
  )
  for word in line.split()
}
_DECIMAL = r'(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:e[-+]?[0-9]{1,3})?'
_RATIONAL = re.compile(rf'(-?)(?:([0-9]+) )?\(?(-?{_DECIMAL})\)?(?:/\(?(-?{_DECIMAL})\)?)?')


def normalise(text):
  r"""An answer without its typography.

  '$1{,}000.$' becomes '1000', '\frac{1}{2}' becomes '1/2', and '5\,\text{CM}' becomes '5cm'.

  Repeats its rewrites until nothing changes, so normalise(normalise(x)) == normalise(x). Converts
  to lower case unless LaTeX commands remain. '1,200' is always read as one number, never as a list.
  A text longer than LIMIT is only stripped.
  """
  text = text.strip()
  while len(text) <= LIMIT:
    new = text
    for pattern, replacement in _REWRITES:
      new = pattern.sub(replacement, new)
    new = new.strip()
    new = new if '\\' in new else new.lower()
    if new == text:
      break
    text = new
  return text


def equal(a, b, *, tolerance=1e-4):
  """Whether two answers agree: as normalised strings, exact rationals, or nearly equal decimals.

  The relative tolerance applies only if at least one side is written as a decimal and neither is an
  integer: 2.0001 is not 2, but 0.3333 is 1/3. One side may lack its unit (5 cm and 5), but two
  units must be the same (5 cm is not 5 kg). A percentage is not divided by a hundred: 50% is 50,
  not 0.5.

  Differs: usually the tolerance applies if the reference is a decimal. That rule depends on the
  order of the arguments; this one does not.
  """
  a, b = normalise(a), normalise(b)
  if a == b:
    return True
  (value_a, unit_a), (value_b, unit_b) = _quantity(a), _quantity(b)
  if value_a is None or value_b is None or (unit_a and unit_b and unit_a != unit_b):
    return False
  if value_a == value_b:
    return True
  integers = value_a.denominator == 1 or value_b.denominator == 1
  if integers or not any(mark in text for text in (a, b) for mark in '.e'):
    return False
  return abs(value_a - value_b) <= Fraction(repr(tolerance)) * max(abs(value_a), abs(value_b))


def _quantity(text):
  """(value, unit) of a normalised answer; (None, '') if it is no number."""
  head = text.rstrip('%abcdefghijklmnopqrstuvwxyz')
  unit = _UNITS.get(text[len(head) :], '')
  return _rational(head.strip() if unit else text), unit


def _rational(text):
  """Exact value of a number such as '-1.5e3', '3/4', '(-1)/(2)' or '1 1/2'.

  None for anything else, and for a zero denominator.
  """
  match = _RATIONAL.fullmatch(text) if len(text) <= LIMIT else None
  if match is None:
    return None
  sign, whole, above, below = match.groups()
  if below is not None and Fraction(below) == 0:
    return None
  if whole is not None and below is None:  # '1 5' is not a mixed number
    return None
  value = int(whole or 0) + Fraction(above) / Fraction(below or 1)
  return -value if sign else value
