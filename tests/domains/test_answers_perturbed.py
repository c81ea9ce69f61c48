"""Right answers that are written differently stay right; a change of the value is never accepted.

Values are built as exact fractions, so which pairs are equal is known before any of them is read.
"""

import collections
import itertools
import random
from fractions import Fraction

import pytest

from sirl.domains import answers

SENTENCES = (
  '{}', '\\boxed{{{}}}', 'The answer is ${}$.', 'so we add them.\n\n#### {}', 'Thus it is ${}$.',
  'Final answer: {}', '<think>7 or 8?</think>\n<answer>{}</answer>', '**Answer:** ${}$',
)  # fmt: skip
UNITS = (('cm', '\\text{ cm}', 'centimeters'), ('kg', '\\mathrm{kg}', 'kilograms'),
         ('hours', '\\text{ hours}', 'hrs'), ('miles^2', 'square miles', 'sq mi'),
         ('m/s', '\\text{ m/s}', 'meters per second'))  # fmt: skip


def spelled(rng, value):
  """One of the ways to write a fraction."""
  a, b = abs(value.numerator), value.denominator
  sign = '-' if value < 0 else ''
  forms = [f'{sign}\\frac{{{a}}}{{{b}}}', f'{sign}{a}/{b}', f'{sign}\\dfrac{{{a}}}{{{b}}}']
  if b == 1:
    grouped = f'{a:,}'
    forms = [
      f'{sign}{a}', f'{sign}{a}.0', f'{sign}{grouped.replace(",", "{,}")}', f'{sign}{a}.00',
    ]  # fmt: skip
    forms += [f'{sign}{grouped}'] if ',' in grouped else []
  elif a > b:
    forms += [f'{sign}{a // b}\\frac{{{a % b}}}{{{b}}}', f'{sign}{a // b} {a % b}/{b}']
  if b in (2, 4, 5, 8, 10, 20, 25):
    forms += [f'{sign}{float(Fraction(a, b))!r}']
  return rng.choice(forms)


def other(rng, value):
  """A near miss: another fraction that a slip would give."""
  a, b = value.numerator, value.denominator
  slips = [
    -value, value + 1, value - 1, value * 10, value / 10, Fraction(b, a or 1), Fraction(a), 1 - value,
    Fraction(a + 1, b), Fraction(a, b + 1), value + Fraction(1, 1000), Fraction(int(str(abs(a)) + '0'), b),
    Fraction(int('1' + str(abs(a))), b), value * 100, value / 100,
  ]  # fmt: skip
  return rng.choice([slip for slip in slips if slip != value])


def number(rng):
  return Fraction(rng.randint(-400, 4000), rng.choice([1, 1, 1, 2, 3, 4, 7, 8, 12, 25]))


