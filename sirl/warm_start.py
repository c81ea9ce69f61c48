"""A warm start: supervised learning from random weights, as a run before the main run."""

from collections.abc import Sequence

from sirl import config as configs
from sirl import gro, ranges, rewards
from sirl.acquisition import acquirer, once
from sirl.evaluation import benchmarks, evaluator, steering
from sirl.experiment import Experiment, Learner
from sirl.generation import demonstrate, make_ask
from sirl.ops import keys
from sirl.optimization import advantages, by_group, make_optimize, objectives, transforms
from sirl.selection import selectors
from sirl.tasks import Task
from sirl.types import Codec, Model


def demonstrated(task, text):
  """Rewards every demonstration with 1."""
  del task, text
  return 1.0


def warm_start(
  c: configs.Base,
  model: Model,
  codec: Codec,
  domain,
  *,
  solved: Sequence[Task],
  development: Sequence[Task],
  max_prompt: int,
  max_new: int,
  goal: float,
  lr: float,
  batch: int,
) -> Experiment:
  """Supervised learning on demonstrations, from random weights.

  Ends when the policy solves a share `goal` of the development tasks.

  Args:
    c: numbers of this run: its rounds are the limit, its prompts are the demonstrations per step.
    domain: recipe.Domain.
    solved: tasks to learn from.
    development: tasks that measure the goal.
    goal: share of development tasks, in [0, 1].
    batch: prompts per generation call.
  Raises: ValueError for a number out of range.
  """
  goal = ranges.share('goal', goal)
  optimizer = transforms.adamw(lr, warmup=20)
  ask = make_ask(model, codec, max_prompt=max_prompt, max_new=max_new, batch=batch)
  return Experiment(
    config=c,
    learners={
      'policy': Learner(
        model=model, params=model.init(keys.at(c.seed, 'init')), optimizer=optimizer
      )
    },
    acquire=acquirer(once(solved)),
    selector=selectors.uniform(),
    step=gro.make_step(
      demonstrate(codec, max_prompt=max_prompt, max_new=max_new, solution=domain.solution),
      rewards.per_completion(demonstrated, workers=1),
      make_optimize(model, optimizer, by_group(advantages.raw), objectives.nll()),
    ),
    evaluate=evaluator(
      benchmarks.sampled('development', development, domain.verify, ask, samples=8, ks=(1, 8))
    ),
    steer=steering.first_of(
      steering.stop_if_not_finite(),
      steering.stop_when_reached('development/pass@1', above=goal, sems=0.0),
    ),
  )
