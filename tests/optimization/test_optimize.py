"""The update: exact expected gradients by enumeration, invariance to cutting, skipped updates."""

import itertools

import chex
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from sirl import gro
from sirl.experiment import Learner
from sirl.ops import logprobs, trees
from sirl.optimization import Pieces, advantages, by_group, make_optimize, objectives, transforms
from sirl.types import Rewards

from support import compiles
from support import enumeration as exact

pytestmark = pytest.mark.usefixtures('quick_compiles')

SGD = optax.sgd(1.0)


def reward_of(completion):
  """A fixed reward with ties: 1 for a completion that holds token 3, else .25 per token."""
  return 1.0 if 3 in completion else 0.25 * len(completion)


def state_of(params, optimizer=SGD, reference=None):
  state = gro.start(Learner(model=exact.MODEL, params=params, optimizer=optimizer))
  return state if reference is None else state.replace(others={'reference': trees.copy(reference)})


def rewarded(total_PG):
  return Rewards(total_PG, {})


@pytest.fixture(scope='module')
def params():
  return exact.MODEL.init(jax.random.key(5))


def expected_step(params, advantage, objective, group_size=2):
  """Mean SGD step, -(gradient), over all possible groups, weighted by their probability."""
  optimize = make_optimize(exact.MODEL, SGD, by_group(advantage), objective)
  law = {y: float(jnp.exp(exact.log_probability(params, y))) for y in exact.completions()}
  total = np.zeros(params['logits'].shape)
  for group in itertools.product(law, repeat=group_size):
    rewards = jnp.asarray([[reward_of(y) for y in group]])
    after, _ = optimize(
      state_of(params), exact.rollouts([group]), rewarded(rewards), jax.random.key(0)
    )
    step = np.asarray(after.params['logits'] - params['logits'], np.float64)
    total += np.prod([law[y] for y in group]) * step
  return total


SEQUENCE_SUM = objectives.sequence_mean_token_sum


@pytest.mark.parametrize(
  ('advantage', 'objective', 'scale'),
  [
    (advantages.raw, objectives.policy_gradient(SEQUENCE_SUM), 1.0),
    (advantages.leave_one_out, objectives.policy_gradient(SEQUENCE_SUM), 1.0),
    # The group mean contains the completion itself: (G - 1) / G of the gradient, one half here.
    (advantages.centered, objectives.policy_gradient(SEQUENCE_SUM), 0.5),
    (advantages.centered, objectives.clipped(0.2, 0.28, SEQUENCE_SUM), 0.5),
    (advantages.leave_one_out, objectives.clipped(0.2, 0.2, SEQUENCE_SUM), 1.0),
    (
      advantages.centered,
      objectives.policy_gradient(objectives.sequence_mean_token_sum_norm(4)),
      0.125,
    ),
  ],
  ids=[
    'reinforce',
    'rloo',
    'dr_grpo',
    'dr_grpo_clipped',
    'rloo_clipped',
    'dr_grpo_constant_length',
  ],
)
def test_mean_gradient_over_all_groups_is_the_exact_policy_gradient(
  params, advantage, objective, scale
):
  exact_gradient = exact.policy_gradient_of(params, reward_of)['logits']
  np.testing.assert_allclose(
    expected_step(params, advantage, objective), scale * exact_gradient, atol=2e-6
  )


def test_mean_gradient_of_rejection_sampling_is_that_of_the_acceptance_rate(params):
  accepted = lambda y: float(reward_of(y) >= 1.0)
  step = expected_step(params, advantages.accept(1.0), objectives.nll(SEQUENCE_SUM), group_size=1)
  np.testing.assert_allclose(step, exact.policy_gradient_of(params, accepted)['logits'], atol=2e-6)


def test_mean_gradient_of_group_normalized_rewards_by_brute_force(params):
  """GRPO's estimator has no simple closed form, so the surrogate is enumerated."""
  ys = exact.completions()
  r = np.asarray([reward_of(y) for y in ys])
  lengths = np.asarray([len(y) for y in ys])
  # Advantage of a in the group (a, b): its distance to the mean over the standard deviation.
  A_ab = (r[:, None] - r) / 2 / (np.abs(r[:, None] - r) / np.sqrt(2) + 1e-6)

  def surrogate(p, fixed):
    logp, old = (jnp.stack([exact.log_probability(q, y) for y in ys]) for q in (p, fixed))
    weight_ab = jnp.exp(old[:, None] + old)
    each = logp / lengths
    return jnp.sum(weight_ab * (A_ab * each[:, None] + A_ab.T * each) / 2)

  expected = jax.jit(jax.grad(surrogate))(params, params)['logits']
  step = expected_step(
    params, advantages.normalized, objectives.policy_gradient(objectives.sequence_mean_token_mean)
  )
  np.testing.assert_allclose(step, expected, atol=2e-5)


