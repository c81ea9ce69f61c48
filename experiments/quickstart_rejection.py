"""Rejection sampling on quickstart's setting: the model imitates only its own right answers.

sirl run experiments/quickstart_rejection.py
"""

from experiments.methods import rejection_sampling

Config, build = rejection_sampling.Config, rejection_sampling.build
