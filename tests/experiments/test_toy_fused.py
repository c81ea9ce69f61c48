"""The fused program equals the plain loop, and it learns."""

import pathlib

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from experiments import toy_fused
from sirl import experiment_file
from sirl.types import Rewards

pytestmark = pytest.mark.usefixtures('quick_compiles')

SEEDS = 5


@pytest.fixture(scope='module')
def learned():
  """(state, metrics) of all seeds, leaves [5, ...]."""
  return toy_fused.learn(jnp.arange(SEEDS))


@pytest.mark.all
def test_fused_steps_equal_separate_calls(learned):
  _, metrics = learned
  for seed in range(2):
    state, key = toy_fused.start(seed)
    for s, step_key in enumerate(jax.random.split(key, toy_fused.STEPS)[:5]):
      key_sample, key_optimize = jax.random.split(step_key)
      rollouts = toy_fused.sample(state.params, key_sample)
      rewards_PG = toy_fused.counts_up(rollouts)
      scored = Rewards(rewards_PG, {})
      state, once = toy_fused.OPTIMIZE(state, rollouts, scored, key_optimize)
      np.testing.assert_allclose(metrics['reward'][seed, s], rewards_PG.mean(), rtol=1e-6)
      for name in ('loss', 'entropy', 'grad_norm', 'advantage_abs_mean'):
        # Adam divides by the gradient's own size, so the rounding of a small gradient shows: atol,
        # not rtol.
        np.testing.assert_allclose(metrics[name][seed, s], once[name], rtol=1e-5, atol=2e-5)


def test_every_step_of_every_seed_updates(learned):
  state, metrics = learned
  assert state.step.tolist() == [toy_fused.STEPS] * SEEDS
  assert metrics['reward'].shape == (SEEDS, toy_fused.STEPS)
  assert len(set(np.asarray(metrics['reward'][:, 0]).tolist())) > 1  # the seeds differ


def test_reward_of_a_known_completion():
  rollouts = toy_fused.sample(toy_fused.start(0)[0].params, jax.random.key(0))
  # 5, 0 and the last 1 continue the count.
  tokens = jnp.broadcast_to(jnp.asarray([4, 5, 0, 0, 1]), rollouts.tokens.shape)
  np.testing.assert_allclose(toy_fused.counts_up(rollouts.replace(tokens=tokens)), 0.75)


def test_reward_rises_over_seeds(learned):
  _, metrics = learned
  before, half_before = toy_fused.interval(metrics['reward'][:, 0])
  after, half_after = toy_fused.interval(metrics['reward'][:, -1])
  assert after - half_after > before + half_before
  assert after > 0.8  # chance is 1/6


def test_main_prints_a_table(capsys):
  toy_fused.main(seeds=SEEDS, rows=3)
  lines = capsys.readouterr().out.splitlines()
  assert lines[0].startswith('5 seeds, 60 steps each')
  assert [line.split()[0] for line in lines[2:]] == ['0', '30', '59']


def test_run_says_how_this_program_is_started_and_lists_experiments_only(monkeypatch):
  monkeypatch.chdir(pathlib.Path(__file__).parent.parent.parent)
  with pytest.raises(ValueError, match=r'of its own: python -m experiments\.toy_fused'):
    experiment_file.load('experiments/toy_fused.py')
  with pytest.raises(FileNotFoundError, match='holds: gsm8k_grpo.py, .*quickstart.py') as error:
    experiment_file.load('experiments/zzz.py')
  assert 'toy_fused' not in str(error.value)
  assert 'settings.py' not in str(error.value)