@pytest.mark.parametrize(
  ('estimator', 'target'),
  [
    (logprobs.k1, 'zero'),
    (logprobs.k2, 'reverse'),
    (logprobs.k3, 'forward'),
    (logprobs.k3_straight_through, 'reverse'),
  ],
)
def test_mean_gradient_of_kl_estimators_as_losses(estimator, target):
  """One token. The gradient of k1 is zero.

  That of k2 is the gradient of KL(policy || reference), that of k3 of KL(reference || policy).
  """
  logits, reference = 0.7 * jax.random.normal(jax.random.key(0), (2, 5))
  probs = jax.nn.softmax(logits)
  ref_logp = jax.nn.log_softmax(reference)

  def loss(z):
    return jnp.sum(probs * estimator(jax.nn.log_softmax(z), ref_logp))

  truth = {
    'zero': lambda z: 0.0 * z.sum(),
    'reverse': lambda z: logprobs.kl_exact(z, reference),
    'forward': lambda z: logprobs.kl_exact(reference, z),
  }[target]
  np.testing.assert_allclose(jax.grad(loss)(logits), jax.grad(truth)(logits), atol=1e-6)


def batch(params, P=8, G=4, seed=0):
  rng = np.random.default_rng(seed)
  pool = exact.completions()
  groups = [[pool[i] for i in rng.integers(len(pool), size=G)] for _ in range(P)]
  rewards = jnp.asarray([[reward_of(y) for y in group] for group in groups]).at[0, 0].set(jnp.nan)
  return exact.rollouts(groups), rewards


REDUCTIONS = {
  'token_mean': objectives.token_mean,
  'sequence_mean_token_mean': objectives.sequence_mean_token_mean,
  'sequence_mean_token_sum': SEQUENCE_SUM,
  'sequence_mean_token_sum_norm': objectives.sequence_mean_token_sum_norm(2),
}


@pytest.mark.parametrize('reduce', REDUCTIONS)
def test_micro_batches_change_neither_update_nor_metrics(params, reduce):
  rollouts, rewards = batch(params)
  reference = exact.MODEL.init(jax.random.key(9))
  objective = objectives.add(
    objectives.clipped(0.2, 0.28, REDUCTIONS[reduce]),
    (0.1, objectives.kl(reduce=REDUCTIONS[reduce])),
  )
  results = []
  for microbatches in (1, 2, 8):
    optimize = make_optimize(
      exact.MODEL,
      SGD,
      by_group(advantages.normalized),
      objective,
      pieces=Pieces(microbatches=microbatches),
    )
    state, metrics = optimize(
      state_of(params, reference=reference), rollouts, rewarded(rewards), jax.random.key(0)
    )
    results.append((state.params, metrics))
  for other in results[1:]:
    chex.assert_trees_all_close(other, results[0], atol=2e-6)


@pytest.mark.all
def test_without_jit_the_update_is_the_same(params):
  rollouts, rewards = batch(params)
  optimize = make_optimize(
    exact.MODEL, SGD, by_group(advantages.centered), objectives.clipped(), epochs=2, minibatches=2
  )
  compiled, metrics = optimize(state_of(params), rollouts, rewarded(rewards), jax.random.key(1))
  with jax.disable_jit():
    plain, plain_metrics = optimize(
      state_of(params), rollouts, rewarded(rewards), jax.random.key(1)
    )
  chex.assert_trees_all_close((compiled.params, metrics), (plain.params, plain_metrics), atol=1e-5)
  assert int(compiled.step) == 4


