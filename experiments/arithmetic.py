"""Domains of arithmetic: an endless supply of sums.

A model trained from nothing reads '12+34='. A pretrained model is asked in words.
"""

import dataclasses
import functools
import math
import re

from sirl import recipe, rewards
from sirl.domains import answers, mathematics
from sirl.slots import Verify

ASKED = 'What is {a} + {b}? Reply with the equation only.'


def addition(c) -> recipe.Domain:
  """Sums of two numbers with two digits (`--set digits=3` for more): '12+34='."""
  if c.model == 'toy':
    return _bare('addition', mathematics.addition(digits=c.digits), '0123456789+=')
  return recipe.Domain(
    name='addition',
    generator=mathematics.addition(digits=c.digits, template=ASKED),
    extract=answers.last_integer,
    reward=rewards.weighted(
      correct=(
        1.0,
        rewards.per_completion(
          functools.partial(mathematics.correct, extract=answers.last_integer), workers=1
        ),
      ),
      format=(0.5, rewards.per_completion(equation, workers=1)),
    ),
    solution=lambda task: f'{task.meta["a"]} + {task.meta["b"]} = {task.answer}',
  )


def chains(c) -> recipe.Domain:
  """Sums and differences of three one-digit numbers (`--set terms=4` for more): '3+9-4='."""
  if c.model == 'toy':
    return _bare('chains', mathematics.chain_sum(terms=c.terms), '0123456789+-=', check=None)
  template = 'What is {expression}? Reply with the number only.'
  return recipe.Domain(
    name='chains',
    generator=mathematics.chain_sum(terms=c.terms, template=template),
    extract=answers.last_integer,
  )


NINES: Verify | None = functools.partial(mathematics.casting_out_nines, extract=answers.exact)


def _bare(name, generator, alphabet, check: Verify | None = NINES):
  """A domain whose prompt is the expression itself and whose answer is the number alone."""
  return recipe.Domain(
    name=name,
    generator=generator,
    extract=answers.exact,
    check=check,
    alphabet=alphabet,
    baselines={'zero': lambda task: '0', 'first number': first_number},
  )


def first_number(task):
  """The answer of a trivial policy that repeats the first number of the prompt."""
  return re.findall('[0-9]+', task.text)[0]


def equation(task, text):
  """1.0 if the reply is one equation with the two numbers asked for, as `25 + 38 = 63`, else 0.0.

  The result after the equals sign need not be right, but nothing may stand around the equation. A
  reply of the number alone would be shorter. But of the replies that begin with a digit, the model
  gets only one in 500 right, and a reward cannot strengthen what never happens.
  """
  a, b = re.findall('[0-9]+', task.text)
  return float(re.fullmatch(rf'{a} \+ {b} = [0-9]+', text.strip()) is not None)


# ---------------------------------------------------------------- difficulty as carries


def carries_of(task):
  """The number of carries when the two numbers are added by hand."""
  a, b = task.meta['a'], task.meta['b']
  return (a % 10 + b % 10 >= 10) + (a + b >= 100)


_TWO_DIGITS = mathematics.addition(digits=2)


def up_to_carries(rng, index, difficulty):
  """A sum of two-digit numbers with at most `difficulty` carries.

  A fractional part of the difficulty is the probability that one more carry is allowed.
  """
  most = math.floor(difficulty + rng.random())
  while True:
    task = _TWO_DIGITS(rng, index, 0.0)
    if carries_of(task) <= most:
      return dataclasses.replace(task, difficulty=float(carries_of(task)))
