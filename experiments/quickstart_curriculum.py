"""Curriculum: quickstart that begins with sums without a carry and raises the difficulty by itself.

  sirl run experiments/quickstart_curriculum.py

The difficulty is the most carries that a new sum may have: none ('12+34='), one ('19+34='), two ('79+34='). Steering raises it
once the reward on the present tasks saturates. Of all sums acquired so far, on any level, a round trains on those whose right
answer has a medium perplexity: what is known already teaches nothing, and neither does what is far out of reach. All levels
are measured in every round, so one sees what a level gains before and after its turn.

Hardware: 2 CPU cores, about 4 minutes. Source: perplexity as a filter of training data, Ankner et al. 2024 (arXiv 2405.20541).
Differs: the policy itself gives the perplexity, of the answer alone, anew in every round.
"""

import dataclasses

from experiments import arithmetic, quickstart, settings
from sirl import recipe
from sirl.acquisition import procedural
from sirl.evaluation import benchmarks, steering
from sirl.generation import make_ask, make_logp
from sirl.reporting import tables
from sirl.selection import scores, selectors

LEVELS = (0, 1, 2)  # carries


@dataclasses.dataclass(frozen=True, kw_only=True)
class Config(recipe.Config):
  """Numbers of the run; each can be set with --set NAME=VALUE."""

  max_rounds: int = 20
  steps_per_round: int = 20
  acquired: int = 300  # of the 8100 sums, of which 1980 have no carry
  saturated: float = 0.75  # mean reward of a round at which the difficulty rises


def method(c, s):
  """quickstart with other tasks, selection and rules, and its held-out sums measured by level as well."""
  taken = [task for tasks in settings.unseen(c, s.domain).values() for task in tasks]
  logp = make_logp(s.model, s.codec, max_prompt=s.max_prompt, max_new=s.max_new, batch=256)
  return dataclasses.replace(
    quickstart.method(c, s),
    acquire=procedural.procedural(arithmetic.up_to_carries, per_round=c.acquired, exclude=taken),
    selector=selectors.by_score(scores.perplexity(logp), selectors.band(0.5, 0.9)),
    evaluate=by_level(s),
    steer=steer(c),
  )


def steer(c: Config):
  """Harder when the reward saturates; back when held-out accuracy falls."""
  return steering.first_of(
    steering.stop_if_not_finite(),
    steering.rollback_if_regressed('heldout/pass@1', sems=4.0),
    steering.harder_if_saturated('train/reward', above=c.saturated, highest=float(LEVELS[-1])),
  )


def by_level(s):
  """Sampled accuracy on the held-out sums of each level; a set of a few sums may lack one."""
  ask = make_ask(s.model, s.codec, max_prompt=s.max_prompt, max_new=s.max_new, batch=64)
  levels = {
    level: [task for task in s.heldout if arithmetic.carries_of(task) == level] for level in LEVELS
  }
  return benchmarks.merge(
    *(
      benchmarks.sampled(
        f'heldout_{level}', tasks, s.domain.verify, ask, samples=8, extract=s.domain.extract
      )
      for level, tasks in levels.items()
      if tasks
    )
  )


def summary(history):
  """Before and after, over all held-out sums and by level, and when the difficulty rose."""
  rows = tables.headline(history) | {
    f'pass@1, carries: {level}': f'heldout_{level}/pass@1' for level in LEVELS
  }
  raised = [report for report in history if report.decision.difficulty is not None]
  lines = [f'round {report.round}: {report.decision.reason}' for report in raised]
  return '\n'.join([tables.before_and_after(history, rows), *lines])


# In a debug run the reward counts as saturated at once, so that the difficulty rises there too.
build = settings.built(method, small={'heldout': 32, 'saturated': -1.0}, summary=summary)
