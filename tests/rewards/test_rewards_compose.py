"""What a reward function may return, what happens when it breaks, and how rewards compose."""

import asyncio
import functools
import random
import time

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from sirl import rewards
from sirl.rewards import compose
from sirl.tasks import Task
from sirl.types import Rewards, Rollouts, Samples

NAN = np.nan
KEY = jax.random.key(0)
NOBODY = {'policy': None}  # weights that no reward reads


def make_samples(texts, tasks=None, lengths=None):
  p, g = len(texts), len(texts[0])
  lengths_PG = np.full((p, g), 2) if lengths is None else np.asarray(lengths)
  action = np.arange(4) < lengths_PG[..., None]
  tasks = tasks or [Task(id=f't{i}', prompt=f'{i}+{i}', answer=str(2 * i)) for i in range(p)]
  tokens = np.arange(p * g * 4).reshape(p, g, 4)
  rollouts = Rollouts(
    *map(jnp.asarray, (tokens, action, action, action * -1.0, np.zeros((p, g), bool)))
  )
  return Samples(tasks, texts, rollouts)


SAMPLES = make_samples([['0', '1', '0'], ['2', '0', 'two']])


def judge(reward, samples=SAMPLES):
  return reward(NOBODY, samples, KEY)


def correct(task, text):
  return text == task.answer


def size(task, text):
  return len(text)


# ---------------------------------------------------------------- one function


def test_scores_stand_where_their_text_stands():
  found = judge(rewards.per_completion(correct))
  np.testing.assert_array_equal(found.total, [[1, 0, 1], [1, 0, 0]])
  assert found.total.dtype == np.float32
  assert list(found.parts) == ['correct']


def test_none_is_not_judged_and_zero_is_zero():
  found = judge(rewards.per_completion(lambda task, text: None if text == 'two' else 0))
  np.testing.assert_array_equal(found.total, [[0, 0, 0], [0, 0, NAN]])
  assert list(found.parts) == ['reward']  # a lambda has no name of its own


def test_the_part_of_a_partial_is_named_after_its_function():
  at_least = functools.partial(functools.partial(size_over, limit=1))
  assert list(judge(rewards.per_completion(at_least)).parts) == ['size_over']


def size_over(task, text, limit):
  return len(text) > limit


class Grader:
  def __call__(self, task, text):
    return 1


def test_the_part_of_a_callable_object_is_named_after_its_type():
  assert list(judge(rewards.per_completion(Grader())).parts) == ['grader']


@pytest.mark.parametrize(
  'value', [True, 1, 1.0, np.float32(1), np.bool_(True), np.array(1), jnp.array(1)]
)
def test_every_usual_kind_of_number_is_a_score(value):
  assert judge(rewards.per_completion(lambda task, text: value)).total[0, 0] == 1.0


def test_the_other_numbers_of_a_mapping_become_parts():
  def graded(task, text):
    return {
      'score': 0.5,
      'steps': len(text),
      'note': 'free text',
      'rare': None if text == '0' else 1,
    }

  found = judge(rewards.per_completion(graded))
  assert set(found.parts) == {'graded', 'steps', 'rare'}
  np.testing.assert_array_equal(found.parts['steps'], [[1, 1, 1], [1, 1, 3]])
  np.testing.assert_array_equal(found.parts['rare'], [[NAN, 1, NAN], [1, NAN, 1]])


def test_worker_timing_does_not_change_results():
  def slow(task, text):
    time.sleep(random.random() / 200)
    return 10 * int(task.id[1:]) + len(text)

  many = make_samples([['a' * (g + 1) for g in range(4)] for _ in range(8)])
  expected = [[10 * p + g + 1 for g in range(4)] for p in range(8)]
  for workers in (1, 3, 32):
    np.testing.assert_array_equal(
      judge(rewards.per_completion(slow, workers=workers), many).total, expected
    )


def test_coroutines_run_at_most_so_many_at_a_time_and_keep_their_order():
  running, peak = 0, 0

  async def remote(task, text):
    nonlocal running, peak
    running += 1
    peak = max(peak, running)
    await asyncio.sleep(0.003 if text == '0' else 0.0)
    running -= 1
    return float(text == task.answer)

  found = judge(rewards.per_completion(remote, workers=2))
  np.testing.assert_array_equal(found.total, [[1, 0, 1], [1, 0, 0]])
  assert peak == 2


