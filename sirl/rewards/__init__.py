"""Rewards: verifiable, heuristic, by vote.

`scores` makes rewards from functions; `compose` combines rewards.
"""

from sirl.rewards import adapters, compose, heuristic, scores
from sirl.rewards.adapters import from_trl, from_verl
from sirl.rewards.compose import by_role, tolerant, watched, weighted
from sirl.rewards.scores import RewardError, batched, on_device, per_completion, per_group

__all__ = [
  'RewardError',
  'adapters',
  'batched',
  'by_role',
  'compose',
  'from_trl',
  'from_verl',
  'heuristic',
  'on_device',
  'per_completion',
  'per_group',
  'scores',
  'tolerant',
  'watched',
  'weighted',
]
