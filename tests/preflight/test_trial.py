"""Every slot is tried on one task before anything is trained, and the error names slot and line."""

import logging
import operator
import sys
import time

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from experiments import settings
from experiments.methods import grpo, supervised
from sirl import loop, rewards
from sirl.evaluation import steering
from sirl.optimization import by_group, objectives
from sirl.rewards import heuristic
from sirl.runtime import sharding
from sirl.selection import selectors
from sirl.slots import Evaluator
from sirl.tasks import Task

pytestmark = pytest.mark.usefixtures('quick_compiles')
TINY = ('debug=true', 'heldout=4', 'prompts=4', 'acquired=8', 'width=16', 'layers=1')


def experiment(*numbers, method=grpo, domain=None, **changes):
  build = settings.built(method.method, domain=domain, **changes)
  return build(build.configured(method.Config, (*TINY, *numbers)))


def tried(*numbers, **changes):
  try_out(experiment(*numbers, **changes))


def try_out(run):
  mesh = sharding.make_mesh(run.config.mesh)
  with jax.set_mesh(mesh):
    run.trial(loop.abstract_state(run, mesh).learners)


def scored(fn):
  return dict(reward=rewards.per_completion(fn, workers=1))


def objective_of(fn):
  return dict(objective=fn)


def nothing(task, text):
  float(text == task.answer)


def a_crash(task, text):
  return 1 / (len(text) - len(text))


def a_word(task, text):
  return 'right'


def a_mean(stats, experience):
  return -(experience.advantages * stats.logp).mean(), {}


def misspelt(stats, experience):
  return experience.advantage.sum(), {}


def one_number(rewards_PG, judged_PG):
  return jnp.mean(rewards_PG)


def no_array(rewards_PG, judged_PG):
  return rewards_PG - np.asarray(rewards_PG).mean()


def no_floor(rewards_PG, judged_PG):
  """0 / 0 where the rewards of a group are equal."""
  return (rewards_PG - rewards_PG.mean(1, keepdims=True)) / rewards_PG.std(1, keepdims=True)


def exits(stats, experience):
  sys.exit(1)


def a_log(stats, experience):
  return objectives.token_mean(jnp.log(stats.logp), experience), {}


def clocked(weights, pool, context):
  return [Task(id=str(time.perf_counter_ns()), prompt='1+1=', answer='2')]


def picks_texts(state, pool, key, n):
  return [task.id for task in pool][:n]


def dropped(rewards):
  return rewards.total


def no_tasks(weights, pool, context):
  return ['12+34=']


def listed(weights, record, context):
  return {'monitor/texts': [] if record.outcome is None else record.outcome.samples.texts}


@pytest.mark.parametrize(
  ('changes', 'message'),
  [
    (scored(nothing), r"reward: it left every completion unjudged, also '\d+', the solution of .*does it return"),
    (scored(a_crash), r'a_crash.* raised ZeroDivisionError.*test_trial.py, line \d+'),
    (scored(a_word), r"a_word.* returned 'right'"),
    (dict(credit=by_group(no_array)), r"the update: Tracer.*: it is traced by JAX.*use jnp.*line \d+"),
    (dict(credit=by_group(no_floor)), 'advantage: it is not finite for a group whose rewards are all equal'),
    (objective_of(a_log), r"objective: the loss of 'a_log' is nan for a made-up batch"),
    (dict(acquire=clocked), r'acquire: two calls with one seed gave other tasks.*draw from the rng'),
    (dict(keep=dropped), r'keep returned .*; expected sirl.types.Rewards'),
    (dict(credit=by_group(one_number)), r"advantage: 'one_number' returned an array of shape \[\]"),
    (objective_of(a_mean), r"the loss of 'a_mean' is .*in place of .mean\(\)"),
    (objective_of(exits), r'sys.exit\(1\) was called.*test_trial.py, line \d+'),
    (objective_of(misspelt), r"AttributeError: .*'advantage'.*test_trial.py, line \d+"),
    (dict(selector=selectors.uniform()._replace(select=picks_texts)), r'selector: select returned <U'),
    (dict(acquire=no_tasks), r"acquire: got '12\+34='; expected acquire\(weights, pool, context\)"),
    (dict(evaluate=listed), r'evaluate: monitor/texts is \[\]; expected a number'),
    (dict(steer=steering.stop_if_not_finite), r'steer returned <function.*call it first: rule'),
    (dict(steer=lambda reports: 'stop'), r"steer returned 'stop'; expected steer\(reports\)"),
  ],
  ids=lambda x: next(iter(x)) if isinstance(x, dict) else '',
)  # fmt: skip
def test_a_slot_of_the_wrong_kind_is_named_with_what_was_expected(changes, message):
  with pytest.raises(ValueError, match=message):
    tried(**changes)


