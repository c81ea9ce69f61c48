"""Control on quickstart's setting: the reward is a fair coin, whatever the answer. What it gains is not learning.

sirl run experiments/quickstart_random.py
"""

from experiments.controls import random_reward

Config, build = random_reward.Config, random_reward.build
