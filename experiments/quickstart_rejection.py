"""Rejection sampling on quickstart's setting: the model imitates its own right answers and nothing else.

sirl run experiments/quickstart_rejection.py
"""

from experiments.methods import rejection_sampling

Config, build = rejection_sampling.Config, rejection_sampling.build
