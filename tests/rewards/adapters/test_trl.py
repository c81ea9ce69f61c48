"""Reward functions as TRL users write them, unchanged."""

import re

import numpy as np
import pytest

from sirl import rewards
from sirl.tasks import Message, Task

from support.texts import judged, samples_of

NAN = np.nan

TASKS = [
  Task(id='a', prompt='6*7?', answer='42', meta={'level': 2, 'data_source': 'openai/gsm8k'}),
  Task(
    id='b',
    prompt='1+1?',
    answer='2',
    meta={'level': 1, 'topic': 'sums', 'data_source': 'openai/gsm8k'},
  ),
]
SAMPLES = samples_of([['#### 42', 'I think \\boxed{42}'], ['#### 3', '#### 2']], TASKS)


def judge(reward, samples=SAMPLES):
  return judged(reward, samples)


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
    (lambda completions, **kwargs: [1.0], 'returned 1 score for 4 completions'),
    (lambda completions, **kwargs: 1.0, 'returned float, expected a list of 4'),
    (lambda completions, **kwargs: [np.inf] * 4, 'returned inf'),
    (lambda completions, **kwargs: 1 / 0, "raised ZeroDivisionError.*\n.*task 'a', completion 0"),
  ],
)
def test_a_broken_trl_function_stops_the_run(fn, said):
  with pytest.raises(rewards.RewardError, match=said):
    judge(rewards.from_trl(fn))


def test_a_meta_key_must_not_take_the_place_of_an_argument():
  samples = samples_of([['x']], [Task(id='a', prompt='?', meta={'completions': 3})])
  with pytest.raises(ValueError, match=r"meta keys \['completions'\]"):
    judge(rewards.from_trl(accuracy_reward), samples)


# ---------------------------------------------------------------- texts or messages


def last_words(completions, solution, **kwargs):
  return [float(c[0]['content'].endswith(s)) for c, s in zip(completions, solution)]


def test_a_function_of_messages_is_found_out(caplog):
  with caplog.at_level('INFO'):
    found = judge(rewards.from_trl(last_words))
  np.testing.assert_array_equal(found.total, [[1, 0], [0, 1]])
  assert 'reward last_words takes conversational=True' in caplog.text


def test_prompts_that_are_conversations_give_messages_first():
  seen = []

  def spy(prompts, completions):
    seen.append((prompts[0], completions[0]))
    return [0.0] * len(completions)

  task = Task(id='a', prompt=(Message('system', 'Be brief.'), Message('user', '6*7?')), answer='42')
  judge(rewards.from_trl(spy), samples_of([['42']], [task]))
  assert seen == [
    (
      [{'role': 'system', 'content': 'Be brief.'}, {'role': 'user', 'content': '6*7?'}],
      [{'role': 'assistant', 'content': '42'}],
    )
  ]


def test_a_function_that_fails_on_both_forms_names_the_switch_and_both_errors():
  def broken(completions, **kwargs):
    return [completion.missing for completion in completions]

  with pytest.raises(rewards.RewardError) as caught:
    judge(rewards.from_trl(broken))
  for said in (
    "'str' object has no attribute 'missing'",
    'conversational=False failed so, and conversational=True with',
    "'list' object has no attribute 'missing'",
    'test_trl.py, line ',
  ):
    assert said in str(caught.value)


def test_the_switch_given_is_the_only_form_tried():
  with pytest.raises(rewards.RewardError, match='string indices must be integers'):
    judge(rewards.from_trl(last_words, conversational=False))


# ---------------------------------------------------------------- what it returns and is


@pytest.mark.parametrize(
  'scores',
  [(1.0, 0.0, NAN, None), np.asarray([1.0, 0.0, NAN, NAN]), iter([1, 0, None, None])],
  ids=['tuple', 'array', 'generator'],
)
def test_none_and_nan_in_any_sequence_are_not_judged_as_in_trl(scores):
  found = judge(rewards.from_trl(lambda completions, **kwargs: scores))
  np.testing.assert_array_equal(found.total, [[1, 0], [NAN, NAN]])


def test_a_tensor_of_torch_is_a_list_of_scores():
  torch = pytest.importorskip('torch')
  scores = torch.tensor([1.0, 0.0, NAN, 0.5], requires_grad=True)
  found = judge(rewards.from_trl(lambda completions, **kwargs: scores))
  np.testing.assert_array_equal(found.total, [[1, 0], [NAN, 0.5]])


class CosineScaled:
  __name__ = 'cosine_scaled_reward'

  def __call__(self, completions, **kwargs):
    return [0.5] * len(completions)


class Remote:
  async def __call__(self, completions, **kwargs):
    return [0.5] * len(completions)


def test_an_object_is_a_function_under_its_own_name_and_may_be_async():
  for fn, name in ((CosineScaled(), 'cosine_scaled_reward'), (Remote(), 'remote')):
    found = judge(rewards.from_trl(fn))
    np.testing.assert_array_equal(found.total, np.full((2, 2), 0.5))
    assert list(found.parts) == [name]


def test_an_answer_with_structure_stands_in_meta_under_the_name_of_its_column():
  def passed(completions, ground_truth, **kwargs):
    return [float(c in truth['target']) for c, truth in zip(completions, ground_truth)]

  task = Task(id='a', prompt='6*7?', meta={'ground_truth': {'target': ['42', 'forty-two']}})
  found = judge(rewards.from_trl(passed), samples_of([['forty-two', '43']], [task]))
  np.testing.assert_array_equal(found.total, [[1, 0]])


# ---------------------------------------------------------------- the trainer's state


def warmed_up(completions, trainer_state, **kwargs):
  return [min(1.0, trainer_state.global_step / 10)] * len(completions)


def test_a_reward_may_follow_the_step():
  for step, score in ((0, 0.0), (5, 0.5), (20, 1.0)):
    found = judge(rewards.from_trl(warmed_up), samples_of([['x']], step=step))
    np.testing.assert_array_equal(found.total, [[score]])


def test_what_the_state_does_not_know_is_named():
  def late(completions, trainer_state, **kwargs):
    return [trainer_state.epoch] * len(completions)

  with pytest.raises(rewards.RewardError, match='trainer_state.epoch is not known here'):
    judge(rewards.from_trl(late), samples_of([['x']], step=3))


# ---------------------------------------------------------------- what cannot run


def test_a_column_that_no_task_has_is_named_with_those_there_are():
  def levels(completions, levels):
    return levels

  with pytest.raises(rewards.RewardError, match="'levels' needs levels; known are .*level, topic"):
    judge(rewards.from_trl(levels))


@pytest.mark.parametrize(
  ('fn', 'said'),
  [
    (CosineScaled, r'It is a class; pass an object of it, CosineScaled\(\.\.\.\)'),
    (lambda solution_str, ground_truth: 1.0, 'Use rewards.from_verl'),
    (lambda task, text: 1.0, 'Use rewards.per_completion'),
    (lambda scores: 1.0, r'takes \(scores\), expected the names .*\n  \(completions, '),
    (rewards.per_completion(lambda task, text: 1.0), 'It is a reward already'),
  ],
)
def test_a_function_of_another_form_is_refused_when_it_is_wrapped(fn, said):
  with pytest.raises(ValueError, match=said):
    rewards.from_trl(fn)
