"""The type of every slot: what a function that is put there takes and returns.

Stateless choices are functions. Choices with memory are NamedTuples of pure functions with an explicit state.
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
  """Tasks to samples. `rows` are the numbers of the tasks to do now, None all of them; the indices of samples and the width
  of prompts are those of the whole batch in any case.
  """

  def __call__(
    self, weights: Weights, tasks: Sequence[Task], key: Key, /, rows: Sequence[int] | None = None
  ) -> Samples:
    """Returns the samples of this process."""
    ...


class Decode(Protocol):
  """Prompts to completions, compiled. address: (ids_P uint32 [P], first_P int32 [P]), see `ops.keys.rows`."""

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
    """Returns rollouts and what the decoder counted, for the row of the step."""
    ...


Reward: TypeAlias = Callable[[Weights, Samples, Key], Rewards]  # see rewards.check
Keep: TypeAlias = Callable[
  [Rewards], Rewards
]  # which completions the optimizer sees: NaN in `total` leaves one out
Optimize: TypeAlias = Callable[[TrainState, Rollouts, Rewards, Key], tuple[TrainState, Metrics]]
Step: TypeAlias = Callable[
  [Mapping[str, TrainState], Sequence[Task], Key], tuple[dict[str, TrainState], Outcome]
]
Advantage: TypeAlias = Callable[[Array, Array], Array]  # (rewards_PG, judged_PG) -> [P, G]
Credit: TypeAlias = Callable[[Experience], Array]  # -> float32 [P, G, T]
Objective: TypeAlias = Callable[[TokenStats, Experience], tuple[Array, Metrics]]
# (weights, prompts, key, n) -> n texts per prompt
Ask: TypeAlias = Callable[[Weights, Sequence[Prompt], Key, int], list[list[str]]]
Verify: TypeAlias = Callable[
  [Task, str], float | None
]  # 1 right, 0 wrong; between them not solved; None: cannot tell
Extract: TypeAlias = Callable[
  [str], Hashable | None
]  # text -> normalised answer, None where there is none
Acquire: TypeAlias = Callable[[Weights, Pool, Context], list[Task]]
Refine: TypeAlias = Callable[[Weights, Sequence[Task], Key], list[str]]  # one text per task
Evaluate: TypeAlias = Callable[[Weights, Record, Context], dict[str, float]]
Rule: TypeAlias = Callable[[Sequence[Report]], Decision | None]
Refresh: TypeAlias = Callable[[TrainState, int], TrainState]  # after round i


# ---------------------------------------------------------------- functions with memory


class Selector(NamedTuple):
  """Which tasks to train on. Pure functions of an explicit state, as in optax."""

  init: Callable[[], PyTree]  # () -> state; a tree of arrays of fixed shapes
  # (state, pool, weights, key) -> state; called once a round: scores are taken here
  prepare: Callable[[PyTree, Pool, Weights, Key], PyTree]
  # (state, pool, key, n) -> int32 numpy [n], indices into the pool
  select: Callable[[PyTree, Pool, Key, int], Any]
  # (state, indices, rewards) -> state; called after every step: what is learned from outcomes is learned here
  update: Callable[[PyTree, Any, Rewards], PyTree]


class Acquirer(NamedTuple):
  """Where new tasks come from, with memory. Plain functions become one by `acquisition.acquirer`."""

  init: Callable[[], JSON]  # () -> state
  # (state, weights, pool, context) -> (tasks, state)
  acquire: Callable[[JSON, Weights, Pool, Context], tuple[list[Task], JSON]]


class Evaluator(NamedTuple):
  """What is measured after every round, with memory. Plain functions become one by `evaluation.evaluator`."""

  init: Callable[[], JSON]  # () -> state
  # (state, weights, record, context) -> ({metric: number}, state)
  evaluate: Callable[[JSON, Weights, Record, Context], tuple[dict[str, float], JSON]]


class Refiner(NamedTuple):
  """How an answer is improved at inference, with memory. The weights of the run never change."""

  init: Callable[[], JSON]  # () -> state
  # (state, weights, tasks, key) -> (one text per task, state)
  refine: Callable[[JSON, Weights, Sequence[Task], Key], tuple[list[str], JSON]]
