"""Reward functions as TRL and verl users write them, unchanged."""

import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from sirl import rewards
from sirl.tasks import Task
from sirl.types import Rollouts, Samples

NAN = np.nan


def make_samples(texts, tasks):
  p, g = len(texts), len(texts[0])
  action = np.zeros((p, g, 4), bool)
  action[..., 1:3] = True  # prompt, two chosen tokens, padding
  tokens = np.arange(p * g * 4).reshape(p, g, 4)
  arrays = (tokens, np.ones_like(action), action, np.zeros(action.shape), np.zeros((p, g), bool))
  return Samples(tasks, texts, Rollouts(*map(jnp.asarray, arrays)))


TASKS = [
  Task(id='a', prompt='6*7?', answer='42', meta={'level': 2, 'data_source': 'openai/gsm8k'}),
  Task(
    id='b',
    prompt='1+1?',
    answer='2',
    meta={'level': 1, 'topic': 'sums', 'data_source': 'openai/gsm8k'},
  ),
]
SAMPLES = make_samples([['#### 42', 'I think \\boxed{42}'], ['#### 3', '#### 2']], TASKS)


def judge(reward, samples=SAMPLES):
  return reward({'policy': None}, samples, jax.random.key(0))


# ---------------------------------------------------------------- TRL


def accuracy_reward(prompts, completions, ground_truth, **kwargs):
  matches = [re.search(r'#### (-?\d+)', completion) for completion in completions]
  return [1.0 if m and m.group(1) == gt else 0.0 for m, gt in zip(matches, ground_truth)]


def test_a_trl_function_of_columns_runs_prompt_major():
  found = judge(rewards.from_trl(accuracy_reward))
  np.testing.assert_array_equal(found.total, [[1, 0], [0, 1]])
  assert list(found.parts) == ['accuracy_reward']


def format_reward(completions, **kwargs):
  contents = [completion[0]['content'] for completion in completions]
  return [1.0 if re.match(r'^.*\\boxed\{.*\}$', content) else 0.0 for content in contents]


def test_a_trl_function_of_messages_runs():
  np.testing.assert_array_equal(
    judge(rewards.from_trl(format_reward, conversational=True)).total, [[0, 1], [0, 0]]
  )


def test_a_trl_function_sees_prompts_as_messages_too():
  def roles(prompts, completions, **kwargs):
    return [
      float(p[-1]['role'] == 'user' and c[0]['role'] == 'assistant')
      for p, c in zip(prompts, completions)
    ]

  np.testing.assert_array_equal(
    judge(rewards.from_trl(roles, conversational=True)).total, np.ones((2, 2))
  )


def test_a_trl_function_sees_ids_columns_and_the_answer_under_its_usual_names():
  seen = {}

  def spy(prompts, completions, completion_ids, **columns):
    seen.update(columns, prompts=prompts, ids=completion_ids)
    return [0.0] * len(completions)

  judge(rewards.from_trl(spy))
  assert seen['prompts'] == ['6*7?', '6*7?', '1+1?', '1+1?']
  assert seen['ids'] == [[1, 2], [5, 6], [9, 10], [13, 14]]  # the tokens that the policy chose
  assert seen['answer'] == seen['ground_truth'] == seen['solution'] == ['42', '42', '2', '2']
  assert seen['level'] == [2, 2, 1, 1]
  assert seen['topic'] == [None, None, 'sums', 'sums']
  assert seen['trainer_state'] is None


def test_a_trl_function_without_kwargs_gets_what_it_names():
  def level(completions, level):
    return [float(x) for x in level]

  np.testing.assert_array_equal(judge(rewards.from_trl(level)).total, [[2, 2], [1, 1]])


def sums_only(completions, topic, **kwargs):
  return [1.0 if t == 'sums' else None for t in topic]


def test_none_of_a_trl_function_is_not_judged():
  np.testing.assert_array_equal(judge(rewards.from_trl(sums_only)).total, [[NAN, NAN], [1, 1]])


async def remote_reward(prompts, completions, **kwargs):
  return [float(len(completion)) for completion in completions]


def test_an_async_trl_function_runs():
  found = judge(rewards.from_trl(remote_reward))
  np.testing.assert_array_equal(found.total, [[7, 18], [6, 6]])
  assert list(found.parts) == ['remote_reward']


