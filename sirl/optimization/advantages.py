"""Advantages: map the rewards of a group to one number per completion.

`credit.by_group` gives that number to every token. Each function takes rewards float32 [P, G] and
judged bool [P, G], and returns float32 [P, G], 0 where not judged. Statistics use only the judged
completions of one task, so the layout of the batch does not matter.
"""

import jax.numpy as jnp

from sirl import ranges
from sirl.ops import masked
from sirl.slots import Advantage

TIED = 1e-8  # rewards closer than this count as equal; the difference is rounding


def _require_group(name, rewards_PG):
  if rewards_PG.shape[-1] < 2:
    raise ValueError(
      f'{name}: got a group of {rewards_PG.shape[-1]}, needs at least 2 completions per task to '
      'have a baseline; raise group_size, or use advantages.raw'
    )


def normalized(rewards_PG, judged_PG, *, epsilon=1e-6):
  """GRPO: (r - mean) / (std + epsilon) within the group; 0 for a tied group.

  The std divides by n - 1, as both reference implementations do. A tied group is set to 0
  explicitly, because float noise over a tiny epsilon would give large advantages.
  Raises: ValueError for a group of one.
  Source: Shao et al. 2024, arXiv 2402.03300, sec. 4.1.2. Differs: ignores unjudged completions.
  """
  _require_group('normalized', rewards_PG)
  spread = masked.std(rewards_PG, judged_PG, axis=-1, ddof=1)[..., None]
  return jnp.where(
    _tied(rewards_PG, judged_PG), 0.0, centered(rewards_PG, judged_PG) / (spread + epsilon)
  )


def centered(rewards_PG, judged_PG):
  """Dr. GRPO: r - mean within the group.

  Its expected gradient is (n - 1) / n of the leave-one-out gradient, because the mean contains the
  completion itself.
  Raises: ValueError for a group of one.
  Source: Liu et al. 2025, arXiv 2503.20783, sec. 3.2.
  """
  _require_group('centered', rewards_PG)
  mean = masked.mean(rewards_PG, judged_PG, axis=-1)[..., None]
  return masked.clean(rewards_PG - mean, judged_PG)


def leave_one_out(rewards_PG, judged_PG):
  """RLOO: own reward minus the mean of the group's other judged rewards; 0 if there is no other.

  A_pg = r_pg - sum_{h != g} r_ph / (G_p - 1) = G_p / (G_p - 1) * (r_pg - mean_p), where G_p is the
  number of judged completions of task p.
  Raises: ValueError for a group of one.
  Source: Ahmadian et al. 2024, arXiv 2402.14740, sec. 2.2. Differs: G_p varies by task, because
  some completions are unjudged.
  """
  _require_group('leave_one_out', rewards_PG)
  n = masked.count(judged_PG, axis=-1)[..., None]
  return jnp.where(n > 1, centered(rewards_PG, judged_PG) * n / jnp.maximum(n - 1, 1.0), 0.0)


def raw(rewards_PG, judged_PG):
  """The reward itself, without a baseline; 0 where not judged."""
  return masked.clean(rewards_PG, judged_PG)


def ones(rewards_PG, judged_PG):
  """1 for every judged completion, whatever its reward: imitation of what `keep=` has kept."""
  del rewards_PG
  return judged_PG.astype(jnp.float32)


def accept(threshold: float) -> Advantage:
  """1 if r >= threshold, else 0: rejection sampling.

  Sources: STaR arXiv 2203.14465, ReST-EM arXiv 2312.06585, RAFT arXiv 2304.06767.
  """
  threshold = ranges.real('accept: threshold', threshold)

  def advantage(rewards_PG, judged_PG):
    return ((rewards_PG >= threshold) & judged_PG).astype(jnp.float32)

  return advantage


def _tied(rewards_PG, judged_PG):
  """bool [P, 1]: whether the judged rewards of the group are equal."""
  low = masked.min(rewards_PG, judged_PG, axis=-1, empty=0.0)
  high = masked.max(rewards_PG, judged_PG, axis=-1, empty=0.0)
  return (high - low < TIED)[..., None]