def test_coroutines_work_where_an_event_loop_already_runs():
  async def one(task, text):
    return 1

  async def notebook():
    return judge(rewards.per_completion(one))

  np.testing.assert_array_equal(asyncio.run(notebook()).total, np.ones((2, 3)))


def test_a_group_is_scored_together():
  def longest(task, texts):
    return [len(text) == max(map(len, texts)) for text in texts]

  np.testing.assert_array_equal(judge(rewards.per_group(longest)).total, [[1, 1, 1], [0, 0, 1]])


def test_an_array_reward_sees_params_and_rollouts():
  def lengths(params, rollouts):
    return params * rollouts.action.sum(-1)

  samples = make_samples([['a', 'b']], lengths=[[1, 3]])
  found = rewards.on_device(lengths)({'policy': jnp.float32(2)}, samples, KEY)
  np.testing.assert_array_equal(found.total, [[2, 6]])
  assert list(found.parts) == ['lengths']


def test_an_array_reward_says_which_completions_it_judged():
  def short(params, rollouts):
    n_PG = rollouts.action.sum(-1)
    return jnp.log(3.0 - n_PG), n_PG < 3

  found = rewards.on_device(short)(NOBODY, make_samples([['a', 'b']], lengths=[[2, 3]]), KEY)
  np.testing.assert_allclose(found.total, [[0.0, NAN]], atol=1e-6)


# ---------------------------------------------------------------- broken functions


@pytest.mark.parametrize(
  ('value', 'said'),
  [
    (float('nan'), 'returned nan as the score; return None for "not judged"'),
    (float('inf'), 'returned inf as the score'),
    (1e300, '1e.300 as the score'),
    ('1.0', "returned '1.0' as the score, expected a number or None"),
    ([1.0], 'returned list as the score'),
    (1j, 'returned complex as the score'),
    ({'reward': 1.0}, "without 'score'"),
    ({'score': 1.0, 'extra': float('nan')}, "nan as the part 'extra'"),
    ({'score': 1.0, 'reward': 2.0}, "part 'reward', which is the name of the score itself"),
  ],
)
def test_a_value_that_is_no_score_stops_the_run(value, said):
  with pytest.raises(rewards.RewardError, match=said):
    judge(rewards.per_completion(lambda task, text: value))


def crashes_on_two(task, text):
  if text == 'two':
    raise KeyError('no such digit')
  return 1.0


def test_a_crash_names_function_task_text_and_cause():
  with pytest.raises(rewards.RewardError) as caught:
    judge(rewards.per_completion(crashes_on_two))
  for said in (
    "'crashes_on_two'",
    'KeyError',
    'no such digit',
    "'t1'",
    "completion 2: 'two'",
    '1 of 6',
  ):
    assert said in str(caught.value)
  line = crashes_on_two.__code__.co_firstlineno + 2
  assert f'test_rewards_compose.py, line {line}; --traceback shows the calls' in str(caught.value)
  assert isinstance(caught.value.__cause__, KeyError)


def test_the_line_of_an_error_is_that_of_ones_own_code_not_of_a_library_that_it_calls():
  import json

  def parsed(task, text):
    return json.loads('{')['score']

  with pytest.raises(rewards.RewardError, match='JSONDecodeError') as caught:
    judge(rewards.per_completion(parsed))
  assert f'test_rewards_compose.py, line {parsed.__code__.co_firstlineno + 1};' in str(caught.value)


def test_a_coroutine_that_nobody_awaits_is_named():
  async def later(task, text):
    return 1.0

  with pytest.raises(rewards.RewardError, match=r'returned a coroutine \(write async def\)'):
    judge(rewards.per_completion(lambda task, text: later(task, text)))


def test_the_first_failure_in_order_is_named_whoever_fails_first_in_time():
  def late(task, text):
    time.sleep(0.01 if task.id == 't0' else 0)
    raise ValueError(task.id)

  with pytest.raises(rewards.RewardError, match=r"'t0'.*completion 0"):
    judge(rewards.per_completion(late))


