"""Cutting a minibatch into micro-batches, rows and widths changes nothing but rounding."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from sirl import gro, models
from sirl.experiment import Learner
from sirl.models import tabular
from sirl.ops import keys
from sirl.optimization import (
  Pieces,
  advantages,
  buckets,
  by_group,
  contract,
  make_optimize,
  objectives,
  optimize,
)
from sirl.types import Rewards, Rollouts

pytestmark = pytest.mark.usefixtures('quick_compiles')

TABLE = tabular.tabular(11, 12)
DECODER = models.build(models.preset('toy', vocab=11, width=16, layers=1, head_width=8, ffw=32))
P, G, S, N = 4, 3, 4, 8
LENGTHS = np.array([[1, 8, 3], [2, 2, 5], [7, 1, 1], [4, 6, 2]])
SGD = optax.sgd(1.0)


@pytest.fixture(scope='module')
def rollouts():
  rng = np.random.default_rng(0)
  valid_PS = np.arange(S) >= np.array([0, 2, 1, 3])[:, None]
  action = np.concatenate([np.zeros((P, G, S), bool), np.arange(N) < LENGTHS[..., None]], axis=-1)
  valid = action | np.pad(valid_PS, ((0, 0), (0, N)))[:, None]
  tokens = rng.integers(0, 11, (P, G, S + N))
  tokens[..., :S] = tokens[:, :1, :S]
  tokens = np.where(valid, tokens, 0).astype(np.int32)
  logp = np.where(action, -1.0, 0.0).astype(np.float32)
  return Rollouts(*map(jnp.asarray, (tokens, valid, action, logp, LENGTHS == N)), prompt_width=S)


TOTAL = jnp.asarray([[1.0, 0.0, 0.5], [0.2, jnp.nan, 0.9], [1.0, 1.0, 0.0], [0.3, 0.1, 0.0]])
REWARDS = Rewards(TOTAL, {})
CREDIT = by_group(advantages.centered)


def update(rollouts, *, epochs=1, minibatches=1, model=TABLE, **cuts):
  """(change of the weights, metrics) of an update by plain SGD.

  A KL term makes it read every log-prob.
  """
  objective = objectives.add(objectives.clipped(), (0.1, objectives.kl()))
  step = make_optimize(
    model, SGD, CREDIT, objective, epochs=epochs, minibatches=minibatches, pieces=Pieces(**cuts)
  )
  params, reference = model.init(keys.at(0, 'init')), model.init(keys.at(1, 'init'))
  state = gro.start(Learner(model=model, params=params, optimizer=SGD))
  state = state.replace(others={'reference': reference})
  after, metrics = step(state, rollouts, REWARDS, jax.random.key(7))
  return jax.tree.map(jnp.subtract, after.params, params), metrics


FOUR = dict(epochs=2, minibatches=2)
CUTS = {
  'a number that does not divide the 12 completions': dict(rows=5),
  'more rows than there are': dict(rows=100, widths=(3,)),
  'inside micro-batches': dict(rows=2, widths=(1, 2, 4), microbatches=2),
  'in every minibatch': dict(rows=4, widths=(2, 4), **FOUR),
  'of a decoder': dict(rows=4, widths=(4,), model=DECODER),
}


FAST = ('in every minibatch', 'of a decoder')  # the others are of `make test-all`


@pytest.mark.parametrize(
  'cuts',
  [
    pytest.param(c, id=name, marks=[pytest.mark.all] * (name not in FAST))
    for name, c in CUTS.items()
  ],
)
def test_rows_sorted_by_length_give_the_same_update(rollouts, cuts):
  turns = {name: value for name, value in cuts.items() if name in FOUR}
  moved, metrics = update(rollouts, model=cuts.get('model', TABLE), **turns)
  other, others = update(rollouts, **cuts)
  size = max(float(jnp.abs(leaf).max()) for leaf in jax.tree.leaves(moved))
  assert size > 1e-3
  for mine, theirs in zip(jax.tree.leaves(moved), jax.tree.leaves(other)):
    np.testing.assert_allclose(theirs, mine, atol=2e-6 * size)
  assert metrics.keys() == others.keys()
  for name, value in metrics.items():
    np.testing.assert_allclose(others[name], value, rtol=2e-5, atol=1e-6, err_msg=name)


@pytest.mark.all
def test_tokens_that_the_policy_did_not_choose_may_stand_between_its_own(rollouts):
  """A tool's output may stand within a completion.

  The tokens after it are learned from in narrow pieces as in wide ones.
  """
  hole_N = np.isin(np.arange(N), [1, 2, 3])
  action = rollouts.action & ~np.pad(hole_N, (S, 0))
  rollouts = dataclasses.replace(rollouts, action=action)
  assert (action.sum(axis=-1) <= 5).all()  # while the longest completion has 8 columns
  moved, _ = update(rollouts, model=DECODER)
  other, _ = update(rollouts, model=DECODER, rows=2, widths=(3, 5))
  size = max(float(jnp.abs(leaf).max()) for leaf in jax.tree.leaves(moved))
  for mine, theirs in zip(jax.tree.leaves(moved), jax.tree.leaves(other)):
    np.testing.assert_allclose(theirs, mine, atol=2e-6 * size)


@pytest.mark.parametrize(
  'cuts', [dict(rows=0), dict(widths=(4, 0)), dict(microbatches=0), dict(chunk=0)], ids=str
)
def test_numbers_below_one_are_refused(cuts):
  [name] = cuts
  with pytest.raises(ValueError, match=rf'{name}(\[1\])?=0; expected an int of at least 1'):
    Pieces(**cuts)


def credited(rollouts):
  """The Experience from which pieces are cut."""
  judged = optimize._judged(rollouts, REWARDS)
  return contract.with_counts(contract.credited(CREDIT, judged))


def test_pieces_are_sorted_by_length_and_hold_every_row_once(rollouts):
  experience = credited(rollouts)
  pieces = buckets.cut(experience, 5)
  rows = np.asarray(pieces.row)
  assert rows.shape == (3, 5)
  assert sorted(rows.ravel()) == [*range(12), 12, 12, 12]  # three fillers
  lengths = np.asarray(pieces.experience.rollouts.action.sum(axis=-1)).ravel()
  assert lengths.tolist() == [8, 7, 6, 5, 4, 3, 2, 2, 2, 1, 1, 1, 0, 0, 0]
  assert int(pieces.experience.mask.sum()) == int(experience.mask.sum())


def test_a_narrow_piece_is_computed_in_few_columns(rollouts):
  """The width of the result shows which branch ran."""
  experience = credited(rollouts)
  pieces = buckets.cut(experience, 3)
  columns = lambda piece: jnp.int32(piece.experience.rollouts.tokens.shape[-1] - S)
  ran = jax.lax.map(lambda piece: buckets.fitted(columns, piece, (2, 5)), pieces)
  assert ran.tolist() == [8, 5, 2, 2]
