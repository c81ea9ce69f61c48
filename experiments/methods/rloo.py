"""RLOO: REINFORCE whose baseline is the mean reward of the group's other completions.

Source: Ahmadian et al. 2024, Back to Basics (arXiv 2402.14740), sec. 2.2. Differs: KL, where
`kl` is set, is a term of the loss and a mean over tokens; the paper puts it into the reward.
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
  """Leave-one-out advantages, unbiased; sums over tokens, a mean over completions."""
  return recipe.Method(
    credit=by_group(advantages.leave_one_out),
    objective=objectives.policy_gradient(objectives.sequence_mean_token_sum),
  )


build = settings.built(method)
