"""Numbers in words: 'twenty-one' is 21, 'minus 5' is -5, 'two thirds' is 2/3."""

import re

_ONES = dict(
  zip(
    [
      'zero',
      'one',
      'two',
      'three',
      'four',
      'five',
      'six',
      'seven',
      'eight',
      'nine',
      'ten',
      'eleven',
      'twelve',
      'thirteen',
      'fourteen',
      'fifteen',
      'sixteen',
      'seventeen',
      'eighteen',
      'nineteen',
    ],
    range(20),
  )
)
_TENS = dict(
  zip(
    ['twenty', 'thirty', 'forty', 'fifty', 'sixty', 'seventy', 'eighty', 'ninety'],
    range(20, 100, 10),
  )
)
_PARTS = {
  'half': 2, 'halves': 2, 'third': 3, 'thirds': 3, 'quarter': 4, 'quarters': 4, 'fourth': 4, 'fourths': 4, 'fifth': 5,
  'fifths': 5, 'sixth': 6, 'sixths': 6, 'seventh': 7, 'sevenths': 7, 'eighth': 8, 'eighths': 8, 'ninth': 9, 'ninths': 9,
  'tenth': 10, 'tenths': 10,
}  # fmt: skip
_SIGN = re.compile(r'(?:minus|negative)\s+(?=[0-9.\\$(⟦])', re.IGNORECASE)
_WORDS = '|'.join([*_ONES, *_TENS, 'hundred', 'thousand'])
_NUMERAL = re.compile(
  rf'(?:(?:{_WORDS})(?:\s*-\s*|\s+(?:and\s+)?))*(?:{_WORDS})(?![a-zA-Z])', re.IGNORECASE
)


def in_digits(text):
  """The text with a number in words at its start in digits; the text itself if there is none.

  'five (5)' is 5, as 'five' alone is.
  """
  both = re.fullmatch(r'([^()]+?)\s*\(([^()]+)\)', text)
  if both and in_digits(both[1]) == in_digits(both[2]):
    text = both[1]
  text = _SIGN.sub('-', text, count=1) if _SIGN.match(text) else text
  sign = re.match(r'(?:minus|negative)\s+(?=[a-zA-Z])', text, re.IGNORECASE)
  start = sign.end() if sign else 0
  match = _NUMERAL.match(text, start)
  value = _value(re.findall('[a-z]+', match[0].lower())) if match else None
  if value is None:
    return text
  rest = text[match.end() :]
  part = re.fullmatch(rf'\s*-?\s*({"|".join(_PARTS)})', rest, re.IGNORECASE)
  if part:
    rest = f'/{_PARTS[part[1].lower()]}'
  return f'{"-" if sign else ""}{value}{rest}'


def _value(words):
  """The number of words such as two hundred and five, or None where their order makes no number."""
  total = group = 0
  last = 'start'  # the kind of the word before
  for word in words:
    if word == 'and':
      if last not in ('hundred', 'thousand'):
        return None
    elif word in _ONES and (
      last in ('start', 'hundred', 'thousand') or (last == 'tens' and 0 < _ONES[word] < 10)
    ):
      group, last = group + _ONES[word], 'ones'
    elif word in _TENS and last in ('start', 'hundred', 'thousand'):
      group, last = group + _TENS[word], 'tens'
    elif word == 'hundred' and last == 'ones' and 0 < group < 100:
      group, last = group * 100, 'hundred'
    elif word == 'thousand' and last in ('ones', 'tens', 'hundred') and group and not total:
      total, group, last = group * 1000, 0, 'thousand'
    else:
      return None
  return total + group
