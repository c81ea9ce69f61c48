"""Rotary positions."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from sirl.models import rope


@pytest.mark.parametrize(('dtype', 'atol'), [('float32', 1e-6), ('bfloat16', 0.02)])
def test_the_form_for_tpu_gives_the_same_rotation_and_gradient(dtype, atol):
  """They differ by the rounding of a sum, which is about 3 here."""
  x_BTNH = jax.random.normal(jax.random.key(0), (2, 5, 3, 8)).astype(dtype)
  cos_sin = rope.rotation(jnp.arange(10).reshape(2, 5) * 7, 8, 1e4, None)
  rotated, pull = jax.vjp(lambda x: rope.rotate(x, cos_sin), x_BTNH)
  by_product, pull_product = jax.vjp(lambda x: rope.rotate_by_product(x, cos_sin), x_BTNH)
  assert np.max(np.abs(np.float32(rotated - x_BTNH))) > 1
  np.testing.assert_allclose(np.float32(by_product), np.float32(rotated), rtol=0, atol=atol)
  back, back_product = (np.float32(p(x_BTNH)[0]) for p in (pull, pull_product))
  np.testing.assert_allclose(back_product, back, rtol=0, atol=atol)