def logging_reward(completions, log_extra=None, log_metric=None, **kwargs):
  lengths = [len(completion) for completion in completions]
  log_metric('longest', max(lengths))
  log_extra('chars', lengths)
  log_extra('first', [completion[0] for completion in completions])
  return [0.0 for _ in completions]


def test_what_a_trl_function_logs_becomes_parts_and_what_cannot_is_counted():
  found = judge(rewards.from_trl(logging_reward))
  np.testing.assert_array_equal(found.parts['longest'], np.full((2, 2), 18))
  np.testing.assert_array_equal(found.parts['chars'], [[7, 18], [6, 6]])
  np.testing.assert_array_equal(found.parts['extras_dropped'], np.ones((2, 2)))
  assert 'first' not in found.parts


@pytest.mark.parametrize(
  ('fn', 'said'),
  [
    (lambda completions, **kwargs: [1.0], 'returned 1 scores for 4 completions'),
    (lambda completions, **kwargs: 1.0, 'returned float, expected a list of 4'),
    (lambda completions, **kwargs: [NAN] * 4, 'returned nan'),
    (lambda completions, **kwargs: 1 / 0, "raised ZeroDivisionError.*\n.*task 'a', completion 0"),
  ],
)
def test_a_broken_trl_function_stops_the_run(fn, said):
  with pytest.raises(rewards.RewardError, match=said):
    judge(rewards.from_trl(fn))


def test_a_meta_key_must_not_take_the_place_of_an_argument():
  samples = make_samples([['x']], [Task(id='a', prompt='?', meta={'completions': 3})])
  with pytest.raises(ValueError, match=r"meta keys \['completions'\]"):
    judge(rewards.from_trl(accuracy_reward), samples)


def test_trl_and_verl_functions_are_terms_like_any_other():
  found = judge(
    rewards.weighted(
      trl=(1.0, rewards.from_trl(accuracy_reward)),
      verl=(0.5, rewards.from_verl(gsm8k_compute_score)),
    )
  )
  np.testing.assert_array_equal(found.total, [[1.5, 0], [0, 1.5]])


# ---------------------------------------------------------------- verl


def gsm8k_compute_score(
  data_source, solution_str, ground_truth, extra_info=None, method='strict', score=1.0
):
  if data_source != 'openai/gsm8k':
    raise NotImplementedError(f'{data_source=}')
  pattern = r'#### (\-?[0-9\.\,]+)' if method == 'strict' else r'(\-?[0-9\.\,]+)'
  solutions = re.findall(pattern, solution_str)
  if not solutions:
    return 0.0
  return score if solutions[-1].replace(',', '') == ground_truth else 0.0


def test_a_verl_function_runs():
  found = judge(rewards.from_verl(gsm8k_compute_score))
  np.testing.assert_array_equal(found.total, [[1, 0], [0, 1]])
  assert list(found.parts) == ['gsm8k_compute_score']


def test_reward_kwargs_of_a_verl_function_are_passed_on():
  found = judge(rewards.from_verl(gsm8k_compute_score, method='flexible', score=3.0))
  np.testing.assert_array_equal(found.total, [[3, 3], [0, 3]])


def test_the_data_source_may_be_given():
  with pytest.raises(rewards.RewardError, match="data_source='other'"):
    judge(rewards.from_verl(gsm8k_compute_score, data_source='other'))


def test_a_verl_dict_gives_the_score_and_parts():
  def dapo(data_source, solution_str, ground_truth, extra_info=None):
    correct = solution_str.endswith(ground_truth)
    return {
      'score': 1.0 if correct else -1.0,
      'acc': correct,
      'pred': solution_str[-2:],
      'level': extra_info['level'],
    }

  found = judge(rewards.from_verl(dapo))
  np.testing.assert_array_equal(found.total, [[1, -1], [-1, 1]])
  np.testing.assert_array_equal(found.parts['acc'], [[1, 0], [0, 1]])
  np.testing.assert_array_equal(found.parts['level'], [[2, 2], [1, 1]])
  assert set(found.parts) == {'dapo', 'acc', 'level'}


async def async_score(data_source, solution_str, ground_truth, extra_info=None):
  return float(len(solution_str))


def test_an_async_verl_function_runs():
  found = judge(rewards.from_verl(async_score))
  np.testing.assert_array_equal(found.total, [[7, 18], [6, 6]])
  assert list(found.parts) == ['async_score']
