"""Majority vote on quickstart's setting, without a single answer in its tasks (TTRL).

  sirl run experiments/quickstart_majority.py

It differs from the method's defaults in two ways. The warm start is stronger, because a vote helps
only where the majority is mostly right. The updates are smaller. quickstart_majority_careless does
the opposite.
"""

import dataclasses

from experiments import settings
from experiments.methods import majority_vote


@dataclasses.dataclass(frozen=True, kw_only=True)
class Config(majority_vote.Config):
  """Numbers of the run; each can be set with --set NAME=VALUE."""

  warm_goal: float = 0.6
  prompts: int = 16
  lr: float = 1e-4


build = settings.built(majority_vote.method)
