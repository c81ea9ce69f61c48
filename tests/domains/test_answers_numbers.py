"""Numbers beside each other: rounding, printed floats, thousands, functions and nested roots."""

import pytest

from sirl.domains import answers


@pytest.mark.parametrize(
  ('gold', 'answer', 'right'),
  [
    ('0.33', '1/3', True),
    ('0.33', '0.3333', True),
    ('0.33', '0.34', False),
    ('0.33', '0.3', False),  # fewer digits than the gold
    ('1/3', '0.33', False),  # the gold is exact
    ('0.3', '1/3', False),  # one decimal is no sign of rounding
    ('0.13', '0.125', True),  # half up
    ('0.12', '0.125', False),
    ('-0.13', '-0.125', True),
    ('18.00', '17.999', False),  # a whole number is exact
    ('3.14', r'\pi', True),
    ('0.27', r'0.\overline{27}', False),
    (r'6.02 \times 10^{23}', r'6.022 \times 10^{23}', True),
    ('12345.67', '12345.99', False),  # a tolerance would grow with the number
  ],
)
def test_only_a_gold_with_decimals_is_rounded_and_by_its_own_last_digit(gold, answer, right):
  assert answers.equal(answer, gold) == right


@pytest.mark.parametrize(
  ('gold', 'answer', 'right'),
  [
    (
      repr(7 / 12),
      '7/12',
      True,
    ),  # correctly rounded to 16 digits it would end in 3: the gold was printed from a float64
    (repr(7 / 12), '7/13', False),
    (repr(7 / 12), '0.5833', False),  # a rounding of its own
    (repr(7 / 12), '0.5833333333333333', False),  # as many digits, another last one
    (repr(0.1 + 0.2), '0.3', True),
    (repr(0.1 + 0.2), '0.30001', False),
    (repr(2**0.5), r'\sqrt2', True),
    ('17.999999999999996', '18', True),
    ('17.999999999999996', '17', False),
    ('7.000000000000001', '12-5', False),
    ('1234567890123457', '1234567890123456', False),  # an integer is exact
  ],
)
def test_a_gold_that_a_float_printed_takes_the_number_that_it_stands_for(gold, answer, right):
  assert answers.equal(answer, gold) == right


@pytest.mark.parametrize(
  'text', ['1 234 567', '10 000', '10 000 km', '$10 000', '-10 000', '1 234.5']
)
def test_groups_of_three_digits_after_spaces_are_thousands(text):
  assert answers.equal(
    text,
    text.replace(r',\!', '').replace(' 000', '000').replace(' 234', '234').replace(' 567', '567'),
  )


@pytest.mark.parametrize(
  ('text', 'gold'),
  [('5 60', '560'), ('0 600', '600'), ('1 5', '15'), ('100 200', '300'), ('1 234, 5', '1234')],
)
def test_other_numbers_after_spaces_are_not_joined(text, gold):
  assert not answers.equal(text, gold)


@pytest.mark.parametrize(
  ('answer', 'gold', 'wrong'),
  [
    (r'2\ln 2', r'\ln 4', r'\ln 6'), (r'\ln(e^3)', '3', '2'), (r'\ln\frac12', r'-\ln 2', r'\ln 2'), (r'\log_4 8', '3/2', '2'),
    (r'\log_2 3', r'\frac{\ln 3}{\ln 2}', r'\frac{\ln 2}{\ln 3}'), (r'\sqrt{7+4\sqrt3}', r'2+\sqrt3', r'2-\sqrt3'),
    (r'\sqrt{3-2\sqrt2}', r'\sqrt2-1', r'1-\sqrt2'), (r'\sqrt[3]{2-\sqrt5}', r'\frac{1-\sqrt5}{2}', r'\frac{\sqrt5-1}{2}'),
    (r'\sin\frac{\pi}{6}', '1/2', '-1/2'), (r'\sin 30^\circ', '0.5', r'\frac{\sqrt3}{2}'), (r'\cos 36^\circ', r'\frac{1+\sqrt5}{4}', r'\frac{\sqrt5-1}{4}'),
    (r'\frac{7!}{3!4!}', '35', '210'), (r'\arctan 1', r'\frac{\pi}{4}', r'\frac{\pi}{3}'), (r'\cos\pi', '-1', '1'), (r'\sin 2x', r'2\sin x\cos x', r'2\sin x'),
    (r'\sin^2 x+\cos^2 x', '1', '2'), (r'\tan x', r'\frac{\sin x}{\cos x}', r'\frac{\cos x}{\sin x}'), (r'\ln(2x)', r'\ln 2+\ln x', r'2\ln x'),
    (r'\sin(x+y)', r'\sin x\cos y+\cos x\sin y', r'\sin x\cos y-\cos x\sin y'), (r'\sec^2 x', r'1+\tan^2 x', r'1-\tan^2 x'),
  ],
)  # fmt: skip
def test_functions_and_nested_roots_are_equal_by_their_numbers(answer, gold, wrong):
  assert answers.equal(answer, gold)
  assert answers.equal(gold, answer)
  assert not answers.equal(answer, wrong)


@pytest.mark.parametrize(
  ('answer', 'gold'),
  [
    (r'\log 100', '2'), (r'\log 100', r'\ln 100'),  # the base is not said
    (r'\sin 30', '1/2'), (r'\arcsin 2', '0'), (r'\tan\frac{\pi}{2}', '0'),  # radians; no number
    (r'\sqrt{x^2}', 'x'), ('|x|', 'x'), (r'\sqrt{(x-100)^2}', '100-x'), (r'\ln(x^2)', r'2\ln x'), (r'e^{\ln x}', 'x'),  # for some x only
    (r'e^{\pi\sqrt{163}}', '262537412640768744'), (r'\sin(10^{-20})', '10^{-20}'), (r'10^{30}+\sin 1', '10^{30}'),  # close, and not equal
    (r'12\cos 0 - 5', '7'), (r'12-5\ln e', '7'), (r'12-5+\sin\pi', '7'), (r'12 - 5\tan 45^\circ', '7'),  # the question
  ],
)  # fmt: skip
def test_functions_that_are_equal_at_some_points_or_nearly_are_not_equal(answer, gold):
  assert not answers.equal(answer, gold)


def test_half_turns_of_e_are_powers_of_i():
  for answer, gold in (
    ('e^{i\\pi}', '-1'),
    ('e^{2\\pi i}', '1'),
    ('e^{\\frac{i\\pi}{2}}', 'i'),
    ('e^{-i\\pi/2}', '-i'),
    ('5e^{i\\pi}', '-5'),
  ):
    assert answers.equal(answer, gold), answer
  for answer in ('e^{\\pi}', 'e^{i}', '2^{i\\pi}', 'e^{i\\pi/3}', 'e^{i\\pi x}', 'e^{2\\pi i}'):
    assert not answers.equal(answer, '-1'), answer
