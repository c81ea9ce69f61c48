"""What stands around an answer: what takes it back leaves none, and what is harmless leaves it right."""

import json
import pathlib

import pytest

from sirl.domains import answers

FORMS = [
  'The answer is 5',
  'So \\boxed{5}',
  '$\\boxed{5}$',
  '#### 5',
  '<answer>5</answer>',
  '**Final answer:** $5$',
]
ROWS = [
  json.loads(line)
  for line in (pathlib.Path(__file__).parent.parent / 'data' / 'answers.jsonl').open()
]


def right(text, gold='5'):
  found = answers.final(text)
  return found is not None and answers.equal(found, gold)


@pytest.mark.parametrize('form', FORMS)
@pytest.mark.parametrize(
  'after',
  [
    "That can't be right.", 'Not quite.', 'Or is it 6?', 'Alternatively 6.', 'It is 6.', "So it's 6.", 'Just kidding.', 'Wait, 6.',
    'But that is not an integer.', 'However, I forgot to subtract 1.', 'Let me double check. 2*3=6. So it is 6.', 'Is that right?',
    'This does not satisfy the equation.', 'I misread the question.', 'It should be negative.', 'I am not sure.', 'Maybe 6.',
    'The correct value is 6.', 'Hold on.', 'That is too large.', 'The answer is 6.', '#### 6', '<answer>6</answer>', '6', '(wrong)',
  ],
)  # fmt: skip
def test_a_later_sentence_that_doubts_replaces_or_denies_an_answer_leaves_none(form, after):
  stop = '' if form[0] in '#<' else '.'
  assert not right(f'{form}{stop}\n{after}')
  if form[0] != '#' and after[0] not in '#6(':
    assert not right(f'{form}{stop} {after}')


@pytest.mark.parametrize('form', FORMS)
@pytest.mark.parametrize(
  'after',
  [
    'I hope this helps!', 'This means that she has 5 apples left.', 'Let me verify: 2+3=5. Correct!', 'Check: 2 + 3 = 5 ✓',
    'To double check: 10 - 5 = 5. It works.', 'No other value works.', 'Note that the other root, -3, is not valid.', 'So x = 5.',
    'The other solution, x = -1, is rejected because x must be positive.', 'Alternatively, we can count: 1, 2, 3, 4, 5.',
    'Alternatively, use the formula.', 'However, it is important to note that x > 0.', 'Would you like me to explain further?',
    'If you have more questions, feel free to ask!', 'Thus, the total cost for 3 items would be 15 dollars.', 'That is all.',
    'This can also be written as 5.0.', 'It is a prime number.', 'So our answer is correct.', 'The answer is 5.', '#### 5', '✅',
    'A common mistake is to add instead of subtract.', 'So each child gets 5 apples.', "Don't forget the units!",
  ],
)  # fmt: skip
def test_a_later_sentence_that_explains_checks_or_is_polite_leaves_the_answer(form, after):
  stop = '' if form[0] in '#<' else '.'
  assert right(f'{form}{stop}\n\n{after}')


@pytest.mark.parametrize('form', ['The answer is 5', '\\boxed{5}', 'The answer is $\\boxed{5}$'])
@pytest.mark.parametrize(
  ('after', 'stays'),
  [
    (', which is wrong', False), (", but that's wrong", False), (', but this is impossible, so 6', False), (' (incorrect)', False),
    (' (rejected)', False), (', however it should be negative', False), (", which doesn't make sense", False), (' ❌', False),
    (', give or take', False), (' or 6', False), (' or more', False), (' (in millions)', False), (' in thousands', False),
    (', which we reject', False), (' point two', False), (' lakh', False), (' bn', False), (' score', False), (' BC', False),
    (' hours and 30 minutes', False), (' and a half', False), (' less than 6', False),
    (', as required', True), (', since the length cannot be negative', True), (' (since 2 + 3 = 5)', True), (', not 6', True),
    (', which is less than 10', True), (' apples in total', True), (', because 3 + 2 = 5', True), (' dollars', True), (' cm', True),
    (', which cannot be simplified further', True), (' per day', True), (' percent', True), (' square units', True),
  ],
)  # fmt: skip
def test_the_rest_of_a_sentence_changes_its_answer_or_explains_it(form, after, stays):
  assert right(f'{form}{after}.') == stays


@pytest.mark.parametrize(
  'text',
  [
    '(\\boxed{5}, 6)', '(6, \\boxed{5})', '\\left(\\boxed{5}, 6\\right)', '\\{\\boxed{5}\\}', '\\langle \\boxed{5}, 6\\rangle',
    '\\begin{pmatrix}\\boxed{5}\\\\6\\end{pmatrix}', '\\boxed{5}_6', '\\boxed{5}:30', '3:\\boxed{5}', '\\boxed{5}{6}', "\\boxed{5}'",
    '$\\boxed{5}!$', 'x > \\boxed{5}', '\\pm\\boxed{5}', '\\boxed{5} million', '\\boxed{5}\\text{ million}',
  ],
)  # fmt: skip
def test_a_box_that_is_an_item_of_something_is_not_the_number_in_it(text):
  assert not right(text)