def test_supervised_nll_is_optax_cross_entropy(params):
  rollouts = exact.rollouts([[(2, 3)], [(3, 1)]])
  optimize = make_optimize(exact.MODEL, SGD, by_group(advantages.raw), objectives.nll())
  state, metrics = optimize(
    state_of(params), rollouts, rewarded(jnp.ones((2, 1))), jax.random.key(0)
  )

  def cross_entropy(p):
    logits = jnp.stack([p['logits'][0, 2], p['logits'][1, 2], p['logits'][0, 2], p['logits'][1, 3]])
    return optax.softmax_cross_entropy_with_integer_labels(logits, jnp.asarray([2, 3, 3, 1])).mean()

  np.testing.assert_allclose(float(metrics['loss']), float(cross_entropy(params)), rtol=1e-6)
  chex.assert_trees_all_close(
    state.params,
    jax.tree.map(lambda p, g: p - g, params, jax.grad(cross_entropy)(params)),
    atol=1e-6,
  )


def test_a_batch_that_is_not_finite_leaves_everything_and_is_counted(params):
  optimizer = transforms.adamw(0.1)
  rollouts, rewards = batch(params)
  optimize = make_optimize(
    exact.MODEL, optimizer, by_group(advantages.raw), objectives.policy_gradient()
  )
  broken = {'logits': params['logits'].at[0, 2].set(jnp.nan)}
  before = state_of(broken, optimizer)
  opt_state = jax.tree.map(jnp.copy, before.opt_state)
  state, metrics = optimize(before, rollouts, rewarded(rewards), jax.random.key(0))
  chex.assert_trees_all_equal(state.params, broken)
  chex.assert_trees_all_equal(state.opt_state, opt_state)
  assert (int(state.step), float(metrics['updates_skipped'])) == (0, 1.0)


def test_the_state_keeps_its_dtypes_where_gradients_are_summed_in_float32(params):
  half, optimizer = jax.tree.map(lambda x: x.astype(jnp.bfloat16), params), transforms.adamw(1e-3)
  optimize = make_optimize(
    exact.MODEL,
    optimizer,
    by_group(advantages.centered),
    objectives.policy_gradient(),
    pieces=Pieces(microbatches=2),
  )
  state = state_of(half, optimizer)
  dtypes = jax.tree.map(lambda x: x.dtype, state)
  rollouts, rewards = batch(half)
  after, _ = optimize(state, rollouts, rewarded(rewards), jax.random.key(0))
  assert jax.tree.map(lambda x: x.dtype, after) == dtypes


def test_nothing_judged_means_no_gradient_and_no_nan(params):
  rollouts, rewards = batch(params)
  optimize = make_optimize(exact.MODEL, SGD, by_group(advantages.normalized), objectives.clipped())
  state, metrics = optimize(
    state_of(params), rollouts, rewarded(jnp.full_like(rewards, jnp.nan)), jax.random.key(0)
  )
  chex.assert_trees_all_equal(state.params, params)
  assert float(metrics['judged_ratio']) == 0.0
  assert np.isfinite(float(metrics['loss']))


def test_a_second_call_compiles_nothing_and_the_state_is_donated(params):
  rollouts, rewards = batch(params)
  optimizer = transforms.adamw(1e-2)
  optimize = make_optimize(
    exact.MODEL, optimizer, by_group(advantages.normalized), objectives.clipped()
  )
  state = state_of(params, optimizer)
  given = state.params['logits']
  others = [(rewarded(rewards * i), jax.random.key(i)) for i in range(3)]
  compiled = compiles.watched()
  state, _ = optimize(state, rollouts, rewarded(rewards), jax.random.key(0))
  assert given.is_deleted()
  assert len(compiled) == 1
  for other, key in others:
    state, _ = optimize(state, rollouts, other, key)
  assert len(compiled) == 1


def test_prompt_and_padding_tokens_get_no_gradient(params):
  # The completion is the end token alone; column 2 is padding.
  rollouts = exact.rollouts([[(1,), (1,)]])
  optimize = make_optimize(exact.MODEL, SGD, by_group(advantages.raw), objectives.policy_gradient())
  state, _ = optimize(state_of(params), rollouts, rewarded(jnp.ones((1, 2))), jax.random.key(0))
  moved = np.asarray(state.params['logits'] != params['logits'])
  assert moved[0, exact.PROMPT].all()
  assert moved.sum() == exact.VOCAB


def test_kl_without_a_reference_says_what_to_do(params):
  rollouts, rewards = batch(params)
  optimize = make_optimize(
    exact.MODEL, SGD, by_group(advantages.centered), objectives.add((0.1, objectives.kl()))
  )
  with pytest.raises(ValueError, match='set reference=True'):
    optimize(state_of(params), rollouts, rewarded(rewards), jax.random.key(0))


