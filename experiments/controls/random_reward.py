"""Control: a reward that is a fair coin, whatever the answer. What it gains is not learning.

Source: Shao et al. 2025, Spurious Rewards (arXiv 2506.10947): on some bases a random reward raises
the score, so every claim needs this run.

At the toy setting's learning rate of 5e-4 the run loses all accuracy: AdamW moves every weight by
about the learning rate, whatever the signal, so a coin is a random walk. That shows large steps and
nothing about rewards. Compare at a rate at which this control stays flat while the reward in
question still gains. docs/results.md has three seeds of one for quickstart:

  sirl run experiments/quickstart_random.py --set lr=2e-5 --set max_rounds=3 --set lr_steps=120
"""

import dataclasses

from experiments import settings
from sirl import recipe, rewards
from sirl.evaluation import steering
from sirl.optimization import advantages, by_group, objectives
from sirl.rewards import heuristic
from sirl.selection import selectors


@dataclasses.dataclass(frozen=True, kw_only=True)
class Config(recipe.Config):
  """Numbers of the control; those it does not state come from the setting."""

  minibatches: int = 1  # nothing corrects a second update on the same samples


def method(c, s):
  """The part `correct` weighs nothing in the total and is only watched.

  The selector is uniform: one that reads `correct` would let the answers in.
  """
  correct = rewards.per_completion(s.domain.verify, workers=1)
  return recipe.Method(
    reward=rewards.weighted(coin=(1.0, heuristic.random_reward(0.5)), correct=(0.0, correct)),
    credit=by_group(advantages.normalized),
    objective=objectives.policy_gradient(),
    selector=selectors.uniform(),
    steer=steering.stop_if_not_finite(),
  )


build = settings.built(method)
