"""Texts that a policy or a hostile reader could pass off as an answer; docs/answers.md is the definition."""

import pytest

from sirl.domains import answers


def right(text, gold):
  found = answers.final(text)
  return found is not None and answers.equal(found, gold)


@pytest.mark.parametrize(
  'text',
  [
    r'$-\boxed{5}$', r'2\boxed{5}', r'\boxed{5}00', r'\boxed{5}.5', r'\frac{\boxed{5}}{6}', r'\frac{1}{\boxed{5}}',
    r'\sqrt{\boxed{5}}', r'\boxed{5}^2', r'\boxed{5}x', r'\boxed{5}_2', r'\boxed{5}/6', r'\boxed{5}+1', r'3 - \boxed{5}',
    r'\boxed{5} \cdot 2', r'\boxed{5}\pi', r'\boxed56', r'\boxed{6\boxed{5}}', r'\boxed{-\boxed{5}}',
  ],
)  # fmt: skip
def test_a_box_that_is_one_part_of_a_formula_is_no_answer(text):
  assert answers.final(text) is None


@pytest.mark.parametrize(
  'text',
  [
    r'$x = \boxed{5}$', r'$= \boxed{5}\text{ cm}$', r'$$\boxed{5}$$', r'**\boxed{5}**', r'- \boxed{5}', 'There are 4\n\\boxed{5}', r'so \(\boxed{5}\).',
    r'\$\boxed{5}', r'$\color{red}{\boxed{5}}$', r'The answer is $\boxed{5}$ apples!', r'It cannot be 4, so \boxed{5}',
  ],
)  # fmt: skip
def test_a_box_after_an_equals_sign_or_before_a_unit_is_whole(text):
  assert right(text, '5')


@pytest.mark.parametrize(
  'text',
  [
    r'If we assume that the answer is \boxed{5}', '5 is wrong.', 'The answer 5 is incorrect.',
    r'The answer is not \boxed{5}', r'I do not think it is \boxed{5}', 'Suppose the answer is 5.', 'If the answer is 5, we fail.',
    'It is false that the answer is 5.', 'The wrong answer is 5.', 'Some would say the answer is 5.', 'The answer may be 5.', 'Let x = 5.', 'when x = 5',
    'The answer is 5. No wait, 6.', 'The answer is 5. Actually, it is 6.', 'The answer is 5 if x is 2 and 6 otherwise.',
    'The answer is 5 when x=2', 'The answer is 5 for n = 1.', 'The answer is 5 for one and 6 for two', 'The answer is 5 unless x',
  ],
)  # fmt: skip
def test_what_is_supposed_denied_conditional_or_taken_back_is_no_answer(text):
  assert not right(text, '5')


@pytest.mark.parametrize(
  'text',
  ['minus $5$', 'so we get -$5$', 'half of $5$', 'twice $5$', 'it is above 5', 'divided by 5', 'Multiply by 5.', 'up to 5',
   'The answer is minus $5$', 'The answer is 5 raised to x', 'The answer is 5 choose x', 'The answer is 5 to the third'],
)  # fmt: skip
def test_a_word_that_changes_a_number_changes_a_formula_too(text):
  assert not right(text, '5')


@pytest.mark.parametrize(
  ('text', 'gold'),
  [
    ('Kylar pays $64 for 16 glasses.', '16'), ('James runs 540 meters in 3 weeks.', '3'), ('It is $12$, attained at $x=3$.', '3'),
    ('He is 45 miles from home at the end of the 4 hours.', '4'), ('The cost is 15 dollars and 50 cents.', '50'),
    ('There are 20 left after the first day, and 10 after the second day.', '20'), ('The maximum is 12 when x = 3.', '3'),
    ('2 eggs are left.\n4. Subtract the eggs', '4'), ('Step 4: Calculate the', '4'), ('## Step 5', '5'), ('1. a\n2. b\n5. c', '5'),
  ],
)  # fmt: skip
def test_a_circumstance_or_the_number_of_a_step_is_no_answer(text, gold):
  assert not right(text, gold)


