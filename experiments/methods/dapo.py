"""DAPO: GRPO with clip-higher, groups without signal left out, a soft penalty on overlong completions, token mean.

Source: Yu et al. 2025, DAPO (arXiv 2503.14476), sec. 3. Differs: groups that are left out are not sampled again, since
shapes stay fixed; one update per batch by default (the paper has 16), so the clip is idle until `--set minibatches=4`; the
penalty on length weighs half, since rewards here are 0 and 1 where the paper's are -1 and 1.
"""

import dataclasses

from experiments import settings
from sirl import ranges, recipe, rewards
from sirl.optimization import advantages, by_group, objectives
from sirl.rewards import heuristic
from sirl.selection import selectors


@dataclasses.dataclass(frozen=True, kw_only=True)
class Config(recipe.Config):
  """Numbers of the method; those it does not state come from the setting."""

  clip: tuple[ranges.NotNegative, ranges.NotNegative] = (0.2, 0.28)  # low, high: sec. 3.1
  # Share of max_new over which the penalty on length grows to 1, sec. 3.4: 4096 of 20480 tokens; 0 for no penalty.
  overlong: ranges.Share = 0.2


def method(c, s):
  """The filter looks at `correct`, since the penalty differs within nearly every group."""
  buffer = round(c.overlong * s.max_new)
  penalty = rewards.on_device(heuristic.soft_overlong(s.max_new, max(buffer, 1)))
  reward = rewards.weighted(task=(1.0, s.domain.rewarded), overlong=(0.5, penalty))
  return recipe.Method(
    reward=reward if buffer else s.domain.rewarded,
    keep=selectors.informative('correct'),
    credit=by_group(advantages.normalized),
    objective=objectives.clipped(*c.clip),
  )


build = settings.built(method)
