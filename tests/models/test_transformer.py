"""Properties of the decoder that need no other implementation."""

import dataclasses

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from sirl.models import cache, functional, transformer
from sirl.models.rope import Scaling
from sirl.models.transformer import Architecture
from sirl.ops import prefill

SMALL = {
  'vocab': 32,
  'width': 16,
  'layers': 3,
  'heads': 4,
  'kv_heads': 2,
  'head_width': 6,
  'ffw': 24,
}
ARCHITECTURES = {
  'llama': Architecture(
    **SMALL, rope_scaling=Scaling(kind='llama3', factor=4.0, original_context=16)
  ),
  'qwen': Architecture(**SMALL, qkv_bias=True, tied=False, value_head=True),
  'gemma': Architecture(
    **SMALL,
    activation='gelu_tanh',
    qk_norm=True,
    post_norms=True,
    norm_plus_one=True,
    embed_scale=4.0,
    query_scale=5,
    logit_softcap=5.0,
    attention_softcap=3.0,
    sliding_window=3,
    local_layers=(0, 1),
    rope_local_theta=50.0,
  ),
}
T = 10
VALID = np.arange(T) >= np.array([[0], [3]])  # the second row is left-padded
POSITIONS = jnp.array(np.maximum(VALID.cumsum(1) - 1, 0))
MASK = jnp.array(np.tril(np.ones((T, T), bool)) & VALID[:, None])
TOKENS = jnp.array(np.random.default_rng(1).permutation(32)[: 2 * T].reshape(2, T))  # all different


def made(name, **changes):
  """(model, params) with weights large enough that no output is nearly constant."""
  architecture = dataclasses.replace(ARCHITECTURES[name], **changes)
  noise = np.random.default_rng(0).normal
  params = jax.tree.map(
    lambda shape: jnp.array(noise(0.0, 0.35, shape.shape), jnp.float32),
    functional.shapes(architecture),
  )
  return functional.build(architecture), params


def logits(model, params, tokens=TOKENS, positions=POSITIONS, mask=MASK):
  x_BTD, _ = model.hidden(params, tokens, positions, mask)
  return model.unembed(params, x_BTD)


@pytest.mark.parametrize('name', ARCHITECTURES)
def test_cached_decode_equals_the_full_forward(name):
  """A prefill of 6 tokens is put into a larger cache. Then come 1 + 1 + 2 tokens.

  Every row writes at its own slot.
  """
  model, params = made(name)
  expected = jax.jit(logits, static_argnums=0)(model, params)

  hidden = jax.jit(model.hidden)
  _, prefix = hidden(params, TOKENS[:, :6], POSITIONS[:, :6], MASK[:, :6, :6])
  slots = jnp.array([9, 6])  # row 0 leaves slots 6 to 8 unused: its mask must hide them
  pad = lambda x_BKTH: jnp.pad(x_BKTH, ((0, 0), (0, 0), (0, 9), (0, 0)), constant_values=7.0)
  cache = jax.tree.map(pad, prefix)
  assert jax.tree.map(jnp.shape, cache) == jax.tree.map(jnp.shape, model.init_cache(2, 15))

  source_BS = jnp.arange(15)[None]
  seen_BS = (source_BS < 6) & jnp.pad(jnp.array(VALID[:, :6]), ((0, 0), (0, 9)))
  for start, stop in ((6, 7), (7, 8), (8, 10)):
    steps = jnp.arange(start, stop)
    newest_BT = slots[:, None] + steps - 6
    written_BTS = (source_BS[:, None] >= slots[:, None, None]) & (
      source_BS[:, None] <= newest_BT[:, :, None]
    )
    mask = seen_BS[:, None] | written_BTS
    tokens, positions = TOKENS[:, start:stop], POSITIONS[:, start:stop]
    x_BTD, cache = hidden(params, tokens, positions, mask, cache, slots + start - 6)
    np.testing.assert_allclose(
      model.unembed(params, x_BTD), expected[:, start:stop], atol=1e-5, rtol=1e-5
    )