@pytest.mark.parametrize(
  ('text', 'gold'),
  [
    ('The maximum is 12 when x = 3.', '12'), ('The remainder is 2 when divided by 7.', '2'), ('It takes a total of 3 bolts.', '3'),
    ('So, James runs a total of 9 x 60 = 540 meters a week.', '540'), ('Josh made a profit of $70,000.', '70000'),
    ('Her earnings are $400 + $60 = $460 this week.', '460'), (r'He pays \$694 in total.', '694'), (r'The value is $\$694$.', '694'),
    (r'\[ x = \frac{-b \pm \sqrt{b^2-4ac}}{2a} \] Thus $x = 3$.', '3'), ('The answer is 20 - 5 = 15, so he has 15 apples.', '15'),
    ('She makes 9 eggs * $2/egg = $18 per day.', '18'), ("Let's verify: 3 * 5 = 15. Yes.", '15'), ('Answer: E) 12', 'E'),
    ('The answer is 60 (since 30 + 30 = 60).', '60'), ('### 5', '5'), ('(x,y)=(1,2)', '(1,2)'),
    ('Since it cannot be negative, the answer is 5.', '5'),
  ],
)  # fmt: skip
def test_the_claim_of_a_sentence_is_found_among_its_circumstances(text, gold):
  assert right(text, gold)


@pytest.mark.parametrize(
  ('answer', 'gold'),
  [
    ('x<1 and x>3', 'x<1 or x>3'), ('x>1 and x<3', r'(1,\infty)\cup(-\infty,3)'), (r'x > 1 \land x<3', r'x>1 \text{ or } x<3'),
    ('(C) and (D)', 'C'), (r'\text{(C)}, \text{(D)}', 'C'), ('(C) or (D)', 'C'),
    ('A) 5 B) 6', 'A'), ('(A) 5, (B) 6', 'A'), (r'(A) 5 \quad (B) 6', 'A'), ('A) B) C) D)', 'A'), ('(A) B', 'A'),
    ('(y,x)=(1,2)', '(x,y)=(1,2)'), ('(a,b)=(1,2)', '(x,y)=(1,2)'),
    ('x=x', 'x'), ('x = 2y-x', '2y-x'), ('3!!', '720'), ('3!!', '3'), (r'\sin x y', r'y\sin x'),
    (r'\infty/\infty', '1'), (r'\infty-\infty', '0'), (r'2\infty', r'\infty'),
    (r'\frac{dy}{dx}', r'\frac{y}{x}'), ('d/dx', '1/x'),
  ],
)  # fmt: skip
def test_what_may_be_read_in_two_ways_is_equal_to_neither(answer, gold):
  assert not answers.equal(answer, gold)


@pytest.mark.parametrize(
  'text',
  [
    '12^1-5',
    '(12-5)^1',
    '12-5+0^1',
    '12 - 5 \\cdot 2^0',
    '|12-5|',
    r'\sqrt{(12-5)^2}',
    '12-5\\cdot 1!',
    r'12-5\sqrt{1}',
  ],
)
def test_a_power_or_function_that_changes_nothing_does_not_turn_the_question_into_an_answer(text):
  assert not answers.equal(text, '7')


@pytest.mark.parametrize(
  ('text', 'gold'),
  [
    ('7=5', '5'), ('2+2=5', '5'), ('0=1=2=9', '9'),  # a false equation states nothing
    ('x=1,y=2', '1,2'), ('x=1,y=2', '2,1'),  # names that differ are part of the answer
    ('3:04', '3:4'), ('£5', '5 lbs'), (r'\mathbb{N}', 'N'), ('xY', 'xy'), ('AB', 'ab'),
    ('10/3=3.33', '10/3'),
  ],
)  # fmt: skip
def test_what_looks_alike_but_says_something_else_is_not_equal(text, gold):
  assert not right(text, gold)


