"""Curriculum: quickstart that begins with sums without a carry and raises the difficulty by itself.

  sirl run experiments/quickstart_curriculum.py

The difficulty is the largest number of carries in a new sum: none ('12+34='), one ('19+34='), two
('79+34='). Steering raises it once the mean reward saturates. A round selects from all sums
acquired so far, of any level. It trains on sums whose right answer has a medium perplexity: sums
that the policy already knows teach nothing, nor do sums far out of reach. Every round measures all
levels, which shows what a level gains before and after its difficulty is reached.

Hardware: 2 CPU cores, about 4 minutes.
Source: perplexity as a filter of training data, Ankner et al. 2024 (arXiv 2405.20541). Differs: the
  policy itself computes the perplexity, of the answer alone, anew in every round.
"""

import dataclasses

from experiments import arithmetic, quickstart, settings, splits
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
  acquired: int = 300  # there are 8100 sums; 1980 of them have no carry
  saturated: float = 0.75  # mean reward of a round at which the difficulty rises


def method(c, s):
  """quickstart with other tasks, selection and rules; accuracy is also measured by level."""
  settings.only(c, 'addition')
  taken = [task for tasks in splits.unseen(c, s.domain).values() for task in tasks]
  logp = make_logp(s.model, s.codec, max_prompt=s.max_prompt, max_new=s.max_new, batch=256)
  return dataclasses.replace(
    quickstart.method(c, s),
    acquire=procedural.procedural(arithmetic.up_to_carries, per_round=c.acquired, exclude=taken),
    selector=selectors.by_score(scores.perplexity(logp), selectors.band(0.5, 0.9)),
    evaluate=by_level(s),
    steer=steer(c),
  )


def steer(c: Config):
  """Rules: stop on NaN, roll back if held-out accuracy falls, raise the difficulty."""
  return steering.first_of(
    steering.stop_if_not_finite(),
    steering.rollback_if_regressed('heldout/pass@1', sems=4.0),
    steering.harder_if_saturated('train/reward', above=c.saturated, highest=float(LEVELS[-1])),
  )


def by_level(s):
  """An Evaluator of sampled accuracy on the held-out sums of each level.

  A level without held-out sums is not measured.
  """
  ask = make_ask(
    s.model, s.codec, max_prompt=s.max_prompt, max_new=s.max_new, sampler=s.sampler, batch=64
  )
  levels = {
    level: [task for task in s.heldout if arithmetic.carries_of(task) == level] for level in LEVELS
  }
  return benchmarks.merge(
    *(
      benchmarks.sampled(
        f'heldout_{level}',
        tasks,
        s.domain.verify,
        ask,
        samples=8,
        extract=s.domain.extract,
        same=s.domain.same,
      )
      for level, tasks in levels.items()
      if tasks
    )
  )


def summary(history):
  """A table of accuracy before and after, over all held-out sums and by level.

  Below the table is a line for every round that raised the difficulty.
  """
  rows = tables.headline(history) | {
    f'pass@1, carries: {level}': f'heldout_{level}/pass@1' for level in LEVELS
  }
  raised = [report for report in history if report.decision.difficulty is not None]
  lines = [f'round {report.round}: {report.decision.reason}' for report in raised]
  return '\n'.join([tables.before_and_after(history, rows), *lines])


# A debug run treats every reward as saturated, so its difficulty rises too.
build = settings.built(method, small={'heldout': 32, 'saturated': -1.0}, summary=summary)
