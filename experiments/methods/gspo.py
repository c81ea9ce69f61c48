"""GSPO: one probability ratio per completion, the geometric mean of its tokens' ratios, clipped as a whole.

Source: Zheng et al. 2025, Group Sequence Policy Optimization (arXiv 2507.18071), sec. 4 and 5.1.
"""

import dataclasses

from experiments import settings
from sirl import ranges, recipe
from sirl.optimization import advantages, by_group, objectives


@dataclasses.dataclass(frozen=True, kw_only=True)
class Config(recipe.Config):
  """Numbers of the method; those it does not state come from the setting."""

  clip: tuple[ranges.NotNegative, ranges.NotNegative] = (3e-4, 4e-4)  # low, high: sec. 5.1
  minibatches: int = 4  # updates per batch, sec. 5.1; with one update every ratio is 1


def method(c, s):
  """GRPO's advantages under the sequence ratio."""
  return recipe.Method(
    credit=by_group(advantages.normalized), objective=objectives.sequence_clipped(*c.clip)
  )


build = settings.built(method)