@pytest.mark.parametrize(
  'text',
  [
    '\\lnot', '\\overline{', '|', 'f(', '\\log ', '\\sin(', 'x < ', 'x \\le ', 'a_{', '2^{', '\\binom{', '\\frac{3}{', '\\sqrt[', '\\sum_{k=1}^{', '3 + ', '1/2 ',
  ],
)  # fmt: skip
def test_a_box_in_a_formula_that_is_not_the_right_side_of_it_is_no_answer(text):
  close = {'{': '}', '(': ')', '[': ']{2}', '|': '|'}.get(text[-1], '')
  assert not right(f'${text}\\boxed{{5}}{close}$')


@pytest.mark.parametrize(
  'after',
  [' = 6', ' < 6', ' \\le x', ' \\to 6', '\\sqrt 2', ' \\times 10^6', '\\frac12', '\\choose 2', '\\mathrm{i}', ' + 6i', '^{-1}', "''", ' \\pmod 7', ' \\approx 5.3'],
)  # fmt: skip
def test_a_box_in_a_formula_that_goes_on_after_it_is_no_answer(after):
  assert not right(f'$\\boxed{{5}}{after}$')
  assert not right(f'\\boxed{{5}}{after}')


@pytest.mark.parametrize('words', ['twice {}', 'half of {}', 'the square root of {}', 'minus {}', 'from {} to 6', '{} remainder 3', '{} (mod 7)',
                                   '{}, 6', '{} and 6', '{},000', '{} 1/2', '{} in base 7', '{}. But 5 is not a solution.', '{}\n\nThe above is wrong.',
                                   '{}\n\nThere is no solution.', '{}. 6 is correct.', '{}. Make that 6.', '{}\nResult: 6'])  # fmt: skip
def test_words_that_make_a_box_a_part_of_something_or_replace_it(words):
  assert not right(words.format('\\boxed{5}'))


@pytest.mark.parametrize(
  'text',
  [
    '$x^2 = 25 \\Rightarrow x = \\boxed{5}$', '\\begin{align*} x &= 2+3 \\\\ &= \\boxed{5} \\end{align*}', '\\[\\frac{10}{2} = \\boxed{5}.\\]',
    '$\\boxed{5} = 5.0$', '$n = \\boxed{5}, m = 3$', 'He pays $10, so the change is \\boxed{5} dollars.', '$\\mathbf{\\boxed{5}}$', '{\\boxed{5}}',
    '\\[\\text{Total} = \\boxed{5}\\text{ apples}\\]', '> \\boxed{5}', '1. $\\boxed{5}$', '* \\boxed{5}', 'Answer:\\boxed{5}', '(B) $\\boxed{5}$',
    '$\\left(\\boxed{5}\\right)$', '$\\therefore \\boxed{5}$', '\\[2 + 3 = \\boxed{5}\\]\n\nThis completes the proof. $\\square$', '$5 = \\boxed{5}$',
  ],
)  # fmt: skip
def test_a_box_that_ends_a_formula_is_the_answer(text):
  assert right(text)


@pytest.mark.parametrize(
  ('text', 'unit', 'others'),
  [
    ('\\boxed{5}\\%', '5\\%', '5 cm'), ('\\boxed{5} cm', '5 cm', '5 m'), ('$\\boxed{5}\\text{ cm}$', '5 cm', '5 kg'),
    ('$\\boxed{5}^\\circ$', '5^\\circ', '5 cm'), ('\\$\\boxed{5}', '\\$5', '5 euros'), ('The answer is 5 yen.', '5 yen', '5 dollars'),
    ('The answer is 5 Ω.', '5 ohms', '5 V'), ('The answer is 5 basis points.', '5 bps', '5\\%'), ('The answer is 5 MW.', '5 MW', '5 mW'),
  ],
)  # fmt: skip
def test_a_unit_after_an_answer_is_compared_where_the_gold_has_one(text, unit, others):
  assert right(text, unit)
  assert right(text, '5')
  assert not right(text, others)


@pytest.mark.parametrize(
  'before',
  ['I doubt that the answer is', 'Nobody thinks the answer is', 'Some think the answer is', 'Bob says the answer is', 'The naive answer is',
   'My earlier answer is', 'I first thought the answer is', 'A common wrong answer is', 'I disagree that the answer is'],
)  # fmt: skip
def test_what_others_say_or_what_was_thought_before_is_no_answer(before):
  assert not right(f'{before} 5.')
  assert not right(f'{before} \\boxed{{5}}.')
  assert right(f'{before} 6. In fact it is wrong. The answer is 5.')


