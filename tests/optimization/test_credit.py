"""Credit is computed after scoring: what it reads and returns, and how it gets reward parts."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from sirl import gro, models
from sirl.experiment import Learner
from sirl.ops import keys, logprobs, trees
from sirl.optimization import Pieces, advantages, by_group, make_optimize, objectives
from sirl.types import Rewards, Rollouts

from support import compiles

pytestmark = pytest.mark.usefixtures('quick_compiles')

P, G, S, N = 4, 3, 4, 6
MODEL = models.build(
  models.preset('toy', vocab=11, width=16, layers=1, head_width=8, ffw=32, value_head=True)
)
SGD = optax.sgd(1.0)
KEY = jax.random.key(0)
CUTS = {
  'whole': Pieces(),
  'micro-batches': Pieces(microbatches=2),
  'rows': Pieces(rows=5, widths=(2, 4)),
  'rows of micro-batches': Pieces(microbatches=2, rows=2, widths=(3,)),
}
# The fast tier has the whole batch; make test-all has every way of cutting it.
PIECES = [
  pytest.param(pieces, id=name, marks=[pytest.mark.all] * (name != 'whole'))
  for name, pieces in CUTS.items()
]


@pytest.fixture(scope='module')
def rollouts():
  rng = np.random.default_rng(0)
  lengths_PG = rng.integers(1, N + 1, (P, G))
  action = np.pad(np.arange(N) < lengths_PG[..., None], ((0, 0), (0, 0), (S, 0)))
  valid = action | (np.arange(S + N) < S)
  tokens = rng.integers(1, 11, (P, G, S + N))
  tokens[..., :S] = tokens[:, :1, :S]
  tokens = np.where(valid, tokens, 0).astype(np.int32)
  logp = np.where(action, -1.0, 0.0).astype(np.float32)
  return Rollouts(*map(jnp.asarray, (tokens, valid, action, logp, lengths_PG == N)), prompt_width=S)


@pytest.fixture(scope='module')
def rewards(rollouts):
  """Rewards with two parts and with rewards of single tokens; one completion is not judged."""
  rng = np.random.default_rng(1)
  draw = lambda *shape: rng.random(shape, np.float32)
  total, length, right = draw(P, G), draw(P, G), draw(P, G)
  total[1, 2] = right[0, 1] = np.nan
  tokens = np.where(rollouts.action, draw(P, G, S + N), 0)
  return Rewards(*jax.tree.map(jnp.asarray, (total, {'length': length, 'right': right}, tokens)))


def weights(seed):
  """Weights with a nonzero value head; `init` sets it to zero."""
  params = MODEL.init(keys.at(seed, 'init'))
  return jax.tree.map(
    lambda x: x + 0.1 * jax.random.normal(keys.at(seed, 'tasks'), x.shape), params
  )


def start(**others):
  state = gro.start(Learner(model=MODEL, params=weights(0), optimizer=SGD))
  return state.replace(others={name: trees.copy(params) for name, params in others.items()})


def plain(experience):
  return jnp.broadcast_to(experience.rewards[..., None], experience.mask.shape)


@pytest.mark.all
@pytest.mark.parametrize('epochs', [1, 2])
@pytest.mark.parametrize('pieces', PIECES)
def test_a_credit_reads_the_learners_own_numbers(rollouts, rewards, pieces, epochs):
  """A credit may read `token_stats` of the weights before the update; pieces do not change them."""
  seen = {}

  def credit(e):
    read = {
      'old_logp': e.old_logp,
      'ref_logp': e.ref_logp,
      'teacher': e.named_logp['teacher'],
      'values': e.values,
      'token_rewards': e.token_rewards,
      'right': e.parts['right'],
      'rewards': e.rewards,
      'judged': e.judged,
      'advantages': e.advantages,
    }
    assert e.parts.keys() == {'right'}
    jax.debug.callback(lambda **arrays: seen.update(arrays), **read)
    return plain(e)

  optimize = make_optimize(
    MODEL,
    SGD,
    credit,
    objectives.policy_gradient(),
    epochs=epochs,
    pieces=pieces,
    parts=('right',),
    scored_by=('reference', 'teacher', 'nobody'),
  )
  state = start(reference=weights(1), teacher=weights(2), unread=weights(3))
  jax.block_until_ready(optimize(state, rollouts, rewards, KEY))
  jax.effects_barrier()

  stats = [logprobs.token_stats(MODEL, weights(seed), rollouts) for seed in range(3)]
  columns = np.arange(S + N) >= S
  for name, wanted in (
    ('old_logp', stats[0].logp),
    ('ref_logp', stats[1].logp),
    ('teacher', stats[2].logp),
    ('values', stats[0].value),
  ):
    action = np.asarray(rollouts.action)
    np.testing.assert_allclose(seen[name][action], wanted[action], atol=1e-5, err_msg=name)
    assert np.std(wanted[action]) > 0.01
    assert not seen[name][..., ~columns].any()
  assert np.abs(stats[0].logp - stats[1].logp).max() > 0.1  # else the two could be swapped
  np.testing.assert_array_equal(seen['token_rewards'], rewards.tokens)
  np.testing.assert_array_equal(seen['right'], rewards.parts['right'])
  np.testing.assert_array_equal(seen['judged'], ~np.isnan(rewards.total))
  np.testing.assert_array_equal(seen['rewards'], np.nan_to_num(rewards.total))
  assert not seen['advantages'].any()


@pytest.mark.parametrize('pieces', PIECES)
def test_what_a_credit_says_is_what_weights_the_tokens(rollouts, rewards, pieces):
  """The step is that of -(A log pi) summed over the judged tokens, with A held fixed."""

  def credit(e):
    return e.token_rewards + 0.5 * e.parts['length'][..., None] + (e.old_logp - e.ref_logp)

  optimize = make_optimize(
    MODEL, SGD, credit, objectives.policy_gradient(), pieces=pieces, parts=('length',)
  )
  state, metrics = optimize(start(reference=weights(1)), rollouts, rewards, KEY)
  logp = lambda params: logprobs.token_stats(MODEL, params, rollouts).logp
  judged = rollouts.action & ~jnp.isnan(rewards.total)[..., None]
  A = (
    rewards.tokens + 0.5 * rewards.parts['length'][..., None] + logp(weights(0)) - logp(weights(1))
  )

  def loss(params):
    return -jnp.sum(jnp.where(judged, A * logp(params), 0.0)) / judged.sum()

  value, gradient = jax.jit(jax.value_and_grad(loss))(weights(0))
  assert float(metrics['loss']) == pytest.approx(float(value), rel=1e-4)
  moved = jax.tree.map(jnp.subtract, weights(0), state.params)
  assert float(trees.global_norm(moved)) > 0.1
  for mine, theirs in zip(jax.tree.leaves(moved), jax.tree.leaves(gradient)):
    np.testing.assert_allclose(mine, theirs, atol=1e-5)


def test_without_a_reference_or_a_value_head_there_is_none_to_read(rollouts, rewards):
  def credit(e):
    assert (e.ref_logp, e.values, e.named_logp, e.parts) == (None, None, {}, {})
    return plain(e)

  model = MODEL._replace(value=None)
  optimize = make_optimize(model, SGD, credit, objectives.policy_gradient())
  optimize(start(), rollouts, rewards, KEY)


@pytest.mark.parametrize(
  'credit',
  [
    lambda e: jnp.sum(e.rewards, axis=1, keepdims=True),
    lambda e: e.rewards,
    by_group(lambda rewards_PG, judged_PG: rewards_PG.mean(axis=1, keepdims=True)),
  ],
  ids=['[P, 1]', '[P, G]', 'an advantage of [P, 1]'],
)
def test_a_credit_of_another_shape_is_refused(rollouts, rewards, credit):
  """Otherwise it would broadcast silently."""
  optimize = make_optimize(MODEL, SGD, credit, objectives.policy_gradient())
  said = r"(credit|advantage): '<lambda>' returned an array of shape \[4, \d\], expected an array of shape"
  with pytest.raises(ValueError, match=said):
    optimize(start(), rollouts, rewards, KEY)


def test_a_part_that_is_missing_is_refused_by_name(rollouts, rewards):
  optimize = make_optimize(
    MODEL, SGD, plain, objectives.policy_gradient(), parts=('right', 'format')
  )
  with pytest.raises(ValueError, match=r"reads the part 'format'; the reward has length, right"):
    optimize(start(), rollouts, rewards, KEY)
  with pytest.raises(ValueError, match=r"reads the part 'right'; the reward has none"):
    optimize(start(), rollouts, Rewards(rewards.total, {}), KEY)


def test_a_part_that_comes_and_goes_compiles_nothing(rollouts, rewards):
  """A reward function may report a part for some answers only."""
  optimize = make_optimize(MODEL, SGD, plain, objectives.policy_gradient(), parts=('right',))
  states = [start() for _ in range(4)]
  parts = [rewards.parts, {'right': rewards.total}, {**rewards.parts, 'rare': rewards.total}]
  compiled = compiles.watched()
  optimize(states[0], rollouts, rewards, KEY)
  assert len(compiled) == 1
  for state, named in zip(states[1:], parts):
    optimize(state, rollouts, rewards.replace(parts=named), KEY)
  assert len(compiled) == 1


# ---------------------------------------------------------------- objectives of groups


def apart(stats, experience):
  """An objective that pushes the log-prob sums of a group apart; it needs whole groups."""
  sums_PG = jnp.sum(jnp.where(experience.mask, stats.logp, 0.0), axis=-1)
  return -jnp.sum(jnp.square(sums_PG[:, :1] - sums_PG)) / experience.counts.sequences, {}


@pytest.mark.parametrize('cuts', [dict(rows=5), dict(widths=(3,))], ids=str)
def test_an_objective_of_groups_refuses_pieces_that_tear_them(rollouts, rewards, cuts):
  credit, objective = by_group(advantages.centered), objectives.of_groups(apart)
  optimize = make_optimize(MODEL, SGD, credit, objective, pieces=Pieces(**cuts))
  with pytest.raises(ValueError, match=r'leave Pieces.rows at None .* take microbatches='):
    optimize(start(), rollouts, rewards, KEY)


@pytest.mark.all
def test_an_objective_of_groups_is_the_same_in_micro_batches(rollouts, rewards):
  credit, objective = by_group(advantages.centered), objectives.of_groups(apart)
  losses = []
  for pieces in (Pieces(), Pieces(microbatches=2)):
    optimize = make_optimize(MODEL, SGD, credit, objective, pieces=pieces)
    losses.append(float(optimize(start(), rollouts, rewards, KEY)[1]['loss']))
  assert losses[0] == pytest.approx(losses[1], rel=1e-5)
  assert losses[0] < -1


# ---------------------------------------------------------------- frozen weights


def parted(params):
  """(embedding and attention of the layer, all other weights)."""
  trained = {
    'embed': params['embed'],
    'layers': {'0': {'attention': params['layers']['0']['attention']}},
  }
  frozen = {name: tree for name, tree in params.items() if name not in trained}
  rest = {name: tree for name, tree in params['layers']['0'].items() if name != 'attention'}
  return trained, {**frozen, 'layers': {'0': rest}}


@pytest.mark.parametrize('pieces', PIECES)
def test_frozen_weights_stay_and_the_others_move_as_if_all_were_trained(rollouts, rewards, pieces):
  whole = weights(0)
  trained, frozen = parted(whole)
  reference, _ = parted(weights(1))
  objective = objectives.add(objectives.clipped(), (0.1, objectives.kl()))
  optimize = make_optimize(MODEL, SGD, by_group(advantages.centered), objective, pieces=pieces)
  learner = Learner(model=MODEL, params=trained, frozen=frozen, optimizer=SGD)
  state = gro.start(learner).replace(others={'reference': trees.copy(reference)})
  after, metrics = optimize(state, rollouts, rewards, KEY)
  full, expected = optimize(
    start(reference=trees.merged(frozen, reference)), rollouts, rewards, KEY
  )

  jax.tree.map(np.testing.assert_array_equal, after.frozen, frozen)
  moved = jax.tree.map(jnp.subtract, after.params, trained)
  alone, _ = parted(jax.tree.map(jnp.subtract, full.params, whole))
  assert len(jax.tree.leaves(moved)) > 2
  assert min(float(jnp.abs(x).max()) for x in jax.tree.leaves(moved)) > 1e-3
  assert jax.tree.structure(moved) == jax.tree.structure(alone)
  for mine, theirs in zip(jax.tree.leaves(moved), jax.tree.leaves(alone)):
    np.testing.assert_allclose(mine, theirs, atol=1e-6)
  for same in ('loss', 'kl', 'entropy'):
    assert float(metrics[same]) == pytest.approx(float(expected[same]), abs=1e-6)
  assert float(metrics['grad_norm']) < float(expected['grad_norm'])


def test_an_array_is_frozen_or_trained():
  tree = {'a': {'w': 1, 'b': 2}, 'c': 3}
  assert trees.merged({'a': {'w': 1}, 'c': 3}, {'a': {'b': 2}}) == tree
  assert trees.merged(None, tree) is tree
  for frozen in ({'a': {'w': 9}}, {'c': 9}, {'a': 9}, {'c': {'d': 9}}):
    with pytest.raises(ValueError, match=r'is both frozen and trained; every array belongs to one'):
      trees.merged(frozen, tree)
