"""Experiment: a whole run as one value: its numbers, and its choice for every slot of the loop."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from sirl import config, names
from sirl.slots import (
  Acquirer,
  Evaluator,
  Refresh,
  Rule,
  Selector,
  Step,
  check_function,
  check_kind,
  check_mapping,
  check_optimizer,
)
from sirl.tasks import Task
from sirl.types import Model, Params


@names.by_name()
@dataclasses.dataclass(frozen=True, kw_only=True)
class Learner:
  """Weights that a run trains, with their model and optimizer."""

  model: Model
  # Weights to start from, or a run whose final policy to start from (a warm start).
  params: Params | Experiment
  optimizer: Any  # optax.GradientTransformation
  frozen: Params | None = None  # the untrained part of the model's tree, see TrainState
  reference: bool = False  # keep a copy of the starting weights under the name 'reference'
  # Further whole weights by name that nothing trains: a teacher, an opponent.
  others: Mapping[str, Params] = dataclasses.field(default_factory=dict)
  refresh: Refresh | None = None  # called after each round; None: the reference never changes

  def __post_init__(self):
    """Raises ValueError for a field of another form, or a refresh rule without a reference."""
    check_optimizer(self.optimizer)
    check_mapping('others', self.others, Mapping, "a model's weights")
    if self.refresh is None:
      return
    check_function('refresh', self.refresh)
    if not self.reference:
      raise ValueError(
        'refresh changes the reference, but this learner keeps none; set reference=True'
      )


@names.by_name()
@dataclasses.dataclass(frozen=True, kw_only=True)
class Experiment:
  """A whole run: its numbers, and its choice for every slot of the loop."""

  config: config.Base
  learners: Mapping[str, Learner]  # 'policy' is always there
  acquire: Acquirer
  selector: Selector
  step: Step
  evaluate: Evaluator
  steer: Rule
  # Sets of tasks that evaluators measure, by name. `sirl compare` requires them to be equal.
  measured: Mapping[str, Sequence[Task]] = dataclasses.field(default_factory=dict)
  # Lists of tasks to train on, by name. A resumed run says when they are not those it began with.
  training: Mapping[str, Sequence[Task]] = dataclasses.field(default_factory=dict)
  # (TrainStates by name, as shapes): tries every slot before anything is trained; None: no trial
  trial: Callable[[Mapping[str, Any]], None] | None = None
  # {name: digest} of what the ids of prompts are made of. A resumed run must have the same.
  prompts: Mapping[str, str] = dataclasses.field(default_factory=dict)

  def __post_init__(self):
    """Checks the learners and the forms of the slots.

    Raises: ValueError for a run without a policy, or for a value of another form than its slot.
    """
    check_mapping('learners', self.learners, Learner, 'a Learner')
    if 'policy' not in self.learners:
      raise ValueError(f"learners={sorted(self.learners)}: expected one named 'policy'")
    check_kind('acquire', self.acquire, Acquirer, 'acquisition.acquirer')
    check_kind('selector', self.selector, Selector)
    check_kind('evaluate', self.evaluate, Evaluator, 'evaluation.evaluator')
    check_function('steer', self.steer)

  @property
  def policy(self) -> Learner:
    """The learner whose weights generate."""
    return self.learners['policy']
