"""Objectives: map token statistics and an Experience to a scalar to minimise.

Every objective is a sum over tokens divided by a count of the whole minibatch
(`experience.counts`). The losses and metrics of its pieces therefore add up, and the loss and
gradient do not depend on how micro-batches or shards cut it. This file has three parts:
aggregation of token losses, policy objectives, and regularisers.

| here | TRL loss_type | verl loss_agg_mode |
| --- | --- | --- |
| token_mean | dapo, bnpo | token-mean |
| sequence_mean_token_mean | grpo | seq-mean-token-mean |
| sequence_mean_token_sum | - (luspo at sequence level) | seq-mean-token-sum |
| sequence_mean_token_sum_norm(L) | dr_grpo | seq-mean-token-sum-norm |
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp

from sirl import ranges
from sirl.ops import logprobs, masked
from sirl.optimization import contract
from sirl.slots import Objective
from sirl.types import Array, Experience

Reduce = Callable[[Array, Experience], Array]  # token losses [P, G, T] -> []


# ---------------------------------------------------------------- aggregation


def token_mean(values_PGT, experience):
  """Every token of the minibatch weighs the same (DAPO, arXiv 2503.14476)."""
  return masked.sum(values_PGT, experience.mask) / jnp.maximum(experience.counts.tokens, 1.0)


def sequence_mean_token_mean(values_PGT, experience):
  """Every completion weighs the same, so long ones' tokens weigh less (GRPO, arXiv 2402.03300)."""
  means_PG = masked.mean(values_PGT, experience.mask, axis=-1)
  return jnp.sum(means_PG) / jnp.maximum(experience.counts.sequences, 1.0)


def sequence_mean_token_sum(values_PGT, experience):
  """The mean over completions of the sum over tokens: the gradient of the expected reward."""
  return masked.sum(values_PGT, experience.mask) / jnp.maximum(experience.counts.sequences, 1.0)


def sequence_mean_token_sum_norm(length: int) -> Reduce:
  """sequence_mean_token_sum divided by a constant length in tokens, usually max_new.

  Source: Dr. GRPO, arXiv 2503.20783.
  """
  length = ranges.real('sequence_mean_token_sum_norm: length', length, above=0)
  return lambda values_PGT, experience: sequence_mean_token_sum(values_PGT, experience) / length


# ---------------------------------------------------------------- policy objectives


def policy_gradient(reduce: Reduce = token_mean) -> Objective:
  """REINFORCE: -A log pi. Williams 1992."""

  def objective(stats, experience):
    return reduce(-experience.advantages * stats.logp, experience), {}

  return objective


def clipped(
  low: float = 0.2, high: float = 0.2, reduce: Reduce = token_mean, *, dual: float | None = None
) -> Objective:
  """PPO's clipped surrogate: max(-A w, -A clip(w, 1 - low, 1 + high)).

  w = pi / pi_old is the ratio of each token. `dual` bounds the loss of tokens with A < 0 by -A *
  dual (verl uses 3).
  Raises: ValueError for a negative bound, or a dual of at most 1.
  Sources: arXiv 1707.06347; unequal bounds DAPO arXiv 2503.14476; dual clip arXiv 1912.09729.
  """
  low, high = _bounds('clipped', low, high)
  dual = ranges.optional('clipped: dual', dual, ranges.real, above=1)

  def objective(stats, experience):
    ratio = jnp.exp(logprobs.log_ratio(stats.logp, experience.old_logp))
    return _surrogate(ratio, experience, low, high, dual, reduce)

  return objective


def sequence_clipped(
  low: float = 3e-4, high: float = 4e-4, reduce: Reduce = sequence_mean_token_mean
) -> Objective:
  """GSPO: one ratio per completion, the geometric mean of its token ratios.

  Computed per token as s = exp(logp - sg(logp) + sg(mean_t log w)), where sg stops the gradient, so
  each token carries its share of the gradient.
  Source: Zheng et al. 2025, arXiv 2507.18071, eq. 7.
  """
  low, high = _bounds('sequence_clipped', low, high)

  def objective(stats, experience):
    log_w = logprobs.log_ratio(stats.logp, experience.old_logp)
    mean_log_w = jax.lax.stop_gradient(masked.mean(log_w, experience.mask, axis=-1))[..., None]
    ratio = jnp.exp(stats.logp - jax.lax.stop_gradient(stats.logp) + mean_log_w)
    return _surrogate(ratio, experience, low, high, None, reduce)

  return objective


