"""Extraction from completions and equality of answers."""

import string
import time
from fractions import Fraction

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from sirl.domains import answers

ALPHABET = string.digits + ' .,-+/$%{}()\\=eExX°^<>\n' + 'frac'
TEXTS = st.one_of(
  st.text(max_size=60),
  st.text(alphabet=ALPHABET, max_size=60),
  st.lists(
    st.sampled_from(
      ['\\frac', '{', '}', '1', '23', '\\text{', ' cm', '\\boxed{', '\\left', '(', ')', '\\,', '$', '%', '\\circ', '^',
       '1,000', '.', '5', '\\dfrac', '{1}{2}', 'x=', '-', '\\ ', 'İ']
    ),
    max_size=14,
  ).map(''.join),
)  # fmt: skip


@pytest.mark.parametrize(
  ('text', 'number', 'integer'),
  [
    ('47-5=42.', '42', '42'),
    ('so x-5', '5', '5'),  # an operation, not a sign
    ('it is (-5)', '-5', '-5'),
    ('= −7', '-7', '-7'),  # the typographic minus
    ('is -$1,234.50', '-1234.50', None),
    ('costs $1,080', '1080', '1080'),
    ('1,2,3', '3', '3'),
    ('1,1111', '1111', '1111'),
    ('007', '007', '7'),
    ('-0', '-0', '0'),
    ('42.0', '42.0', '42'),
    ('so 3.50', '3.50', None),
    ('3/4', '3/4', None),
    ('2.5e-3', '2.5e-3', None),
    ('٣ and 4 then ٥', '4', '4'),  # ASCII digits only
    ('no digits', None, None),
    ('', None, None),
  ],
)
def test_last_number_and_last_integer(text, number, integer):
  assert answers.last_number(text) == number
  assert answers.last_integer(text) == integer


@pytest.mark.parametrize(
  ('text', 'expected'),
  [
    (r'so \boxed{42}.', '42'),
    (r'\boxed{\frac{1}{2}}', r'\frac{1}{2}'),
    (r'\boxed{\left\{1\right.}', r'\left\{1\right.'),  # an escaped brace balances nothing
    (r'\boxed {7}', '7'),
    (r'\fbox{7}', '7'),
    (r'\boxed{\boxed{3}}', '3'),
    (r'}}\boxed{1}', '1'),
    (r'\boxed{1} and again \boxed{ 1. }', '1'),
    (r'\boxed{1} or \boxed{2}', None),  # hedging
    (r'\boxed{\boxed{1}\boxed{2}}', None),
    (r'\boxed{1', None),
    (r'\boxed{}', None),
    ('42', None),
  ],
)
def test_boxed_reads_balanced_braces_and_refuses_to_choose(text, expected):
  assert answers.boxed(text) == expected


@pytest.mark.parametrize(
  ('text', 'expected'),
  [
    ('<think>1</think><answer> 42 </answer>', '42'),
    ('<answer>a<answer>42</answer>', '42'),
    ('<answer>1</answer><answer>2</answer>', None),
    ('<answer>5</answer> so <answer>5.</answer>', '5'),
    ('<answer>42', None),
    ('42</answer>', None),
    ('<answer> </answer>', None),
  ],
)
def test_tagged(text, expected):
  assert answers.tagged(text) == expected


def test_tagged_takes_another_tag_literally():
  assert answers.tagged('<a.b>1</a.b><axb>2</axb>', tag='a.b') == '1'


@pytest.mark.parametrize(
  ('text', 'expected'),
  [
    (r'7, no: \boxed{42}, since 6*7', '42'),
    (r'\boxed{1} or \boxed{2}, the answer is 1', None),  # a hedged box is not rescued
    ('The answer is 42 because 6*7=42, see 9', '42'),
    ('Answer: (B)', '(b)'),
    ('the answer is $-3$\nnext: 8', '-3'),
    ('first 1 then 2', '2'),
    ('nothing', None),
  ],
)
def test_final_prefers_the_box_then_the_phrase_then_the_last_number(text, expected):
  assert answers.final(text) == expected


def test_exact_is_the_whole_text():
  assert answers.exact(' 4 2\n') == '4 2'
  assert answers.exact('  ') is None