def test_a_crash_on_a_task_without_answer_says_so_and_long_texts_are_cut():
  samples = make_samples([['x' * 9000]], tasks=[Task(id='open', prompt='?')])
  with pytest.raises(rewards.RewardError, match='this task has no answer') as caught:
    judge(rewards.per_completion(lambda task, text: float(task.answer)), samples)
  assert '(9000 characters)' in str(caught.value)
  assert len(str(caught.value)) < 1500


@pytest.mark.parametrize(
  ('scores', 'said'),
  [
    ([1.0], 'returned 1 score for 3 completions'),
    ([1.0] * 4, 'returned 4 scores for 3 completions'),
    (1.0, 'returned float, expected a list of 3 scores'),
    (None, 'returned NoneType, expected a list of 3 scores'),
    ('abc', 'returned str, expected a list of 3 scores'),
    ([1.0, NAN, 1.0], 'returned nan as the score'),
  ],
)
def test_a_group_function_must_return_one_score_per_text(scores, said):
  with pytest.raises(rewards.RewardError, match=said):
    judge(rewards.per_group(lambda task, texts: scores))


@pytest.mark.parametrize(
  ('fn', 'said'),
  [
    (lambda params, rollouts: rollouts.action.sum(), r'shape \[\], expected \[P, G\] = \[2, 3\]'),
    (lambda params, rollouts: rollouts.action * 1.0, r'shape \[2, 3, 4\]'),
    (lambda params, rollouts: jnp.log(rollouts.action.sum(-1) - 2.0), 'NaN or infinite for 6 of 6'),
  ],
)
def test_an_array_function_must_return_finite_scores_of_the_right_shape(fn, said):
  with pytest.raises(rewards.RewardError, match=said):
    judge(rewards.on_device(fn))


# ---------------------------------------------------------------- weighted


def test_the_total_is_the_weighted_sum_and_parts_stay_unweighted():
  found = judge(
    rewards.weighted(
      right=(2.0, rewards.per_completion(correct)), size=(-0.5, rewards.per_completion(size))
    )
  )
  np.testing.assert_array_equal(found.total, [[1.5, -0.5, 1.5], [1.5, -0.5, -1.5]])
  assert list(found.parts) == ['right', 'size']  # the term's name, not the function's
  np.testing.assert_array_equal(found.parts['right'], [[1, 0, 1], [1, 0, 0]])
  np.testing.assert_array_equal(found.parts['size'], [[1, 1, 1], [1, 1, 3]])


def fixed(*rows):
  """A reward with given scores; NaN stands for None."""
  table = {(f't{p}', g): value for p, row in enumerate(rows) for g, value in enumerate(row)}

  def scores(task, texts):
    found = [table[task.id, g] for g in range(len(texts))]
    return [None if np.isnan(value) else value for value in found]

  return rewards.per_group(scores)


def test_a_completion_is_judged_if_a_term_with_weight_judged_it():
  reward = rewards.weighted(
    a=(1.0, fixed([1, NAN, NAN, 4])),
    b=(10.0, fixed([1, 1, NAN, NAN])),
    metric=(0, fixed([7, 7, 7, NAN])),
  )
  found = judge(reward, make_samples([['', '', '', '']]))
  np.testing.assert_array_equal(found.total, [[11, 10, NAN, 4]])
  np.testing.assert_array_equal(found.parts['metric'], [[7, 7, 7, NAN]])


def test_a_first_term_without_weight_leaves_no_trace_in_the_total():
  found = judge(
    rewards.weighted(
      metric=(0, rewards.per_completion(size)), right=(1, rewards.per_completion(correct))
    )
  )
  np.testing.assert_array_equal(found.total, [[1, 0, 1], [1, 0, 0]])


def test_text_and_array_terms_mix():
  def tokens(params, rollouts):
    return rollouts.action.sum(-1)

  found = judge(
    rewards.weighted(
      right=(1.0, rewards.per_completion(correct)), tokens=(0.25, rewards.on_device(tokens))
    )
  )
  np.testing.assert_array_equal(found.total, [[1.5, 0.5, 1.5], [1.5, 0.5, 0.5]])


