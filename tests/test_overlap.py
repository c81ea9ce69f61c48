"""A step in slices equals a whole step; one slice is judged while the next one is generated."""

import dataclasses
import threading

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from sirl import gro, overlap, rewards
from sirl.experiment import Learner
from sirl.generation import explore
from sirl.models import tabular, tokenizer
from sirl.ops import keys
from sirl.rewards import heuristic
from sirl.tasks import Task
from sirl.types import Ratio

pytestmark = pytest.mark.usefixtures('quick_compiles')

CODEC = tokenizer.characters('abc')
MODEL = tabular.tabular(CODEC.vocab, 8)
PARAMS = MODEL.init(jax.random.key(3))
KEY = keys.at(0, 'gro', 0, 0)
PROMPTS = ['a', 'bc', 'c', 'a', 'ab', 'b', 'a', 'ca']  # 'a' thrice: its samples are numbered on
TASKS = [Task(id=prompt, prompt=prompt) for prompt in PROMPTS]
GENERATE = explore(MODEL, CODEC, group_size=3, max_prompt=2, max_new=5)
REWARD = rewards.weighted(
  length=(1.0, rewards.per_completion(lambda task, text: float(len(text)))),
  coin=(0.5, heuristic.random_reward(0.5)),
)


def untrained(state, rollouts, rewards, key):
  return state, {}


OPTIMIZER = optax.sgd(1.0)
LEARNERS = {'policy': gro.start(Learner(model=MODEL, params=PARAMS, optimizer=OPTIMIZER))}


def outcome_of(slices, *, generate=GENERATE, reward=REWARD):
  return gro.make_step(generate, reward, untrained, slices=slices)(LEARNERS, TASKS, KEY)[1]


@pytest.mark.parametrize('slices', [2, 8])
def test_slices_change_no_sample_and_no_reward(slices):
  whole, sliced = outcome_of(1), outcome_of(slices)
  assert list(sliced.samples.tasks) == TASKS
  assert [list(texts) for texts in sliced.samples.texts] == whole.samples.texts
  assert whole.samples.texts[0] != whole.samples.texts[3]
  assert list(sliced.samples.first) == [0, 0, 0, 3, 0, 0, 6, 0]
  jax.tree.map(np.testing.assert_array_equal, sliced.samples.rollouts, whole.samples.rollouts)
  jax.tree.map(np.testing.assert_array_equal, sliced.rewards, whole.rewards)
  assert sliced.rewards.parts.keys() == {'length', 'coin'}


@pytest.mark.all
def test_rewards_of_tokens_are_put_together_like_all_others():
  def reward(weights, samples, key):
    judged = REWARD(weights, samples, key)
    tokens_PGT = samples.rollouts.action * samples.rollouts.tokens.astype(jnp.float32)
    return judged.replace(tokens=tokens_PGT)

  whole, sliced = (outcome_of(slices, reward=reward).rewards.tokens for slices in (1, 4))
  np.testing.assert_array_equal(sliced, whole)
  assert len({row.tobytes() for row in whole}) == len(PROMPTS)


def test_a_slice_is_judged_while_the_next_one_is_generated():
  """The first reward ends only after the second generation began."""
  began, happened = threading.Event(), []

  def generate(weights, tasks, key, rows=None):
    if 0 not in rows:
      began.set()
    return GENERATE(weights, tasks, key, rows)

  def reward(weights, samples, key):
    happened.append(began.wait(timeout=60))
    return REWARD(weights, samples, key)

  outcome_of(2, generate=generate, reward=reward)
  assert happened == [True, True]


def test_texts_of_a_slice_are_read_while_the_next_one_is_generated():
  """The codec decodes ids only after the second generation began."""
  began, happened = threading.Event(), []

  def read(ids):
    happened.append(began.wait(timeout=60))
    return CODEC.decode(ids)

  slow = explore(MODEL, CODEC._replace(decode=read), group_size=3, max_prompt=2, max_new=5)

  def generate(weights, tasks, key, rows=None):
    if 0 not in rows:
      began.set()
    return slow(weights, tasks, key, rows)

  outcome_of(2, generate=generate)
  assert happened == [True] * 24


def test_what_was_counted_is_added_before_it_is_divided():
  """9 of 10 in one slice and 100 of 1000 in the other are 109 of 1010.

  A slice without a count does not matter.
  """

  def generate(weights, tasks, key, rows=None):
    samples = GENERATE(weights, tasks, key, rows)
    first = rows is None or 0 in rows
    share = Ratio(np.int32(9 if first else 100), np.int32(10 if first else 1000))
    some = Ratio(np.int32(3 * first), np.int32(4 * first))
    nothing = Ratio(np.int32(0), np.int32(0))
    return dataclasses.replace(samples, counted={'share': share, 'some': some, 'nothing': nothing})

  metrics = outcome_of(2, generate=generate).metrics
  assert metrics['share'] == 109 / 1010
  assert metrics['some'] == 3 / 4
  assert np.isnan(metrics['nothing'])


def test_an_error_of_the_reward_comes_through():
  def broken(task, text):
    raise RuntimeError('no sandbox')

  with pytest.raises(rewards.RewardError, match='no sandbox'):
    outcome_of(2, reward=rewards.per_completion(broken))


def test_prompts_that_do_not_divide_are_refused():
  with pytest.raises(ValueError, match=r'prompts=8 cannot be cut into slices=3 .* multiple of 3'):
    outcome_of(3)
  with pytest.raises(ValueError, match='slices=0; expected an int of at least 1'):
    outcome_of(0)


def test_rows_of_several_shards_stay_where_they_are():
  """Two shards hold rows 0-5 and 6-11, cut into three slices.

  Each slice has rows of both shards, and joining the slices restores the order.
  """
  numbers = overlap.slice_numbers(12, 3, 2)
  assert numbers.tolist() == [[0, 1, 6, 7], [2, 3, 8, 9], [4, 5, 10, 11]]
  whole = jnp.arange(24).reshape(12, 2)
  np.testing.assert_array_equal(
    overlap.joined([whole[rows] for rows in numbers], shards=2, where=None), whole
  )
  lists = [[f'row {row}' for row in rows] for rows in numbers]
  assert overlap.interleaved(lists, 2) == [f'row {row}' for row in range(12)]
