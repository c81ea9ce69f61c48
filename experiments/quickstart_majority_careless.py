"""The careless twin of quickstart_majority: a weak start, few votes, large steps, no KL.

  sirl run experiments/quickstart_majority_careless.py [--set watched=false]

Its reward rises towards 1 while its answers become worthless. The monitors see no answer, notice that fixed prompts begin to
get the same replies, and steering goes back and then stops. `watched=false` leaves it alone, to see what they prevent.
"""

import dataclasses

from experiments import quickstart, quickstart_majority
from sirl.evaluation import steering
from sirl.experiment import Experiment


@dataclasses.dataclass(frozen=True, kw_only=True)
class Config(quickstart.Config):
  """Numbers of the run; each can be set with --set NAME=VALUE."""

  lr: float = 3e-4
  kl: float = 0.0
  steps_per_round: int = 10
  watched: bool = True  # False: no rule but the one on NaN


shrink, summary = quickstart.shrink, quickstart.summary


def build(c: Config) -> Experiment:
  """quickstart with the vote as reward, and nothing that would keep it safe but its rules."""
  rules = quickstart_majority.steer_without_answers()
  return quickstart.build(
    c,
    reward=quickstart_majority.VOTE,
    with_answers=False,
    steer=rules if c.watched else steering.stop_if_not_finite(),
  )