@pytest.mark.parametrize('name', ARCHITECTURES)
def test_no_logit_depends_on_a_later_or_padded_token(name):
  """All ids differ and the head is untied, so an embedding row's gradient shows who read it."""
  model, params = made(name, tied=False)

  def one(params, row, t):
    return logits(model, params)[row, t].sum()

  gradient = jax.jit(jax.grad(one))
  for row, t, readers in ((0, 6, range(7)), (1, 6, range(3, 7)), (0, 0, range(1))):
    rows_VD = gradient(params, row, t)['embed']['weight']
    reached = np.abs(np.asarray(rows_VD)).max(-1) > 0
    expected = np.zeros(32, bool)
    expected[np.asarray(TOKENS[row])[list(readers)]] = True
    np.testing.assert_array_equal(reached, expected)


def test_sliding_window_limits_how_far_a_token_is_read():
  """Two layers with a window of 3 read 2 * 2 tokens back, whatever the padding."""
  model, params = made('gemma', layers=2, tied=False)
  gradient = jax.grad(lambda params: logits(model, params)[1, 9].sum())
  rows_VD = jax.jit(gradient)(params)['embed']['weight']
  reached = np.abs(np.asarray(rows_VD)).max(-1) > 0
  assert [bool(reached[token]) for token in np.asarray(TOKENS[1])] == [False] * 5 + [True] * 5


def test_window_counts_the_keys_a_query_may_see_and_not_columns():
  mask = jnp.array([[[1, 0, 1, 1, 0, 1, 0]]], bool)
  kept = cache.newest(mask, 2)
  np.testing.assert_array_equal(kept, np.array([[[0, 0, 0, 1, 0, 1, 0]]], bool))
  np.testing.assert_array_equal(cache.newest(mask, 7), mask)


@pytest.mark.parametrize('name', ARCHITECTURES)
def test_padding_side_and_contents_change_no_logit(name):
  model, params = made(name)
  run = jax.jit(logits, static_argnums=0)
  expected = run(model, params)[1, 3:]

  other = run(model, params, tokens=TOKENS.at[1, :3].set(31))[1, 3:]
  np.testing.assert_array_equal(other, expected)

  roll = lambda x: jnp.roll(x, -3, axis=1)
  right_mask = jnp.roll(roll(MASK), -3, axis=2)
  right = run(model, params, roll(TOKENS), roll(POSITIONS), right_mask)[1, :7]
  np.testing.assert_allclose(right, expected, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize('remat', ['none', 'block'])
@pytest.mark.parametrize('name', ARCHITECTURES)
@pytest.mark.all
def test_tokens_after_a_cache_have_the_logits_and_the_gradient_of_the_full_forward(name, remat):
  """Without start_B, with two empty slots at the end. The gradient passes through the cache too."""
  model, params = made(name)
  again = functional.build(dataclasses.replace(ARCHITECTURES[name], remat=remat))
  see = jnp.pad(MASK[:, 6:], ((0, 0), (0, 0), (0, 2)))

  def whole(params):
    got = logits(model, params)[:, 6:]
    return jnp.square(got).mean(), got

  def continued(params):
    _, cache = again.hidden(params, TOKENS[:, :6], POSITIONS[:, :6], MASK[:, :6, :6])
    x_BTD, cache = again.hidden(params, TOKENS[:, 6:], POSITIONS[:, 6:], see, cache)
    assert {leaf.shape[2] for leaf in jax.tree.leaves(cache)} == {T + 2}
    got = again.unembed(params, x_BTD)
    return jnp.square(got).mean(), got

  (_, expected), slope = jax.jit(jax.value_and_grad(whole, has_aux=True))(params)
  (_, got), got_slope = jax.jit(jax.value_and_grad(continued, has_aux=True))(params)
  np.testing.assert_allclose(got, expected, atol=1e-5, rtol=1e-5)
  chex.assert_trees_all_close(got_slope, slope, atol=1e-5, rtol=1e-4)


def test_row_that_may_see_nothing_gives_finite_numbers_and_gradients():
  model, params = made('gemma')
  nothing = jnp.zeros_like(MASK)
  value, gradient = jax.jit(
    jax.value_and_grad(lambda params: logits(model, params, mask=nothing).sum())
  )(params)
  assert jnp.isfinite(value)
  assert all(bool(jnp.isfinite(leaf).all()) for leaf in jax.tree.leaves(gradient))


@pytest.mark.parametrize('remat', ['block', 'dots'])
@pytest.mark.parametrize('name', ['qwen', 'gemma'])
@pytest.mark.all
def test_rematerialisation_does_not_change_the_gradient(name, remat):
  loss = lambda model: lambda params: jnp.square(logits(model, params)[VALID]).mean()
  model, params = made(name)
  again = functional.build(dataclasses.replace(ARCHITECTURES[name], remat=remat))
  expected = jax.jit(jax.grad(loss(model)))(params)
  got = jax.jit(jax.grad(loss(again)))(params)
  jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=1e-5, rtol=1e-4), got, expected)


