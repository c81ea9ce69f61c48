"""GRPO: group-normalized advantages under PPO's clipped surrogate.

Source: Shao et al. 2024, DeepSeekMath (arXiv 2402.03300), sec. 4.1. Differs: no KL by default (the paper has 0.04), every
token of a batch weighs the same (the paper averages per completion first), one update per batch by default: then every
ratio is 1 and the clip is idle; `--set minibatches=4` makes it act.
"""

import dataclasses

from experiments import settings
from sirl import ranges, recipe
from sirl.optimization import advantages, by_group, objectives


@dataclasses.dataclass(frozen=True, kw_only=True)
class Config(recipe.Config):
  """Numbers of the method; those it does not state come from the setting."""

  clip: ranges.NotNegative = 0.2  # epsilon, sec. 4.1


def method(c, s):
  """Better than the group's mean is pushed up, worse is pushed down."""
  return recipe.Method(
    credit=by_group(advantages.normalized), objective=objectives.clipped(c.clip, c.clip)
  )


build = settings.built(method)
