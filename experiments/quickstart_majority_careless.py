"""The careless twin of quickstart_majority: a weak start, few votes, large steps, no KL.

  sirl run experiments/quickstart_majority_careless.py [--set watched=false]

Its reward rises towards 1 while its answers become worthless. The monitors see no answer, notice that fixed prompts begin to
get the same replies, and steering goes back and then stops. `watched=false` leaves it alone, to see what they prevent.
"""

import dataclasses

from experiments import settings
from experiments.methods import majority_vote
from sirl.evaluation import steering


@dataclasses.dataclass(frozen=True, kw_only=True)
class Config(majority_vote.Config):
  """Numbers of the run; each can be set with --set NAME=VALUE."""

  group_size: int = 8
  lr: float = 3e-4
  kl: float = 0.0
  steps_per_round: int = 10
  watched: bool = True  # False: no rule but the one on NaN


def method(c, s):
  """The vote, with nothing that would keep it safe but its rules."""
  vote = majority_vote.method(c, s)
  return vote if c.watched else dataclasses.replace(vote, steer=steering.stop_if_not_finite())


build = settings.built(method)
