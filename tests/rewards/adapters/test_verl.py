"""Reward functions as verl users write them, and as verl ships them, unchanged."""

import re

import numpy as np
import pytest

from sirl import rewards
from sirl.acquisition import procedural
from sirl.domains import mathematics
from sirl.tasks import Task, content_id

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


# ---------------------------------------------------------------- the dispatcher


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
  plain = samples_of([['#### 42']], [Task(id='a', prompt='6*7?', answer='42')])
  with pytest.raises(
    rewards.RewardError,
    match=r"data_source='curated'.*\n.*\n.*from_verl\(fn, data_source='...'\) sets",
  ):
    judge(rewards.from_verl(gsm8k_compute_score), plain)


def test_tasks_of_a_domain_have_its_name_as_their_data_source():
  """A dispatcher tells domains by it; an origin such as 'environment' is that of many."""
  own = Task(id=content_id('doubling', '2*3='), prompt='2*3=', answer='6', origin='environment')
  (sum_,) = procedural.fixed_set(mathematics.addition(), n=1, seed=0, namespace='train')
  seen = []

  def score(data_source, solution_str, ground_truth, extra_info):
    seen.append(data_source)
    return 1.0

  judge(rewards.from_verl(score, workers=1), samples_of([['6'], ['7']], [own, sum_]))
  assert seen == ['doubling', 'addition']


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


# ---------------------------------------------------------------- one file, and batches


def compute_score(solution_str, ground_truth, method='strict', format_score=0.0, score=1.0):
  found = re.findall(r'#### (\S+)', solution_str)
  return (score if found[-1] == ground_truth else format_score) if found else 0


def test_the_function_of_a_single_file_runs():
  found = judge(rewards.from_verl(compute_score))
  np.testing.assert_array_equal(found.total, [[1, 0], [0, 1]])
  found = judge(rewards.from_verl(compute_score, format_score=0.1))
  np.testing.assert_allclose(found.total, [[1, 0], [0.1, 1]])


@pytest.mark.parametrize(
  'fn',
  [
    lambda predict_str, ground_truth: float(predict_str.endswith(ground_truth)),
    lambda model_output, ground_truth: float(model_output.endswith(ground_truth)),
    lambda completion, test_cases: float(completion.endswith(test_cases)),
    lambda solution_str, ground_truth, **kwargs: float(solution_str.endswith(ground_truth)),
  ],
)
def test_the_names_of_other_files_of_verl_are_known(fn):
  np.testing.assert_array_equal(judge(rewards.from_verl(fn)).total, [[1, 0], [0, 1]])


def test_a_tuple_is_its_first_entry_as_in_the_dispatcher():
  found = judge(rewards.from_verl(lambda model_output, ground_truth: (True, False, 'x')))
  np.testing.assert_array_equal(found.total, np.ones((2, 2)))


def compute_score_batched(data_sources, solution_strs, ground_truths, extra_infos):
  calls.append(list(data_sources))
  return [
    {'score': compute_score(text, truth), 'level': info['level']}
    for text, truth, info in zip(solution_strs, ground_truths, extra_infos, strict=True)
  ]


calls = []


def test_a_batched_function_is_called_once_prompt_major():
  calls.clear()
  found = judge(rewards.from_verl(compute_score_batched))
  np.testing.assert_array_equal(found.total, [[1, 0], [0, 1]])
  np.testing.assert_array_equal(found.parts['level'], [[2, 2], [1, 1]])
  assert calls == [['openai/gsm8k'] * 4]


@pytest.mark.parametrize('kind', [tuple, np.asarray, iter])
def test_a_batched_function_may_return_any_sequence(kind):
  def lengths(solution_strs, ground_truths, **kwargs):
    return kind([len(text) for text in solution_strs])

  np.testing.assert_array_equal(judge(rewards.from_verl(lengths)).total, [[7, 18], [6, 6]])


# ---------------------------------------------------------------- what it gets and returns


@pytest.mark.parametrize(
  'meta',
  [
    {'ground_truth': {'target': ['42']}},
    {'reward_model': {'style': 'rule', 'ground_truth': {'target': ['42']}}},
  ],
)
def test_a_ground_truth_with_structure_stands_in_meta(meta):
  def score(data_source, solution_str, ground_truth, extra_info=None):
    return float(solution_str in ground_truth['target'])

  samples = samples_of([['42', '43']], [Task(id='a', prompt='6*7?', answer='none', meta=meta)])
  np.testing.assert_array_equal(judge(rewards.from_verl(score), samples).total, [[1, 0]])


