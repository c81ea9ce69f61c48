"""Curriculum: quickstart that begins with sums without a carry and raises the difficulty by itself.

  sirl run experiments/quickstart_curriculum.py

The difficulty is the most carries that a new sum may have: none ('12+34='), one ('19+34='), two ('79+34='). Steering raises it
once the reward on the present tasks saturates. Of all sums acquired so far, on any level, a round trains on those whose right answer has a
medium perplexity: what is known already teaches nothing, and neither does what is far out of reach. All levels are measured
in every round, so one sees what a level gains before and after its turn.

Hardware: 2 CPU cores, about 4 minutes. Source: perplexity as a filter of training data, Ankner et al. 2024 (arXiv 2405.20541).
Differs: the policy itself gives the perplexity, of the answer alone, anew in every round.
"""

import dataclasses
import math

from experiments import common, quickstart
from sirl.acquisition import procedural
from sirl.domains import answers
from sirl.evaluation import benchmarks, steering
from sirl.experiment import Experiment
from sirl.generation import make_ask, make_logp
from sirl.selection import scores, selectors

LEVELS = (0, 1, 2)  # carries
CODEC, MAX_PROMPT, MAX_NEW = quickstart.CODEC, quickstart.MAX_PROMPT, quickstart.MAX_NEW


@dataclasses.dataclass(frozen=True, kw_only=True)
class Config(quickstart.Config):
  """Numbers of the run; each can be set with --set NAME=VALUE."""

  max_rounds: int = 20
  steps_per_round: int = 20
  acquired: int = 300  # of the 8100 sums, of which 1980 have no carry
  saturated: float = 0.75  # mean reward of a round at which the difficulty rises


def shrink(c: Config):
  """quickstart's small numbers, and a reward that counts as saturated at once, so that the difficulty rises here too."""
  return dataclasses.replace(quickstart.shrink(c), heldout=32, saturated=-1.0)


# ---------------------------------------------------------------- tasks


def carries(task):
  """How many digits are carried when the two numbers are added in writing."""
  a, b = task.meta['a'], task.meta['b']
  return (a % 10 + b % 10 >= 10) + (a + b >= 100)


def up_to_carries(rng, index, difficulty):
  """A sum of two-digit numbers with no more carries than the difficulty says; a fraction is the probability of one more."""
  most = math.floor(difficulty + rng.random())
  while True:
    task = quickstart.TASK(rng, index, 0.0)
    if carries(task) <= most:
      return dataclasses.replace(task, difficulty=float(carries(task)))


# ---------------------------------------------------------------- the experiment


def build(c: Config) -> Experiment:
  """quickstart with other tasks, selection and rules, and its held-out sums measured by level as well."""
  plain = quickstart.build(c, steer=steer(c))
  heldout, development, reserve = quickstart.unseen(c)
  taken = [*heldout, *development, *reserve]
  logp = make_logp(plain.model, CODEC, max_prompt=MAX_PROMPT, max_new=MAX_NEW, batch=256)
  return dataclasses.replace(
    plain,
    acquire=procedural.procedural(up_to_carries, per_round=c.acquired, exclude=taken),
    selector=selectors.by_score(scores.perplexity(logp), selectors.band(0.5, 0.9)),
    evaluate=benchmarks.merge(plain.evaluate, *by_level(plain.model, heldout)),
  )


def steer(c: Config):
  """Harder when the reward saturates; back when held-out accuracy falls."""
  return steering.first_of(
    steering.stop_if_not_finite(),
    steering.rollback_if_regressed('heldout/pass@1', sems=4.0),
    steering.harder_if_saturated('train/reward', above=c.saturated, highest=float(LEVELS[-1])),
  )


def by_level(model, heldout):
  """Sampled accuracy on the held-out sums of each level; a set of a few sums may lack one."""
  ask = make_ask(model, CODEC, max_prompt=MAX_PROMPT, max_new=MAX_NEW, batch=64)
  levels = {level: [task for task in heldout if carries(task) == level] for level in LEVELS}
  return [
    benchmarks.sampled(
      f'heldout_{level}', tasks, quickstart.CORRECT, ask, samples=8, extract=answers.exact
    )
    for level, tasks in levels.items()
    if tasks
  ]


def summary(history):
  """Before and after, over all held-out sums and by level, and when the difficulty rose."""
  rows = common.HEADLINE | {
    f'pass@1, carries: {level}': f'heldout_{level}/pass@1' for level in LEVELS
  }
  raised = [report for report in history if report.decision.difficulty is not None]
  lines = [f'round {report.round}: {report.decision.reason}' for report in raised]
  return '\n'.join([common.before_and_after(history, rows), *lines])
