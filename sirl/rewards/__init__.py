"""Rewards: verifiable, heuristic, by vote, or written for another library.

`scores` makes rewards from functions, `calls` says where these run, `compose` combines rewards.
"""

from sirl.rewards import adapters, calls, compose, heuristic, scores
from sirl.rewards.adapters import from_trl, from_verifiers, from_verl
from sirl.rewards.compose import by_role, opened, tolerant, watched, weighted
from sirl.rewards.scores import RewardError, batched, on_device, per_completion, per_group

__all__ = [
  'RewardError',
  'adapters',
  'batched',
  'by_role',
  'calls',
  'compose',
  'from_trl',
  'from_verifiers',
  'from_verl',
  'heuristic',
  'on_device',
  'opened',
  'per_completion',
  'per_group',
  'scores',
  'tolerant',
  'watched',
  'weighted',
]
