"""Supervised fine-tuning: the likelihood of the tasks' own answers.

Source: the usual next-token cross-entropy on completions; the prompt carries no loss.
"""

import dataclasses

from experiments import settings
from sirl import recipe, rewards
from sirl.generation import demonstrate
from sirl.ops import logprobs
from sirl.optimization import advantages, by_group, objectives
from sirl.selection import selectors
from sirl.warm_start import demonstrated


@dataclasses.dataclass(frozen=True, kw_only=True)
class Config(recipe.Config):
  """Numbers of the method; those it does not state come from the setting."""

  group_size: int = 1  # a task has one demonstration


def method(c, s):
  """Demonstrations in place of samples; each is worth the same."""
  return recipe.Method(
    generate=demonstrate(
      s.codec, max_prompt=s.max_prompt, max_new=s.max_new, solution=s.domain.solution
    ),
    reward=rewards.per_completion(demonstrated, workers=1),
    credit=by_group(advantages.raw),
    objective=objectives.nll(),
    selector=selectors.uniform(),
    sampler=logprobs.PLAIN,  # cross-entropy at temperature 1, whatever the setting samples at
  )


build = settings.built(method)
