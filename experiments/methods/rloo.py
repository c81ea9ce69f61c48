"""RLOO: REINFORCE whose baseline is the mean reward of the group's other completions.

Source: Ahmadian et al. 2024, Back to Basics (arXiv 2402.14740), sec. 2.2.
"""

from experiments import settings
from sirl import recipe
from sirl.optimization import advantages, by_group, objectives

Config = recipe.Config


def method(c, s):
  """Leave-one-out advantages, unbiased; sums over tokens, a mean over completions."""
  return recipe.Method(
    credit=by_group(advantages.leave_one_out),
    objective=objectives.policy_gradient(objectives.sequence_mean_token_sum),
  )


build = settings.built(method)
