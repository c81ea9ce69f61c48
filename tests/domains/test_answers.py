"""Extraction from completions and equality of answers; docs/answers.md is the definition."""

import json
import pathlib
import string
from concurrent import futures

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from sirl.domains import answers, mathematics
from sirl.domains.answers import algebra, expression, meaning
from sirl.tasks import Task

ROWS = [
  json.loads(line)
  for line in (pathlib.Path(__file__).parent.parent / 'data' / 'answers.jsonl').open()
]
ALPHABET = string.digits + ' .,-+/$%{}()\\=eExX°^<>\n' + 'frac'
TEXTS = st.one_of(
  st.text(max_size=60),
  st.text(alphabet=ALPHABET, max_size=60),
  st.lists(
    st.sampled_from(
      ['\\frac', '{', '}', '1', '23', '\\text{', ' cm', '\\boxed{', '\\left', '(', ')', '\\,', '$', '%', '\\circ', '^',
       '1,000', '.', '5', '\\dfrac', '{1}{2}', 'x=', '-', '\\ ', 'İ', '\\sqrt', '[', ']', '\\{', '\\}', ' or ', '\\pm',
       '\\begin{pmatrix}', '&', '\\\\', '\\end{pmatrix}', '<', '\\le', '\\cup', '_', '!', '|', '\\log', 'not ', 'answer is ']
    ),
    max_size=14,
  ).map(''.join),
)  # fmt: skip


def judged(row):
  """What a user of the package gets: the verdict of `mathematics.correct`."""
  return mathematics.correct(Task(id='x', prompt='?', answer=row['gold']), row['text']) == 1.0


@pytest.mark.parametrize('kind', sorted({row['kind'] for row in ROWS}))
def test_nothing_wrong_in_the_table_of_answers_is_accepted(kind):
  wrong = [row for row in ROWS if row['kind'] == kind and not row['right']]
  assert [row for row in wrong if judged(row)] == []


def test_at_most_one_right_answer_in_a_hundred_of_the_table_is_rejected():
  right = [row for row in ROWS if row['right']]
  rejected = [row for row in right if not judged(row)]
  assert len(right) >= 400
  assert len(rejected) <= len(right) / 100, rejected


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
    (r'\boxed 3', '3'),
    (r'\fbox{7}', '7'),
    (r'\boxed{\boxed{3}}', '3'),
    (r'}}\boxed{1}', '1'),
    (r'\boxed{1} and again \boxed{ 1. }', '1'),
    (r'\boxed{1/2}, that is \boxed{0.5}', '1/2'),  # one value in two spellings
    (r'\boxed{1} or \boxed{2}', None),  # hedging
    (r'\boxed{\boxed{1}\boxed{2}}', None),
    (r'\boxed{1', None),
    (r'\boxed{1} and finally \boxed{2', None),  # cut off where it would say it again
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
    ('<answer>1</answer><answer>1', None),  # cut off
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
  ('text', 'span'),
  [
    (r'7, no: \boxed{42}, since 6*7', '42'),
    (r'\boxed{1} or \boxed{2}, the answer is 1', None),  # a hedged box is not rescued
    ('The answer is 42 because 6*7=42, see 9', '42'),
    ('Answer: (B)', '(B)'),
    ('the answer is $-3$\nnext: 8', '$-3$'),
    ('first 1 then 2', '2'),
    ('nothing', 'nothing'),
    ('nothing I could say about it', None),
    (r'The final answer is $\frac{1}{2}$.', r'$\frac{1}{2}$'),  # not the 1 in it
    (r'so it is $\frac{1+\sqrt{5}}{2}$', r'$\frac{1+\sqrt{5}}{2}$'),
    ('The answer is 12-5', '12-5'),
    ('we get 2 2/3', '2 2/3'),
    ('The answer is not 42, it is 43', '43'),
    ("I don't think the answer is 42.", None),
    ('The answer is 42?', None),
    ('<think>41, no</think>so 42', '42'),
    ('<think>so 42', None),  # the thought was cut off
    ('2 + 3 = 5 apples.\n#### 5', '5'),
    ('**Final Answer**\n42', '42'),
    ('he has 5 apples left after giving 3 away', '5 apples'),
    ('it costs 5 million', '5 million'),
    ('it is 5 less', '5 less'),
  ],
)
def test_final_takes_the_whole_of_the_answer(text, span):
  assert answers.final(text) == span


def test_exact_is_the_whole_text():
  assert answers.exact(' 4 2\n') == '4 2'
  assert answers.exact('  ') is None


def test_no_answer_is_wrong_and_a_number_that_is_no_text_is_named():
  assert not answers.equal(answers.final('I could not say what it is'), '5')
  with pytest.raises(TypeError, match=r'gold=5 is int; expected a text, such as str\(5\)'):
    answers.equal('5', 5)


def test_a_sum_that_is_still_to_be_worked_out_is_no_answer():
  """The question itself would be right: 12-5 for 'What is 12-5?'."""
  for text in ('12-5', '3+4', '2(3)+1', r'\frac{14}{1+1}'):
    assert not answers.equal(text, '7'), text
  assert answers.equal('2^{10}-1', '1023')  # a closed form is one


