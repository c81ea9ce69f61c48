"""A reward that does not pay right answers is said before anything is trained."""

import logging
import operator

import jax.numpy as jnp
import pytest

from experiments import settings
from experiments.methods import grpo, majority_vote
from sirl import rewards
from sirl.rewards import gold, heuristic
from sirl.tasks import Task

TASKS = [Task(id=f't{i}', prompt=f'{i}+{i}=', answer=str(2 * i)) for i in range(6)]


def warning(fn, wrapper=rewards.per_completion, tasks=TASKS):
  return gold.warning(wrapper(fn), tasks, lambda task: task.answer)


def right(task, text):
  return float(text == task.answer)


@pytest.mark.parametrize(
  'fn',
  [
    right,
    lambda task, text: float(text == f'\\boxed{{{task.answer}}}'),
    lambda task, text: float(text == f'#### {task.answer}'),
    lambda task, text: right(task, text) - 0.01 * len(text),
    lambda task, text: {'score': right(task, text), 'size': len(text)},
  ],
)
def test_a_reward_that_pays_the_right_answer_in_some_form_passes(fn):
  assert warning(fn) is None


@pytest.mark.parametrize(
  ('fn', 'said'),
  [
    (
      lambda task, text: 0.0,
      "no more than a wrong one: 0 for '0', 0 for '2', of the task '0[+]0='",
    ),
    (lambda task, text: None, "gives no number for '0', nor for '2'.* Does it return one?"),
    (lambda task, text: right(task, text) or None, "no number for a wrong answer, '2'.* Return 0"),
    (lambda task, text: float(text == task.meta.get('gold')), 'no more than a wrong one'),
    (lambda task, text: 1 - right(task, text), "less than a wrong one: 0 for '0', 1 for '2'"),
    (
      lambda task, text: task.meta['gold'] == text,
      'fails on an answer of its own task: .*KeyError',
    ),
  ],
)
def test_a_reward_that_does_not_is_named_with_both_answers(fn, said):
  found = warning(fn)
  assert found is not None
  assert __import__('re').search(said, found.replace('\n', ' '))


def test_a_library_that_hides_its_error_is_seen():
  def hidden(data_source, solution_str, ground_truth, extra_info=None):
    try:
      return float(solution_str == ground_truth['target'])
    except TypeError:
      return 0.0

  assert 'no more than a wrong one' in warning(hidden, rewards.from_verl)


@pytest.mark.parametrize(
  'reward',
  [
    heuristic.random_reward(),  # draws random numbers
    rewards.on_device(lambda params, rollouts: params['w'] * rollouts.action.sum(-1)),
    rewards.per_group(heuristic.majority_vote(str.strip, same=operator.eq)),
    rewards.weighted(
      right=(1.0, rewards.per_completion(right)),
      length=(-0.1, rewards.on_device(lambda params, rollouts: jnp.sum(rollouts.action, -1))),
    ),
  ],
)
def test_rewards_that_are_right_or_cannot_be_tried_pass(reward):
  assert gold.warning(reward, TASKS, lambda task: task.answer) is None


def test_tasks_without_answers_are_not_tried():
  tasks = [Task(id='a', prompt='?'), Task(id='b', prompt='!')]
  assert warning(lambda task, text: 0.0, tasks=tasks) is None


def build(method, reward):
  made = settings.built(method, reward=reward)
  return made(made.configured(grpo.Config, ['task=chains', 'debug=true']))


def test_building_an_experiment_says_it(caplog):
  with caplog.at_level(logging.WARNING):
    build(grpo.method, rewards.per_completion(right))
    build(majority_vote.method, rewards.per_completion(lambda task, text: 0.0))  # reads no answers
  assert 'pays a right answer' not in caplog.text
  with caplog.at_level(logging.WARNING):
    build(grpo.method, rewards.per_completion(lambda task, text: 0.0))
  assert caplog.text.count('the reward pays a right answer no more than a wrong one') == 1