def test_extra_info_is_that_of_the_row_if_it_has_one():
  def score(data_source, solution_str, ground_truth, extra_info):
    return extra_info['index']

  task = Task(id='a', prompt='?', meta={'extra_info': {'index': 7}, 'ability': 'math'})
  found = judge(rewards.from_verl(score), samples_of([['x']], [task]))
  np.testing.assert_array_equal(found.total, [[7]])


def test_an_empty_cell_of_extra_info_or_data_source_is_as_if_it_were_absent():
  def score(data_source, solution_str, ground_truth, extra_info):
    return float(data_source == 'sums' and extra_info['num_turns'] is None)

  task = Task(id='sums-0123456789ab', prompt='?', meta={'extra_info': None, 'data_source': None})
  np.testing.assert_array_equal(
    judge(rewards.from_verl(score), samples_of([['x']], [task])).total, [[1]]
  )


def test_an_extra_info_of_another_form_is_named_with_its_task():
  task = Task(id='a', prompt='?', meta={'extra_info': 'level 7'})
  with pytest.raises(
    ValueError, match=r"task 'a': meta\['extra_info'\] is 'level 7'; expected a map"
  ):
    judge(rewards.from_verl(gsm8k_compute_score), samples_of([['x']], [task]))


def test_what_is_no_single_number_beside_the_score_is_left_out():
  def score(data_source, solution_str, ground_truth, extra_info=None):
    return {
      'score': np.float32(1),
      'passed_tests': {1, 2},
      'per_test': np.asarray([1, 0]),
      'names': ['a'],
      'info': {'a': 1},
      'single': np.asarray([0.5]),
      'flag': np.True_,
      'unknown': None,
      'nan': np.float32(NAN),
    }

  found = judge(rewards.from_verl(score))
  np.testing.assert_array_equal(found.total, np.ones((2, 2)))
  assert set(found.parts) == {'score', 'single', 'flag', 'unknown', 'nan'}
  assert found.parts['single'][0, 0] == 0.5
  assert np.isnan(found.parts['unknown']).all()
  assert np.isnan(found.parts['nan']).all()


class Judge:
  async def __call__(self, data_source, solution_str, ground_truth, extra_info=None):
    return float(len(solution_str))


def test_an_object_whose_call_is_async_is_awaited():
  found = judge(rewards.from_verl(Judge()))
  np.testing.assert_array_equal(found.total, [[7, 18], [6, 6]])
  assert list(found.parts) == ['judge']


# ---------------------------------------------------------------- what cannot run


@pytest.mark.parametrize(
  ('fn', 'options', 'said'),
  [
    (compute_score, {'methd': 'strict'}, 'it has no argument methd'),
    (lambda solution_str, sandbox_url: 1.0, {}, 'needs sandbox_url; .*from_verl\\(fn, name=value'),
    (lambda completions, **kwargs: 1.0, {}, 'Use rewards.from_trl'),
    (lambda task, text: 1.0, {}, 'Use rewards.per_completion'),
    (Judge, {}, 'It is a class; pass an object of it'),
  ],
)
def test_a_function_that_cannot_be_called_is_refused_when_it_is_wrapped(fn, options, said):
  with pytest.raises(ValueError, match=said):
    rewards.from_verl(fn, **options)


def test_a_function_of_no_form_is_shown_the_forms_a_line_each_and_what_it_takes():
  def mine(prompt, answer):
    return 1.0

  with pytest.raises(ValueError, match='from_verl') as caught:
    rewards.from_verl(mine)
  first, *forms = str(caught.value).splitlines()
  assert first == (
    "rewards.from_verl: 'mine' takes (prompt, answer), expected the names of one of these:"
  )
  assert [line.split('  ')[1] for line in forms] == [
    '(data_source, solution_str, ground_truth, extra_info)',
    '(solution_str, ground_truth)',
    '(data_sources, solution_strs, ground_truths, extra_infos)',
  ]


def test_functions_of_both_libraries_are_terms_like_any_other():
  def accuracy(completions, ground_truth, **kwargs):
    return [float(c.endswith(f'#### {truth}')) for c, truth in zip(completions, ground_truth)]

  reward = rewards.weighted(
    trl=(1.0, rewards.from_trl(accuracy)), verl=(0.5, rewards.from_verl(gsm8k_compute_score))
  )
  np.testing.assert_array_equal(judge(reward).total, [[1.5, 0], [0, 1.5]])
