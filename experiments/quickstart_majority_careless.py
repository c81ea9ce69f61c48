"""The careless twin of quickstart_majority: a weak start, few votes, large steps, no KL.

  sirl run experiments/quickstart_majority_careless.py

Its reward rises towards 1 while its answers become worthless; left alone it ends near zero. The monitors see no answer, notice
that fixed prompts begin to get the same replies, and steering goes back and then stops.
"""

import dataclasses
import functools

from experiments import quickstart, quickstart_majority


@dataclasses.dataclass(frozen=True, kw_only=True)
class Config(quickstart.Config):
  lr: float = 3e-4
  kl: float = 0.0
  steps_per_round: int = 10


shrink, summary = quickstart.shrink, quickstart.summary

build = functools.partial(
  quickstart.build,
  reward=quickstart_majority.VOTE,
  with_answers=False,
  steer=quickstart_majority.steer_without_answers(),
)
