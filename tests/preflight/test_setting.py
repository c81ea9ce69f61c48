"""A setting's own tasks are tried before anything is trained."""

import logging
import re

import pytest

from experiments import settings
from experiments.methods import grpo
from sirl import recipe
from sirl.tasks import Task, content_id


def built(*numbers, **fields):
  """The experiment of GRPO on a domain of words that are to be reversed."""

  def reverse(rng, index, difficulty):
    word = ''.join('abcd'[i] for i in rng.integers(0, 4, 4))
    return Task(id=content_id('reverse', word), prompt=word + '=', answer=word[::-1])

  fields = {'name': 'reverse', 'generator': reverse, 'alphabet': 'abcd=', **fields}
  build = settings.built(grpo.method, domain=lambda c: recipe.Domain(**fields))
  return build(build.configured(grpo.Config, ['debug=true', *numbers]))


def test_a_sound_domain_builds_and_is_the_task_of_its_run():
  assert built().config.task == 'reverse'


def test_a_check_that_raises_is_named_with_its_place():
  def right(task, text):
    return 1 / 0

  with pytest.raises(ValueError, match=r'the check of domain reverse raises ZeroDivisionError: .*test_setting.py, line \d+\) on its own solution'):  # fmt: skip
    built(correct=right)


def test_a_check_that_refuses_the_solution_is_a_warning(caplog):
  with caplog.at_level(logging.WARNING):
    built(correct=lambda task, text: 0.0)
  assert 'the check of domain reverse gives 0.0 to the solution' in caplog.text


def test_lengths_beyond_the_context_of_the_model_are_said_in_one_warning(caplog):
  built()
  assert not caplog.records
  built('max_new=9000')
  (record,) = caplog.records
  assert re.search(
    r'max_new=9000 are 9\d* tokens together, more than the 1024 of the context', record.getMessage()
  )


def test_a_letter_that_the_alphabet_lacks_is_named():
  with pytest.raises(
    ValueError, match=r"domain reverse does not fit its tokenizer: character '\w' of"
  ):
    built(alphabet='abc=')


@pytest.mark.parametrize(
  ('solution', 'message'),
  [
    ('abcdabcd', r'needs 9 tokens, max_new is 5; --set max_new=9'),
    ('x', r"does not fit its tokenizer: character 'x'"),
  ],
)
def test_a_solution_over_the_limit_or_outside_the_alphabet_is_named(solution, message):
  with pytest.raises(ValueError, match=message):
    built(solution=lambda task: solution)


def test_an_answer_that_is_no_text_is_named():
  with pytest.raises(
    ValueError, match=r"answer=3 of '1\+2=': expected a text or None; write str\(answer\)"
  ):
    Task(id='t', prompt='1+2=', answer=3)


def test_a_domain_that_returns_nothing_is_named():
  build = settings.built(grpo.method)
  c = build.configured(grpo.Config, ['debug=true'])
  with pytest.raises(ValueError, match='domain: got NoneType; return a recipe.Domain'):
    settings.make_setting(c, None)


def test_a_bare_function_as_reward_names_its_wrapper():
  def digits(task, text):
    return 1.0

  build = settings.built(grpo.method, reward=digits)
  with pytest.raises(ValueError, match=r"'digits' takes \(task, text\).*rewards.per_completion"):
    build(build.configured(grpo.Config, ['debug=true']))
