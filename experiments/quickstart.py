"""Quickstart: a model trained from nothing closes the loop on two-digit addition. Nothing is downloaded.

  sirl run experiments/quickstart.py [--set seed=1] [--set debug=true]

A character-level decoder of 0.6M parameters sees a few thousand solved sums (the warm start, its own run in
WORKDIR/warm) and answers about a third of new ones. Then the loop takes over: acquire new sums, select those near the
edge of its ability, generate eight answers each, reward the right ones, optimize, evaluate on held-out sums, steer.

It is the method below on the setting task=addition, model=toy; both can be set to others. Its numbers stand in
experiments/defaults.py, class Toy. Hardware: 2 CPU cores, about 4 minutes.
Source: GRPO, Shao et al. 2024 (arXiv 2402.03300). Differs: no KL, one update per rollout, so its clipped objective is plain
policy gradient.
Other runs of this setting: quickstart_rejection, quickstart_majority, quickstart_majority_careless, quickstart_random,
quickstart_curriculum, quickstart_self_instruct, my_reward.
"""

from experiments import settings
from sirl import recipe
from sirl.optimization import advantages, by_group, objectives

Config = recipe.Config


def method(c, s):
  """Better than the group's mean is pushed up, worse is pushed down."""
  return recipe.Method(
    credit=by_group(advantages.normalized), objective=objectives.policy_gradient()
  )


build = settings.built(method)
