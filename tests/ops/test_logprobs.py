"""Log-probabilities and entropies, and how the logits are cut into chunks."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from sirl.ops import logprobs


def by_hand(logits, targets):
  """The same two numbers, differentiated by JAX."""
  return logprobs.of_tokens(logits, targets), logprobs.entropy_of(logits)


@pytest.mark.parametrize('scale', [1.0, 30.0])
def test_gradients_of_log_prob_and_entropy_are_those_that_jax_derives(scale):
  keys = jax.random.split(jax.random.key(0), 3)
  logits = scale * jax.random.normal(keys[0], (6, 11))
  logits = logits.at[:, 7].set(logprobs.EXCLUDED)  # as sampling excludes a token
  targets = jnp.array([0, 3, 5, 10, 1, 2])
  weights = jax.random.normal(keys[1], (6,)), jax.random.normal(keys[2], (6,))
  (logp, entropy), pull = jax.vjp(lambda x: logprobs.log_softmax_stats(x, targets), logits)
  wanted, pull_by_hand = jax.vjp(lambda x: by_hand(x, targets), logits)
  np.testing.assert_array_equal((logp, entropy), wanted)
  np.testing.assert_allclose(pull(weights)[0], pull_by_hand(weights)[0], rtol=1e-5, atol=2e-5)


@pytest.mark.parametrize(
  ('rows', 'C', 'vocab', 'tensor', 'expected'),
  [
    (16, 1024, 151_936, 1, 128),  # 2.49e9 logits are 7.4 chunks of 335,544,320, so 8
    (16, 1024, 151_936, 8, 1024),
    (4, 32, 260, 1, 32),
    (10**6, 3, 151_936, 1, 1),  # one column at least
  ],
)
def test_a_chunk_is_an_equal_part_of_the_columns_below_the_limit(rows, C, vocab, tensor, expected):
  assert logprobs.columns(rows, C, vocab, tensor) == expected