@pytest.mark.parametrize(
  ('numbers', 'message'),
  [
    (('minibatches=3',), 'prompts=4 cannot be cut into minibatches=3'),
    (('slices=3',), 'prompts=4 cannot be cut into slices=3'),
    (('group_size=1',), 'normalized: got a group of 1, needs at least 2'),
  ],
)
def test_numbers_that_do_not_fit_each_other_are_found(numbers, message):
  with pytest.raises(ValueError, match=message):
    tried(*numbers)


def test_nothing_is_trained_before_the_error(tmp_path):
  with pytest.raises(ValueError, match='left every completion unjudged'):
    loop.run(experiment(**scored(nothing)), tmp_path)
  assert not (tmp_path / 'warm').exists()


def test_a_memory_that_a_checkpoint_cannot_hold_is_found():
  kept = Evaluator(lambda: {'seen': {1}}, lambda state, weights, record, context: ({}, state))
  with pytest.raises(ValueError, match='evaluate: its memory is no JSON'):
    tried(evaluators={'kept': kept})


def test_what_asks_the_model_is_tried_up_to_there():
  """An evaluator or a selector that generates would take long; only the rest of it is tried."""
  asked = []

  def evaluate(weights, record, context):
    asked.append('before')
    weights['policy']
    asked.append('after')
    return {}

  tried(evaluate=evaluate)
  assert 'before' in asked
  assert 'after' not in asked


@pytest.mark.parametrize(
  'changes',
  [
    dict(reward=rewards.per_group(heuristic.majority_vote(lambda text: text, same=operator.eq))),
    dict(reward=rewards.on_device(lambda params, rollouts: rollouts.action.sum(-1) * 0.1)),
    dict(reward=rewards.batched(lambda samples: ([1.0] * 4, {}), name='ones')),
    dict(reward=heuristic.random_reward(0.5)),
    dict(objective=objectives.add(objectives.nll(), (0.1, objectives.kl()))),
  ],
)
def test_sound_choices_pass(changes):
  tried(**changes)


def test_an_async_reward_passes():
  async def judged(task, text):
    return 1.0

  tried(**scored(judged))


def test_demonstrations_pass_with_their_own_group_size():
  tried(method=supervised)


def test_a_ratio_with_one_update_per_rollout_is_said_once_and_is_no_warning(caplog):
  with caplog.at_level(logging.INFO, 'sirl'):
    tried('minibatches=2')
    assert 'one update per rollout' not in caplog.text
    tried()
  assert caplog.text.count('one update per rollout') == 1
  assert '--set minibatches=4' in caplog.text
  assert not [r for r in caplog.records if r.levelno >= logging.WARNING]  # GRPO does it by default


def test_a_reward_that_fails_is_one_error_and_no_warning_of_the_same_cause(caplog):
  with pytest.raises(ValueError, match='ZeroDivisionError'):
    tried(**scored(a_crash))
  assert 'fails on an answer' not in caplog.text


def test_a_reward_that_fails_only_where_the_trial_does_not_look_is_a_warning(caplog):
  def of_the_held_out(task, text):
    if not seen:
      raise KeyError('unit')
    return float(text == task.answer)

  seen = []
  made = experiment(**scored(of_the_held_out))
  assert 'fails on an answer' not in caplog.text
  seen.append(True)
  try_out(made)
  assert "the reward fails on an answer of its own task: reward 'of_the_held_out'" in caplog.text


def test_an_objective_without_a_gradient_is_said_since_its_run_would_train_nothing(caplog):
  tried(**objective_of(lambda stats, experience: (0.0, {})))
  assert "objective: the loss of '<lambda>' has no gradient for a made-up batch" in caplog.text
  caplog.clear()
  tried()
  assert 'has no gradient' not in caplog.text


def test_a_trial_changes_no_result():
  """Every draw has its own address, so a run with a trial and one without see the same samples."""
  run = experiment()
  mesh = sharding.make_mesh(run.config.mesh)
  with jax.set_mesh(mesh):
    start = loop.initial_state(run, {'policy': run.policy.params.policy.params})
    before = jax.tree.map(np.array, start)
    run.trial(loop.abstract_state(run, mesh).learners)
  jax.tree.map(np.testing.assert_array_equal, before, jax.tree.map(np.array, start))
