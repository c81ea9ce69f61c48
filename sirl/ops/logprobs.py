"""Log-probabilities of chosen tokens: the one function that sampler and learner share, and KL estimators.

`token_stats` computes a prompt once for its whole group, as the sampler does. It unembeds completion columns only, at most `chunk`
of them at a time, and recomputes each of several chunks in the backward pass: logits are alive for [B, chunk] tokens, never for all.
"""

import jax
import jax.numpy as jnp

from sirl.ops import prefill, trees
from sirl.types import Sampler, TokenStats

EXCLUDED = -1e30  # finite, so that masked arithmetic stays finite; exp of it is exactly 0
PLAIN = Sampler()


def tempered(logits, sampler, keep=None):
  """Logits of the distribution that a sampler draws from.

  Args: logits: [..., V]; keep: int [...] or None, a token that stays in the support even if truncation drops it. The
    learner keeps the sampled token, so that a weight update cannot make its log-prob minus infinity.
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
  # log Z - mean(l), both of l = logits - max: the same exponentials as in `of_tokens`, computed once for the two.
  l = logits - jax.lax.stop_gradient(jnp.max(logits, axis=-1, keepdims=True))
  weights = jnp.exp(l)
  Z = jnp.sum(weights, axis=-1)
  return jnp.log(Z) - jnp.sum(weights * l, axis=-1) / Z


def token_stats(model, params, rollouts, *, prompts=None, sampler=PLAIN, chunk=64):
  """Log-prob and entropy of every completion token under `params`, as the sampler would have drawn it.

  Args: rollouts: Rollouts with leaves [P, G, T]; prompts: what the rows' prompts left behind, from `prefill.for_rows`,
    None to compute each group's here; chunk: completion columns unembedded at once.
  Returns: TokenStats with float32 [P, G, T] leaves, 0 in the first `prompt_width` columns.
  """
  P, G, T = rollouts.tokens.shape
  S = rollouts.prompt_width
  tokens_BT, valid_BT = trees.flatten_groups((rollouts.tokens, rollouts.valid))
  x_BD, cache = prompts or prefill.prefill(
    model, params, rollouts.tokens[:, 0, :S], rollouts.valid[:, 0, :S], group_size=G, room=0
  )
  x_BCD = x_BD[:, None]
  # Completions attend over as many slots as the rollouts have columns. Unless they were narrowed, those are the sampler's: sums
  # then run in its order, and float32 log-probs of small models agree to 1e-6.
  if T - 1 > S:  # the state before a column predicts its token, so the last column is no input
    see_BTS = prefill.causal_mask(valid_BT)[:, S : T - 1]
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
  """Log-prob and entropy, float32 [B, C] each, at most `chunk` columns of logits alive at a time."""

  def score(piece):
    x, targets = piece
    logits = tempered(model.unembed(params, x), sampler, keep=targets)
    return of_tokens(logits, targets), entropy_of(logits)

  B, C = targets_BC.shape
  if chunk >= C:  # alive at once either way, so nothing would be saved by computing them again
    return score((x_BCD, targets_BC))
  n = -(-C // chunk)
  pad = n * chunk - C
  x = jnp.pad(x_BCD, ((0, 0), (0, pad), (0, 0))).reshape(B, n, chunk, -1).swapaxes(0, 1)
  targets = jnp.pad(targets_BC, ((0, 0), (0, pad))).reshape(B, n, chunk).swapaxes(0, 1)
  return tuple(
    y.swapaxes(0, 1).reshape(B, n * chunk)[:, :C]
    for y in jax.lax.map(jax.checkpoint(score), (x, targets))
  )


# ---------------------------------------------------------------- KL(policy || reference), d = logp - ref_logp
# Schulman, "Approximating KL divergence" (2020). With samples from the policy, k1 and k3 have mean KL; k2 is close to it.
# As a loss differentiated with the samples fixed, the mean gradient of k2 is that of KL(policy || reference), that of k3
# is that of KL(reference || policy), and that of k1 is zero.

LIMIT = 20.0  # nats; keeps exp finite for tokens that one of the two finds impossible


def log_ratio(logp, ref_logp):
  """logp - ref_logp clipped to +-LIMIT."""
  return jnp.clip(logp - ref_logp, -LIMIT, LIMIT)


def k1(logp, ref_logp):
  """d. Unbiased as a value, may be negative; useless as a loss (its gradient has mean zero)."""
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
  """KL over the whole vocabulary, float32 [...], from two logits [..., V]: the oracle of the estimators."""
  logp, ref = jax.nn.log_softmax(logits, axis=-1), jax.nn.log_softmax(ref_logits, axis=-1)
  return jnp.sum(jnp.exp(logp) * (logp - ref), axis=-1)