def test_the_other_parts_of_a_term_keep_their_names():
  graded = rewards.per_completion(lambda task, text: {'score': 1.0, 'steps': 2.0})
  found = judge(rewards.weighted(quality=(0.5, graded)))
  assert list(found.parts) == ['quality', 'steps']


def test_two_parts_of_one_name_are_an_error():
  graded = rewards.per_completion(lambda task, text: {'score': 1.0, 'steps': 2.0})
  with pytest.raises(ValueError, match="'steps'"):
    judge(rewards.weighted(a=(1.0, graded), b=(1.0, graded)))


@pytest.mark.parametrize(
  ('terms', 'said'),
  [
    ({'a': rewards.per_completion(size)}, r'write a=\(1.0, reward\)'),
    ({'a': (1.0, 'size')}, r'not \(weight, reward\)'),
    ({'a': (NAN, rewards.per_completion(size))}, 'weight of a is nan'),
    ({'a': (0.0, rewards.per_completion(size))}, 'nothing would be rewarded'),
    ({}, 'nothing would be rewarded'),
  ],
)
def test_a_wrong_term_is_refused_before_the_run(terms, said):
  with pytest.raises(ValueError, match=said):
    rewards.weighted(**terms)


def test_terms_draw_different_noise():
  draw = rewards.heuristic.random_reward()
  many = make_samples([['x'] * 64])
  found = judge(rewards.weighted(a=(1, draw), b=(1, draw)), many)
  assert np.any(found.parts['a'] != found.parts['b'])


# ---------------------------------------------------------------- rewards of single tokens


def stepwise(scale, *, fails=()):
  """A reward of whole completions and of each of their tokens.

  Args: fails: the completions for which the function failed.
  """

  def reward(weights, samples, key):
    total_PG = np.full(samples.rollouts.truncated.shape, scale, np.float32)
    tokens_PGT = np.asarray(scale * samples.rollouts.action * np.arange(1, 5), np.float32)
    found = Rewards(total_PG, {'stepwise': total_PG}, tokens_PGT)
    if not fails:
      return found
    failed_PG = np.isin(np.arange(total_PG.size), fails).reshape(total_PG.shape)
    raise rewards.RewardError('it broke', found, failed_PG)

  return reward


STEPS = np.asarray([1, 2, 0, 0], np.float32)  # of a completion of two tokens, at scale 1


def test_rewards_of_tokens_are_weighted_like_those_of_completions():
  reward = rewards.weighted(
    right=(1.0, rewards.per_completion(correct)),
    a=(2.0, stepwise(1.0)),
    metric=(0.0, stepwise(9.0)),
    c=(-0.5, stepwise(3.0)),
  )
  found = judge(reward)
  np.testing.assert_array_equal(found.tokens, np.broadcast_to(0.5 * STEPS, (2, 3, 4)))
  np.testing.assert_array_equal(found.total, [[1.5, 0.5, 1.5], [1.5, 0.5, 0.5]])
  assert judge(rewards.weighted(right=(1.0, rewards.per_completion(correct)))).tokens is None


def test_rewards_of_tokens_are_those_of_the_role():
  for other in (rewards.per_completion(size), None):
    for roles in (
      {'propose': other, 'solve': stepwise(1.0)},
      {'solve': stepwise(1.0), 'propose': other},
    ):
      found = judge(rewards.by_role(**roles), ROLES)
      np.testing.assert_array_equal(found.tokens, [[0 * STEPS, 0 * STEPS], [STEPS, STEPS]])
  both = judge(rewards.by_role(propose=stepwise(2.0), solve=stepwise(1.0)), ROLES)
  np.testing.assert_array_equal(both.tokens, [[2 * STEPS, 2 * STEPS], [STEPS, STEPS]])
  neither = judge(rewards.by_role(propose=None, solve=rewards.per_completion(size)), ROLES)
  assert neither.tokens is None


