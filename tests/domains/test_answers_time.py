"""Time that any text takes: linear in a completion, bounded for an answer."""

import time

import pytest

from sirl.domains import answers


@pytest.mark.parametrize(
  'unit',
  ['9', '1,', '1,111', '1.', '1e', '1/', '{', '}', '\\', '\\boxed{', '\\boxed{1}', '<answer>', 'answer ', '\\frac', ' ',
   '.', '-', '$', 'answer is ', '#### ', '\n#### 1', '<think>', 'not ', '5 or ', '\\boxed 1', '? ', '$1$ '],
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


@pytest.mark.parametrize(
  'text',
  [
    '9^' * 100 + '9', '(a+b+c+d)^8' * 30, '((((a+1)^8)^8)^8)^8', '10^{10^{10}}', '2^{99999}', '(' * 190 + '1' + ')' * 190,
    '\\frac{' * 60 + '1' + '}{2}' * 60, '\\sqrt{' * 50 + '2' + '}' * 50, '9' * 400, '1' * 200 + '!', '(x+1)^8' * 50,
    '\\binom{199}{99}' * 20, '\\pm' * 100, '(1,' * 100 + '1' + ')' * 100, '\\{' * 100 + '\\}' * 100,
    '\\sqrt{' + '9' * 300 + '}', '|' * 300, '1 or ' * 70 + '1', 'x=' * 150 + '1', '\\begin{pmatrix}' * 25,
  ],
)  # fmt: skip
def test_an_answer_of_any_400_characters_is_judged_in_bounded_time(text):
  start = time.process_time()
  answers.equal(text, '1')
  answers.equal('3.14', text)
  answers.equal(text + ' ', text + '+0')
  assert time.process_time() - start < 5  # under one; unbounded, some would take for ever


def test_answers_longer_than_the_limit_compare_as_strings():
  digits = '1' * answers.LIMIT
  assert answers.equal(digits + '1', f' {digits}1 ')
  assert not answers.equal(digits + '1', digits + '1.0')


@pytest.mark.parametrize(
  'unit',
  [
    '*',
    '$',
    '\n',
    ' ',
    'for ',
    'when ',
    'I ',
    'five ',
    'twenty ',
    '\\boxed{',
    'Wait, ',
    'no, ',
    'or ',
    'The answer is 5. ',
  ],
)
@pytest.mark.parametrize('before', ['', '\\boxed{1} ', 'The answer is ', '#### 1\n'])
def test_a_completion_of_20_kB_is_read_in_milliseconds(unit, before):
  """Under 50 ms on a free core; the best of three, since the core is shared."""
  text = before + unit * (20_000 // len(unit)) + ' 5'
  seconds = []
  for _ in range(3):
    start = time.process_time()
    answers.final(text)
    seconds.append(time.process_time() - start)
  assert min(seconds) < 0.15