def test_an_area_with_pi_may_have_a_unit():
  for text in (
    'Thus, the area is $25\\pi$ square units.',
    '$\\boxed{25\\pi}\\text{ cm}^2$',
    '25\\pi square units',
  ):
    assert right(text, '25\\pi'), text
    assert not right(text, '25'), text
  assert not right('The area is $25\\pi$ cm.', '25\\pi\\text{ kg}')


def test_what_is_struck_out_is_not_read():
  assert not right('The answer is ~~5~~')
  assert right('The answer is ~~6~~ 5')
  assert right('The answer is <del>6</del> 5.')


def test_the_last_of_several_options_is_no_answer():
  for text in ('A) 5\nB) 6\n', '(A) 5\n(B) 6', 'A. yes\nB. no'):
    assert not right(text, 'B')
  assert right('A) 5\nB) 6\nThe answer is B.', 'B')


def test_a_power_of_several_digits_is_read_whole_and_letters_after_a_slash_are_not():
  """No answer means 2^1 times 0 by 2^10, or x_1 times 2 by x_12; a/bc is read either way."""
  assert answers.equal('2^10', '1024')
  assert answers.equal('x_12', 'x_{12}')
  for gold in ('\\frac{a}{bc}', '\\frac{a}{b}c'):
    assert not answers.equal('a/bc', gold)
  assert answers.equal('a/(bc)', '\\frac{a}{bc}')
  assert not answers.equal('x = 3 = 5', '5')
  assert answers.equal('x = 10/2 = 5', '5')


def test_no_right_answer_of_the_table_is_refused_for_a_harmless_ending():
  harmless = [row for row in ROWS if row['kind'] == 'harmless ending' and row['right']]
  assert len(harmless) >= 60
  assert [row['text'] for row in harmless if not right(row['text'], row['gold'])] == []


@pytest.mark.parametrize(
  ('gold', 'other'),
  [
    ('B', 'C'), ('\\frac{3}{4}', '$\\frac{1}{4}$'), ('-7', '7'), ('2\\sqrt{3}', '$3\\sqrt{3}$'), ('25\\pi', '$5\\pi$'), ('12.5', '13'),
    ('yes', 'no'), ('(1,2)', '$(2,1)$'), ('x=3', '$x=4$'), ('\\$12.50', '\\$13'),
  ],
)  # fmt: skip
def test_every_kind_of_value_is_kept_by_a_harmless_sentence_and_lost_by_a_correction(gold, other):
  for form in (
    'The answer is {}.',
    '\\boxed{{{}}}.',
    'So the final answer is ${}$.',
    '**Answer: {}**',
    '#### {}',
    '<answer>{}</answer>',
  ):
    answer = form.format(gold)
    shown = gold if gold[0] == '$' or '\\' not in gold else f'${gold}$'
    for after in (
      'I hope this helps!',
      'The other options are incorrect.',
      f'Hence {shown} is correct.',
      f'The answer is {shown}.',
      'Note that x > 0.',
    ):
      assert right(f'{answer}\n{after}', gold), (answer, after)
    for after in (
      f'No, {other}.',
      f'Wait, it is {other}.',
      'That is wrong.',
      f'The answer is {other}.',
      f'It should be {other}.',
      f'Or is it {other}?',
    ):
      assert not right(f'{answer}\n{after}', gold), (answer, after)


@pytest.mark.parametrize(
  'words',
  ['and three quarters', 'and change', 'point 5', 'fold', 'in debt', '(negative)', 'per thousand', 'per mille', 'kilo', 'hundred and 3', 'h 30 min',
   'lbs 3 oz', 'below zero', '($ millions)', '(in 1000s)', '(x1000)', 'thousand two hundred', 'dollars and 50 cents', 'out of 10', 'apples and 6 pears'],
)  # fmt: skip
def test_words_that_scale_or_extend_a_number_leave_no_bare_number(words):
  for lead in ('The answer is', 'So we get'):
    assert not right(f'{lead} 5 {words}.'), lead


@pytest.mark.parametrize(
  ('words', 'gold'),
  [
    ('CAD', '5 USD'), ('AUD', '\\$5'), ('GBP', '5 USD'), ('BTC', '\\$5'), ('won', '5 yen'), ('stone', '5 kg'), ('light years', '5 years'), ('dL', '5 L'),
    ('points', '5\\%'), ('fortnights', '5 weeks'), ('grads', '5 degrees'), ('mA', '5 A'), ('kJ', '5 J'), ('boys', '5 girls'),
  ],
)  # fmt: skip
def test_a_unit_that_is_another_word_than_the_golds_is_another_unit(words, gold):
  for lead in ('The answer is', 'So we get'):
    assert not right(f'{lead} 5 {words}.', gold), lead
    assert right(f'{lead} 5 {words}.', f'5 {words}'), lead
