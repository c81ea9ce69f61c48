"""Experiment: a whole run, one value with the choice made for every slot of the loop."""

from __future__ import annotations

import dataclasses
from typing import Any

from sirl import config
from sirl.types import Acquire, Evaluate, Model, Params, Refresh, Rule, Selector, Step


@dataclasses.dataclass(frozen=True, kw_only=True)
class Experiment:
  """A whole run: numbers, and the choice made for every slot of the loop."""

  config: config.Base
  model: Model
  # Weights to start from, or a run whose final weights they are (a warm start).
  params: Params | Experiment
  optimizer: Any  # optax.GradientTransformation
  acquire: Acquire
  selector: Selector
  step: Step
  evaluate: Evaluate
  steer: Rule
  reference: bool = False  # keep a copy of the starting weights for kl()
  refresh: Refresh | None = None  # None: the reference never changes
