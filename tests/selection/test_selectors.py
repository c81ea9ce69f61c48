"""Selectors without memory of outcomes, and the filter of uninformative groups."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from sirl.ops import keys
from sirl.selection import scores, selectors
from sirl.tasks import Task
from sirl.types import Rewards

NAN = np.nan


class Pool(list):
  """The part of a pool that a selector uses: len, and indexing by an int or by several."""

  def __getitem__(self, index):
    return (
      [list.__getitem__(self, int(i)) for i in index]
      if hasattr(index, '__len__')
      else list.__getitem__(self, index)
    )


def pool_of(n, **fields):
  return Pool(Task(id=str(i), prompt=str(i), difficulty=float(i), **fields) for i in range(n))


def key(step, round=0):
  return keys.at(0, 'select', round, step)


def chi_square(counts, expected):
  return ((counts - expected) ** 2 / expected).sum()


def assert_uniform(counts, draws):
  """Chi-square of `counts` is below its mean plus five deviations.

  Each of `draws` draws is without replacement.
  """
  expected = np.full(len(counts), draws / len(counts))
  freedom = len(counts) - 1
  assert chi_square(counts, expected) < freedom + 5 * np.sqrt(2 * freedom)


# ---------------------------------------------------------------- uniform, balanced


def test_uniform_draws_distinct_indices_by_key():
  selector, pool = selectors.uniform(), pool_of(100)
  rows = selector.select(selector.init(), pool, key(0), 30)
  assert rows.dtype == np.int32
  assert rows.shape == (30,)
  assert len(set(rows.tolist())) == 30
  np.testing.assert_array_equal(rows, selector.select((), pool, key(0), 30))
  assert rows.tolist() != selector.select((), pool, key(1), 30).tolist()


def test_uniform_is_uniform():
  selector, pool = selectors.uniform(), pool_of(20)
  rows = np.concatenate([selector.select((), pool, key(step), 5) for step in range(400)])
  assert_uniform(np.bincount(rows, minlength=20), 2000)


@pytest.mark.parametrize(('size', 'n'), [(3, 8), (4, 8), (1, 5), (8, 8)])
def test_a_small_pool_repeats_evenly(size, n):
  counts = np.bincount(selectors.uniform().select((), pool_of(size), key(0), n), minlength=size)
  assert counts.sum() == n
  assert counts.max() - counts.min() <= 1


def test_who_is_repeated_once_more_is_drawn():
  rows = np.concatenate(
    [selectors.uniform().select((), pool_of(3), key(step), 4) for step in range(600)]
  )
  extra = np.bincount(rows, minlength=3) - 600
  assert extra.sum() == 600
  assert_uniform(extra, 600)


def test_balanced_gives_each_origin_the_same_share():
  pool = Pool([*pool_of(90, origin='synthetic'), *pool_of(10, origin='curated')])
  rows = np.concatenate(
    [selectors.balanced().select((), pool, key(step), 8) for step in range(100)]
  )
  assert (rows >= 90).sum() == 400  # 4 of 8 in each draw
  assert_uniform(np.bincount(rows[rows < 90], minlength=90), 400)
  odd = selectors.balanced().select((), pool, key(0), 9)
  assert sorted([(odd >= 90).sum(), (odd < 90).sum()]) == [4, 5]
  assert len(set(odd.tolist())) == 9


def test_balanced_by_another_bucket():
  rows = selectors.balanced(by=lambda task: task.difficulty >= 1).select(
    (), pool_of(50), key(0), 10
  )
  assert (rows == 0).sum() == 5


@pytest.mark.parametrize(
  'selector', [selectors.uniform(), selectors.balanced(), selectors.by_score(None, None)]
)
def test_an_empty_pool_is_an_error(selector):
  with pytest.raises(ValueError, match='the pool is empty: acquire brought no tasks'):
    selector.select(selector.init(), Pool(), key(0), 4)


# ---------------------------------------------------------------- by score


def select_by(choose, values, n, step=0, **options):
  score = lambda weights, tasks: [values[int(task.id)] for task in tasks]
  selector = selectors.by_score(score, choose, capacity=16, **options)
  pool = pool_of(len(values))
  state = selector.prepare(selector.init(), pool, None, key(0))
  return selector.select(state, pool, key(step), n)


VALUES = [5.0, 1.0, 4.0, 2.0, 3.0, 0.0, 9.0, 8.0, 7.0, 6.0]  # ranks: row 5 lowest, row 6 highest


@pytest.mark.parametrize(
  ('choose', 'rows'),
  [
    (selectors.band(0.2, 0.8), {3, 4, 2, 0, 9, 8}),
    (selectors.band(0.0, 0.3), {5, 1, 3}),
    (selectors.top_fraction(0.3), {6, 7, 8}),
    (selectors.top_fraction(0.01), {6}),
    (selectors.threshold(low=6.5), {8, 7, 6}),
    (selectors.threshold(low=1, high=2), {1, 3}),
  ],
)
def test_choices_take_the_stated_part(choose, rows):
  n = len(rows)
  assert set(select_by(choose, VALUES, n).tolist()) == rows
  counts = np.bincount(select_by(choose, VALUES, 2 * n + 1), minlength=10)
  assert set(np.flatnonzero(counts).tolist()) == rows
  assert sorted(counts[counts > 0]) == [2] * (n - 1) + [3]


def test_equal_scores_leave_a_band_its_size():
  assert len(set(select_by(selectors.band(0.2, 0.8), [1.0] * 10, 6).tolist())) == 6


def test_softmax_draws_in_proportion():
  """First of one draw: probability exp(s / t) / sum, here 1 : 2 : 5."""
  choose, values = selectors.softmax(0.5), 0.5 * np.log([1.0, 2.0, 5.0])
  rng = np.random.default_rng(0)
  counts = np.bincount([choose(values, rng, 1)[0] for _ in range(4000)], minlength=3)
  assert chi_square(counts, 4000 * np.asarray([1, 2, 5]) / 8) < 2 + 5 * np.sqrt(2 * 2)
  assert sorted(choose(values, rng, 6)) == [0, 0, 1, 1, 2, 2]


def test_scores_are_taken_anew_each_round_or_only_once():
  asked = []

  def score(weights, tasks):
    asked.append(len(tasks))
    return np.full(len(tasks), weights)

  for rescore, expected, old in ((True, [3, 5], 2.0), (False, [3, 2], 1.0)):
    asked.clear()
    selector = selectors.by_score(score, selectors.band(0, 1), capacity=8, rescore=rescore)
    state = selector.prepare(selector.init(), pool_of(3), 1.0, key(0))
    first = state['scores'].copy()
    later = selector.prepare(state, pool_of(5), 2.0, key(1))
    assert asked == expected
    np.testing.assert_array_equal(later['scores'], np.float32([old] * 3 + [2.0] * 2 + [NAN] * 3))
    np.testing.assert_array_equal(state['scores'], first)  # states are never written into
    assert selector.update(later, [0], None) is later


def test_tasks_without_a_score_are_counted_and_never_chosen(caplog):
  rows = select_by(selectors.band(0, 1), [1.0, NAN, 2.0, NAN], 4)
  assert set(rows.tolist()) == {0, 2}
  assert '2 of 4 tasks have no score' in caplog.text


@pytest.mark.parametrize(
  ('run', 'message'),
  [
    (
      lambda: select_by(selectors.band(0, 1), [NAN, NAN], 2),
      'none of the 2 tasks of the pool has a score',
    ),
    (
      lambda: select_by(selectors.threshold(low=10), VALUES, 2),
      'no task scores between 10 and inf; scores lie in 0 to 9',
    ),
    (
      lambda: select_by(selectors.band(0, 1), [1.0] * 17, 2),
      r'holds 17 tasks, the selector remembers 16; set capacity=32',
    ),
    (lambda: selectors.band(0.8, 0.2), r'band\(0.8, 0.2\); expected quantiles'),
    (lambda: selectors.top_fraction(0), r'top_fraction: fraction=0; expected a number in \(0, 1\]'),
    (lambda: selectors.softmax(0), 'softmax: temperature=0; expected a finite number above 0'),
  ],
)
def test_bad_scores_and_numbers_say_what_to_change(run, message):
  with pytest.raises(ValueError, match=message):
    run()


def test_a_score_function_of_the_wrong_length_is_named():
  selector = selectors.by_score(
    lambda weights, tasks: np.zeros(3), selectors.band(0, 1), capacity=8
  )
  with pytest.raises(
    ValueError, match=r'returned shape \(3,\) for 2 tasks; expected one number each'
  ):
    selector.prepare(selector.init(), pool_of(2), None, key(0))


# ---------------------------------------------------------------- scores


def test_perplexity_by_hand():
  """A task whose tokens each have probability 1/8 has perplexity 8."""
  score = scores.perplexity(lambda weights, tasks: np.log(weights) * np.ones(len(tasks)))
  np.testing.assert_allclose(score(1 / 8, pool_of(2)), [8.0, 8.0], rtol=1e-6)
  assert np.isfinite(score(1e-300, pool_of(1))).all()
  assert np.isnan(scores.perplexity(lambda weights, tasks: [NAN])(None, pool_of(1))).all()


def test_learnability_and_difficulty():
  p = scores.learnability(lambda weights, tasks: [0.0, 0.5, 1.0, 0.25])
  np.testing.assert_allclose(p(None, pool_of(4)), [0, 0.25, 0, 0.1875])
  np.testing.assert_array_equal(scores.difficulty(None, pool_of(3)), [0, 1, 2])


# ---------------------------------------------------------------- informative


def rewards_of(correct, total):
  return Rewards(total=jnp.float32(total), parts={'correct': jnp.float32(correct)})


def test_informative_filters_on_the_outcome_not_on_the_shaped_total():
  correct = [[1, 1, 1], [0, 0, 0], [0, 1, 0], [NAN, 1, 1], [NAN, 0, 1], [NAN, NAN, NAN]]
  total = [[1.0, 0.9, 0.8], [0.1, 0, 0], [0, 1, 0], [NAN, 1, 0.9], [NAN, 0, 1], [0.2, 0.3, NAN]]
  none = [NAN] * 3
  expected = [
    none,
    none,
    total[2],
    none,
    total[4],
    total[5],
  ]  # the last: the part did not apply, so it does not count
  keep = selectors.informative('correct')
  tokens = np.arange(6 * 3 * 2, dtype=np.float32).reshape(6, 3, 2)
  rewards = rewards_of(correct, total).replace(tokens=jnp.asarray(tokens))
  for found in (keep(rewards), jax.jit(keep)(rewards)):
    np.testing.assert_array_equal(found.total, np.float32(expected))
    # Only the total marks what is dropped; the rest of the reward is unchanged.
    np.testing.assert_array_equal(found.parts['correct'], np.float32(correct))
    np.testing.assert_array_equal(found.tokens, tokens)


def test_informative_names_the_parts_there_are():
  with pytest.raises(
    ValueError, match=r"informative\('right'\): the reward has no such part; it has correct"
  ):
    selectors.informative('right')(rewards_of([[1, 0]], [[1, 0]]))
