"""Sampling transforms against sorted references, and the two-level draw against its law."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from sirl.generation.engine import sampling
from sirl.ops import logprobs


@pytest.fixture(scope='module')
def logits():
  return 3 * jax.random.normal(jax.random.key(0), (16, 700))


def test_top_k_keeps_the_k_largest(logits):
  kept = sampling.top_k_support(logits, 50)
  threshold = jnp.sort(logits, axis=-1)[:, -50]
  np.testing.assert_array_equal(kept, logits >= threshold[:, None])


@pytest.mark.parametrize('far', [-1e9, -1e7, -1e29])
def test_a_token_far_below_the_others_costs_top_k_no_precision(far):
  """A logit of minus a billion is a common way to forbid a token."""
  close = 3 + 1e-4 * np.arange(100, dtype=np.float32)
  kept = sampling.top_k_support(jnp.asarray([[far, *close]]), 5)
  np.testing.assert_array_equal(np.flatnonzero(kept), [96, 97, 98, 99, 100])


def test_top_k_is_exact_between_neighbouring_numbers_of_both_signs():
  for x in np.asarray([-1.5, -1e-30, 1e-30, 2.5], np.float32):
    pair = jnp.asarray([[x, np.nextafter(x, np.float32(np.inf)), -7.0]])
    np.testing.assert_array_equal(sampling.top_k_support(pair, 1), [[False, True, False]], str(x))


def test_top_p_keeps_the_smallest_set_with_the_mass(logits):
  kept = np.asarray(sampling.top_p_support(logits, 0.9))
  probs = np.asarray(jax.nn.softmax(logits, axis=-1), np.float64)
  for row, row_probs in zip(kept, probs):
    order = np.argsort(-row_probs)
    needed = int(np.searchsorted(np.cumsum(row_probs[order]), 0.9)) + 1
    assert set(np.flatnonzero(row)) == set(order[:needed])


def test_top_p_keeps_one_token_that_holds_the_mass():
  kept = sampling.top_p_support(jnp.asarray([[10.0, 0.0, 0.0]]), 0.5)
  np.testing.assert_array_equal(kept, [[True, False, False]])


def test_min_p_keeps_tokens_at_least_p_times_the_most_likely():
  probs = jnp.asarray([[0.6, 0.3, 0.06, 0.04]])
  np.testing.assert_array_equal(
    sampling.min_p_support(jnp.log(probs), 0.1), [[True, True, True, False]]
  )


def test_truncations_apply_in_order_and_renormalise():
  probs = jnp.asarray([[0.4, 0.3, 0.2, 0.1]])
  both = sampling.sampler(top_k=3, top_p=0.7)
  # After top-k the distribution is 4/9, 3/9, 2/9: two tokens reach 0.7 (7/9). Without top-k, 0.4 +
  # 0.3 = 0.7 also stops at two; at top_p = 0.75 the order matters: 7/9 = .78 suffices after top-k,
  # 0.7 does not before it.
  logits = logprobs.tempered(jnp.log(probs), sampling.sampler(top_k=3, top_p=0.75))
  np.testing.assert_allclose(jax.nn.softmax(logits), [[4 / 7, 3 / 7, 0, 0]], atol=1e-6)
  logits = logprobs.tempered(jnp.log(probs), both)
  np.testing.assert_allclose(jax.nn.softmax(logits), [[4 / 7, 3 / 7, 0, 0]], atol=1e-6)


@pytest.mark.parametrize('vocab', [5, 256, 700])
def test_draw_inverts_the_cdf(vocab):
  logits = 2 * jax.random.normal(jax.random.key(1), (vocab,))
  n = 50_000
  uniform = (jnp.arange(n) + 0.5) / n  # a regular grid: counts equal n * p up to one per token
  tokens, logp = sampling.draw(jnp.broadcast_to(logits, (n, vocab)), uniform, sampling.sampler())
  counts = np.bincount(tokens, minlength=vocab)
  expected = n * np.asarray(jax.nn.softmax(logits), np.float64)
  # Float32 sums may move an edge by about one grid step.
  assert np.abs(counts - expected).max() < 2.5
  np.testing.assert_allclose(logp, jax.nn.log_softmax(logits)[tokens], atol=1e-5)


def test_draw_never_returns_an_excluded_token_at_the_ends_of_the_unit_interval():
  logits = jnp.full((2, 600), -1e9).at[:, 300].set(0.0)
  ends = jnp.asarray([0.0, np.nextafter(np.float32(1), np.float32(0))])
  tokens, _ = sampling.draw(logits, ends, sampling.sampler())
  np.testing.assert_array_equal(tokens, [300, 300])


@pytest.mark.parametrize(
  ('arguments', 'message'),
  [
    ({'temperature': 0.0}, 'greedy'),
    ({'top_k': 0}, 'top_k=0'),
    ({'top_p': 1.5}, 'top_p=1.5'),
    ({'min_p': 0.0}, 'min_p=0.0'),
  ],
)
def test_impossible_knobs_are_refused(arguments, message):
  with pytest.raises(ValueError, match=message):
    sampling.sampler(**arguments)


@pytest.mark.parametrize('shape', [(5,), (3, 2, 300)])
def test_the_most_likely_token_is_the_first_of_the_largest(shape):
  logits = jnp.asarray(np.random.default_rng(0).integers(0, 4, shape), jnp.float32)
  np.testing.assert_array_equal(sampling.most_likely(logits), jnp.argmax(logits, axis=-1))


@pytest.mark.parametrize('V', [300, 5000])
def test_a_tpu_draws_the_same_tokens_from_slices_that_it_selects(monkeypatch, V):
  """5000 columns have slices of 512, the last of which overlaps the one before."""
  logits = 3 * jax.random.normal(jax.random.key(0), (64, V))
  uniform = jax.random.uniform(jax.random.key(1), (64,))
  expected = sampling.draw(logits, uniform, logprobs.PLAIN)
  monkeypatch.setattr(sampling, 'platform', lambda: 'tpu')
  for found, wanted in zip(sampling.draw(logits, uniform, logprobs.PLAIN), expected, strict=True):
    np.testing.assert_array_equal(found, wanted)
