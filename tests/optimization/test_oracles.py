"""Objectives and advantages against numbers from the reference implementations' own code.

`data/policy_losses.json` holds inputs, losses and d loss / d logp, computed in float64 by TRL
1.16.0 (`GRPOTrainer._compute_loss`) and verl 0.9.1 (`core_algos`) with torch 2.13.0. verl adds 1e-8
to token counts, hence the tolerance of 2e-8. If a test fails after the file was made again with
newer versions, a definition has changed there. Read their change log before changing our code.
"""

import functools
import json
import pathlib

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from sirl.ops import logprobs
from sirl.optimization import advantages, objectives
from sirl.types import Counts, Experience, Rollouts, TokenStats

ORACLE = json.loads(
  (pathlib.Path(__file__).parent.parent / 'data' / 'policy_losses.json').read_text()
)
T = ORACLE['shapes']['T']
LOW, HIGH = 0.2, 0.28

REDUCTIONS = {
  'token-mean': objectives.token_mean,
  'seq-mean-token-mean': objectives.sequence_mean_token_mean,
  'seq-mean-token-sum': objectives.sequence_mean_token_sum,
  'seq-mean-token-sum-norm': objectives.sequence_mean_token_sum_norm(T),
}


@pytest.fixture(autouse=True)
def float64():
  with jax.enable_x64(True):
    yield


def experience():
  """The oracle's batch of 8 rows as [P=2, G=4, T=7]."""
  inputs = {name: jnp.asarray(value, jnp.float64) for name, value in ORACLE['inputs'].items()}
  grouped = lambda x: x.reshape(2, 4, *x.shape[1:])
  mask = grouped(inputs['mask']) > 0
  zeros = jnp.zeros(mask.shape)
  return inputs, Experience(
    rollouts=Rollouts(zeros, mask, mask, zeros, jnp.zeros((2, 4), bool)),
    rewards=jnp.zeros((2, 4)),
    judged=jnp.ones((2, 4), bool),
    advantages=jnp.where(mask, grouped(inputs['advantages'])[..., None], 0.0),
    mask=mask,
    old_logp=grouped(inputs['old_logp']),
    named_logp={'reference': grouped(inputs['ref_logp'])},
    counts=Counts(tokens=mask.sum(dtype=jnp.float64), sequences=jnp.asarray(8.0, jnp.float64)),
  )


def check(objective, expected_loss, expected_grad):
  inputs, batch = experience()

  def loss(logp):
    stats = TokenStats(logp=logp.reshape(2, 4, T), entropy=inputs['entropy'].reshape(2, 4, T))
    return objective(stats, batch)

  (value, metrics), grad = jax.value_and_grad(loss, has_aux=True)(inputs['logp'])
  np.testing.assert_allclose(float(value), expected_loss, atol=2e-8)
  np.testing.assert_allclose(grad, np.asarray(expected_grad), atol=2e-8)
  return metrics


VERL = {
  'vanilla': lambda reduce: objectives.clipped(LOW, HIGH, reduce, dual=3.0),
  'gspo': lambda reduce: objectives.sequence_clipped(LOW, HIGH, reduce),
  'gpg': objectives.policy_gradient,
}


@pytest.mark.parametrize('reduction', REDUCTIONS)
@pytest.mark.parametrize('name', VERL)
def test_verl_losses_and_gradients(name, reduction):
  case = ORACLE['verl']['loss'][f'{name}/{reduction}']
  check(VERL[name](REDUCTIONS[reduction]), case['loss'], case['grad'])


TRL = {
  'grpo': objectives.sequence_mean_token_mean,
  'bnpo': objectives.token_mean,
  'dapo': objectives.token_mean,
  'dr_grpo': objectives.sequence_mean_token_sum_norm(T),
}


@pytest.mark.parametrize('name', TRL)
@pytest.mark.parametrize('level', ['token', 'sequence'])
@pytest.mark.parametrize('kl', ['', '/kl'])
def test_trl_losses_and_gradients(name, level, kl):
  case = ORACLE['trl_cases'][f'{name}/{level}{kl}']
  policy = {'token': objectives.clipped, 'sequence': objectives.sequence_clipped}[level]
  terms = objectives.add(
    policy(LOW, HIGH, TRL[name]), (case['config']['beta'], objectives.kl(logprobs.k3, TRL[name]))
  )
  metrics = check(terms, case['loss'], case['grad'])
  if level == 'token':
    for metric in ('clip_ratio/low_mean', 'clip_ratio/high_mean', 'clip_ratio/region_mean'):
      np.testing.assert_allclose(float(metrics[metric]), case['metrics'][metric], atol=1e-9)
  if kl:  # what optimize logs
    inputs, batch = experience()
    k3 = logprobs.k3(inputs['logp'].reshape(2, 4, T), batch.ref_logp)
    np.testing.assert_allclose(
      float(objectives.token_mean(k3, batch)), case['metrics']['kl'], atol=1e-9
    )


def test_trl_entropy_bonus():
  case = ORACLE['trl_cases']['dapo/token/entropy_bonus']
  terms = objectives.add(
    objectives.clipped(LOW, case['config']['eps_high']),
    (-case['config']['ent_coef'], objectives.entropy()),
  )
  check(terms, case['loss'], case['grad'])


def test_trl_on_policy_gradient_is_reinforce():
  case = ORACLE['trl_cases']['dapo/token/onpolicy']
  inputs, batch = experience()
  batch = batch.replace(old_logp=inputs['logp'].reshape(2, 4, T))

  def gradient(objective):
    stats = lambda logp: TokenStats(logp.reshape(2, 4, T), jnp.zeros((2, 4, T)))
    return jax.grad(lambda logp: objective(stats(logp), batch)[0])(inputs['logp'])

  np.testing.assert_allclose(gradient(objectives.clipped(LOW, HIGH)), case['grad'], atol=1e-9)
  np.testing.assert_allclose(gradient(objectives.policy_gradient()), case['grad'], atol=1e-9)


@pytest.mark.parametrize(
  ('name', 'advantage'),
  [
    ('grpo', functools.partial(advantages.normalized, epsilon=1e-6)),
    ('grpo_nostd', advantages.centered),
    ('rloo', advantages.leave_one_out),
  ],
)
def test_verl_advantages(name, advantage):
  rewards = jnp.asarray(ORACLE['verl']['rewards'], jnp.float64).reshape(2, 4)
  ours = advantage(rewards, jnp.ones((2, 4), bool)).reshape(8)
  theirs = np.asarray(ORACLE['verl']['adv'][name])[:, 0]  # constant along a row's tokens
  np.testing.assert_allclose(ours, theirs, atol=1e-7)


@pytest.mark.parametrize(
  ('name', 'estimator'),
  [
    ('k1', logprobs.k1),
    ('k2', logprobs.k2),
    ('k3', logprobs.k3),
    ('k3+', logprobs.k3_straight_through),
  ],
)
def test_verl_kl_estimators(name, estimator):
  inputs, _ = experience()
  ours = estimator(inputs['logp'], inputs['ref_logp'])
  np.testing.assert_allclose(ours, ORACLE['verl']['kl'][name], atol=1e-12)