@pytest.mark.parametrize(
  ('text', 'gold'),
  [
    ('20-5=15', '15'), (r'\sin 30^\circ = \frac12', '1/2'), ('10/3 = 3.33', '3.33'), (r'\sqrt{2} \approx 1.41', '1.41'), ('x=1,y=2', 'y=2,x=1'),
    ('x=1 or x=2', '1,2'), ('£5', '5'), ('7:30 PM', '7:30 p.m.'), ('Yes', 'yes'), ('15.<|im_end|>', '15'),
    ('15</s>', '15'),
  ],
)  # fmt: skip
def test_the_same_with_other_marks_is_equal(text, gold):
  assert right(text, gold)


@pytest.mark.parametrize(
  'text',
  [
    r'\boxed{5}. But wait, I forgot to subtract 1, so it should be 4.', r'\boxed{5} is incorrect.', r'\boxed{5} is not the answer.',
    r'The answer is \boxed{5} or 6.', r'The answer is \boxed{5} if n is even and 6 otherwise.', r'Maybe \boxed{5}?', r'\boxed{5}?',
    r'It is either \boxed{5} or 6.', r'At least \boxed{5}.', r'Perhaps it is \boxed{5}, perhaps 6.',
  ],
)  # fmt: skip
def test_words_around_a_box_that_guess_widen_or_take_it_back_leave_no_answer(text):
  assert answers.final(text) is None


@pytest.mark.parametrize(
  ('text', 'gold'),
  [
    (r'The distance between A and B is \boxed{5}.', '5'), (r'\boxed{5}. The other root is negative and is not possible.', '5'),
    (r'The solutions are $\boxed{2}$ and $\boxed{3}$.', '2,3'), (r'\boxed{5}. No other value works.', '5'),
  ],
)  # fmt: skip
def test_words_around_a_box_that_say_something_else_do_not_count(text, gold):
  assert right(text, gold)


@pytest.mark.parametrize(
  'text',
  ['#### 5\nBut wait, I forgot the eggs. It should be 12.', '<answer>5</answer> Actually, no, it is 6.', 'Answer: 5\nor 6',
   'The answer is 5. Let me recheck. Hmm, that is wrong, it should be 6.', 'The answer is 5. I made a mistake.'],
)  # fmt: skip
def test_an_answer_that_the_text_after_it_takes_back_is_none(text):
  assert answers.final(text) is None


def test_two_answers_of_different_values_are_none_unless_the_text_says_why_the_later_one_counts():
  for text in (
    'Answer: 5\nAnswer: 6',
    'The answer is 5. The answer is 6.',
    'Way 1: the answer is 5. Way 2: the answer is 6.',
    'The final answer is 5. The final answer is 6.',
  ):
    assert answers.final(text) is None, text
  for text in (
    'The answer is 5. I made an error. The answer is 6.',
    'The answer is 5. So the final answer is 6.',
  ):
    assert right(text, '6'), text
    assert not right(text, '5'), text
  assert right('The answer is 1/2. So the answer is 0.5.', '1/2')


@pytest.mark.parametrize(
  'text',
  ['She eats 3 of 8 eggs. She bakes 5', 'Now we need to add 5 more.', 'Try 5.', 'A farmer has 12 cows and sells 5. How many are left?', '3 + 2 = 5, then we multiply by', 'We have x + 2 = 7. Subtracting 5 from both sides', 'The sum is 5 and the'],
)  # fmt: skip
def test_a_text_that_ends_in_a_step_or_a_question_has_no_answer(text):
  assert not right(text, '5')


@pytest.mark.parametrize(
  'text',
  ['x = 5 is extraneous.', 'The solution is x = 5 which we discard.', 'It fails for 5.', 'We rule out 5.', 'I doubt that it is 5.',
   'Nobody would answer 5.', 'The claim that x = 5 is false.', 'For example, if n = 5, it works.', 'The question asks for 5 numbers.',
   'See page 5.', 'He has 6 and she has 5.', 'He ran 5 km on Monday and twice as much on Tuesday.', 'It is from 2 to 5.',
   'The answer is $5$ and a half.', 'The answer is 2$5$.', 'The answer is 5 provided n is even.', 'Simplify 5/1 first.', 'Round to 5 decimal places.'],
)  # fmt: skip
def test_a_number_that_is_ruled_out_or_only_mentioned_is_no_answer(text):
  assert not right(text, '5')


