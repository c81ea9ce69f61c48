"""Quickstart: a model trained from nothing closes the loop on two-digit addition.

  sirl run experiments/quickstart.py [--set seed=1] [--set debug=true]

Nothing is downloaded. A character-level decoder of 0.6M parameters first learns from a few thousand
solved sums, in a warm start with a workdir of its own (WORKDIR/warm). It then answers about a third
of new sums. Now the loop begins. In each round it acquires new sums, selects those near the edge of
the policy's ability, generates eight answers to each, rewards the right ones, optimizes, evaluates
on held-out sums, and steers.

The file puts the method below on the setting task=addition, model=toy; both can be changed. The
numbers of the setting are in experiments/defaults.py, class Toy. Hardware: 2 CPU cores, about 4
minutes.
Source: GRPO, Shao et al. 2024 (arXiv 2402.03300). Differs: no KL, and one update per rollout, which
  makes its clipped objective plain policy gradient.
Other runs of this setting: quickstart_rejection, quickstart_majority, quickstart_majority_careless,
quickstart_random, quickstart_curriculum, quickstart_self_instruct, my_reward.
"""

from experiments import settings
from sirl import recipe
from sirl.optimization import advantages, by_group, objectives

Config = recipe.Config


def method(c, s):
  """Policy gradient with GRPO's advantages: rewards normalized within their group."""
  return recipe.Method(
    credit=by_group(advantages.normalized), objective=objectives.policy_gradient()
  )


build = settings.built(method)
