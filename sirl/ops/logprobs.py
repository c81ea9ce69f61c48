"""Log-probabilities of given tokens, by the same code for sampler and learner, and KL estimators.

`token_stats` computes a prompt once for its whole group, as the sampler does. It unembeds only
completion columns, at most `chunk` at a time, and recomputes the chunks in the backward pass if
there are several. So the logits in memory are those of [B, chunk] tokens, never of all.
"""

import jax
import jax.numpy as jnp

from sirl.ops import prefill, trees
from sirl.types import Sampler, TokenStats

EXCLUDED = -1e30  # finite, so that masked arithmetic stays finite; exp of it is exactly 0
PLAIN = Sampler()


def tempered(logits, sampler, keep=None):
  """Logits of the distribution that a sampler draws from.

  Args:
    logits: [..., V].
    keep: int [...] or None, a token that stays in the support even if truncation drops it. The
      learner keeps the sampled token, so a weight update cannot make its log-prob minus infinity.
  Returns: float32 [..., V]; EXCLUDED outside the support.
  """
  logits = logits.astype(jnp.float32) / sampler.temperature
  if sampler.support is None:
    return logits
  supported = sampler.support(jax.lax.stop_gradient(logits))
  if keep is not None:
    supported |= jax.nn.one_hot(keep, logits.shape[-1], dtype=bool)
  return jnp.where(supported, logits, EXCLUDED)


def of_tokens(logits, tokens):
  """Log-prob of each token, float32 [...], from logits [..., V] and tokens int [...]."""
  chosen = jnp.take_along_axis(logits, tokens[..., None], axis=-1)[..., 0]
  return chosen - jax.nn.logsumexp(logits, axis=-1)


def entropy_of(logits):
  """Entropy in nats, float32 [...], of softmax(logits [..., V]). Excluded tokens add exactly 0."""
  # With l = logits - max, the entropy is log Z - mean(l). `of_tokens` needs the same exponentials,
  # so the compiler computes them once.
  l = logits - jax.lax.stop_gradient(jnp.max(logits, axis=-1, keepdims=True))
  weights = jnp.exp(l)
  Z = jnp.sum(weights, axis=-1)
  return jnp.log(Z) - jnp.sum(weights * l, axis=-1) / Z


def token_stats(model, params, rollouts, *, prompts=None, sampler=PLAIN, chunk=64):
  """Log-prob and entropy of every completion token under `params`, with the sampler's transforms.

  Args:
    rollouts: Rollouts with leaves [P, G, T].
    prompts: prefilled state of the rows' prompts, from `prefill.for_rows`; None: it is computed
      here, once per group.
    chunk: completion columns unembedded at once.
  Returns: TokenStats with float32 [P, G, T] leaves, 0 in the first `prompt_width` columns.
  """
  P, G, T = rollouts.tokens.shape
  S = rollouts.prompt_width
  tokens_BT, valid_BT = trees.flatten_groups((rollouts.tokens, rollouts.valid))
  x_BD, cache = prompts or prefill.prefill(
    model, params, rollouts.tokens[:, 0, :S], rollouts.valid[:, 0, :S], group_size=G, room=0
  )
  x_BCD = x_BD[:, None]
  # Completions attend over one cache slot per column of the rollouts. Unless the rollouts were
  # narrowed, the sampler used the same slots. Sums then run in the same order, and float32
  # log-probs of small models agree to 1e-6.
  if T - 1 > S:  # each state predicts the next token, so the last column is no input
    see_BTS = prefill.Causal(valid_BT, S, T - 1 - S)
    where_BT = prefill.positions(valid_BT)[:, S : T - 1]
    rest, _ = model.hidden(params, tokens_BT[:, S : T - 1], where_BT, see_BTS, cache)
    x_BCD = jnp.concatenate([x_BCD, rest], axis=1)
  logp_BC, entropy_BC = _chunked(model, params, x_BCD, tokens_BT[:, S:], sampler, chunk)
  value_BC = None if model.value is None else model.value(params, x_BCD)

  def restore(y_BC):
    return jnp.pad(y_BC, ((0, 0), (S, 0))).reshape(P, G, T)

  value = None if value_BC is None else restore(value_BC)
  return TokenStats(logp=restore(logp_BC), entropy=restore(entropy_BC), value=value)


def _chunked(model, params, x_BCD, targets_BC, sampler, chunk):
  """Log-prob and entropy, float32 [B, C] each; at most `chunk` columns of logits in memory."""

  def score(piece):
    x, targets = piece
    logits = tempered(model.unembed(params, x), sampler, keep=targets)
    return of_tokens(logits, targets), entropy_of(logits)

  B, C = targets_BC.shape
  # a single chunk is in memory anyway, so recomputing it would save nothing
  if chunk >= C:
    return score((x_BCD, targets_BC))
  n = -(-C // chunk)
  pad = n * chunk - C
  x = jnp.pad(x_BCD, ((0, 0), (0, pad), (0, 0))).reshape(B, n, chunk, -1).swapaxes(0, 1)
  targets = jnp.pad(targets_BC, ((0, 0), (0, pad))).reshape(B, n, chunk).swapaxes(0, 1)
  return tuple(
    y.swapaxes(0, 1).reshape(B, n * chunk)[:, :C]
    for y in jax.lax.map(jax.checkpoint(score), (x, targets))
  )


# ---------------------------------------------------------------- KL(policy || reference)
# d = logp - ref_logp
# Schulman, "Approximating KL divergence" (2020). Over samples from the policy, k1 and k3 have the
# KL as their mean; the mean of k2 is close to it. As losses, with the samples held fixed, k2 has
# the mean gradient of KL(policy || reference), k3 that of KL(reference || policy), and k1 has mean
# gradient zero.

LIMIT = 20.0  # nats; keeps exp finite for tokens that are impossible under one of the two models


def log_ratio(logp, ref_logp):
  """logp - ref_logp clipped to +-LIMIT."""
  return jnp.clip(logp - ref_logp, -LIMIT, LIMIT)


def k1(logp, ref_logp):
  """d. Unbiased as a value, but may be negative. Useless as a loss: its gradient has mean zero."""
  return log_ratio(logp, ref_logp)


def k2(logp, ref_logp):
  """d^2 / 2. As a loss its mean gradient is that of KL(policy || reference)."""
  return 0.5 * jnp.square(log_ratio(logp, ref_logp))


def k3(logp, ref_logp):
  """exp(-d) - 1 + d. Unbiased and never negative; GRPO's choice (arXiv 2402.03300, eq. 4)."""
  d = log_ratio(logp, ref_logp)
  return jnp.expm1(-d) + d


def k3_straight_through(logp, ref_logp):
  """The value of k3 with the gradient of k2."""
  value, slope = k3(logp, ref_logp), k2(logp, ref_logp)
  return slope + jax.lax.stop_gradient(value - slope)


def kl_exact(logits, ref_logits):
  """Exact KL over the vocabulary, float32 [...], from two logits [..., V]; tests rely on it."""
  logp, ref = jax.nn.log_softmax(logits, axis=-1), jax.nn.log_softmax(ref_logits, axis=-1)
  return jnp.sum(jnp.exp(logp) * (logp - ref), axis=-1)
