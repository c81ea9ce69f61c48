"""Reward functions whose argument names say what they get, as in environments of verifiers."""

import numpy as np
import pytest

from sirl import rewards
from sirl.tasks import Task, content_id

from support.texts import judged, samples_of

TASKS = [
  Task(id='a', prompt='6*7?', answer='42', meta={'level': 2}),
  Task(id='b', prompt='1+1?', answer='2', meta={'level': 1}),
]
SAMPLES = samples_of([['42', '41'], ['3', '2']], TASKS)
RIGHT = [[1, 0], [0, 1]]


def of_messages(completion, answer):
  return float(completion[-1]['content'] == answer)


def of_texts(completion, answer, **kwargs):
  return float(completion.strip() == answer)


async def of_state(state, info):
  return info['level'] * float(state['completion'][-1]['content'] == state['answer'])


def test_arguments_go_by_name_as_messages_or_texts():
  for fn in (of_messages, of_texts):
    np.testing.assert_array_equal(judged(rewards.from_verifiers(fn), SAMPLES).total, RIGHT)


def test_a_coroutine_sees_state_and_info():
  found = judged(rewards.from_verifiers(of_state, conversational=True), SAMPLES)
  np.testing.assert_array_equal(found.total, [[2, 0], [0, 1]])
  assert list(found.parts) == ['of_state']


def test_the_argument_task_is_the_family_of_the_task():
  own = Task(id=content_id('doubling', '2*3='), prompt='2*3=', answer='6', origin='environment')
  named = lambda completion, task: float(task == 'doubling')
  samples = samples_of([['6'], ['7']], [own, TASKS[0]])
  assert judged(rewards.from_verifiers(named), samples).total.tolist() == [[1], [0]]


def test_plural_names_see_the_whole_group():
  def distinct(completions, answers):
    return [float(completions.count(c) == 1 and c == a) for c, a in zip(completions, answers)]

  reward = rewards.from_verifiers(distinct, conversational=False)
  np.testing.assert_array_equal(judged(reward, SAMPLES).total, RIGHT)
  twice = samples_of([['42', '42'], ['2', '3']], TASKS)
  np.testing.assert_array_equal(judged(reward, twice).total, [[0, 0], [1, 0]])


def test_one_failing_completion_is_the_only_one_that_fails():
  def fragile(completion, answer):
    return 1 / (completion[-1]['content'] != '41')

  found = judged(rewards.tolerant(rewards.from_verifiers(fragile)), SAMPLES)
  np.testing.assert_array_equal(found.total, [[1, np.nan], [1, 1]])


def test_further_arguments_are_given_by_name_or_asked_for():
  def parsed(completion, answer, parser):
    return float(parser(completion) == answer)

  with pytest.raises(ValueError, match="rewards.from_verifiers: 'parsed' needs parser"):
    rewards.from_verifiers(parsed)
  reward = rewards.from_verifiers(parsed, conversational=False, parser=str.strip)
  np.testing.assert_array_equal(judged(reward, SAMPLES).total, RIGHT)


def test_a_method_of_a_trace_is_refused_with_what_is_known():
  with pytest.raises(ValueError, match=r'takes \(trace\), expected the names .*\n  \(completion, '):
    rewards.from_verifiers(lambda trace: 1.0)