EQUAL = [
  ('42', ' 42. '),
  ('$1,000', '1000'),
  ('1{,}000', '1000.0'),
  (r'\frac{1}{2}', '0.5'),
  (r'\dfrac12', '1/2'),
  (r'-\frac{1}{2}', r'\frac{-1}{2}'),
  (r'1\frac{1}{2}', '3/2'),
  ('-1 1/2', '-1.5'),
  ('2/4', '1/2'),
  ('1e3', '1000'),
  ('007', '7'),
  ('x = 5', '5'),
  (r'5\,\text{cm}', '5'),
  ('5 cm', '5 centimeters'),
  (r'90^\circ', '90 degrees'),
  (r'50\%', '50'),
  (r'\text{Monday}', 'monday'),
  (r'\left( 1 , 2 \right)', '(1,2)'),
  # |1/3 - 0.3333| = 1/30000 = 1e-4 * 1/3, just within the tolerance
  ('1/3', '0.3333'),
  ('3.1416', '3.14159'),
]
DIFFERENT = [
  ('42', '43'),
  ('10000', '10000.5'),  # integers are exact
  ('2.0001', '2'),
  ('1/3', '0.333'),
  ('1/3', '33333/100000'),  # no decimal on either side: exact
  ('5 cm', '5 kg'),
  ('50%', '0.5'),
  ('5m', '5'),
  ('5 million', '5'),
  ('2 pi', '2'),
  ('12', '1/2'),
  (r'1\frac12', '11/2'),
  ('1,2,3,...', '3'),
  ('1 5', '5'),
  ('all of the above', '4'),
  ('3/0', '3'),
  ('nan', '0'),
  ('inf', '1e999'),
  ('', '0'),
]


@pytest.mark.parametrize(('a', 'b'), EQUAL)
def test_equal_answers(a, b):
  assert answers.equal(a, b)
  assert answers.equal(b, a)


@pytest.mark.parametrize(('a', 'b'), DIFFERENT)
def test_different_answers(a, b):
  assert not answers.equal(a, b)
  assert not answers.equal(b, a)


@given(TEXTS)
@example('1\\frac{' + '{x}' * 3)
@example('x=y=+-5...')
def test_normalise_is_idempotent(text):
  once = answers.normalise(text)
  assert answers.normalise(once) == once


@given(TEXTS, TEXTS)
def test_equality_is_symmetric_and_reflexive(a, b):
  assert answers.equal(a, b) == answers.equal(b, a)
  assert answers.equal(a, a)


@given(st.fractions(max_denominator=10**6), st.fractions(max_denominator=10**6))
def test_fractions_compare_exactly(a, b):
  assert answers.equal(str(a), str(b)) == (a == b)


@given(st.integers(-(10**12), 10**12), st.integers(0, 6))
def test_every_way_of_writing_an_integer_is_that_integer(n, zeros):
  for text in (f'{n:,}', f'{n}.' + '0' * zeros, f'\\boxed{{{n}}}', f'so it is {n:,}.'):
    assert answers.equal(answers.final(text), str(n)), text


def test_tolerance_is_relative_and_a_keyword():
  assert not answers.equal('0.10', '0.11')
  assert answers.equal('0.10', '0.11', tolerance=0.1)
  assert not answers.equal('0.10', '0.12', tolerance=0.1)
  assert answers._rational('0.11') == Fraction(11, 100)


@pytest.mark.parametrize(
  'unit',
  ['9', '1,', '1,111', '1.', '1e', '1/', '{', '}', '\\', '\\boxed{', '\\boxed{1}', '<answer>', 'answer ', '\\frac', ' ', '.', '-', '$'],
)  # fmt: skip
def test_huge_completions_cost_linear_time(unit):
  """300 kB of anything take well under a second; a quadratic scan would take minutes."""
  text = (unit * 300_000)[:300_000]
  start = time.process_time()
  for extract in (
    answers.last_number,
    answers.last_integer,
    answers.boxed,
    answers.tagged,
    answers.final,
    answers.exact,
  ):
    extract(text)
  answers.equal(text, text + '1')
  for extract in (answers.boxed, answers.tagged, answers.final):
    extract('\\boxed' + ' ' * 100_000 + '<answer>' + text + '</answer>')
  assert time.process_time() - start < 5


def test_answers_longer_than_the_limit_compare_as_strings():
  digits = '1' * answers.LIMIT
  assert answers.equal(digits + '1', f' {digits}1 ')
  assert not answers.equal(digits + '1', digits + '1.0')
