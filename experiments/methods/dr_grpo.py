"""Dr. GRPO: GRPO without the two biases, division by the group's spread and by each completion's length.

Source: Liu et al. 2025, Understanding R1-Zero-Like Training (arXiv 2503.20783), sec. 3.2. Differs: one
update per batch by default, so the clip is idle; `--set minibatches=4` makes it act.
"""

import dataclasses

from experiments import settings
from sirl import ranges, recipe
from sirl.optimization import advantages, by_group, objectives


@dataclasses.dataclass(frozen=True, kw_only=True)
class Config(recipe.Config):
  """Numbers of the method; those it does not state come from the setting."""

  clip: ranges.NotNegative = 0.2


def method(c, s):
  """Centered advantages; token losses are summed and divided by the constant max_new."""
  reduce = objectives.sequence_mean_token_sum_norm(s.max_new)
  return recipe.Method(
    credit=by_group(advantages.centered), objective=objectives.clipped(c.clip, c.clip, reduce)
  )


build = settings.built(method)
