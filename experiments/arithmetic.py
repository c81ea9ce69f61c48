"""Domains of arithmetic: sums with endless tasks. A model from nothing reads '12+34='; a pretrained one is asked in words."""

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
  """A domain whose prompt is the sum itself, and whose answer is the number and nothing else."""
  return recipe.Domain(
    name=name,
    generator=generator,
    extract=answers.exact,
    check=check,
    alphabet=alphabet,
    baselines={'zero': lambda task: '0', 'first number': first_number},
  )


def first_number(task):
  """What a policy says that repeats the first number of the prompt."""
  return re.findall('[0-9]+', task.text)[0]


def equation(task, text):
  """1 if the reply is the sum that was asked for, as `25 + 38 = 63`, and nothing else, whatever comes out; else 0.

  The number alone would be shorter, but the model gets that right once in 500 (of the replies that begin with a digit), and what it
  never does right a reward cannot strengthen.
  """
  a, b = re.findall('[0-9]+', task.text)
  return float(re.fullmatch(rf'{a} \+ {b} = [0-9]+', text.strip()) is not None)


# ---------------------------------------------------------------- difficulty as carries


def carries_of(task):
  """How many digits are carried when the two numbers are added in writing."""
  a, b = task.meta['a'], task.meta['b']
  return (a % 10 + b % 10 >= 10) + (a + b >= 100)


_TWO_DIGITS = mathematics.addition(digits=2)


def up_to_carries(rng, index, difficulty):
  """A sum of two-digit numbers with no more carries than the difficulty says; a fraction is the probability of one more."""
  most = math.floor(difficulty + rng.random())
  while True:
    task = _TWO_DIGITS(rng, index, 0.0)
    if carries_of(task) <= most:
      return dataclasses.replace(task, difficulty=float(carries_of(task)))
