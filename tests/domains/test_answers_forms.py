"""Words, times, dates, choices and names of answers, each beside a near miss; docs/answers.md is the definition."""

import pytest

from sirl.domains import answers


def right(text, gold):
  found = answers.final(text)
  return found is not None and answers.equal(found, gold)


@pytest.mark.parametrize(
  ('text', 'gold', 'wrong'),
  [
    ('seven', '7', '8'), ('twenty-one', '21', '201'), ('one hundred and five', '105', '1005'), ('two thousand three hundred', '2300', '2003'),
    ('minus five', '-5', '5'), ('negative 5', '-5', '5'), ('two thirds', '2/3', '2'), ('one half', '1/2', '1'),
    ('seven apples', '7', '17'), ('five (5)', '5', '55'), ('3 dozen', '36', '3'), ('25 per cent', '25%', '0.25'), ('an ellipse', 'ellipse', 'circle'),
  ],
)  # fmt: skip
def test_a_number_in_words_is_that_number(text, gold, wrong):
  assert right(text, gold)
  assert right(f'The answer is {text}.', gold)
  assert not right(text, wrong)


@pytest.mark.parametrize(
  'text',
  ['five six', 'twenty eleven', 'ten five', 'one two three', 'five (6)', 'first', 'negative'],
)
def test_words_that_make_no_number_are_words(text):
  for gold in ('5', '56', '11', '31', '15', '123', '6', '1', '-1'):
    assert not answers.equal(text, gold)


@pytest.mark.parametrize(
  ('text', 'gold'),
  [('8 more', '8'), ('3 times', '3'), ('8 dollars more', '8'), ('8 more pages', '8'), ('The answer is 8 more than before.', '8'),
   ('The answer is 3 times as many.', '3'), ('So Betty needs $5 more.', '5'), ('The cost is $64 for 16 glasses.', '64')],
)  # fmt: skip
def test_what_how_many_more_asks_for_is_the_number(text, gold):
  assert right(text, gold)


@pytest.mark.parametrize(
  ('text', 'gold'),
  [('The answer is 8 more than twelve.', '8'), ('8 more than twelve', '8'), ('The answer is 3 times the width.', '3'), ('3 times five', '15'),
   ('The answer is 3 times five.', '3'), ('The answer is 5 hundred more.', '5'), ('5 less', '5'), ('The cost is $64 for 16 glasses.', '16')],
)  # fmt: skip
def test_a_number_that_a_comparison_changes_is_not_the_answer(text, gold):
  assert not right(text, gold)


@pytest.mark.parametrize(
  ('text', 'gold', 'wrong'),
  [
    ('7 PM', '7:00 p.m.', '7 AM'), ('noon', '12:00 PM', '12 AM'), ('midnight', '12 AM', 'noon'), ('7:05 PM', '7:05 pm', '7:50 PM'),
    (r'4\!:\!30 \text{ p.m.}', '4:30 PM', '4:30'), ('March 5', '5 March', 'March 6'), ('March 5th, 2020', '5 March 2020', 'March 5'),
    ('the 5th of March', 'Mar. 5', '5'), ('Tuesday, March 5', 'March 5', 'Tuesday'), ('3 to 4', '3:4', '4:3'),
  ],
)  # fmt: skip
def test_times_dates_and_ratios_are_equal_in_any_spelling(text, gold, wrong):
  assert right(text, gold)
  assert not right(text, wrong)


@pytest.mark.parametrize('text', ['May 32', 'May 2020', '5 PM', '13 PM'])
def test_the_number_in_a_date_or_a_time_is_no_answer(text):
  for gold in ('32', '2020', '5', '13', '1 PM'):
    assert not right(text, gold), gold


@pytest.mark.parametrize(
  ('text', 'gold', 'wrong'),
  [
    ('option B', 'B', 'A'), ('option B: 60', '60', '6'), ('option B: 60', 'B', 'C'), ('(B) 60', '60', 'C'), ('The answer is option B: 60.', '60', '0'),
    (r'\textbf{(D)}\ 24', '24', '2'), ('choice (C)', 'C', '(B)'), ('(B) 60', '(B) 60', '(A) 60'),
  ],
)  # fmt: skip
def test_a_choice_with_its_text_is_its_letter_and_its_text(text, gold, wrong):
  assert right(text, gold)
  assert not right(text, wrong)


@pytest.mark.parametrize(
  'text', ['A) 5 B) 6', '(A) 5 or (B) 6', 'option A or B', '(B) not 5', 'B: 5']
)
def test_two_choices_or_a_denied_one_are_no_choice(text):
  for gold in ('A', '5', '6'):
    assert not right(text, gold)


@pytest.mark.parametrize(
  ('text', 'gold', 'wrong'),
  [
    ('x=1, y=2', '(1,2)', '(2,1)'), ('y=2, x=1', '(1,2)', '(2,1)'), ('a=1,b=2,c=3', '(1,2,3)', '(1,3,2)'),
    (r'\cos\theta=\frac35', r'\frac35', r'\frac45'), ('|z|=5', '5', '-5'), (r'\frac{dy}{dx}=2x', '2x', 'x'),
    (r'\lim_{x\to0} \frac{\sin x}{x} = 1', '1', '0'), ('25=x^2+y^2', 'x^2+y^2=25', 'x^2+y^2=5'),
    ('0.5 (or 1/2)', '1/2', '0.25'), ('1/2 or 0.5', '0.5', '2'),
  ],
)  # fmt: skip
def test_what_names_the_question_or_says_it_twice_may_be_left_out(text, gold, wrong):
  assert right(text, gold)
  assert not right(text, wrong)


@pytest.mark.parametrize(
  ('text', 'gold'),
  [('2x=10', '10'), ('x+y=5', '5'), ('x=1, x=2', '(1,2)'), ('x=1,y=2', r'\{1,2\}'), ('x=1,y=2', '[1,2]'), ('5 (or 6)', '5'), ('5 and 5', '5')],
)  # fmt: skip
def test_an_equation_that_names_something_else_is_not_its_side(text, gold):
  assert not right(text, gold)
