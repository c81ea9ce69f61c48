"""Units of a quantity: which words name the same unit. Units are compared, never converted."""

import re

# The words of a line name the same unit.
_SYNONYMS = """
percent pct percents percentage
dollars dollar usd bucks
cents cent
euros euro eur
pounds pound lbs lb
sterling gbp
degrees degree deg
celsius centigrade
fahrenheit
radians radian rad
mm millimeters millimeter millimetres millimetre
cm centimeters centimeter centimetres centimetre
meters meter metres metre
km kilometers kilometer kilometres kilometre
inches inch in
feet foot ft
yards yard yd yds
miles mile mi
mg milligrams milligram
grams gram
kg kilograms kilogram kgs
tons ton tonnes tonne
ounces ounce oz
ml milliliters milliliter millilitres millilitre mL
liters liter litres litre
gallons gallon gal
ms milliseconds millisecond
seconds second sec secs
minutes minute min mins
hours hour hr hrs
days day
weeks week
months month
years year yr yrs
units unit
mph
kmh kph
newtons newton
joules joule
watts watt
volts volt
hz hertz Hz
yen jpy
yuan renminbi rmb cny
rupees rupee rs inr
rubles ruble roubles rouble
pesos peso
francs franc chf
marks mark
pence penny pennies
krona kronor krone kroner
won krw
baht
rand
ringgit
stone stones
CAD
AUD
NZD
HKD
SGD
BRL
MXN
RUB
ZAR
SEK
NOK
DKK
PLN
THB
IDR
PHP
VND
BTC
ETH
lightyears lightyear
dinars dinar
shillings shilling
liras lira
ohms ohm Ω
pascals pascal
kelvin kelvins
moles mole mol
mmol
amperes ampere amps amp
coulombs coulomb
calories calorie cal
kilocalories kilocalorie kcal
kilojoules kilojoule
kilowatts kilowatt
tablespoons tablespoon tbsp
teaspoons teaspoon tsp
cups cup
pints pint
quarts quart qt
acres acre
hectares hectare ha
knots knot
bits bit
bytes byte
decades decade
centuries century
nights night
nanometers nanometer
atmospheres atmosphere atm
bar bars
psi
microns micron micrometers micrometer
percentagepoints percentagepoint pp
basispoints basispoint bps bp
people person
children child
men man
women woman
"""
_NAMES = {word: line.split()[0] for line in _SYNONYMS.strip().splitlines() for word in line.split()}
# Single letters are units only after a space or in a text group: 5m is five times m.
LETTERS = {
  'm': 'meters', 'g': 'grams', 's': 'seconds', 'h': 'hours', 'L': 'liters', 'l': 'liters', 'N': 'newtons',
  'J': 'joules', 'W': 'watts', 'V': 'volts',
}  # fmt: skip
# Units whose case counts: MW is not mW.
_SYMBOLS = {
  'kW': 'kilowatts', 'MW': 'megawatts', 'mW': 'milliwatts', 'GW': 'gigawatts', 'kWh': 'kilowatt hours', 'MB': 'megabytes', 'GB': 'gigabytes',
  'KB': 'kilobytes', 'kB': 'kilobytes', 'TB': 'terabytes', 'Mb': 'megabits', 'MHz': 'megahertz', 'GHz': 'gigahertz', 'kHz': 'kilohertz',
  'kPa': 'kilopascals', 'MPa': 'megapascals', 'mol': 'moles', 'mA': 'milliamperes', 'eV': 'electronvolts', 'kN': 'kilonewtons', 'kJ': 'kilojoules', 'Pa': 'pascals', 'nm': 'nanometers', 'dL': 'deciliters', 'cL': 'centiliters', 'dm': 'decimeters', 'mg': 'mg', 'Nm': 'newton meters', 'MJ': 'megajoules',
}  # fmt: skip
# Words that change the number before them.
_CHANGING = (
  'tens dozens scores hundreds thousands millions billions trillions halves thirds quarters fourths '
  'fifths sixths sevenths eighths ninths tenths hundredths thousandths times pairs powers roots '
  'squares cubes factors plus minus less multiples am pm '
  'half third quarter hundred thousand million billion trillion dozen squared cubed factorial '
  'fourth fifth sixth seventh eighth ninth tenth hundredth thousandth millionth millionths billionth billionths '
  'quadrillion quintillion sextillion septillion octillion nonillion decillion googol googols milliard milliards billiard billiards '
  'quadrillions quintillions lakh lakhs lac lacs crore crores arab kharab myriad myriads bn mn mln mil mio mrd bil tn trn thou grand '
  'gross score couple pair brace trio quartet ream point ppm ppb permille negative ish fold kilo mega giga binary octal hex hexadecimal bce'
)
CHANGING = frozenset(_CHANGING.split())
_CHANGING_LETTERS = ('k', 'K', 'M', 'B', 'T', 'BC', 'AD', 'CE', 'MM')
_SCALES = (
  r'(?:tens|dozens|hundreds?|thousands?|millions?|billions?|trillions?|lakhs?|lacs?|crores?|hundredths|thousandths|millionths|'
  r'10\^?[0-9]*s?|binary|octal|hex|hexadecimal|base)'
)
# 5 (in millions), 5 in thousands of dollars, 5 (thousands), 5 ('000)
_IN_SCALE = re.compile(
  rf"(?:\b(?:in|by)\s+(?:the\s+|units of\s+)?|\(\s*(?:unit:?\s*|units:?\s*|\$\s*)?){_SCALES}\b|\(\s*['$]*000|\(\s*(?:negative|minus)\b|\bin\s+debt\b|\bper\s+(?:thousand|mille|hundred|million)\b",
  re.IGNORECASE,
)
_NO_NOUNS = frozenset(
  ('is', 'was', 'has', 'this', 'its', 'as', 'does', 'yes', 'always', 'sometimes', 'perhaps')
)
_POWERS = {'square': 2, 'sq': 2, 'sq.': 2, 'cubic': 3, 'cu': 3}
_TOKEN = re.compile(
  r'\s*(?:(?P<word>[a-zA-ZΩ]+\.?)|\^\s*\{?\s*(?P<power>-?[0-9])\s*\}?|(?P<per>/)|(?P<times>\\cdot|-))\s*'
)


