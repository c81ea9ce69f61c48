"""A table of logits as a Model, small enough to enumerate all completions.

The next token depends only on the position and the token before it. A policy then has few params,
and the mean of every estimator can be computed exactly.
"""

import jax
import jax.numpy as jnp

from sirl import ranges
from sirl.types import Model


def tabular(vocab, length, *, scale=1.0):
  """Model over `vocab` tokens whose params are {'logits': float32 [length, vocab, vocab]}.

  Entry [t, u, v] is the logit of v after token u at position t. `length` bounds prompt plus
  completion.
  """
  ranges.whole('vocab', vocab)
  ranges.whole('length', length)

  def init(key):
    return {'logits': scale * jax.random.normal(key, (length, vocab, vocab))}

  def hidden(params, tokens_BT, positions_BT, mask_BTS, cache=None, start_B=None):
    del mask_BTS, start_B  # a Markov chain depends on no other position
    return params['logits'][positions_BT, tokens_BT], () if cache is None else cache

  def unembed(params, x):
    del params
    return x.astype(jnp.float32)

  return Model(init=init, hidden=hidden, unembed=unembed, init_cache=lambda B, S: (), vocab=vocab)