def test_rewards_of_tokens_pass_through_tolerant():
  found = judge(rewards.tolerant(stepwise(1.0)))
  np.testing.assert_array_equal(found.tokens, np.broadcast_to(STEPS, (2, 3, 4)))
  found = judge(rewards.tolerant(stepwise(1.0, fails=[1, 5])))
  np.testing.assert_array_equal(found.tokens, np.broadcast_to(STEPS, (2, 3, 4)))
  np.testing.assert_array_equal(np.isnan(found.total), [[False, True, False], [False, False, True]])
  whole = rewards.weighted(a=(2.0, stepwise(1.0, fails=[0])), b=(1.0, rewards.per_completion(size)))
  np.testing.assert_array_equal(
    judge(rewards.tolerant(whole)).tokens, np.broadcast_to(2 * STEPS, (2, 3, 4))
  )


# ---------------------------------------------------------------- tolerant


def test_tolerant_counts_a_crash_and_leaves_the_completion_unjudged():
  found = judge(rewards.tolerant(rewards.per_completion(crashes_on_two)))
  np.testing.assert_array_equal(found.total, [[1, 1, 1], [1, 1, NAN]])
  np.testing.assert_array_equal(found.parts['crashes_on_two'], found.total)
  np.testing.assert_array_equal(found.parts['crashes_on_two_error'], [[0, 0, 0], [0, 0, 1]])


def test_tolerant_reports_zero_errors_when_nothing_breaks():
  found = judge(rewards.tolerant(rewards.per_completion(correct)))
  np.testing.assert_array_equal(found.parts['correct_error'], np.zeros((2, 3)))


def test_tolerant_loses_the_whole_group_when_a_group_function_breaks():
  def strict(task, texts):
    return [float(int(text)) for text in texts]

  found = judge(rewards.tolerant(rewards.per_group(strict)))
  np.testing.assert_array_equal(found.total, [[0, 1, 0], [NAN, NAN, NAN]])


def test_tolerant_accepts_a_broken_array_reward():
  fn = lambda params, rollouts: jnp.log(rollouts.action.sum(-1) - 2.0)
  found = judge(
    rewards.tolerant(rewards.on_device(fn)), make_samples([['a', 'b']], lengths=[[3, 2]])
  )
  np.testing.assert_array_equal(found.total, [[0, NAN]])
  np.testing.assert_array_equal(found.parts['reward_error'], [[0, 1]])


def test_a_tolerant_term_leaves_judging_to_the_others():
  term = rewards.tolerant(rewards.per_completion(crashes_on_two))
  found = judge(rewards.weighted(right=(1, term), size=(0.1, rewards.per_completion(size))))
  np.testing.assert_allclose(found.total[1], [1.1, 1.1, 0.3], rtol=1e-6)
  assert set(found.parts) == {'right', 'right_error', 'size'}


def test_a_tolerant_composition_leaves_the_completion_unjudged():
  whole = rewards.weighted(
    right=(1, rewards.per_completion(crashes_on_two)), size=(0.1, rewards.per_completion(size))
  )
  found = judge(rewards.tolerant(whole))
  np.testing.assert_allclose(found.total[1], [1.1, 1.1, NAN], rtol=1e-6)
  np.testing.assert_array_equal(found.parts['reward_error'], [[0, 0, 0], [0, 0, 1]])
  np.testing.assert_array_equal(found.parts['size'][1], [1, 1, 3])  # what worked is kept


def test_without_tolerance_a_composition_stops_and_names_the_cause():
  whole = rewards.weighted(
    size=(1, rewards.per_completion(size)), c=(1, rewards.per_completion(crashes_on_two))
  )
  with pytest.raises(rewards.RewardError, match='crashes_on_two') as caught:
    judge(whole)
  assert isinstance(caught.value.__cause__, KeyError)


# ---------------------------------------------------------------- by_role


ROLES = make_samples(
  [['p', 'pp'], ['2', '0']],
  tasks=[Task(id='a', prompt='make one', role='propose'), Task(id='b', prompt='1+1', answer='2')],
)


def test_each_role_has_its_own_judge():
  asked = []

  def proposal(task, text):
    asked.append(task.role)
    return len(text)

  both = rewards.by_role(
    propose=rewards.per_completion(proposal), solve=rewards.per_completion(correct)
  )
  found = judge(both, ROLES)
  np.testing.assert_array_equal(found.total, [[1, 2], [1, 0]])
  np.testing.assert_array_equal(found.parts['proposal'], [[1, 2], [NAN, NAN]])
  np.testing.assert_array_equal(found.parts['correct'], [[NAN, NAN], [1, 0]])
  assert asked == ['propose', 'propose']  # never about another role's texts


