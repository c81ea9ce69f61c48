"""DAPO: GRPO with clip-higher, groups without signal left out, a soft penalty on overlong completions, token mean.

Source: Yu et al. 2025, DAPO (arXiv 2503.14476), sec. 3. Differs: groups that are left out are not sampled again, shapes stay
fixed; KL is 0 as in the paper.
"""

import dataclasses

from experiments import settings
from sirl import recipe, rewards
from sirl.optimization import advantages, by_group, objectives
from sirl.rewards import heuristic
from sirl.selection import selectors


@dataclasses.dataclass(frozen=True, kw_only=True)
class Config(recipe.Config):
  """Numbers of the method; those it does not state come from the setting."""

  clip: tuple[float, float] = (0.2, 0.28)  # low, high: sec. 3.1
  # Share of max_new over which the penalty on length grows to 1, sec. 3.4: 4096 of 20480 tokens; 0 for no penalty.
  overlong: float = 0.2


def method(c, s):
  """The filter looks at `correct`, since the penalty differs within nearly every group."""
  correct = rewards.per_completion(s.domain.verify, workers=1)
  buffer = round(c.overlong * s.max_new)
  overlong = (
    {'overlong': (1.0, rewards.on_device(heuristic.soft_overlong(s.max_new, buffer)))}
    if buffer
    else {}
  )
  return recipe.Method(
    reward=rewards.weighted(correct=(1.0, correct), **overlong),
    keep=selectors.informative('correct'),
    credit=by_group(advantages.normalized),
    objective=objectives.clipped(*c.clip),
  )


build = settings.built(method)
