"""Control: quickstart with a reward that is a fair coin, whatever the answer. What it gains is not learning.

  sirl run experiments/quickstart_random.py

Source: Spurious Rewards (arXiv 2506.10947): on some bases a random reward raises the score, so every claim needs this run.
"""

import functools

from experiments import quickstart
from sirl import rewards
from sirl.evaluation import steering
from sirl.rewards import heuristic
from sirl.selection import selectors

Config = quickstart.Config
shrink, summary = quickstart.shrink, quickstart.summary

REWARD = rewards.weighted(
  coin=(1.0, heuristic.random_reward(0.5)),
  correct=(0.0, rewards.per_completion(quickstart.CORRECT, workers=1)),
)

# `correct` weighs nothing in the total and is only watched; a selector that reads it would let the answers in.
build = functools.partial(
  quickstart.build,
  reward=REWARD,
  selector=selectors.uniform(),
  steer=steering.stop_if_not_finite(),
)
