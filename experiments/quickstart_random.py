"""Control on quickstart's setting: the reward is a fair coin, whatever the answer.

  sirl run experiments/quickstart_random.py

Whatever this run gains is not learned from the reward.
"""

from experiments.controls import random_reward

Config, build = random_reward.Config, random_reward.build
