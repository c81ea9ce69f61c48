"""Every value that crosses a border of the house, and the type of every slot.

Read it as the data flows: tasks become samples, samples become rewards, both become an experience that
the optimizer learns from; a round of that becomes a report, and a report becomes a decision.

Letters of shapes: P tasks in the batch, G completions of one task, T positions, S source positions,
B = P * G rows, V vocabulary, D model width. `float32 [P, G]` beside a field is its dtype and shape.
"""

from __future__ import annotations

import dataclasses
import enum
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple, TypeAlias

import jax
from flax import struct

from sirl.tasks import Pool, Task

Array: TypeAlias = jax.Array
Key: TypeAlias = jax.Array  # a typed key, jax.random.key
PyTree: TypeAlias = Any
Params: TypeAlias = PyTree  # nested dict of float arrays
Metrics: TypeAlias = dict[str, Any]  # name -> scalar


# ---------------------------------------------------------------- tasks, samples, rewards


@struct.dataclass
class Rollouts:
  """Tokens of P x G completions. Row layout: left padding, prompt, completion, right padding.

  A prompt of 2 tokens in max_prompt=4, a completion of 3 tokens (end token included) in max_new=4:

    tokens  0 0 p p c c e 0
    valid   0 0 1 1 1 1 1 0
    action  0 0 0 0 1 1 1 0
  """

  tokens: Array  # int32   [P, G, T]
  valid: Array  # bool    [P, G, T]  not padding
  action: Array  # bool    [P, G, T]  chosen by the policy: the loss lives here
  logp: Array  # float32 [P, G, T]  under the distribution sampled from; 0 outside action, NaN = not sampled by us
  truncated: Array  # bool    [P, G]     ended by length, not by an end token
  # Columns of the prompt, the same in all G rows.
  prompt_width: int = struct.field(pytree_node=False, default=1)


class Ratio(NamedTuple):
  """A metric of the step's row before it is divided, so that parts of a batch can be added. NaN where nothing was counted."""

  total: Array  # a number []
  of: Array  # a number []


@dataclasses.dataclass(frozen=True)
class Samples:
  """What generation hands on. Texts are completions only, without end tokens; host side."""

  tasks: Sequence[Task]  # P
  texts: Sequence[Sequence[str]]  # P x G; `explore` decodes them when they are first read
  rollouts: Rollouts
  # Number of each task's first sample; not 0 where a task stood in the batch before. Addresses the noise of rewards.
  first: Sequence[int] | None = None
  # What the decoder counted, still on the device; slices of a batch add up before anything is divided.
  counted: Mapping[str, Ratio] = dataclasses.field(default_factory=dict)


@struct.dataclass
class Rewards:
  """What a batch of completions earned: the number that is optimised and what it was made of."""

  total: Array  # float32 [P, G]  what is optimised; NaN = not judged, which is not zero
  parts: Mapping[str, Array]  # each float32 [P, G], unweighted; NaN = this part did not apply


# ---------------------------------------------------------------- optimization


@struct.dataclass
class Counts:
  """Global denominators of a minibatch, fixed before it is split into micro-batches or shards."""

  tokens: Array  # float32 []  judged action tokens
  sequences: Array  # float32 []  judged completions with at least one action token


@struct.dataclass
class Experience:
  """What an objective may read besides the token statistics. Rows may be any slice of P."""

  rollouts: Rollouts
  rewards: Array  # float32 [P, G]     0 where not judged
  judged: Array  # bool    [P, G]
  advantages: Array  # float32 [P, G, T]  0 outside action and where not judged
  mask: Array  # bool    [P, G, T]  action tokens of judged completions
  old_logp: Array  # float32 [P, G, T]  the learner's own log-prob before this update
  ref_logp: Array | None  # float32 [P, G, T]; None: this run keeps no reference policy
  counts: Counts | None = None  # None until a minibatch is cut


@struct.dataclass
class TokenStats:
  """Per-token statistics of the parameters being differentiated; 0 outside the completion columns."""

  logp: Array  # float32 [P, G, T]
  entropy: Array  # float32 [P, G, T]  nats
  value: Array | None = None  # float32 [P, G, T]; None without a critic


@struct.dataclass
class TrainState:
  """All that an update changes; `optimize` takes it, donates its buffers and returns the next one."""

  step: Array  # int32 []  optimizer updates so far
  params: Params
  opt_state: PyTree
  ref_params: Params | None = None  # a copy, never an alias: donation would delete it
  skipped: Array | int = 0  # int32 []  updates left out because loss or gradient was not finite


@struct.dataclass
class LoopState:
  """All that a run carries from one GRO step to the next, and so what a checkpoint holds."""

  train: TrainState
  selector: PyTree
  round: Array  # int32 []  monotonic, not rewound by a rollback
  step: Array  # int32 []  GRO steps done within the round
  difficulty: Array  # float32 []


# ---------------------------------------------------------------- models and text


class Model(NamedTuple):
  """Pure functions of a params tree. A policy is a Model and its params; there is no Policy class.

  `hidden` without a cache attends over the T tokens given; the cache it returns holds exactly them.
  With a cache it writes the T tokens of row b at slots start_B[b] .. start_B[b] + T - 1, without start_B right
  after the slots there are, with empty ones behind them up to the S of mask_BTS, and attends over all S slots. In any
  case mask_BTS says which of the S sources each position may see.
  """

  init: Callable[[Key], Params]
  # (params, tokens_BT, positions_BT, mask_BTS, cache=None, start_B=None) -> (x_BTD, cache)
  hidden: Callable[..., tuple[Array, PyTree]]
  unembed: Callable[[Params, Array], Array]  # (params, x_..D) -> logits_..V float32
  # (B, S) -> cache of zeros; every leaf has axes B first, S third: [B, K, S, H]
  init_cache: Callable[[int, int], PyTree]
  # (params, x_..D) -> float32 [...]; None without a value head
  value: Callable[[Params, Array], Array] | None = None
  vocab: int = 0  # V