@pytest.mark.parametrize(
  ('text', 'gold'),
  [
    ('It is 15% more than 200, which is 230.', '230'), ('Thus $x = 7$ or $x = -7$; since $x > 0$ we have $x = 7$.', '7'),
    ('There are 12 ways, so the answer is $12$; note that 13 would count one twice.', '12'), ('The limit does not exist', 'the limit does not exist'),
    ('The minimum value is 4, which occurs at x = 1.', '4'), ('The answer is $5$!', '5'), ('The answer is does not exist.', 'does not exist'),
  ],
)  # fmt: skip
def test_a_clause_with_a_result_counts_and_a_remark_does_not(text, gold):
  assert right(text, gold)


def test_what_remains_after_another_solution_is_ruled_out_is_the_answer():
  assert right('x = -5 is extraneous, so the solution is x = 3.', '3')
  assert right('It is 9, not 10.', '9')
  assert right('The correct option is C, and not B.', 'C')


def test_a_fractional_power_of_a_negative_number_is_not_its_real_root():
  """The principal value of (-8)^{1/3} is complex; the root sign says that the real one is meant."""
  assert answers.equal(r'\sqrt[3]{-8}', '-2')
  assert not answers.equal('(-8)^{1/3}', '-2')
  assert answers.equal('(-8)^{1/3}', '(-8)^{1/3}')


def test_a_division_sign_is_a_question_as_a_minus_is():
  assert not answers.equal('10 ÷ 2', '5')
  assert not answers.equal(r'10 \div 2', '5')
  assert answers.equal('10/2', '5')


@pytest.mark.parametrize(
  ('text', 'gold'),
  [
    ('Answer: He has 12 apples.', '12'), ('Answer: The total cost is $1,250.50.', '1250.5'), ('Final answer: The value of x is 12.', '12'),
    ('The answer is that there are 12 apples.', '12'), ('Therefore, option C is correct.', 'C'), ('Hence, option (D) is the correct answer.', 'D'),
    ('There are at least 3 and at most 7, and 7 is attainable, so the maximum is 7.', '7'), ('The distance between A and B is 13.', '13'),
    ('The answer is 5 sq. ft.', '5 square feet'), ('The answer is 24 (not 42).', '24'), ('Answer: 24 — not 42.', '24'), ('1. 2 + 2 = 4\n2. 4 * 3 = 12\n\n**12**', '12'),
    ('We discard the negative root, so x = 5.', '5'), ('a) The answer is 3.\nb) The answer is 5.\n\nSo the final answer is 8.', '8'),
    ('\\boxed{17}. We can verify this by checking 17 * 3 = 51.', '17'), ('The answer is 24 square feet, not counting the porch.', '24'),
  ],
)  # fmt: skip
def test_a_sentence_with_one_claim_is_read_wherever_it_stands(text, gold):
  assert right(text, gold)


@pytest.mark.parametrize(
  'text',
  ['Answer: He has between 3 and 5.', 'Answer: It is not 5.', 'The answer is that x is at most 5.', 'Answer: x is a multiple of 5.', 'Answer: x is half of 5.',
   'The answer is the number whose square is 5.', 'Answer: There are 5 if n is 3.', 'Answer: It takes 5 to 6 days.', 'Answer: It equals 5x.',
   'Answer: The result is minus 5.', 'Answer: This is the 5th one.', 'Answer: He needs to add 5.', 'Maybe it is 4, so 5.', 'Therefore, option 5 is not correct.'],
)  # fmt: skip
def test_a_sentence_with_one_number_that_claims_something_else_is_no_answer(text):
  assert not right(text, '5')
