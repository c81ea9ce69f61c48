"""Scalars of a step's rewards, by hand; valid rewards of a step; steps with several learners."""

import math

import jax
import numpy as np
import optax
import pytest

from sirl import gro, rewards
from sirl.experiment import Learner
from sirl.generation import explore
from sirl.ops import keys
from sirl.optimization import reference
from sirl.types import Rewards

from support import toy

NAN = math.nan


def test_a_part_is_summed_up_over_the_completions_it_applied_to():
  part = np.asarray([[0.0, 1.0], [2.0, NAN]])
  metrics = gro.reward_metrics(Rewards(part, {'correct': part}), part)
  assert metrics['rewards/correct/mean'] == 1.0
  assert metrics['rewards/correct/std'] == 1.0  # sqrt((1 + 0 + 1) / (3 - 1)), as TRL divides
  assert metrics['rewards/correct/unjudged'] == 0.25


@pytest.mark.parametrize(('values', 'mean'), [([[NAN, NAN]], NAN), ([[0.5, NAN]], 0.5)])
def test_a_spread_needs_two(values, mean):
  part = np.asarray(values)
  metrics = gro.reward_metrics(Rewards(part, {'correct': part}), part)
  assert metrics['rewards/correct/mean'] == pytest.approx(mean, nan_ok=True)
  assert math.isnan(metrics['rewards/correct/std'])


def test_the_best_of_a_group_says_in_how_many_groups_there_is_any_success():
  correct = np.asarray([[0.0, 1.0], [0.0, 0.0], [1.0, NAN], [NAN, NAN]])
  metrics = gro.reward_metrics(Rewards(correct, {'correct': correct}), correct)
  assert metrics['rewards/correct/best'] == pytest.approx(2 / 3)  # of the groups that were judged


def test_ties_and_spread_are_of_groups():
  total = np.asarray([[1.0, 1.0, 1.0], [0.0, 1.0, NAN], [NAN, NAN, NAN]])
  metrics = gro.reward_metrics(Rewards(total, {}), np.where(total == 1, total, NAN))
  assert metrics['reward'] == pytest.approx(4 / 5)
  assert metrics['frac_reward_zero_std'] == 0.5  # of the two groups with anything judged
  assert metrics['reward_std'] == pytest.approx((0 + math.sqrt(0.5)) / 2)
  assert metrics['sampling/rollouts_kept'] == pytest.approx(4 / 9)


def trl_reward(completions, answer, **kwargs):
  return [0.0 for _ in completions]


def trl_reward_with_prompts(prompts, completions, completion_ids=None, **kwargs):
  return [0.0 for _ in completions]


def verl_reward(data_source, solution_str, ground_truth, extra_info=None):
  return 0.0


def scorer(task, text):
  return 0.0


@pytest.mark.parametrize(
  ('function', 'wrapper'),
  [
    (trl_reward, 'from_trl'),
    (trl_reward_with_prompts, 'from_trl'),
    (verl_reward, 'from_verl'),
    (scorer, 'per_completion'),
  ],
)
def test_a_function_that_is_no_reward_is_refused_when_the_experiment_is_built(function, wrapper):
  name = function.__name__
  generate = lambda weights, tasks, key: None
  optimize = lambda state, rollouts, rewards, key: None
  for build in (
    lambda reward: gro.make_step(generate, reward, optimize),
    lambda reward: rewards.weighted(correct=(1.0, reward)),
    lambda reward: rewards.by_role(solve=reward),
  ):
    with pytest.raises(ValueError, match=rf"'{name}' takes .*rewards\.{wrapper} for"):
      build(function)
    build(getattr(rewards, wrapper)(function))


# ---------------------------------------------------------------- learners


def started(params=None, **options):
  """The state of a learner with one number as params, unless `params` is given."""
  params = {'a': jax.numpy.float32(1)} if params is None else params
  return gro.start(Learner(model=None, params=params, optimizer=optax.sgd(1.0), **options))


