"""Every completion of a tabular policy with its exact probability: the oracle of estimators.

Tokens: 0 pad, 1 end, 2.. words. A completion is up to N tokens and stops at the end token.
"""

import itertools

import jax
import jax.numpy as jnp
import numpy as np

from sirl.models import tabular
from sirl.types import Rollouts

VOCAB, MAX_NEW, EOS, PAD = 4, 2, 1, 0
MODEL = tabular.tabular(VOCAB, 1 + MAX_NEW)
PROMPT = 2  # the single prompt token


def completions():
  """All completions as tuples of tokens: they end at EOS or at MAX_NEW tokens."""
  found = []
  for n in range(1, MAX_NEW + 1):
    for tokens in itertools.product(range(VOCAB), repeat=n):
      ends = [t == EOS for t in tokens]
      if not any(ends[:-1]) and (ends[-1] or n == MAX_NEW):
        found.append(tokens)
  return found


def log_probability(params, tokens):
  """Exact log-prob of a completion, differentiable."""
  total, previous = 0.0, PROMPT
  for t, token in enumerate(tokens):
    total += jax.nn.log_softmax(params['logits'][t, previous])[token]
    previous = token
  return total


def rollouts(groups):
  """Rollouts [P, G, 1 + MAX_NEW] of lists of completions."""
  P, G = len(groups), len(groups[0])
  tokens = np.full((P, G, 1 + MAX_NEW), PAD, np.int32)
  action = np.zeros((P, G, 1 + MAX_NEW), bool)
  tokens[:, :, 0] = PROMPT
  for p, group in enumerate(groups):
    for g, row in enumerate(group):
      tokens[p, g, 1 : 1 + len(row)] = row
      action[p, g, 1 : 1 + len(row)] = True
  valid = action.copy()
  valid[:, :, 0] = True
  logp = np.zeros(tokens.shape, np.float32)
  truncated = np.asarray([[row[-1] != EOS for row in group] for group in groups])
  return Rollouts(*map(jnp.asarray, (tokens, valid, action, logp, truncated)), prompt_width=1)


def policy_gradient_of(params, reward):
  """Exact gradient of the expected reward. Args: reward: a function of a completion."""

  def expected(params):
    return sum(jnp.exp(log_probability(params, y)) * reward(y) for y in completions())

  return jax.grad(expected)(params)
