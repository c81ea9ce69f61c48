"""When the reference changes: never, to a copy of the policy, or as a moving average of it."""

import jax.numpy as jnp
import numpy as np
import optax

from sirl.optimization import reference
from sirl.types import TrainState

OPTIMIZER = optax.sgd(1.0)


def state(policy, old):
  params = {'w': jnp.asarray(policy)}
  return TrainState(
    step=jnp.int32(3),
    params=params,
    opt_state=OPTIMIZER.init(params),
    skipped=jnp.int32(0),
    others={'reference': {'w': jnp.asarray(old)}},
  )


def test_never_returns_the_state_itself():
  before = state([1.0, 2.0], [5.0, 6.0])
  assert reference.never(before, 0) is before


def test_each_round_the_reference_becomes_the_policy_in_buffers_of_its_own():
  """The next update donates the policy's buffers, so a reference must not share them."""
  after = reference.each_round(state([1.0, 2.0], [5.0, 6.0]), 0)
  after.params['w'].delete()
  np.testing.assert_array_equal(after.others['reference']['w'], [1.0, 2.0])


def test_the_moving_average_keeps_its_decay_of_the_reference():
  refresh = reference.ema(0.75)
  after = refresh(state([1.0, 2.0], [5.0, 6.0]), 0)
  # .75 * 5 + .25 * 1, ...
  np.testing.assert_array_equal(after.others['reference']['w'], [4.0, 5.0])
  np.testing.assert_array_equal(after.params['w'], [1.0, 2.0])
  assert int(after.step) == 3
  np.testing.assert_array_equal(refresh(after, 1).others['reference']['w'], [3.25, 4.25])
