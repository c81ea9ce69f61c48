"""Majority vote (TTRL): the group's most frequent answer counts as right. No answer is ever read.

Voting helps only while the majority is mostly right, and nothing in the reward says when it stops being so. Hence rules that
watch, without any answer, whether the policy still tells tasks apart and still agrees with what it was sure of.
Source: TTRL, Zuo et al. 2025 (arXiv 2504.16084), sec. 3. Differs: the paper votes with 64 and trains on 32 of
them, under GRPO's clip; here one update per batch needs none.
"""

import dataclasses

from experiments import measures, settings
from sirl import recipe, rewards
from sirl.optimization import advantages, by_group, objectives
from sirl.rewards import heuristic


@dataclasses.dataclass(frozen=True, kw_only=True)
class Config(recipe.Config):
  """Numbers of the method; those it does not state come from the setting."""

  group_size: int = 32  # votes
  minibatches: int = 1  # nothing corrects a second update on the same samples
  kl: float = 0.2  # to the start: it slows the drift to one answer for everything


def method(c, s):
  """A vote in place of a verifier."""
  vote = rewards.per_group(heuristic.majority_vote(s.domain.extract, same=s.domain.same))
  return recipe.Method(
    answers=False,
    reward=rewards.weighted(vote=(1.0, vote)),
    credit=by_group(advantages.normalized),
    objective=objectives.policy_gradient(),
    steer=measures.steer_without_answers(),
  )


build = settings.built(method)