def read(text):
  """The unit that a text names, such as 'cm^2', 'square miles', 'km/h' or 'dollars per hour'.

  Returns: a tuple of (name, power) in order of names; None if the text names no unit. A plural noun
    that is no known unit counts as one ('12 eggs').
  """
  text = re.sub('[⟦⟧]', ' ', text).strip()
  text = re.sub(r'\b(percentage|basis|light)[\s-]+(point|year)', r'\1\2', text)
  text = re.sub(r'\bdegrees\s+(?:C|Celsius|celsius)\b', 'celsius', text)
  text = re.sub(r'\bdegrees\s+(?:F|Fahrenheit|fahrenheit)\b', 'fahrenheit', text)
  powers, position, sign, prefix, last = {}, 0, 1, 1, None
  while position < len(text):
    match = _TOKEN.match(text, position)
    if match is None:
      return None
    position = match.end()
    word = match['word']
    if match['per'] or word == 'per':
      if last is None or sign < 0:
        return None
      sign, last = -1, None
    elif match['times']:
      if last is None:
        return None
      last = None
    elif match['power']:
      if last is None or prefix != 1:
        return None
      powers[last] += sign * (int(match['power']) - 1)
    elif word in _POWERS:
      prefix = _POWERS[word]
    else:
      name = name_of(word.rstrip('.'))
      if name is None or last is not None:
        return None
      powers[name] = powers.get(name, 0) + sign * prefix
      prefix, last = 1, name
  if last is None or prefix != 1:
    return None
  for short in ('mph', 'kmh'):
    if powers == {short: 1}:
      powers = {'miles' if short == 'mph' else 'km': 1, 'hours': -1}
  return tuple(sorted((name, power) for name, power in powers.items() if power))


def name_of(word):
  """The unit that a word names, or None."""
  lower = word.lower()
  if word in LETTERS or word in _SYMBOLS or word in _NAMES or lower in _NAMES:
    return LETTERS.get(word) or _SYMBOLS.get(word) or _NAMES.get(word) or _NAMES[lower]
  plural = len(word) >= 4 and lower.endswith('s') and not lower.endswith('ss')
  return lower if plural and lower not in CHANGING | _NO_NOUNS else None


def known(word):
  """Whether the word is a unit of the table, not just a plural noun."""
  return word in _SYMBOLS or word.lower().rstrip('.') in _NAMES or word in _POWERS


def changes(word):
  """Whether a word changes the number before it: 5 lakh, 5 dozen, 5 BC, 5 M."""
  return word.lower() in CHANGING or word in _CHANGING_LETTERS


def in_scale(rest):
  """Whether the words after a number say in which scale it counts: '5 (in millions)'."""
  return _IN_SCALE.search(rest[:60]) is not None
