"""verl's own functions and reward managers, as recorded: what they take, and what follows from it.

tests/support/verl_calls.py made the file, with verl installed, and says how.
"""

import inspect
import json
import pathlib

import numpy as np
import pytest

from sirl import rewards
from sirl.tasks import Task

from support.texts import judged, samples_of

RECORDED = json.loads(
  (pathlib.Path(__file__).parents[2] / 'data' / 'verl_rewards.json').read_text()
)
FUNCTIONS, MANAGERS = RECORDED['functions'], RECORDED['managers']
WORDS = {'None': None, 'False': False}


def signature(arguments):
  """An inspect.Signature of recorded (name, kind, default)."""
  return inspect.Signature(
    [
      inspect.Parameter(
        name,
        getattr(inspect.Parameter, kind),
        default=inspect.Parameter.empty if default is None else WORDS.get(default, default),
      )
      for name, kind, default in arguments
    ]
  )


def replayed(arguments, case):
  """A function that takes what verl's takes, and returns for a text what verl's returned."""
  takes = signature(arguments)
  returned = dict(zip(case['solution_str'], case['returned']))
  as_returned = lambda value: tuple(value) if isinstance(value, list) else value

  def fn(**given):
    takes.bind(**given)
    truth = next(v for k, v in given.items() if k.startswith('ground_truth'))
    if isinstance(truth, list):
      assert truth == [case['ground_truth']] * len(returned)
      return [as_returned(returned[text]) for text in given['solution_strs']]
    assert truth == case['ground_truth']
    return as_returned(returned[given.get('solution_str', given.get('model_output'))])

  fn.__signature__ = takes
  return fn


def score_of(value):
  """What verl's dispatcher makes of a returned value, in verl.utils.reward_score."""
  if isinstance(value, dict):
    return value['score']
  return float(value[0] if isinstance(value, list) else value)


@pytest.mark.parametrize(
  ('name', 'case'),
  [(name, case) for name, found in FUNCTIONS.items() for case in range(len(found['cases']))],
)
def test_functions_that_verl_ships_run_by_their_own_arguments(name, case):
  found = FUNCTIONS[name]
  case = found['cases'][case]
  task = Task(
    id='a', prompt='q', answer=case['ground_truth'], meta={'data_source': case['data_source']}
  )
  reward = rewards.from_verl(replayed(found['arguments'], case))
  result = judged(reward, samples_of([case['solution_str']], [task]))
  np.testing.assert_array_equal(result.total[0], [score_of(x) for x in case['returned']])


@pytest.mark.parametrize('name', MANAGERS)
def test_a_call_has_the_arguments_that_the_managers_give_and_the_same_reward_follows(name):
  expected, seen = MANAGERS[name], []

  def one(data_source, solution_str, ground_truth, extra_info):
    seen.append((data_source, solution_str, ground_truth, extra_info))
    return expected['returned'][len(seen) - 1]

  def many(data_sources, solution_strs, ground_truths, extra_infos):
    seen.extend(zip(data_sources, solution_strs, ground_truths, extra_infos))
    return expected['returned']

  calls = [tuple(call.values()) for call in expected['calls']]
  if name == 'batch':
    calls = [*zip(*calls[0])]
  tasks = [
    Task(
      id=f't{i}',
      prompt='qq',
      meta={
        'data_source': source,
        'reward_model': {'style': 'rule', 'ground_truth': truth},
        'extra_info': {'index': i},
      },
    )
    for i, (source, _, truth, _) in enumerate(calls)
  ]
  reward = rewards.from_verl(many if name == 'batch' else one, workers=1)
  result = judged(reward, samples_of([[call[1]] for call in calls], tasks))
  np.testing.assert_array_equal(result.total[:, 0], expected['rewards'])
  assert [row[:3] for row in seen] == [row[:3] for row in calls]
  for (*_, ours), (*_, theirs) in zip(seen, calls):
    assert theirs.items() <= ours.items()
