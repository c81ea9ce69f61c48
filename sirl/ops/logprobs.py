"""Log-probabilities of given tokens, by the same code for sampler and learner, and KL estimators.

`token_stats` computes a prompt once for its whole group, as the sampler does. It unembeds only
completion columns, a chunk of them at a time, and recomputes the logits of the chunks in the
backward pass if there are several. So the logits in memory are those of a chunk, never of all.
"""

import jax
import jax.numpy as jnp
from jax.ad_checkpoint import checkpoint_name

from sirl.ops import prefill, trees
from sirl.ops.platform import platform
from sirl.types import Sampler, TokenStats

EXCLUDED = -1e30  # finite, so that masked arithmetic stays finite; exp of it is exactly 0
PLAIN = Sampler()
LOGITS = 5 * 2**26  # most numbers in the logits of a chunk: 1.25 GiB


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


def token_stats(model, params, rollouts, *, prompts=None, sampler=PLAIN, chunk=None):
  """Log-prob and entropy of every completion token under `params`, with the sampler's transforms.

  Args:
    rollouts: Rollouts with leaves [P, G, T].
    prompts: prefilled state of the rows' prompts, from `prefill.for_rows`; None: it is computed
      here, once per group.
    chunk: completion columns unembedded at once; None: as many as `columns` allows.
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
    # An accelerator computes it nevertheless: 1024 columns fill its tiles, 1023 are copied to 1024.
    end = T - 1 if platform() == 'cpu' else T
    see_BTS = prefill.Causal(valid_BT, S, end - S)
    where_BT = prefill.positions(valid_BT)[:, S:end]
    rest, _ = model.hidden(params, tokens_BT[:, S:end], where_BT, see_BTS, cache)
    x_BCD = jnp.concatenate([x_BCD, rest[:, : T - 1 - S]], axis=1)
  logp_BC, entropy_BC = _chunked(model, params, x_BCD, tokens_BT[:, S:], sampler, chunk)
  value_BC = None if model.value is None else model.value(params, x_BCD)

  def restore(y_BC):
    return jnp.pad(y_BC, ((0, 0), (S, 0))).reshape(P, G, T)

  value = None if value_BC is None else restore(value_BC)
  return TokenStats(logp=restore(logp_BC), entropy=restore(entropy_BC), value=value)


def columns(rows, C, vocab, tensor):
  """Columns of a chunk: C columns in equal chunks of at most LOGITS logits on a device.

  Args: tensor: devices over which the vocabulary is split.
  """
  return -(-C // -(-C * rows * vocab // (LOGITS * tensor)))


def _chunked(model, params, x_BCD, targets_BC, sampler, chunk):
  """Log-prob and entropy, float32 [B, C] each, with the logits of one chunk in memory."""

  def logits_of(params, x, targets):
    return tempered(model.unembed(params, x), sampler, keep=targets)

  B, C = targets_BC.shape
  if chunk is None:
    vocab = jax.eval_shape(logits_of, params, x_BCD, targets_BC).shape[-1]
    chunk = columns(B, C, vocab, jax.sharding.get_abstract_mesh().shape.get('tensor', 1))
  # Rows, because a TPU's compiler joins the gradient to the product only without a reshape.
  n = -(-C // chunk)

  def rows(x):
    """[B, C, ...] to [n, B * chunk, ...]."""
    x = jnp.pad(x, ((0, 0), (0, n * chunk - C), *[(0, 0)] * (x.ndim - 2)))
    return x.reshape(B, n, chunk, *x.shape[2:]).swapaxes(0, 1).reshape(n, -1, *x.shape[2:])

  def score(piece):
    x, targets = piece
    return log_softmax_stats(logits_of(params, x, targets), targets)

  if n > 1:  # a single chunk is in memory anyway, so recomputing it would save nothing
    policy = jax.checkpoint_policies.save_only_these_names(SUMS)
    score = jax.checkpoint(score, policy=policy)
  found = jax.lax.map(score, (rows(x_BCD), rows(targets_BC)))
  return tuple(y.reshape(n, B, chunk).swapaxes(0, 1).reshape(B, -1)[:, :C] for y in found)


SUMS = 'sums over the vocabulary'


@jax.custom_vjp
def log_softmax_stats(logits, targets):
  """(`of_tokens`, `entropy_of`) of float32 logits [..., V] and targets int [...].

  The gradient needs only the logits and two sums, which are kept where logits are recomputed. So
  the backward pass goes through the logits once:

    d logp    = 1[v = target] - p_v
    d entropy = -p_v (log p_v + entropy)
  """
  return of_tokens(logits, targets), entropy_of(logits)


def _stats_forward(logits, targets):
  logp, entropy = log_softmax_stats(logits, targets)
  log_Z = jax.nn.logsumexp(logits, axis=-1)
  return (logp, entropy), (logits, targets, *checkpoint_name((log_Z, entropy), SUMS))


def _stats_backward(kept, gradient):
  (logits, targets, log_Z, entropy), (by_logp, by_entropy) = kept, gradient
  logp = logits - log_Z[..., None]
  chosen = jnp.arange(logits.shape[-1]) == targets[..., None]
  by_p = by_logp[..., None] + by_entropy[..., None] * (logp + entropy[..., None])
  return jnp.where(chosen, by_logp[..., None], 0.0) - jnp.exp(logp) * by_p, None


log_softmax_stats.defvjp(_stats_forward, _stats_backward)


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
