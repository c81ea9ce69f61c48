"""Forms whose parts count as they stand: ratios, times, dates and numbers with a base."""

import re

from sirl.domains.answers.values import Parts

_BASES = {'two': '2', 'eight': '8', 'ten': '10', 'sixteen': '16'}
_RATIO = re.compile(
  r'[0-9]{1,3}(?:\s*:\s*[0-9]+(?:\.[0-9]+)?)+|[0-9a-z]+(?:\s*:\s*[0-9a-z]+)+|[0-9]+(?:\.[0-9]+)?\s*⟦?\s*to\s*⟧?\s*[0-9]+(?:\.[0-9]+)?'
)
_BASE = re.compile(r'\(?([0-9A-Fa-f]+)\)?_\{?\s*⟦?([0-9]{1,2}|two|eight|ten|sixteen)⟧?\s*\}?')
_CLOCK = re.compile(
  r'([0-9]{1,2})(?:\s*:\s*([0-5][0-9]))?\s*(?:([ap])\s?\.?\s?m\b\.?|(noon|midnight))', re.IGNORECASE
)
_MONTHS = [
  'january',
  'february',
  'march',
  'april',
  'may',
  'june',
  'july',
  'august',
  'september',
  'october',
  'november',
  'december',
]
_MONTH = r'(?P<month>[a-z]{3,9})\.?'
_DAY = r'(?:the\s+)?(?P<day>[0-9]{1,2})(?:st|nd|rd|th)?'
_DATES = [
  re.compile(rf'(?:[a-z]+day,?\s+)?{form}(?:,?\s+(?P<year>[0-9]{{4}}))?', re.IGNORECASE)
  for form in (rf'{_MONTH}\s+{_DAY}', rf'{_DAY}\s+(?:of\s+)?{_MONTH}')
]


def standing_alone(text):
  """The Parts of a ratio, a time or a number with a base; None for anything else."""
  if _RATIO.fullmatch(text):
    return Parts(':', tuple(part.strip() for part in re.split(r':|⟦?\s*to\s*⟧?', text)))
  base = _BASE.fullmatch(text)
  if base and re.search('[0-9]', base[1][0]):
    return Parts('base', (base[1].lower().lstrip('0'), _BASES.get(base[2], base[2])))
  return _clock(_words(text))


def _words(text):
  return re.sub(r'\s+', ' ', re.sub('[⟦⟧]', ' ', text)).strip()


def _clock(text):
  """4:30 PM in minutes since midnight: 7 PM is 7:00 p.m., noon is 12 PM."""
  text = {'noon': '12 noon', 'midnight': '12 midnight'}.get(text.lower(), text)
  match = _CLOCK.fullmatch(text)
  if match is None or not 1 <= int(match[1]) <= 12 or (match[4] and int(match[1]) != 12):
    return None
  afternoon = (match[3] or '').lower() == 'p' or (match[4] or '').lower() == 'noon'
  return Parts('time', ((int(match[1]) % 12 + 12 * afternoon) * 60 + int(match[2] or 0),))


def date(text):
  """The Parts (year or None, month, day) of March 5, 5 March or the 5th of March, 2020; else None."""
  for form in _DATES:
    match = form.fullmatch(_words(text))
    months = [name for name in _MONTHS if match and _is_month(match['month'].lower(), name)]
    if months and 1 <= int(match['day']) <= 31:
      year = int(match['year']) if match['year'] else None
      return Parts('date', (year, _MONTHS.index(months[0]) + 1, int(match['day'])))
  return None


def _is_month(word, name):
  return word in (name, name[:3]) or (word == 'sept' and name == 'september')
