"""Control on quickstart's setting: the reward is a fair coin, whatever the answer.

  sirl run experiments/quickstart_random.py --set lr=2e-5 --set max_rounds=3 --set lr_steps=120

Whatever this run gains is not learned from the reward. With these numbers it stays flat while
quickstart gains (docs/results.md). At quickstart's own learning rate, 5e-4, it loses all accuracy.
"""

from experiments.controls import random_reward

Config, build = random_reward.Config, random_reward.build