def _bounds(name, low, high):
  return [
    ranges.real(f'{name}: {side}', value, 0, infinite=True)
    for side, value in (('low', low), ('high', high))
  ]


def _surrogate(ratio, experience, low, high, dual, reduce):
  A = experience.advantages
  loss = jnp.maximum(-A * ratio, -A * jnp.clip(ratio, 1 - low, 1 + high))
  if dual is not None:
    loss = jnp.where(A < 0, jnp.minimum(loss, -A * dual), loss)
  below = ((ratio < 1 - low) & (A < 0)).astype(jnp.float32)
  above = ((ratio > 1 + high) & (A > 0)).astype(jnp.float32)
  return reduce(loss, experience), {
    'clip_ratio/low_mean': token_mean(below, experience),
    'clip_ratio/high_mean': token_mean(above, experience),
    'clip_ratio/region_mean': token_mean(below + above, experience),
  }


def nll(reduce: Reduce = token_mean) -> Objective:
  """Negative log-likelihood of the completions with a positive advantage: supervised learning.

  With advantages of 0 and 1 it equals `policy_gradient`. The sum is divided by all judged tokens or
  completions, also those with advantage 0. To divide by the accepted ones only, use a `keep=` that
  sets the reward of the others to NaN.
  """

  def objective(stats, experience):
    kept = (experience.advantages > 0).astype(jnp.float32)
    return reduce(-kept * stats.logp, experience), {}

  return objective


def of_groups(objective: Objective) -> Objective:
  """Marks an objective that compares the completions of a group, such as one on pairs.

  Raises: ValueError when the update is traced, if the pieces split groups.
  """

  def whole_groups(stats, experience):
    if experience.torn:
      raise ValueError(
        'this objective compares completions of one group, but rows= and widths= send them through '
        'the model apart; leave Pieces.rows at None and Pieces.widths at (), and take '
        'microbatches= for memory'
      )
    return objective(stats, experience)

  return whole_groups


# ---------------------------------------------------------------- regularisers and sums


def kl(estimator=logprobs.k3, reduce: Reduce = token_mean) -> Objective:
  """KL(policy || reference), estimated by logprobs.k1, k2, k3 or k3_straight_through.

  Raises: ValueError when the run keeps no reference policy.
  """

  def objective(stats, experience):
    if experience.ref_logp is None:
      raise ValueError(
        'objective uses kl() but this run keeps no reference policy; set reference=True in its '
        'Learner'
      )
    return reduce(estimator(stats.logp, experience.ref_logp), experience), {}

  return objective


def entropy(reduce: Reduce = token_mean) -> Objective:
  """Mean entropy of the policy in nats. In `add`, a negative weight rewards entropy."""

  def objective(stats, experience):
    return reduce(stats.entropy, experience), {}

  return objective


def add(*terms) -> Objective:
  """Sum of objectives, each given alone or as (weight, objective).

  Terms of weight 0 are dropped and cost nothing.
  Raises: ValueError when no term has a weight other than 0.
  """
  weighted = [term if isinstance(term, tuple) else (1.0, term) for term in terms]
  weighted = [(ranges.real('add: weight', weight), objective) for weight, objective in weighted]
  weighted = [(weight, objective) for weight, objective in weighted if weight != 0]
  if not weighted:
    raise ValueError(
      'add() has no term with a weight other than 0; an objective needs at least one'
    )

  def objective(stats, experience):
    values, metrics = [], {}
    for weight, term in weighted:
      value, extra = contract.loss_of(term, stats, experience)
      values.append(weight * value)
      metrics |= extra
    return sum(values[1:], start=values[0]), metrics

  return objective