def test_prompts_that_do_not_divide_say_what_to_do(params):
  rollouts, rewards = batch(params, P=6)
  optimize = make_optimize(
    exact.MODEL,
    SGD,
    by_group(advantages.centered),
    objectives.clipped(),
    pieces=Pieces(microbatches=4),
  )
  with pytest.raises(ValueError, match='prompts=6 .* multiple of 4'):
    optimize(state_of(params), rollouts, rewarded(rewards), jax.random.key(0))


@pytest.mark.parametrize('reduce', REDUCTIONS)
def test_objectives_pass_finite_differences(params, reduce):
  with jax.enable_x64(True):
    wide = jax.tree.map(lambda x: x.astype(jnp.float64), params)
    rollouts, rewards = batch(params, P=2, G=3)
    from sirl.optimization import contract
    from sirl.optimization import optimize as module

    batch_ = module._judged(rollouts, rewarded(rewards))
    batch_ = contract.with_counts(contract.credited(by_group(advantages.centered), batch_))
    old = logprobs.token_stats(exact.MODEL, exact.MODEL.init(jax.random.key(8)), rollouts).logp
    batch_ = batch_.replace(old_logp=old, named_logp={'reference': old})
    objective = objectives.add(
      objectives.clipped(0.2, 0.28, REDUCTIONS[reduce]),
      (0.1, objectives.kl(logprobs.k3, REDUCTIONS[reduce])),
      (-0.01, objectives.entropy()),
    )

    def loss(logp):
      stats = logprobs.token_stats(exact.MODEL, wide, rollouts)
      return objective(stats.__class__(logp=logp, entropy=stats.entropy), batch_)[0]

    logp = logprobs.token_stats(exact.MODEL, wide, rollouts).logp.astype(jnp.float64)
    jax.test_util.check_grads(loss, (logp,), order=1, modes=['rev'], atol=1e-5, rtol=1e-5)


# ---------------------------------------------------------------- nothing to count

OVER_JUDGED_TOKENS = (
  'entropy', 'kl', 'advantage_abs_mean', 'clip_ratio/low_mean', 'clip_ratio/high_mean',
  'clip_ratio/region_mean',
)  # fmt: skip


def clipped_metrics(params, total_PG, **options):
  ys = exact.completions()
  groups = [ys[2 * p : 2 * p + 2] for p in range(len(total_PG))]
  optimize = make_optimize(
    exact.MODEL, SGD, by_group(advantages.centered), objectives.clipped(), **options
  )
  state = state_of(params, reference=params)
  _, metrics = optimize(
    state, exact.rollouts(groups), rewarded(jnp.asarray(total_PG)), jax.random.key(0)
  )
  return {name: float(value) for name, value in metrics.items()}


@pytest.mark.parametrize('options', [{}, {'minibatches': 2}, {'pieces': Pieces(microbatches=2)}])
def test_a_step_that_judges_no_completion_measures_nothing_and_not_zero(params, options):
  metrics = clipped_metrics(params, np.full((2, 2), np.nan), **options)
  assert [name for name in OVER_JUDGED_TOKENS if not np.isnan(metrics[name])] == []
  # What was done to the weights is known: nothing.
  assert (metrics['loss'], metrics['grad_norm'], metrics['judged_ratio']) == (0, 0, 0)
  assert metrics['updates_skipped'] == 0


def test_a_minibatch_without_judged_tokens_leaves_the_metrics_of_the_others(params):
  judged = clipped_metrics(params, [[0.0, 1.0]], epochs=1)
  half = clipped_metrics(params, [[0.0, 1.0], [np.nan, np.nan]], minibatches=2)
  for name in OVER_JUDGED_TOKENS:
    np.testing.assert_allclose(half[name], judged[name], rtol=1e-5, err_msg=name)


def test_the_length_of_ended_completions_is_unknown_when_none_ended(params):
  rollouts = exact.rollouts([exact.completions()[:2]])
  rollouts = rollouts.replace(truncated=jnp.ones_like(rollouts.truncated))
  optimize = make_optimize(
    exact.MODEL, SGD, by_group(advantages.centered), objectives.policy_gradient()
  )
  _, metrics = optimize(state_of(params), rollouts, rewarded(jnp.ones((1, 2))), jax.random.key(0))
  assert np.isnan(float(metrics['completions/mean_terminated_length']))