def test_parts_of_one_name_join_over_roles():
  reward = rewards.per_completion(size)
  found = judge(rewards.by_role(propose=reward, solve=reward), ROLES)
  np.testing.assert_array_equal(found.parts['size'], [[1, 2], [1, 1]])


def test_a_role_may_be_left_unjudged_but_not_forgotten():
  solve = rewards.per_completion(correct)
  found = judge(rewards.by_role(solve=solve, propose=None), ROLES)
  np.testing.assert_array_equal(found.total, [[NAN, NAN], [1, 0]])
  with pytest.raises(ValueError, match="task 'a' has role 'propose'"):
    judge(rewards.by_role(solve=solve), ROLES)


def test_array_group_and_random_rewards_are_masked_to_their_role():
  def tokens(params, rollouts):
    return rollouts.action.sum(-1)

  for reward in (rewards.on_device(tokens), rewards.heuristic.random_reward(), fixed_ones()):
    found = judge(rewards.by_role(propose=None, solve=reward), ROLES)
    np.testing.assert_array_equal(np.isnan(found.total), [[True, True], [False, False]])


def fixed_ones():
  return rewards.per_group(lambda task, texts: [1.0] * len(texts))


def test_tolerant_around_roles_keeps_the_other_role():
  both = rewards.by_role(
    propose=rewards.per_completion(correct_or_crash), solve=rewards.per_completion(correct)
  )
  found = judge(compose.tolerant(both), ROLES)
  np.testing.assert_array_equal(found.total, [[NAN, NAN], [1, 0]])


def correct_or_crash(task, text):
  return {'2': 1.0}[text]


def test_a_watched_part_joins_unless_the_reward_has_one_of_that_name():
  samples = make_samples([['a', 'bb']])
  plain = rewards.per_completion(lambda task, text: 0.5, workers=1)
  length = lambda task, text: float(len(text))
  found = rewards.watched(plain, 'correct', length)({}, samples, KEY)
  np.testing.assert_array_equal(found.total, [[0.5, 0.5]])
  np.testing.assert_array_equal(found.parts['correct'], [[1.0, 2.0]])
  own = rewards.weighted(correct=(1.0, plain))
  found = rewards.watched(own, 'correct', length)({}, samples, KEY)
  np.testing.assert_array_equal(found.parts['correct'], [[0.5, 0.5]])


# ---------------------------------------------------------------- what the prompt opened


def test_a_format_reward_may_be_told_what_the_prompt_already_opened():
  samples = make_samples([['hm</think>4', '<think>hm</think>4', '4']])
  tagged = rewards.per_completion(rewards.heuristic.tagged('think'))
  np.testing.assert_array_equal(judge(tagged, samples).total, [[0, 1, 0]])
  found = judge(rewards.opened('<think>', tagged), samples)
  np.testing.assert_array_equal(found.total, [[1, 0, 0]])
  assert list(found.parts) == ['tags']


def test_only_the_reward_that_is_told_sees_the_opening():
  def think(completions, **kwargs):  # as trl.rewards.think_format_reward
    return [float(c[0]['content'].startswith('<think>')) for c in completions]

  reward = rewards.weighted(
    form=(1.0, rewards.opened('<think>', rewards.from_trl(think))),
    size=(0.0, rewards.per_completion(size)),
  )
  found = judge(reward, make_samples([['hm</think>4', '4']]))
  np.testing.assert_array_equal(found.total, [[1, 1]])
  np.testing.assert_array_equal(found.parts['size'], [[11, 1]])


def test_a_role_without_texts_stays_without_texts():
  reward = rewards.by_role(propose=None, solve=rewards.opened('x', rewards.per_completion(size)))
  np.testing.assert_array_equal(judge(reward, ROLES).total, [[NAN, NAN], [2, 2]])


def test_the_order_of_opened_is_said():
  with pytest.raises(ValueError, match=r"opened\('<think>', ...\): 'size' takes"):
    rewards.opened('<think>', size)
