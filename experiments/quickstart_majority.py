"""Majority vote: quickstart without a single answer in its tasks (TTRL).

  sirl run experiments/quickstart_majority.py

The reward of an answer is whether it is the group's most frequent one. That helps only while the majority is mostly right,
and nothing in the reward says when it stops being so. Hence a stronger start, more votes, small steps, KL to the start, and
monitors that watch, without any answer, whether the policy still tells tasks apart and still agrees with what it was sure of.

Source: TTRL, Zuo et al. 2025 (arXiv 2504.16084): 64 votes, 32 of them trained on. The careless twin is
quickstart_majority_careless.
"""

import dataclasses
import functools

from experiments import quickstart
from sirl import rewards
from sirl.domains import answers
from sirl.evaluation import steering
from sirl.optimization import objectives
from sirl.rewards import heuristic


@dataclasses.dataclass(frozen=True, kw_only=True)
class Config(quickstart.Config):
  """Numbers of the run; each can be set with --set NAME=VALUE."""

  warm_goal: float = 0.6
  prompts: int = 16
  group_size: int = 32
  lr: float = 1e-4
  kl: float = 0.2


VOTE = rewards.weighted(vote=(1.0, rewards.per_group(heuristic.majority_vote(answers.exact))))
shrink, summary = quickstart.shrink, quickstart.summary


def steer_without_answers():
  """Rules on what the policy says to fixed prompts; no accuracy is read."""
  return steering.first_of(
    steering.stop_if_not_finite(),
    steering.rollback_if('monitor/consensus/answer_entropy', fall=0.5, limit=1),
    steering.rollback_if('monitor/consensus/anchor_agreement', share=0.8, limit=1),
    steering.rollback_if('monitor/consensus/parsed', below=0.8, limit=1),
  )


build = functools.partial(
  quickstart.build,
  reward=VOTE,
  objective=objectives.policy_gradient(),
  with_answers=False,
  steer=steer_without_answers(),
)