def cases(rng):
  """(family, gold, another spelling of it, a text with another value)."""
  x, y = number(rng), number(rng)
  wrong = other(rng, x)
  s = lambda value: spelled(rng, value)
  yield 'number', s(x), s(x), s(wrong)
  unit, again = rng.sample(UNITS, 2)
  plain = f'{abs(x.numerator)}'
  yield (
    'unit', f'{plain} {rng.choice(unit)}', f'{plain} {rng.choice(unit)}', f'{plain} {rng.choice(again)}',
  )  # fmt: skip
  yield 'unit and number', f'{s(x)} {unit[0]}', f'{s(x)} {unit[2]}', f'{s(wrong)} {unit[2]}'
  pairs = [f'({s(wrong)},{s(y)})', f'({s(x)}, {s(y)}, {s(y)})', f'[{s(x)},{s(y)}]', f'{s(x)}']
  pairs += [f'\\{{{s(x)},{s(y)}\\}}'] + ([f'({s(y)},{s(x)})'] if x != y else [])
  bare = lambda: (f'{x.numerator}', f'\\frac{{{y.numerator}}}{{{y.denominator}}}')  # no commas
  yield (
    'tuple',
    '({}, {})'.format(*bare()),
    '\\left({},\\,{}\\right)'.format(*bare()),
    (f'({other(rng, Fraction(x.numerator))}, {bare()[1]})'),
  )
  yield 'tuple shape', f'({x}, {y})', f'\\left( {x},{y} \\right)', rng.choice(pairs)
  yield 'set', f'\\{{{x}, {y}\\}}', f'\\left\\{{{y}, {x}\\right\\}}', f'\\{{{wrong}, {y}\\}}'
  if len({x, y, wrong}) == 3:
    yield (
      'list',
      f'{x}; {y}',
      f'{y} \\text{{ and }} {x}',
      rng.choice([f'{x}; {wrong}', f'{x}', f'{x}; {y}; {y}']),
    )
  low, high = sorted((x, y))
  brackets = rng.sample(['[]', '()', '[)', '(]'], 2)
  yield (
    'interval', f'{brackets[0][0]}{low}, {high}{brackets[0][1]}',
    f'\\left{brackets[0][0]}{low},{high}\\right{brackets[0][1]}',
    f'{brackets[1][0]}{low}, {high}{brackets[1][1]}',
  )  # fmt: skip
  n, k = rng.randint(2, 40), rng.randint(2, 6)
  yield (
    'power',
    f'{n}^{k}',
    f'{n**k}',
    rng.choice([f'{n}^{k + 1}', f'{n * k}', f'{n}{k}', f'{k}^{n}' if k**n != n**k else '0']),
  )
  yield (
    'root',
    f'{k}\\sqrt{{{n}}}',
    f'\\sqrt{{{k * k * n}}}',
    rng.choice([f'\\sqrt{{{k * n}}}', f'{k}', f'{k + 1}\\sqrt{{{n}}}', f'-{k}\\sqrt{{{n}}}']),
  )
  m = Fraction(rng.randint(11, 99), 10)
  yield (
    'scientific',
    f'{float(m)} \\times 10^{{{k}}}',
    f'{float(m)}e{k}',
    rng.choice(
      [f'{float(m)} \\times 10^{{{k + 1}}}', f'{float(m)} \\times 10^{{-{k}}}', f'{float(m)}']
    ),
  )
  yield (
    'expression',
    f'{n}x^{k} + {k}',
    f'{k}+{n} x^{{{k}}}',
    rng.choice(
      [
        f'{n}x^{k} - {k}',
        f'{n}x^{k + 1} + {k}',
        f'{k}x^{k} + {n}' if n != k else 'x',
        f'{n}y^{k} + {k}',
        f'{n + 1}x^{k} + {k}',
        f'{n}',
      ]
    ),
  )
  yield (
    'equation',
    f'y = {n}x + {k}',
    f'{n}x - y = -{k}',
    rng.choice([f'y = {n}x - {k}', f'x = {n}y + {k}', f'y = {n + 1}x + {k}']),
  )
  yield (
    'inequality',
    f'x \\ge {n}',
    f'[{n}, \\infty)',
    rng.choice([f'x > {n}', f'x \\le {n}', f'({n}, \\infty)', f'y \\ge {n}', f'x \\ge {n + 1}']),
  )
  yield (
    'matrix',
    f'\\begin{{pmatrix}}{n}&{k}\\\\{x}&{y}\\end{{pmatrix}}',
    f'\\begin{{bmatrix}} {n} & {k} \\\\ {x} & {y} \\end{{bmatrix}}',
    rng.choice(
      [
        f'\\begin{{pmatrix}}{n}&{k}\\\\{wrong}&{y}\\end{{pmatrix}}',
        f'\\begin{{pmatrix}}{n}&{k}\\end{{pmatrix}}',
        f'\\begin{{pmatrix}}{n}\\\\{k}\\\\{x}\\\\{y}\\end{{pmatrix}}',
      ]
    ),
  )
  yield (
    'percent',
    f'{n}\\%',
    f'{n} percent',
    rng.choice([f'{n / 100}', f'\\${n}', f'{n + 1}\\%', f'{n}^\\circ']),
  )
  rounded = Fraction(rng.randint(101, 999), 100)
  if rounded.denominator != 1:
    exact = rounded + Fraction(rng.randint(-4, 4), 1000)
    yield (
      'rounded',
      f'{float(rounded):.2f}',
      f'{float(exact):.3f}',
      f'{float(rounded + Fraction(rng.choice([-6, 7, 11]), 1000)):.3f}',
    )


def drawn(seeds):
  return [case for seed in range(seeds) for case in cases(random.Random(seed))]


def judged(text, gold):
  found = answers.final(text)
  return found is not None and answers.equal(found, gold)


def test_no_perturbation_that_changes_the_value_is_accepted_and_other_spellings_are():
  accepted, rejected, counts = [], [], collections.Counter()
  sentences = itertools.cycle(SENTENCES)
  for family, gold, spelling, wrong in drawn(60):
    right, changed = next(sentences).format(spelling), next(sentences).format(wrong)
    counts[family] += 1
    if judged(changed, gold):
      accepted.append((family, gold, changed))
    if not judged(right, gold):
      rejected.append((family, gold, right))
  assert counts.total() >= 900
  assert min(counts.values()) >= 40, counts
  assert not accepted
  assert not rejected


@pytest.mark.parametrize('said', ['not {}', '{} or {other}', 'maybe {}', 'either {} or {other}', '{}?', 'about {}',
                                  'less than {}', 'between {} and {other}', '{} more than {other}'])  # fmt: skip
@pytest.mark.parametrize('lead', ['', 'The answer is ', 'so it is ', 'Answer: '])
def test_a_hedged_or_denied_number_is_not_judged_right(said, lead):
  for value in (5, 42, 1234):
    text = lead + said.format(value, other=value + 2)
    assert not judged(text, str(value)), text
