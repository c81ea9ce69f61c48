"""Blocked attention against the plain form.

JAX's kernel for TPU runs in its interpreter here. cuDNN's has none: what is tested is all around
it, with XLA in its place.
"""

import dataclasses
import types

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from sirl import config
from sirl.models import attention
from sirl.models.cache import newest
from sirl.models.presets import preset
from sirl.ops.prefill import Causal
from sirl.plan import chips, topology
from sirl.plan.programs import using

B, N, K, H = 2, 4, 2, 64
NOISE = np.random.default_rng(0)
GPU = topology.abstract_mesh(chips.group('h100x8'), config.Mesh(data=8))
TPU = topology.abstract_mesh(chips.group('v5e:2x2'), config.Mesh(data=4))
LONG = Causal(jnp.ones((8, 300), bool), 0, 300)


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
  mixed = attention.plain(q_BTKRH, k_BKSH, v_BKSH, see.dense(), divide=1 / scale, softcap=softcap)
  return mixed.reshape(B, T, N, H)


@pytest.mark.parametrize(
  ('kernel', 'queries', 'start', 'softcap'),
  [
    (attention.splash, 100, 30, 3.0),
    pytest.param(attention.splash, 200, 130, None, marks=pytest.mark.all),
    pytest.param(attention.splash, 130, 0, None, marks=pytest.mark.all),
    (attention.flash, 100, 30, None),
    (attention.flash, 50, 0, None),
  ],
)
def test_a_kernel_and_its_gradient_are_those_of_plain_attention(kernel, queries, start, softcap):
  *qkv, see, real = arrays(queries, start, padding=20)
  scale = 0.7 / np.sqrt(H)
  drawn = jnp.asarray(NOISE.normal(size=qkv[0].shape), jnp.float32)

  def value(fn):
    mixed = lambda *x: jnp.where(real, fn(*x), 0.0)
    grads = jax.grad(lambda *x: jnp.sum(mixed(*x) * drawn), argnums=(0, 1, 2))
    return jax.jit(lambda: (mixed(*qkv), grads(*qkv)))()

  run = lambda *x: attention.blocked(
    *x, see, scale=scale, softcap=softcap, kernel=kernel, interpret=True
  )
  expected, found = value(lambda *x: plain(*x, see, scale, softcap)), value(run)
  for a, b in zip(jax.tree.leaves(found), jax.tree.leaves(expected)):
    assert np.isfinite(np.asarray(a)).all()
    np.testing.assert_allclose(a, b, atol=2e-5)


@pytest.mark.parametrize(
  'kernel', [pytest.param(attention.splash, marks=pytest.mark.all), attention.flash]
)
def test_a_local_layer_sees_the_newest_sources_and_a_scan_selects_it(kernel):
  q, k, v, see, real = arrays(100, 30, padding=20)
  near = newest(see.dense(), 9)
  see = dataclasses.replace(see, window=9)

  def value(local, fn):
    return jax.value_and_grad(lambda q: jnp.sum(jnp.where(real, fn(q, local), 0.0) ** 2))(q)

  def run(q, local):
    own = dataclasses.replace(see, local=local)
    return attention.blocked(q, k, v, own, scale=0.1, kernel=kernel, interpret=True)

  def expected(q, local):
    mask = near if local else see.dense()
    q_BTKRH = q.reshape(B, -1, K, N // K, H)
    return attention.plain(q_BTKRH, k, v, mask, divide=10.0).reshape(q.shape)

  scanned = jax.jit(lambda local_L: jax.lax.map(lambda local: value(local, run), local_L))
  found, grads = scanned(jnp.array([True, False]))
  for i, local in enumerate((True, False)):
    sums, grad = jax.jit(value, static_argnums=(0, 1))(local, expected)
    np.testing.assert_allclose(found[i], sums, rtol=1e-5)
    np.testing.assert_allclose(grads[i], grad, atol=5e-5)


def test_flash_attention_leaves_out_sources_that_are_not_valid_wherever_they_are():
  """One row has holes in its sources, and one has none that is valid."""
  q, k, v, _, _ = arrays(20, 8, padding=0)
  valid = NOISE.random((B, 29)) < np.array([[0.6], [0.0]])
  see = Causal(jnp.asarray(valid), 8, 20)
  run = lambda: attention.blocked(q, k, v, see, scale=1.0, kernel=attention.flash, interpret=True)
  found, real = jax.jit(run)(), valid[0, 8:28]
  np.testing.assert_allclose(found[0, real], plain(q, k, v, see, 1.0, None)[0, real], atol=2e-5)
  assert not np.asarray(found[0, ~real]).any()
  assert not np.asarray(found[1]).any()


def test_a_mask_by_structure_is_the_causal_mask_of_its_rows():
  valid = jnp.asarray(NOISE.random((3, 9)) < 0.7)
  whole = np.tril(np.ones((9, 9), bool)) & np.asarray(valid)[:, None]
  np.testing.assert_array_equal(Causal(valid, 0, 9).dense(), whole)
  see = Causal(valid, 4, 3)
  np.testing.assert_array_equal(see.dense(), whole[:, 4:7])
  assert see.shape == (3, 3, 9)


def half(**changes):
  return preset('toy', **{'dtype': 'bfloat16', 'head_width': 64, **changes})


@pytest.mark.parametrize(
  ('mesh', 'see', 'architecture', 'blocked'),
  [
    (TPU, LONG, half(), True),
    (GPU, LONG, half(), True),
    (TPU, LONG, half(attention_softcap=3.0), True),
    (GPU, LONG, half(attention_softcap=3.0), False),
    (TPU, LONG, half(head_width=256), True),
    (GPU, LONG, half(head_width=256), False),
    (TPU, LONG, half(dtype='float32'), False),
    (GPU, LONG, half(dtype='float32'), False),
    (GPU, LONG, half(dtype='float16'), True),
    (GPU, LONG, half(sliding_window=9, local_layers=(0,)), True),
    (GPU, Causal(jnp.ones((8, 255), bool), 0, 255), half(), False),
    # rows that eight devices cannot share
    (GPU, Causal(jnp.ones((6, 300), bool), 0, 300), half(), False),
  ],
)
def test_a_kernel_runs_where_it_can(mesh, see, architecture, blocked):
  with using(mesh):
    found = attention.chosen(see, architecture)
  assert isinstance(found, Causal) == blocked
  assert found.shape == see.shape


def test_on_a_cpu_the_mask_is_dense():
  assert not isinstance(attention.chosen(LONG, half()), Causal)


@pytest.mark.parametrize(
  ('platform', 'capability', 'has'),
  [('gpu', '9.0', True), ('gpu', '12.0', True), ('gpu', '7.5', False), ('gpu', 'gfx942', False)],
)
def test_flash_attention_needs_an_nvidia_gpu_from_ampere_on(platform, capability, has):
  device = types.SimpleNamespace(platform=platform, compute_capability=capability)
  assert attention._has_flash(device) == has