class Codec(NamedTuple):
  """Text <-> ids."""

  encode: Callable[[str], list[int]]
  decode: Callable[[Sequence[int]], str]  # drops special tokens
  # One user turn -> ids of the prompt, chat template and generation marker included.
  render: Callable[[str], list[int]]
  pad_id: int
  eos_ids: tuple[int, ...]
  vocab: int  # number of ids, for the check that tokenizer and weights fit


class Sampler(NamedTuple):
  """The distribution that tokens are drawn from, and that the learner scores them under.

  A temperature and a truncation: `support` marks the tokens kept, given logits already divided by the temperature.
  """

  temperature: float = 1.0
  support: Callable[[Array], Array] | None = None  # logits_..V -> bool_..V; None keeps every token


@dataclasses.dataclass(frozen=True, kw_only=True)
class SamplingParams:
  """What a decoder writes after each prompt. Hashable, and static in the compiled program."""

  group_size: int  # G completions of each prompt
  max_new: int  # tokens, the end token included
  eos_ids: tuple[int, ...]  # each ends a completion; () never ends one
  pad_id: int
  sampler: Sampler = dataclasses.field(default=Sampler())


class Selector(NamedTuple):
  """Which tasks to train on. Pure functions of an explicit state, as in optax."""

  init: Callable[[], PyTree]  # () -> state; a tree of arrays of fixed shapes
  # (state, pool, params, key) -> state; once a round, re-scoring lives here
  prepare: Callable[..., PyTree]
  select: Callable[..., Any]  # (state, pool, key, n) -> int32 numpy [n], indices into the pool
  # (state, indices, Rewards) -> state; learning from outcomes lives here
  update: Callable[..., PyTree]


# ---------------------------------------------------------------- rounds, reports, decisions


class Action(enum.StrEnum):
  """What a run can do after a round."""

  CONTINUE = 'continue'
  STOP = 'stop'
  ROLLBACK = 'rollback'
  SET_DIFFICULTY = 'set_difficulty'
  ASK_HUMAN = 'ask_human'


@dataclasses.dataclass(frozen=True)
class Decision:
  """What is done after a round, and why: the words of the rule that fired, or of the human who answered."""

  action: Action
  reason: str
  # ROLLBACK and STOP: back to the weights at the end of this round; -1 is before round 0.
  round: int | None = None
  difficulty: float | None = None  # SET_DIFFICULTY
  by: str = 'rule'  # 'rule' | 'human'


@dataclasses.dataclass(frozen=True)
class Report:
  """Numbers of one round and the decision taken on them. Round -1 is measured before any training."""

  round: int
  metrics: Mapping[str, float]
  decision: Decision | None = None

  @classmethod
  def from_json(cls, row: Mapping[str, Any]) -> Report:
    """Rebuilds a report, and the enum in its decision, from `dataclasses.asdict` output read back from JSON."""
    decision = row.get('decision')
    if decision is not None:
      decision = Decision(**{**decision, 'action': Action(decision['action'])})
    metrics = {
      name: float('nan') if value is None else value for name, value in row['metrics'].items()
    }
    return cls(row['round'], metrics, decision)


@dataclasses.dataclass(frozen=True)
class Context:
  """Where in a run an acquire or an evaluator is called, and the key of its randomness."""

  round: int
  difficulty: float
  key: Key


@dataclasses.dataclass(frozen=True)
class Outcome:
  """Of one GRO step."""

  samples: Samples
  rewards: Rewards
  metrics: Metrics


@dataclasses.dataclass(frozen=True)
class Record:
  """What happened this round, for evaluators."""

  pool: Pool
  outcome: Outcome | None  # of the round's last step; None before round 0
  steps: Sequence[Mapping[str, float]]  # metric rows of this round's steps
  reference: Params | None = None  # the reference policy's weights; None when the run keeps none


# (params, tasks, key) -> Samples. One that is to be sliced also takes rows=, the numbers of the tasks to do.
Generate: TypeAlias = Callable[..., Samples]
# (model, params, prompts_PS, valid_PS, address, key, sampling_params) -> Rollouts, or (Rollouts, {name: Ratio})
Decode: TypeAlias = Callable[..., Rollouts | tuple[Rollouts, dict]]
Reward: TypeAlias = Callable[[Params, Samples, Key], Rewards]  # see check_reward
Optimize: TypeAlias = Callable[[TrainState, Rollouts, Array, Key], tuple[TrainState, Metrics]]
Step: TypeAlias = Callable[[TrainState, Sequence[Task], Key], tuple[TrainState, Outcome]]
# rewards_PG, judged_PG -> [P, G] or [P, G, T]
Advantage: TypeAlias = Callable[[Array, Array], Array]
Objective: TypeAlias = Callable[[TokenStats, Experience], tuple[Array, Metrics]]
# (params, prompts, key, n) -> n texts per prompt
Ask: TypeAlias = Callable[[Params, Sequence[str], Key, int], list[list[str]]]
Acquire: TypeAlias = 'Callable[[Params, Pool, Context], list[Task]]'
Refine: TypeAlias = Callable[[Params, Sequence[Task], Key], list[str]]
Evaluate: TypeAlias = Callable[[Params, Record, Context], dict[str, float]]
Rule: TypeAlias = Callable[[Sequence[Report]], Decision | None]
Refresh: TypeAlias = Callable[[TrainState, int], TrainState]  # after round i
