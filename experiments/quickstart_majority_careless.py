"""A careless majority vote, to be caught by monitors: a weak start, few votes, large steps, no KL.

  sirl run experiments/quickstart_majority_careless.py [--set watched=false]

It is quickstart_majority without its precautions. The reward rises towards 1 while the answers
become worthless. The monitors read no answer; they notice that fixed prompts begin to get the same
replies. Steering then rolls back, and later stops the run. `watched=false` removes these rules, to
show what they prevent.
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
  watched: bool = True  # False: no rule except to stop on NaN


def method(c, s):
  """Majority vote; only its steering rules protect it."""
  vote = majority_vote.method(c, s)
  return vote if c.watched else dataclasses.replace(vote, steer=steering.stop_if_not_finite())


build = settings.built(method)
