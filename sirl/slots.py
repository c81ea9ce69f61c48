"""The type of every slot: the arguments and results of the function that fills it.

Stateless slots take functions. Slots with memory take NamedTuples of pure functions with an
explicit state.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping, Sequence
from typing import Any, NamedTuple, Protocol, TypeAlias

from jax.typing import ArrayLike

from sirl.tasks import Pool, Prompt, Task
from sirl.types import (
  JSON,
  Array,
  Context,
  Decision,
  Experience,
  Key,
  Metrics,
  Model,
  Outcome,
  Params,
  PyTree,
  Ratio,
  Record,
  Report,
  Rewards,
  Rollouts,
  Samples,
  SamplingParams,
  TokenStats,
  TrainState,
  Weights,
)

# ---------------------------------------------------------------- functions


class Generate(Protocol):
  """Tasks to samples.

  `rows` are the indices of the tasks to generate for in this call; None means all. The sample
  indices and the prompt width are always those of the whole batch.
  """

  def __call__(
    self, weights: Weights, tasks: Sequence[Task], key: Key, /, rows: Sequence[int] | None = None
  ) -> Samples:
    """Returns the samples of this process."""
    ...


class Decode(Protocol):
  """Prompts to completions, compiled.

  address: (ids_P uint32 [P], first_P int32 [P]), see `ops.keys.rows`.
  """

  def __call__(
    self,
    model: Model,
    params: Params,
    prompts_PS: ArrayLike,
    valid_PS: ArrayLike,
    address: tuple[ArrayLike, ArrayLike],
    key: Key,
    sampling_params: SamplingParams,
    /,
  ) -> tuple[Rollouts, Mapping[str, Ratio]]:
    """Returns the rollouts, and the decoder's metrics as ratios."""
    ...


Reward: TypeAlias = Callable[[Weights, Samples, Key], Rewards]  # see rewards.check
# Selects the completions that the optimizer sees: NaN in `total` excludes one.
Keep: TypeAlias = Callable[[Rewards], Rewards]
Optimize: TypeAlias = Callable[[TrainState, Rollouts, Rewards, Key], tuple[TrainState, Metrics]]
Step: TypeAlias = Callable[
  [Mapping[str, TrainState], Sequence[Task], Key], tuple[dict[str, TrainState], Outcome]
]
Advantage: TypeAlias = Callable[[Array, Array], Array]  # (rewards_PG, judged_PG) -> [P, G]
Credit: TypeAlias = Callable[[Experience], Array]  # -> float32 [P, G, T]
Objective: TypeAlias = Callable[[TokenStats, Experience], tuple[Array, Metrics]]
# (weights, prompts, key, n) -> n texts per prompt
Ask: TypeAlias = Callable[[Weights, Sequence[Prompt], Key, int], list[list[str]]]
# (task, text) -> 1 right, 0 wrong, any number between them is not solved; None: cannot tell
Verify: TypeAlias = Callable[[Task, str], float | None]
# text -> normalised answer or None
Extract: TypeAlias = Callable[[str], Hashable | None]
# Whether two answers count as one in a vote, such as `answers.same`
Same: TypeAlias = Callable[[Any, Any], bool]
Acquire: TypeAlias = Callable[[Weights, Pool, Context], list[Task]]
Refine: TypeAlias = Callable[[Weights, Sequence[Task], Key], list[str]]  # one text per task
Evaluate: TypeAlias = Callable[[Weights, Record, Context], dict[str, float]]
Rule: TypeAlias = Callable[[Sequence[Report]], Decision | None]
Refresh: TypeAlias = Callable[[TrainState, int], TrainState]  # (state, round) -> state


# ---------------------------------------------------------------- functions with memory


class Selector(NamedTuple):
  """Chooses the tasks to train on. Pure functions of an explicit state, as in optax."""

  init: Callable[[], PyTree]  # () -> state; a tree of arrays of fixed shapes
  # (state, pool, weights, key) -> state; called once a round, for example to score tasks
  prepare: Callable[[PyTree, Pool, Weights, Key], PyTree]
  # (state, pool, key, n) -> int32 numpy [n], indices into the pool
  select: Callable[[PyTree, Pool, Key, int], Any]
  # (state, indices, rewards) -> state; called after every step, to learn from outcomes
  update: Callable[[PyTree, Any, Rewards], PyTree]


class Acquirer(NamedTuple):
  """A source of new tasks, with memory. `acquisition.acquirer` makes one from plain functions."""

  init: Callable[[], JSON]  # () -> state
  # (state, weights, pool, context) -> (tasks, state)
  acquire: Callable[[JSON, Weights, Pool, Context], tuple[list[Task], JSON]]


class Evaluator(NamedTuple):
  """Measures the policy after every round, with memory. `evaluation.evaluator` makes one."""

  init: Callable[[], JSON]  # () -> state
  # (state, weights, record, context) -> ({metric: number}, state)
  evaluate: Callable[[JSON, Weights, Record, Context], tuple[dict[str, float], JSON]]


class Refiner(NamedTuple):
  """Improves answers at inference, with memory. It never changes the run's weights."""

  init: Callable[[], JSON]  # () -> state
  # (state, weights, tasks, key) -> (one text per task, state)
  refine: Callable[[JSON, Weights, Sequence[Task], Key], tuple[list[str], JSON]]
