"""Generators of arithmetic tasks, and their verifier."""

import dataclasses
import functools
import json
import os
import subprocess
import sys

import numpy as np
import pytest

from sirl.domains import answers, mathematics
from sirl.tasks import Task

GENERATORS = {
  'addition': mathematics.addition(),
  'subtraction': mathematics.subtraction(),
  'multiplication': mathematics.multiplication(),
  'comparison': mathematics.comparison(),
  'chain_sum': mathematics.chain_sum(),
}


def draws(generator, n=300, difficulty=0.0, seed=0):
  rng = np.random.default_rng(seed)
  return [generator(rng, i, difficulty) for i in range(n)]


@pytest.mark.parametrize('name', GENERATORS)
def test_answers_are_what_python_computes(name):
  for task in draws(GENERATORS[name]):
    assert task.answer == str(eval(task.prompt.removesuffix('=')))
    assert task.id.startswith(f'{name}-')


@pytest.mark.parametrize('name', GENERATORS)
def test_tasks_are_json_and_correct_for_their_own_answer(name):
  for task in draws(GENERATORS[name], n=20):
    assert json.loads(json.dumps(dict(task.meta))) == dict(task.meta)
    for extract in (answers.exact, answers.last_integer, answers.final):
      assert mathematics.correct(task, task.answer, extract=extract) == 1.0
      assert mathematics.correct(task, task.answer + '1', extract=extract) == 0.0


@pytest.mark.parametrize('difficulty', [0, 1, 3])
def test_difficulty_adds_digits(difficulty):
  for task in draws(mathematics.addition(digits=2), n=100, difficulty=float(difficulty)):
    assert len(str(task.meta['a'])) == len(str(task.meta['b'])) == 2 + difficulty
    assert task.difficulty == difficulty


def test_difficulty_adds_terms_to_a_chain():
  for task in draws(mathematics.chain_sum(terms=3, digits=1), n=100, difficulty=2.0):
    assert len(task.meta['terms']) == 5
    assert sum(task.meta['terms']) == int(task.answer)


def test_a_fraction_of_difficulty_is_a_probability():
  levels = [task.difficulty for task in draws(mathematics.addition(), n=2000, difficulty=0.25)]
  # Binomial(2000, 1/4): standard deviation of the share is sqrt(3/16/2000) = .0097; four of them
  assert abs(np.mean(levels) - 0.25) < 0.039
  assert set(levels) == {0.0, 1.0}


def test_operands_are_uniform_over_their_digits():
  counts = np.bincount(
    [task.meta['a'] for task in draws(mathematics.addition(), n=9000)], minlength=100
  )
  assert not counts[:10].any()
  chi_square = ((counts[10:] - 100) ** 2 / 100).sum()
  assert chi_square < 89 + 4 * np.sqrt(2 * 89)  # 89 degrees of freedom: mean 89, variance 178


def test_one_digit_means_zero_to_nine():
  assert {task.meta['a'] for task in draws(mathematics.addition(digits=1), n=500)} == set(range(10))


def test_subtraction_is_negative_only_when_signed():
  assert min(int(task.answer) for task in draws(mathematics.subtraction())) >= 0
  assert min(int(task.answer) for task in draws(mathematics.subtraction(signed=True))) < 0


def test_template_is_the_prompt():
  generator = mathematics.addition(template='What is {a} plus {b}? Write {{x}}.')
  task = draws(generator, n=1)[0]
  assert task.prompt == f'What is {task.meta["a"]} plus {task.meta["b"]}? Write {{x}}.'


def test_id_has_a_literal_value():
  """From coreutils: printf '12+34=' | b2sum -l 48. A change would orphan every pool on disk."""
  twelve = iter([12, 34])

  class Fixed:
    def random(self):
      return 0.5

    def integers(self, low, high):
      return next(twelve)

  assert mathematics.addition()(Fixed(), 0, 0.0).id == 'addition-7835dc6b1b7e'


def test_id_is_a_hash_of_the_prompt_in_every_process():
  code = (
    'import numpy as np; from sirl.domains import mathematics;'
    "g = mathematics.addition(template='{a}+{b}=');"
    'print(*[g(np.random.default_rng(7), 0, 0.0).id])'
  )
  env = {**os.environ, 'PYTHONPATH': os.pathsep.join(sys.path), 'PYTHONHASHSEED': '77'}
  run = subprocess.run(
    [sys.executable, '-c', code], capture_output=True, text=True, check=True, env=env
  )
  assert run.stdout == draws(mathematics.addition(), n=1, seed=7)[0].id + '\n'


def test_correct_extracts_as_told():
  task = Task(id='t', prompt='6*7=', answer='42')
  tagged = functools.partial(mathematics.correct, extract=answers.tagged)
  assert tagged(task, 'well <answer>42.0</answer>') == 1.0
  assert tagged(task, '42') == 0.0
  assert mathematics.correct(task, 'so 42', extract=answers.exact) == 0.0
  assert mathematics.correct(task, 'so 42', extract=answers.last_integer) == 1.0
  assert mathematics.correct(task, '', extract=answers.exact) == 0.0


def test_a_task_without_an_answer_is_an_error_unless_skipped():
  task = Task(id='add-1', prompt='6*7=')
  with pytest.raises(ValueError, match=r'task add-1 has no answer.*majority_vote.*unanswered'):
    mathematics.correct(task, '42')
  assert mathematics.correct(task, '42', unanswered='skip') is None
  with pytest.raises(ValueError, match=r"unanswered='none'; expected 'raise' or 'skip'"):
    mathematics.correct(task, '42', unanswered='none')


@pytest.mark.parametrize(
  ('build', 'message'),
  [
    (
      lambda: mathematics.addition(template='{a}+'),
      r"template '\{a\}\+' must contain exactly the fields \{a\}, \{b\}",
    ),
    (lambda: mathematics.addition(template='{a}+{b}+{c}'), r'must contain exactly'),
    (lambda: mathematics.chain_sum(template='{a}'), r'\{expression\}'),
    (lambda: mathematics.addition(digits=0), r'digits=0; expected an int of at least 1'),
    (lambda: mathematics.chain_sum(terms=1), r'terms=1; expected an int of at least 2'),
    (
      lambda: draws(mathematics.addition(), 1, -1.0),
      r'difficulty=-1.0; expected a finite number >= 0',
    ),
    (lambda: draws(mathematics.addition(), 1, float('nan')), r'difficulty=nan'),
    (lambda: draws(mathematics.addition(), 1, 17.0), r'19 digits asked for, at most 18'),
  ],
)
def test_bad_numbers_say_what_to_change(build, message):
  with pytest.raises(ValueError, match=message):
    build()


def test_casting_out_nines_passes_what_is_right_by_nine():
  nines = functools.partial(mathematics.casting_out_nines, extract=answers.exact)
  for task in draws(mathematics.addition(), n=50):
    total = int(task.answer)
    passed = [n for n in range(total + 40) if nines(task, str(n))]
    assert passed == [n for n in range(total + 40) if (n - total) % 9 == 0]
    assert nines(dataclasses.replace(task, answer=None), task.answer) == 1.0


@pytest.mark.parametrize('text', ['', 'x', '-46', '4.6', '46 or 55', '٤٦', '1' * 5000])
def test_casting_out_nines_refuses_what_is_no_number_of_that_remainder(text):
  task = Task(id='t', prompt='12+34=', answer=None)
  assert mathematics.casting_out_nines(task, text, extract=answers.exact) == 0.0