def test_weights_have_names_and_are_whole():
  policy = started(frozen={'b': np.float32(2)}, reference=True)
  policy = policy.replace(others={**policy.others, 'teacher': {'a': np.float32(7)}})
  twin = started(params={'c': np.float32(5)}, reference=True)
  assert gro.weights_of({'policy': policy, 'twin': twin}) == {
    'policy': {'a': 1, 'b': 2},
    'reference': {'a': 1, 'b': 2},
    'teacher': {'a': 7, 'b': 2},
    'twin': {'c': 5},
    'twin/reference': {'c': 5},
  }
  assert gro.weights_of({'policy': started()}) == {'policy': {'a': 1}}


def test_a_learner_starts_from_copies():
  """The state is donated, but the params that were handed in must outlive it."""
  given = {'a': jax.numpy.float32(1)}
  frozen = {'b': jax.numpy.float32(2)}
  state = started(params=given, frozen=frozen, reference=True)
  jax.tree.map(lambda x: x.delete(), (state.params, state.frozen, state.others))
  assert (float(given['a']), float(frozen['b'])) == (1, 2)


def test_every_learner_is_updated_on_the_same_samples_with_a_key_of_its_own():
  seen = {}

  def update(name):
    def optimize(state, rollouts, rewards, key):
      seen[name] = rollouts, rewards, jax.random.key_data(key).tolist()
      return state.replace(step=state.step + 1), {'loss': np.float32(len(name))}

    return optimize

  generate = explore(toy.MODEL, toy.CODEC, group_size=4, max_prompt=1, max_new=2)
  reward = rewards.per_completion(toy.correct)
  halved = lambda rewards: rewards.replace(total=np.where([1, 1, 0, 0], rewards.total, NAN))
  others = {'twin': update('twin'), 'third': update('third')}
  step = gro.make_step(generate, reward, update('policy'), keep=halved, others=others)
  params = toy.MODEL.init(jax.random.key(0))
  learners = {name: started(params=params) for name in ('policy', 'twin', 'third', 'idle')}
  after, outcome = step(learners, toy.tasks(4), keys.at(0, 'gro', 0, 0))

  assert {name: int(state.step) for name, state in after.items()} == {
    'policy': 1, 'twin': 1, 'third': 1, 'idle': 0,
  }  # fmt: skip
  for rollouts, given, _ in seen.values():
    assert rollouts is outcome.samples.rollouts
    np.testing.assert_array_equal(np.isnan(given.total), [[False, False, True, True]] * 4)
  assert len({tuple(key) for _, _, key in seen.values()}) == 3
  assert [outcome.metrics[name] for name in ('loss', 'twin/loss', 'third/loss')] == [6, 4, 5]
  assert isinstance(outcome.rewards.total, np.ndarray)
  assert np.isfinite(outcome.rewards.total).all()  # the outcome holds what keep left out
  assert outcome.metrics['sampling/rollouts_kept'] == 0.5


@pytest.mark.parametrize('slices', [1, 2])
def test_a_reward_sees_the_updates_that_the_policy_has_had(slices):
  def of_step(completions, trainer_state, **kwargs):
    return [float(trainer_state.global_step)] * len(completions)

  def optimize(state, rollouts, rewards, key):
    return state.replace(step=state.step + 3), {}  # three minibatches

  generate = explore(toy.MODEL, toy.CODEC, group_size=2, max_prompt=1, max_new=2)
  step = gro.make_step(generate, rewards.from_trl(of_step), optimize, slices=slices)
  learners = {'policy': started(params=toy.MODEL.init(jax.random.key(0)))}
  for number, expected in enumerate((0, 3, 6)):
    learners, outcome = step(learners, toy.tasks(4), keys.at(0, 'gro', 0, number))
    np.testing.assert_array_equal(outcome.rewards.total, np.full((4, 2), expected))


def test_a_further_update_without_its_learner_is_refused_by_name():
  nothing = lambda state, rollouts, rewards, key: None
  generate = lambda weights, tasks, key: None
  reward = rewards.per_completion(scorer)
  step = gro.make_step(generate, reward, nothing, others={'twin': nothing})
  with pytest.raises(ValueError, match="others= updates 'twin', but the learners are policy"):
    step({'policy': None}, [], None)


def test_a_rule_on_a_reference_that_is_not_kept_is_refused():
  with pytest.raises(ValueError, match='this learner keeps none; set reference=True'):
    Learner(model=None, params={}, optimizer=optax.sgd(1.0), refresh=reference.each_round)
