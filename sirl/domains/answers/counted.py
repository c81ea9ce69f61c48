"""The words right after a number: its unit, a scale that it counts in, or a comparison."""

import re

from sirl.domains.answers import units

_RELATIVE = re.compile(
  r'\s?(?:st|nd|rd|th)\b|\s*and\s+(?:an?|one|two|three|four|half|change|some)\b|\s*(?:(?!(?:rounded|due|according|thanks|correct|left)\b)[a-zA-Z%]+\s+)?(?:less|more|fewer|greater|times|than|short|off|below|above|under|over|plus|minus|raised|choose|modulo|mod|to the)\b'
)
# What is asked for by 'how many more' and 'how many times': 8 more, 8 more pages, 3 times as many.
_COMPARED = re.compile(
  r'\s*(?P<unit>[a-zA-Z%]+\s+)?(?:more|extra)\b(?:\s+than\s+(?:before|he|she|they|it|[A-Z][a-z]+)\b|(?!\s+than\b))'
  r'[^0-9$\\]*$|\s*times(?:\s+as\s+(?:many|much|long|large|big|fast|old|tall|heavy|often|far|high)\b[^0-9$\\]*)?[\s.]*$'
)


def with_unit(span, rest):
  """The span with the words right after it, if they are a unit or change the number."""
  if compared := _COMPARED.match(rest):
    return with_unit(span, compared['unit'] or '')
  if _RELATIVE.match(rest):
    return f'{span} {rest.strip()}'  # 5 more than twelve: not 5
  if units.in_scale(rest):
    return f'{span} {rest.strip()}'  # 5 (in millions): not 5
  word = re.match(r'\s*(?:\\\$)?([a-zA-ZΩ%¥]+)', rest)
  if not word or re.match(r'\s*(?:in\s+[a-zA-Z]|[aAI]\b)', rest):
    return span  # 5 in total: no inches
  two = re.match(
    r'\s*((?:percentage|basis)\s+points?|light[\s-]+years?|(?:square|cubic|sq\.?|cu\.?)\s+[a-zA-Z]+)',
    rest,
  )
  if two:
    return f'{span} {two[1]}'
  unit = units.known(word[1]) or units.name_of(word[1])  # 12 eggs
  if units.changes(word[1]) or word[1] in '%¥' or len(word[1]) == 1 or unit:
    longer = re.match(r'\s*[a-zA-ZΩ%¥]+(?:\s*(?:/|per)\s*[a-zA-Z]+)?(?:\^[0-9])?', rest)
    return span + ' ' + longer.group().strip() if longer else span
  return span