@given(TEXTS, TEXTS)
@example('1\\frac{' + '{x}' * 3, 'x=y=+-5...')
def test_any_text_is_judged_without_an_error_and_equals_itself(a, b):
  for text in (a, b):
    answers.final(text)
    if answers.plain(text):
      assert answers.equal(text, text)
  answers.equal(a, b)
  assert answers.same(a, b) == answers.same(b, a)


@given(st.fractions(max_denominator=10**6), st.fractions(max_denominator=10**6))
def test_fractions_compare_exactly(a, b):
  assert answers.equal(str(a), str(b)) == (a == b)


@given(st.integers(-(10**12), 10**12), st.integers(0, 6))
def test_every_way_of_writing_an_integer_is_that_integer(n, zeros):
  for text in (f'{n:,}', f'{n}.' + '0' * zeros, f'\\boxed{{{n}}}', f'so it is {n:,}.'):
    assert answers.equal(answers.final(text), str(n)), text


# ---------------------------------------------------------------- against computer algebra


def trees(letters):
  """Expressions that both sirl and sympy can read, as (LaTeX-like text, Python text)."""
  leaves = st.one_of(
    st.integers(1, 9).map(lambda n: (str(n), f'Integer({n})')),
    st.sampled_from(letters).map(lambda name: (name, name)),
    st.integers(2, 12).map(lambda n: (f'\\sqrt{{{n}}}', f'sqrt(Integer({n}))')),
  )
  return st.recursive(
    leaves,
    lambda part: st.one_of(
      st.tuples(part, part).map(lambda p: (f'({p[0][0]}+{p[1][0]})', f'({p[0][1]}+{p[1][1]})')),
      st.tuples(part, part).map(lambda p: (f'({p[0][0]}-{p[1][0]})', f'({p[0][1]}-{p[1][1]})')),
      st.tuples(part, part).map(lambda p: (f'({p[0][0]})({p[1][0]})', f'({p[0][1]})*({p[1][1]})')),
      st.tuples(part, part).map(lambda p: (f'\\frac{{{p[0][0]}}}{{{p[1][0]}}}', f'({p[0][1]})/({p[1][1]})')),
      st.tuples(part, st.integers(2, 3)).map(lambda p: (f'({p[0][0]})^{p[1]}', f'({p[0][1]})**{p[1]}')),
    ),
    max_leaves=6,
  )  # fmt: skip


@settings(deadline=None)  # the first call imports sympy
@given(trees(['x', 'y']), trees(['x', 'y']))
def test_equal_expressions_are_those_that_sympy_simplifies_to_zero(a, b):
  sympy = pytest.importorskip('sympy')
  names = {
    'Integer': sympy.Integer,
    'sqrt': sympy.sqrt,
    'x': sympy.Symbol('x'),
    'y': sympy.Symbol('y'),
  }
  exact_a, exact_b = (eval(python, names) for _, python in (a, b))
  for latex, exact in ((a[0], exact_a), (b[0], exact_b)):
    try:
      value = meaning.value(expression.parse(latex))
    except algebra.Unread:  # a zero below, or too many terms
      continue
    spread = sympy.expand(exact)
    if spread.is_finite is not False and len(str(spread)) < 200:
      again = str(spread).replace('**', '^').replace('sqrt(', '\\sqrt(')
      try:
        assert algebra.equal(value, meaning.value(expression.parse(again))), (latex, again)
      except algebra.Unread:
        continue
  try:
    found = algebra.equal(*(meaning.value(expression.parse(latex)) for latex, _ in (a, b)))
  except algebra.Unread:
    return
  at = {'x': sympy.Rational(7, 5), 'y': sympy.Rational(-11, 3)}
  difference = sympy.N((exact_a - exact_b).subs(at), 40)
  if found:
    assert abs(difference) < 1e-25
  elif difference.is_finite:
    assert abs(difference) > 1e-25


# ---------------------------------------------------------------- math-verify


def test_an_identity_is_proved_by_math_verify_and_rejected_without_it():
  pytest.importorskip('math_verify')
  prover = answers.Prover(timeout_seconds=60)
  for answer, gold in (('|2x|', '2|x|'), (r'\frac{1}{\sqrt{x+1}+1}', r'\frac{\sqrt{x+1}-1}{x}')):
    assert not answers.equal(answer, gold)
    assert prover.equal(answer, gold)
  assert not prover.equal(r'\sin 2x', r'2\sin x')
  assert prover.asked == 3
  # It is asked only about functions and roots: its own reading of these two is looser.
  assert not prover.equal('5 cm', '5 kg')
  assert not prover.equal('0.5', '50%')
  assert (prover.asked, prover.timeouts, prover.failed) == (3, 0, 0)


def test_a_proof_that_takes_too_long_is_killed_and_counted(caplog):
  pytest.importorskip('math_verify')
  prover = answers.Prover(timeout_seconds=1e-6)
  assert not prover.equal('|2x|', '2|x|')
  assert (prover.asked, prover.timeouts) == (1, 1)
  assert 'counts as wrong' in caplog.text


def test_the_prover_works_in_threads_where_alarms_do_not():
  pytest.importorskip('math_verify')
  prover = answers.Prover(timeout_seconds=60)
  with futures.ThreadPoolExecutor(2) as pool:
    proofs = pool.map(lambda _: prover.equal('|2x|', '2|x|'), range(3))
    assert list(proofs) == [True, True, True]
