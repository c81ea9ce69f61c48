"""The success-rate posterior: its numbers by hand, its draws, its memory."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from sirl.ops import keys
from sirl.selection import adaptive
from sirl.tasks import Task
from sirl.types import Rewards

NAN = np.nan


def pool_of(n):
  return [Task(id=str(i), prompt=str(i), difficulty=float(i // 4)) for i in range(n)]


def rewards_of(outcomes, name='correct', total=None):
  outcomes = jnp.float32(outcomes)
  return Rewards(
    total=jnp.zeros_like(outcomes) if total is None else jnp.float32(total), parts={name: outcomes}
  )


def key(step):
  return keys.at(0, 'select', 0, step)


def test_state_has_fixed_shapes_and_checkpoint_dtypes():
  selector = adaptive.success_rate(capacity=8)
  state = selector.init()
  after = selector.update(
    selector.prepare(state, pool_of(3), None, key(0)), np.int32([0]), rewards_of([[1, 0]])
  )
  for tree in (state, after):
    assert {name: (x.shape, x.dtype) for name, x in tree.items()} == {
      'solved': ((8,), np.float32), 'failed': ((8,), np.float32), 'cell': ((8,), np.int32)
    }  # fmt: skip


def test_posterior_by_hand():
  """Beta(1, 1) with 3 of 4 solved is Beta(4, 2), mean 2/3.

  Without observations the mean stays at 1/2, and NaN is no observation.
  """
  selector = adaptive.success_rate(capacity=4, decay=1.0)
  state = selector.update(
    selector.init(), np.int32([2, 0]), rewards_of([[1, 1, 0, 1], [NAN, 0, NAN, 0]])
  )
  np.testing.assert_allclose(state['solved'], [0, 0, 3, 0])
  np.testing.assert_allclose(state['failed'], [2, 0, 1, 0])
  np.testing.assert_allclose(
    adaptive.posterior_mean(state), [1 / 4, 1 / 2, 2 / 3, 1 / 2], rtol=1e-6
  )
  np.testing.assert_allclose(
    adaptive.posterior_mean(state, prior=(2, 6)), [0.2, 0.25, 5 / 12, 0.25], rtol=1e-6
  )


def test_evidence_fades_everywhere_at_each_step():
  selector = adaptive.success_rate(capacity=2, decay=0.5)
  state = selector.update(selector.init(), np.int32([0]), rewards_of([[1, 1, 1, 0]]))
  state = selector.update(state, np.int32([1]), rewards_of([[0, 0, 0, 0]]))
  np.testing.assert_allclose(state['solved'], [1.5, 0])
  np.testing.assert_allclose(state['failed'], [0.5, 4])


def test_a_task_twice_in_a_batch_counts_twice():
  selector = adaptive.success_rate(capacity=2)
  state = selector.update(selector.init(), np.int32([1, 1]), rewards_of([[1, 0], [1, 1]]))
  np.testing.assert_allclose((state['solved'][1], state['failed'][1]), (3, 1))


def test_partial_credit_is_split_between_success_and_failure():
  selector = adaptive.success_rate(capacity=1)
  state = selector.update(selector.init(), np.int32([0]), rewards_of([[0.25, 0.25]]))
  np.testing.assert_allclose((state['solved'][0], state['failed'][0]), (0.5, 1.5))


def test_states_are_never_written_into():
  selector = adaptive.success_rate(capacity=2, bucket=lambda task: 0)
  state = selector.init()
  before = jax.tree.map(np.copy, state)
  selector.prepare(state, pool_of(2), None, key(0))
  selector.update(state, np.int32([0]), rewards_of([[1, 1]]))
  jax.tree.map(np.testing.assert_array_equal, state, before)


def test_the_total_stands_in_for_a_missing_part():
  selector = adaptive.success_rate(capacity=1)
  state = selector.update(
    selector.init(), np.int32([0]), rewards_of([[9, 9]], name='length', total=[[1, 0]])
  )
  np.testing.assert_allclose((state['solved'][0], state['failed'][0]), (1, 1))


def test_the_total_can_be_asked_for_by_name():
  selector = adaptive.success_rate(part='total', capacity=4)
  state = selector.update(
    selector.init(), np.array([2]), rewards_of([[0.0, 0.0]], total=[[1.0, 1.0]])
  )
  assert state['solved'][2] > state['failed'][2]


def seen(rates, weight=1000.0):
  """A state in which task i was solved with rate rates[i], often enough that draws are near it."""
  selector = adaptive.success_rate(capacity=len(rates))
  rates = np.float32(rates)
  return {**selector.init(), 'solved': weight * rates, 'failed': weight * (1 - rates)}


@pytest.mark.parametrize(('target', 'rows'), [(0.5, {2, 3}), (0.9, {4, 5}), (0.0, {0, 1})])
def test_tasks_nearest_the_target_are_taken(target, rows):
  state = seen([0.02, 0.1, 0.45, 0.6, 0.8, 0.95])
  for step in range(10):
    drawn = adaptive.success_rate(target=target, capacity=6).select(state, pool_of(6), key(step), 2)
    assert drawn.dtype == np.int32
    assert set(drawn.tolist()) == rows


def test_draws_are_distinct_addressed_and_repeat_a_small_pool_evenly():
  selector = adaptive.success_rate(capacity=64)
  state = selector.init()
  rows = selector.select(state, pool_of(50), key(0), 20)
  assert len(set(rows.tolist())) == 20
  np.testing.assert_array_equal(rows, selector.select(state, pool_of(50), key(0), 20))
  assert rows.tolist() != selector.select(state, pool_of(50), key(1), 20).tolist()
  counts = np.bincount(selector.select(state, pool_of(3), key(0), 8), minlength=3)
  assert sorted(counts) == [2, 3, 3]


def test_a_restored_state_of_jax_arrays_draws_the_same():
  selector = adaptive.success_rate(capacity=8)
  state = selector.update(selector.init(), np.int32([0, 3]), rewards_of([[1, 1], [0, 1]]))
  restored = jax.tree.map(jnp.asarray, state)
  np.testing.assert_array_equal(
    selector.select(state, pool_of(8), key(5), 4), selector.select(restored, pool_of(8), key(5), 4)
  )
  again = selector.update(restored, np.int32([1]), rewards_of([[1, 0]]))
  jax.tree.map(
    np.testing.assert_array_equal,
    again,
    selector.update(state, np.int32([1]), rewards_of([[1, 0]])),
  )


def test_thompson_draws_follow_the_posterior():
  """A task never tried, x ~ Beta(1, 1), against one that failed four times, y ~ Beta(1, 5).

  The target is 1/2. |x - 1/2| is uniform on [0, 1/2], so x is nearer with probability 2 E|y - 1/2|:
  E|y - 1/2| = E(1/2 - y) + 2 E(y - 1/2)+
  = 1/2 - 1/6 + 2 integral_{1/2}^{1} (1 - t)^5 dt = 1/3 + (1/2)^6 / 3.
  """
  expected = 2 * (1 / 3 + 0.5**6 / 3)
  selector = adaptive.success_rate(capacity=2)
  state = {**selector.init(), 'failed': np.float32([0, 4])}
  wins = sum(int(selector.select(state, pool_of(2), key(step), 1)[0]) == 0 for step in range(600))
  assert abs(wins / 600 - expected) < 4 * np.sqrt(expected * (1 - expected) / 600)


def test_selection_finds_the_learnable_tasks():
  """20 tasks have success rates i / 19. After 60 steps of 4 tasks the drawn ones are near 1/2."""
  selector, rng = adaptive.success_rate(capacity=20, decay=1.0), np.random.default_rng(0)
  state, rates, drawn = selector.init(), np.arange(20) / 19, []
  for step in range(60):
    rows = selector.select(state, pool_of(20), key(step), 4)
    drawn.append(rates[rows])
    state = selector.update(state, rows, rewards_of(rng.random((4, 8)) < rates[rows][:, None]))
  late = np.concatenate(drawn[30:])
  # uniform selection: mean distance 5/19 = .26
  assert np.abs(late - 0.5).mean() < 0.15


def test_buckets_share_evidence():
  selector = adaptive.success_rate(capacity=8, decay=1.0, bucket=lambda task: int(task.difficulty))
  pool = pool_of(8)  # tasks 0-3 in bucket 0, 4-7 in bucket 1
  state = selector.prepare(selector.init(), pool, None, key(0))
  state = selector.update(
    state, np.int32([0, 5]), rewards_of(np.stack([np.ones(1000), np.arange(1000) % 2]))
  )
  assert set(selector.select(state, pool, key(0), 4).tolist()) == {4, 5, 6, 7}


@pytest.mark.parametrize(
  ('run', 'message'),
  [
    (lambda: adaptive.success_rate(target=1.5), r'target=1.5; expected a number in \[0, 1\]'),
    (lambda: adaptive.success_rate(decay=0), r'decay=0; expected a number in \(0, 1\]'),
    (
      lambda: adaptive.success_rate(prior=(0, 1)),
      r'prior\[0\]=0; expected a finite number above 0',
    ),
    (
      lambda: adaptive.success_rate(capacity=4).prepare({}, pool_of(5), None, key(0)),
      r'the pool holds 5 tasks, the selector remembers 4; set capacity=8 or more',
    ),
    (
      lambda: adaptive.success_rate(capacity=4).select(None, [], key(0), 2),
      r'the pool is empty: acquire brought no tasks',
    ),
    (
      lambda: adaptive.success_rate(capacity=2, bucket=lambda task: 7).prepare(
        adaptive.success_rate(capacity=2).init(), pool_of(1), None, key(0)
      ),
      r'bucket\(0\) = 7; expected an int in \[0, capacity=2\)',
    ),
    (
      lambda: adaptive.success_rate(capacity=1).update(
        adaptive.success_rate(capacity=1).init(),
        np.int32([0]),
        rewards_of([[0, 0]], name='length', total=[[1.5, NAN]]),
      ),
      r"part='correct'\) read total, which spans 1.5 to 1.5; a success lies in \[0, 1\]. Parts of this reward: length",
    ),
  ],
)
def test_bad_numbers_say_what_to_change(run, message):
  with pytest.raises(ValueError, match=message):
    run()
