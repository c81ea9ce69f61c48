"""REINFORCE: the reward itself times the gradient of the log-probability, with no baseline.

Source: Williams 1992, Simple statistical gradient-following algorithms for connectionist reinforcement learning.
"""

import dataclasses

from experiments import settings
from sirl import recipe
from sirl.optimization import advantages, by_group, objectives


@dataclasses.dataclass(frozen=True, kw_only=True)
class Config(recipe.Config):
  """Numbers of the method; those it does not state come from the setting."""

  minibatches: int = 1  # nothing corrects a second update on the same samples


def method(c, s):
  """The true gradient of the expected reward: sums over tokens, a mean over completions."""
  return recipe.Method(
    credit=by_group(advantages.raw),
    objective=objectives.policy_gradient(objectives.sequence_mean_token_sum),
  )


build = settings.built(method)
