"""Blocked attention against the plain form. The kernel runs in its interpreter here."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from sirl.models import attention
from sirl.ops.prefill import Causal

B, N, K, H = 2, 4, 2, 64
NOISE = np.random.default_rng(0)


def arrays(queries, start, padding):
  """(q, k, v, see, weights of real queries) with padding on the left and on the right."""
  S = start + queries + 1
  draw = lambda *shape: jnp.asarray(NOISE.normal(size=shape), jnp.float32)
  columns = np.arange(S)
  valid = (columns >= np.array([[0], [padding]])) & (columns < np.array([[S - 1], [S - padding]]))
  see = Causal(jnp.asarray(valid), start, queries)
  real = jnp.asarray(valid[:, start : start + queries, None, None])
  return draw(B, queries, N, H), draw(B, K, S, H), draw(B, K, S, H), see, real


def plain(q_BTNH, k_BKSH, v_BKSH, see, scale, softcap):
  T = q_BTNH.shape[1]
  q_BTKRH = q_BTNH.reshape(B, T, K, N // K, H)
  scores = scale * jnp.einsum('BTKRH,BKSH->BKRTS', q_BTKRH, k_BKSH)
  scores = scores if softcap is None else softcap * jnp.tanh(scores / softcap)
  weights = jax.nn.softmax(jnp.where(see.dense()[:, None, None], scores, -1e30), axis=-1)
  mixed = jnp.einsum('BKRTS,BKSH->BKRTH', weights, v_BKSH)
  return jnp.moveaxis(mixed, 3, 1).reshape(B, T, N, H)


@pytest.mark.parametrize(
  ('queries', 'start', 'softcap'),
  [
    (100, 30, 3.0),
    pytest.param(200, 130, None, marks=pytest.mark.all),
    pytest.param(130, 0, None, marks=pytest.mark.all),
  ],
)
def test_the_kernel_and_its_gradient_are_those_of_plain_attention(queries, start, softcap):
  *qkv, see, real = arrays(queries, start, padding=20)
  scale = 0.7 / np.sqrt(H)
  drawn = jnp.asarray(NOISE.normal(size=qkv[0].shape), jnp.float32)

  def value(fn):
    mixed = lambda *x: jnp.where(real, fn(*x), 0.0)
    grads = jax.grad(lambda *x: jnp.sum(mixed(*x) * drawn), argnums=(0, 1, 2))
    return mixed(*qkv), grads(*qkv)

  kernel = lambda *x: attention.blocked(*x, see, scale=scale, softcap=softcap, interpret=True)
  expected, found = value(lambda *x: plain(*x, see, scale, softcap)), value(kernel)
  for a, b in zip(jax.tree.leaves(found), jax.tree.leaves(expected)):
    assert np.isfinite(np.asarray(a)).all()
    np.testing.assert_allclose(a, b, atol=2e-5)


def test_a_mask_by_structure_is_the_causal_mask_of_its_rows():
  valid = jnp.asarray(NOISE.random((3, 9)) < 0.7)
  whole = np.tril(np.ones((9, 9), bool)) & np.asarray(valid)[:, None]
  np.testing.assert_array_equal(Causal(valid, 0, 9).dense(), whole)
  see = Causal(valid, 4, 3)
  np.testing.assert_array_equal(see.dense(), whole[:, 4:7])
  assert see.shape == (3, 3, 9)


def test_elsewhere_than_on_a_tpu_the_mask_is_dense():
  valid = jnp.ones((2, 300), bool)
  assert attention.chosen(Causal(valid, 0, 300), None).shape == (2, 300, 300)