def test_rematerialisation_decodes_from_the_same_cache():
  """The loop over layers reads and writes caches as unrolled layers do, also for several tokens."""
  model, params = made('gemma')
  again = functional.build(dataclasses.replace(ARCHITECTURES['gemma'], remat='block'))
  see = jnp.pad(MASK[:, :3, :3], ((0, 0), (0, 0), (0, T - 3)))
  start = jnp.zeros(2, jnp.int32)

  def first(model, n):
    return jax.jit(model.hidden)(
      params, TOKENS[:, :n], POSITIONS[:, :n], see[:, :n], model.init_cache(2, T), start
    )

  for n in (3, 1):
    chex.assert_trees_all_close(first(again, n), first(model, n), atol=1e-5)


@pytest.mark.all
def test_rematerialisation_needs_less_memory():
  """Twelve layers: without it all inner arrays are kept, with it only the input of each layer."""

  def temporary(remat):
    model = functional.build(dataclasses.replace(ARCHITECTURES['qwen'], layers=12, remat=remat))
    params = jax.eval_shape(model.init, jax.random.key(0))
    tokens = jnp.zeros((8, 64), jnp.int32)
    mask = jnp.tril(jnp.ones((8, 64, 64), bool))
    loss = lambda params: jnp.square(model.hidden(params, tokens, tokens, mask)[0]).mean()
    return jax.jit(jax.grad(loss)).lower(params).compile().memory_analysis().temp_size_in_bytes

  none, dots, block = map(temporary, ('none', 'dots', 'block'))
  assert block < dots < none
  assert block < none / 3


def test_bfloat16_computes_low_and_answers_in_float32():
  model, params = made('qwen', dtype='bfloat16')
  exact, _ = made('qwen')
  x_BTD, cache = jax.jit(model.hidden)(params, TOKENS, POSITIONS, MASK)
  assert x_BTD.dtype == cache[0][0].dtype == model.init_cache(2, T)[0][0].dtype == jnp.bfloat16
  got = model.unembed(params, x_BTD)
  assert got.dtype == model.value(params, x_BTD).dtype == jnp.float32
  expected = logits(exact, params)
  error = np.sqrt(np.mean(np.square(got - expected)[VALID]))
  assert 0 < error < 0.05 * float(expected.std())  # 8 bits of mantissa through three layers


def test_constrain_sees_the_residual_stream_after_embedding_and_every_layer():
  seen = []
  constrain = lambda x_BTD: (seen.append(x_BTD.shape), x_BTD)[1]
  model = functional.build(ARCHITECTURES['llama'], constrain=constrain)
  params = functional.shapes(ARCHITECTURES['llama'])
  jax.eval_shape(model.hidden, params, TOKENS, POSITIONS, MASK)
  assert seen == [(2, T, 16)] * 4


