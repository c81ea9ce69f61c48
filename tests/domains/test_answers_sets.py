r"""Sets of real numbers in their many forms: intervals, unions, conditions, \mathbb{R}; docs/answers.md is the definition."""

import random
from fractions import Fraction

import pytest

from sirl.domains import answers

ALL = r'(-\infty,\infty)'


@pytest.mark.parametrize(
  ('answer', 'gold'),
  [
    (r'\mathbb{R}', ALL), (ALL, r'\mathbb{R}'), ('all real numbers', ALL), (r'\text{All real numbers}', r'\mathbb{R}'), ('ℝ', ALL),
    (r'x\in\mathbb{R}', ALL), ('any real number', r'\mathbb{R}'), ('all real numbers except 0', r'(-\infty,0)\cup(0,\infty)'),
    (r'x\ne0', r'(-\infty,0)\cup(0,\infty)'), (r'\mathbb{R}\setminus\{0\}', r'x \neq 0'), (r'\mathbb{R}\setminus\{1,0\}', r'(-\infty,0)\cup(0,1)\cup(1,\infty)'),
    (r'[1,2]\cup[2,3]', '[1,3]'), (r'[1,2]\bigcup[3,4]', r'[3,4]\cup[1,2]'), (r'[1,2)\cup[2,3]', '[1,3]'), (r'(1,2)\cup\{2\}', '(1,2]'), (r'[0,\sqrt2]\cup[\sqrt2,\pi]', r'[0,\pi]'),
    (r'\{x : x>3\}', r'(3,\infty)'), (r'\{x \mid x \ge 3\}', r'[3,\infty)'), (r'\{x \in \mathbb{R} \mid x \ne 3\}', r'(-\infty,3)\cup(3,\infty)'),
    (r'\{x: x>3 \text{ or } x<1\}', r'(-\infty,1)\cup(3,\infty)'), (r'(-\infty,a)\cup(b,\infty)', r'(b,\infty)\cup(-\infty,a)'),
  ],
)  # fmt: skip
def test_the_same_set_of_reals_in_other_forms_is_equal(answer, gold):
  assert answers.equal(answer, gold)
  assert answers.equal(gold, answer)


@pytest.mark.parametrize(
  ('answer', 'gold'),
  [
    ('R', r'\mathbb{R}'), (r'\mathbb{Q}', r'\mathbb{R}'), ('all integers', r'\mathbb{R}'), ('all positive real numbers', r'\mathbb{R}'),
    ('all real numbers except 0', r'\mathbb{R}'), (r'x\ne 0', r'x\ne 1'), (r'x\ne0', ALL), (r'y\ne 0', r'x\ne 0'), (r'[1,2)\cup(2,3]', '[1,3]'),
    (r'(-\infty,1]\cup(2,\infty)', r'(-\infty,1)\cup(2,\infty)'), (r'\{x \mid x \ge 3\}', r'(3,\infty)'), (r'\{y : x>3\}', r'(3,\infty)'),
    ('all real numbers greater than 3', r'\mathbb{R}'), (r'(2,1)\cup(3,4)', '(3,4)'), (r'x \ge 0 \text{ and } x \ne 2', r'\mathbb{R}'),
  ],
)  # fmt: skip
def test_another_set_of_reals_is_not_equal(answer, gold):
  assert not answers.equal(answer, gold)
  assert not answers.equal(gold, answer)


def test_two_unions_are_equal_if_and_only_if_they_hold_the_same_points():
  """Drawn on a grid of halves: which points a union holds is counted, not derived."""
  rng = random.Random(0)
  grid = [Fraction(n, 4) for n in range(-4, 21)]

  def drawn():
    intervals = []
    for _ in range(rng.randint(1, 3)):
      low = rng.randint(0, 2)
      intervals.append((rng.choice('(['), low, low + rng.randint(1, 2), rng.choice(')]')))
    return intervals

  def held(intervals):
    inside = lambda x, i: (
      (i[1] < x or (i[1] == x and i[0] == '[')) and (x < i[2] or (x == i[2] and i[3] == ']'))
    )
    return [any(inside(x, i) for i in intervals) for x in grid]

  written = lambda intervals: r'\cup'.join(f'{a}{low},{high}{b}' for a, low, high, b in intervals)
  found = {True: 0, False: 0}
  for _ in range(1600):
    a, b = drawn(), drawn()
    if len(a) == len(b) == 1:
      continue
    alike = held(a) == held(b)
    found[alike] += 1
    assert answers.equal(written(a), written(b)) == alike, (written(a), written(b))
  assert found[True] >= 20
