"""Arithmetic tasks of adjustable difficulty, and the check of a numeric answer.

A generator is `(rng, index, difficulty) -> Task`: rng is a numpy Generator for this task alone, and
index is its number in the draw. Difficulty 0 is the configured size. Each whole unit adds one digit
to the operands (one term to a chain_sum). A fraction is the probability of adding one more.
`Task.difficulty` is the whole level that was drawn.
"""

import functools
import math
import re
import string

from sirl import ranges
from sirl.domains import answers
from sirl.tasks import Task, content_id

# ---------------------------------------------------------------- verification


def correct(task, text, *, extract=answers.final, equal=answers.equal, unanswered='raise'):
  """1.0 if the answer extracted from the completion equals the task's answer, else 0.0.

  A completion without an answer gives 0.0.

  Args:
    extract: str -> str or None, a function of `domains.answers`.
    equal: (answer, gold) -> bool; `answers.Prover().equal` also asks math-verify.
    unanswered: for tasks without an answer, 'raise' raises and 'skip' returns None (not judged).
  Raises: ValueError for a task without an answer, unless unanswered='skip'.
  """
  if unanswered not in ('raise', 'skip'):
    raise ValueError(f"unanswered={unanswered!r}; expected 'raise' or 'skip'")
  if task.answer is None:
    if unanswered == 'skip':
      return None
    raise ValueError(
      f'task {task.id} has no answer, but mathematics.correct compares with one; '
      "reward unanswered tasks with majority_vote, keep the answers, or pass unanswered='skip'"
    )
  found = extract(text)
  return float(found is not None and equal(found, task.answer))


def casting_out_nines(task, text, *, extract=answers.final):
  """1.0 if the answer and the sum in the prompt have the same remainder modulo 9, else 0.0.

  Reads no ground truth. It is a verifier for refinement. A policy would exploit it as a reward: one
  integer in nine passes, for example the right digits in any order.

  Args:
    task: its prompt holds the terms of one sum and no other number.
    extract: as for `correct`.
  """
  found = (extract(text) or '').strip()
  # Sums digits because int() refuses texts of thousands of digits. Uses [0-9] because \d also
  # matches digits of other scripts.
  if not re.fullmatch('[0-9]+', found):
    return 0.0
  remainder = lambda digits: sum(map(int, digits)) % 9
  return float(remainder(found) == remainder(re.findall('[0-9]', task.text)))


# ---------------------------------------------------------------- generators


def addition(*, digits=2, template='{a}+{b}='):
  """a + b, each with `digits` digits; 2 digits give 8100 distinct tasks. Difficulty adds digits."""
  return _binary('addition', lambda a, b: (a, b, a + b), digits, template)


def subtraction(*, digits=2, template='{a}-{b}=', signed=False):
  """a - b, with the larger number first unless `signed`. Difficulty adds digits."""

  def solve(a, b):
    a, b = (a, b) if signed else (max(a, b), min(a, b))
    return a, b, a - b

  return _binary('subtraction', solve, digits, template)


def multiplication(*, digits=2, template='{a}*{b}='):
  """a * b of two numbers with `digits` digits. Difficulty adds digits."""
  return _binary('multiplication', lambda a, b: (a, b, a * b), digits, template)


def comparison(*, digits=2, template='max({a},{b})='):
  """The larger of two numbers. Difficulty adds digits."""
  return _binary('comparison', lambda a, b: (a, b, max(a, b)), digits, template)


def chain_sum(*, terms=3, digits=1, template='{expression}='):
  """A chain of sums and differences, such as '3+9-4='; the result may be negative.

  Difficulty adds terms.
  """
  _check_template(template, 'expression')
  ranges.whole('terms', terms, 2)
  _check_digits(digits)

  def generate(rng, index, difficulty):
    del index
    level = _level(rng, difficulty)
    signs = [1, *(int(sign) for sign in rng.choice([-1, 1], terms + level - 1))]
    numbers = [sign * _number(rng, digits) for sign in signs]
    texts = [f'{"-" if sign < 0 else "+"}{abs(number)}' for sign, number in zip(signs, numbers)]
    expression = ''.join(texts).removeprefix('+')
    return _task(
      'chain_sum', template.format(expression=expression), sum(numbers), level, {'terms': numbers}
    )

  return generate


def _binary(name, solve, digits, template):
  _check_template(template, 'a', 'b')
  _check_digits(digits)

  def generate(rng, index, difficulty):
    del index
    level = _level(rng, difficulty)
    a, b, answer = solve(_number(rng, digits + level), _number(rng, digits + level))
    return _task(name, template.format(a=a, b=b), answer, level, {'a': a, 'b': b})

  return generate


def _task(name, prompt, answer, level, meta):
  return Task(
    id=content_id(name, prompt),
    prompt=prompt,
    answer=str(answer),
    origin='environment',
    difficulty=float(level),
    meta=meta,
  )


def _level(rng, difficulty):
  """floor(difficulty), plus one with the probability of the fraction."""
  if not (math.isfinite(difficulty) and difficulty >= 0):
    raise ValueError(f'difficulty={difficulty}; expected a finite number >= 0')
  return math.floor(difficulty + rng.random())


def _number(rng, digits):
  """A uniform number of exactly `digits` digits; 0 to 9 for one digit."""
  if digits > 18:
    raise ValueError(f'{digits} digits asked for, at most 18 are drawn; lower digits or difficulty')
  return int(rng.integers(10 ** (digits - 1) if digits > 1 else 0, 10**digits))


@functools.cache
def _fields(template):
  return {field for _, field, _, _ in string.Formatter().parse(template) if field is not None}


def _check_template(template, *expected):
  if _fields(template) != set(expected):
    fields = ', '.join(f'{{{name}}}' for name in expected)
    raise ValueError(
      f'template {template!r} must contain exactly the fields {fields} (write other braces double)'
    )


def _check_digits(digits):
  ranges.whole('digits', digits)