def test_shapes_that_do_not_fit_are_named():
  model, params = made('llama')
  with pytest.raises(
    ValueError, match=r'mask_BTS has shape \[2, 10, 9\], expected \[B=2, T=10, S=10\]'
  ):
    model.hidden(params, TOKENS, POSITIONS, MASK[:, :, :9])
  with pytest.raises(ValueError, match='start_B says where in a cache tokens are written'):
    model.hidden(params, TOKENS, POSITIONS, MASK, start_B=jnp.zeros(2, int))
  with pytest.raises(
    ValueError,
    match=r'mask_BTS has shape \[2, 10, 10\], expected \[B=2, T=10, S=13\] or more: without start_B',
  ):
    model.hidden(params, TOKENS, POSITIONS, MASK, model.init_cache(2, 3))
  with pytest.raises(ValueError, match='10 tokens do not fit into a cache of 9 slots'):
    model.hidden(
      params, TOKENS, POSITIONS, MASK[:, :, :9], model.init_cache(2, 9), jnp.zeros(2, int)
    )


# ---------------------------------------------------------------- products with weights


@pytest.mark.parametrize('shape', [(), (1,), (4, 16), (5, 13)], ids=str)
@pytest.mark.parametrize(('dtype', 'rtol'), [('float32', 1e-5), ('bfloat16', 2e-2)])
def test_a_product_and_its_gradients_are_those_of_the_matrix_whichever_factor_stands_left(
  shape, dtype, rtol
):
  """Rows up to FEW_ROWS = 64 (here 1 and 4 x 16), and one more (5 x 13)."""
  noise = np.random.default_rng(0).normal
  x, weight, dy = (jnp.asarray(noise(size=s), dtype) for s in ((*shape, 8), (6, 8), (*shape, 6)))
  y, pull = jax.vjp(lambda x, weight: transformer.product(x, weight, dtype), x, weight)
  rows = lambda a: np.asarray(a, np.float64).reshape(-1, a.shape[-1])
  expected = (
    rows(x) @ rows(weight).T,
    rows(dy) @ rows(weight),
    rows(dy).T @ rows(x),
  )
  for found, exact in zip((y, *pull(dy)), expected):
    assert found.dtype == dtype
    np.testing.assert_allclose(rows(found), exact, rtol=rtol, atol=rtol * np.abs(exact).max())


@pytest.mark.parametrize('together', [2, pytest.param(4, marks=pytest.mark.all)])
@pytest.mark.parametrize('name', ARCHITECTURES)
def test_heads_side_by_side_in_the_cache_change_no_state(name, together):
  """The layout of a TPU's cache, J kv heads in one row, against one head a row."""
  model, params = made(name, heads=8, kv_heads=4)
  rows, written = TOKENS.shape[0], T - 2
  _, cache = model.hidden(
    params, TOKENS[:, :written], POSITIONS[:, :written], MASK[:, :written, :written]
  )
  cache = jax.tree.map(lambda kv: jnp.pad(kv, ((0, 0), (0, 0), (0, T - written), (0, 0))), cache)
  side_by_side = lambda B, S: jax.tree.map(
    lambda kv: jnp.zeros((B, 4 // together, S, together * 6)), cache
  )
  beside = prefill.for_decoding(model._replace(init_cache=side_by_side), cache)
  assert beside[0][0].shape == (rows, 4 // together, T, together * 6)
  given = params, TOKENS[:, written:], POSITIONS[:, written:], MASK[:, written:]
  plain, kept = model.hidden(*given, cache, jnp.full(rows, written))
  got, both = model.hidden(*given, beside, jnp.full(rows, written))
  np.testing.assert_allclose(got, plain, atol=1e-5)
  again = prefill.for_decoding(model._replace(init_cache=side_by_side), kept)
  chex.assert_trees_all_close(both, again, atol=1e-5)


def test_one_slot_for_all_rows_is_that_slot_for_each():
  model, params = made('llama')
  given = params, TOKENS[:, :1], POSITIONS[:, :1], jnp.ones((2, 1, T), bool)
  cache = model.init_cache(2, T)
  one = model.hidden(*given, cache, jnp.int32(3))
  chex.assert_trees_all_equal(one, model.hidden(*given, cache, jnp.full(2, 3)))
