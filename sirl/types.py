"""Every value that passes between packages. `sirl.slots` has the types of the functions.

In the order of the data: tasks, samples, rewards, the experience that the optimizer learns from.

Letters of shapes: P tasks in the batch, G completions of one task, T positions, S source positions,
B = P * G rows, V vocabulary, D model width. `float32 [P, G]` beside a field is its dtype and shape.
"""

from __future__ import annotations

import dataclasses
import enum
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple, Protocol, TypeAlias

import jax
from flax import struct

from sirl import ranges
from sirl.runtime import json_text
from sirl.tasks import Message, Pool, Prompt, Task, turns

Array: TypeAlias = jax.Array
Key: TypeAlias = jax.Array  # a typed key, jax.random.key
PyTree: TypeAlias = Any
Params: TypeAlias = PyTree  # nested dict of float arrays
# Weights by name: always 'policy', 'reference' if the run keeps one, other learners and opponents.
Weights: TypeAlias = Mapping[str, Params]
Metrics: TypeAlias = dict[str, Any]  # name -> scalar
JSON: TypeAlias = Any  # what json.dumps takes and json.loads gives back

# Marks a field whose arrays have a token axis, T, as their last; `map_columns` reads the mark.
COLUMNS = {'columns': True}


def map_columns(fn, value):
  """The dataclass with fn applied to every array marked COLUMNS, inner ones too."""
  changes = {}
  for field in dataclasses.fields(value):
    inner = getattr(value, field.name)
    if field.metadata.get('columns'):
      changes[field.name] = jax.tree.map(fn, inner)
    elif dataclasses.is_dataclass(inner):
      changes[field.name] = map_columns(fn, inner)
  return value.replace(**changes)


def named(weights: Weights, name: str) -> Params:
  """The weights of that name. Raises ValueError that lists the known names."""
  if name not in weights:
    raise ValueError(f'of={name!r}: this run has no such weights; it has {", ".join(weights)}')
  return weights[name]


# ---------------------------------------------------------------- tasks, samples, rewards


@struct.dataclass
class Rollouts:
  """Tokens of P x G completions. Row layout: left padding, prompt, completion, right padding.

  A prompt of 2 tokens in max_prompt=4, a completion of 3 tokens (end token included) in max_new=4:

    tokens  0 0 p p c c e 0
    valid   0 0 1 1 1 1 1 0
    action  0 0 0 0 1 1 1 0
  """

  tokens: Array = struct.field(metadata=COLUMNS)  # int32 [P, G, T]
  valid: Array = struct.field(metadata=COLUMNS)  # bool [P, G, T]: not padding
  # bool [P, G, T]: chosen by the policy; the loss covers these tokens
  action: Array = struct.field(metadata=COLUMNS)
  # float32 [P, G, T]: under the sampling distribution; 0 outside action, NaN in demonstrations
  logp: Array = struct.field(metadata=COLUMNS)
  # bool [P, G]: ended by the length limit, not by an end token
  truncated: Array
  prompt_width: int = struct.field(pytree_node=False, default=1)  # columns, the same in all rows


class Ratio(NamedTuple):
  """A metric as numerator and denominator, kept apart so that slices of a batch can be summed.

  The metric is NaN if the denominator is 0.
  """

  total: Array  # numerator []
  of: Array  # denominator []


@dataclasses.dataclass(frozen=True)
class Samples:
  """The result of generation. Texts are completions only, without end tokens, on the host."""

  tasks: Sequence[Task]  # P
  texts: Sequence[Sequence[str]]  # P x G; `explore` decodes them when they are first read
  rollouts: Rollouts
  # The number of each task's first completion: 0, or G for a task that is in the batch a second time.
  # Random keys of rewards use it, so the two groups differ. None: 0 for all.
  first: Sequence[int] | None = None
  # The decoder's metrics, still on the device; slices of a batch are summed before the division.
  counted: Mapping[str, Ratio] = dataclasses.field(default_factory=dict)
  step: int | None = None  # the policy's updates so far; None outside a step of a run

  def conversation(self, p: int, g: int) -> tuple[Message, ...]:
    """Task p's prompt and its completion g, as messages."""
    return (*turns(self.tasks[p].prompt), Message('assistant', self.texts[p][g]))


@struct.dataclass
class Rewards:
  """The rewards of a batch of completions: the total that is optimised, and its parts."""

  total: Array  # float32 [P, G]  optimised; NaN = not judged, which differs from zero
  parts: Mapping[str, Array]  # each float32 [P, G], unweighted; NaN = this part did not apply
  # float32 [P, G, T]: rewards of single tokens, 0 for the others; None: whole completions only
  tokens: Array | None = struct.field(metadata=COLUMNS, default=None)


# ---------------------------------------------------------------- optimization


@struct.dataclass
class Counts:
  """Denominators of a whole minibatch, fixed before it is split into micro-batches or shards."""

  tokens: Array  # float32 []  judged action tokens
  sequences: Array  # float32 []  judged completions with at least one action token


@struct.dataclass
class Experience:
  """What credit and objective read besides the token statistics. Rows may be any slice of P.

  old_logp and values are the learner's own, taken before the update. Fields that nobody reads are
  not computed.
  """

  rollouts: Rollouts
  rewards: Array  # float32 [P, G]  0 where not judged
  judged: Array  # bool [P, G]
  mask: Array = struct.field(metadata=COLUMNS)  # bool [P, G, T]: tokens that the loss covers
  # float32 [P, G, T]: 0 outside the mask, and before credit is computed
  advantages: Array = struct.field(metadata=COLUMNS)
  old_logp: Array = struct.field(metadata=COLUMNS)  # float32 [P, G, T]: log-probs of the policy
  # float32 [P, G, T] each: log-probs under other weights, by name, such as 'reference'
  named_logp: Mapping[str, Array] = struct.field(metadata=COLUMNS, default_factory=dict)
  # float32 [P, G, T]; None without a value head
  values: Array | None = struct.field(metadata=COLUMNS, default=None)
  parts: Mapping[str, Array] = struct.field(default_factory=dict)  # float32 [P, G], as in Rewards
  # float32 [P, G, T], as in Rewards
  token_rewards: Array | None = struct.field(metadata=COLUMNS, default=None)
  counts: Counts | None = None  # None until a minibatch is cut
  # True if completions of one group may lie in different pieces, and so must not be compared.
  torn: bool = struct.field(pytree_node=False, default=False)

  @property
  def ref_logp(self) -> Array | None:
    """The reference policy's log-probs, float32 [P, G, T]; None without a reference."""
    return self.named_logp.get('reference')


@struct.dataclass
class TokenStats:
  """Statistics per token under the differentiated parameters; 0 outside completion columns."""

  logp: Array  # float32 [P, G, T]
  entropy: Array  # float32 [P, G, T]  nats
  value: Array | None = None  # float32 [P, G, T]; None without a value head


@struct.dataclass
class TrainState:
  """One learner: everything that an update changes, and the weights that it keeps besides.

  `optimize` donates its buffers.
  """

  step: Array  # int32 []  optimizer updates so far
  params: Params
  opt_state: PyTree
  # The untrained part of the model's tree, such as the base under a LoRA; None: all is trained.
  frozen: Params | None = None
  # Trees like params, by name, that no update changes, such as 'reference'. They must be copies of
  # params, because donation deletes its buffers.
  others: Weights = struct.field(default_factory=dict)
  skipped: Array | int = 0  # int32 []  updates left out because loss or gradient was not finite


@struct.dataclass
class LoopState:
  """Everything that a run carries from one GRO step to the next; a checkpoint holds it."""

  learners: Mapping[str, TrainState]  # 'policy' is always there
  selector: PyTree
  round: Array  # int32 []  never decreases, not even on a rollback
  step: Array  # int32 []  GRO steps done within the round
  difficulty: Array  # float32 []
  # {'acquire': state, 'evaluate': state} of the Acquirer and the Evaluator
  memory: Mapping[str, JSON] = struct.field(pytree_node=False, default_factory=dict)


# ---------------------------------------------------------------- models and text


class Hidden(Protocol):
  """Tokens to the states that predict the next tokens.

  Without a cache, the T tokens attend over one another, and the returned cache holds exactly these
  tokens. With a cache and start_B, the tokens of row b are written to slots
  start_B[b] .. start_B[b] + T - 1. With a cache and no start_B, they are appended to its slots,
  followed by empty slots up to the S of mask_BTS. With a cache, attention is over all S slots. In
  every case mask_BTS says which of the S sources each position sees; it may be a `prefill.Causal`.
  """

  def __call__(
    self,
    params: Params,
    tokens_BT: Array,
    positions_BT: Array,
    mask_BTS: Array,
    cache: PyTree = None,
    start_B: Array | None = None,
  ) -> tuple[Array, PyTree]:
    """Returns x_BTD and the cache."""
    ...


class Model(NamedTuple):
  """Pure functions of a params tree. A policy is a Model with params; there is no Policy class."""

  init: Callable[[Key], Params]
  hidden: Hidden
  unembed: Callable[[Params, Array], Array]  # (params, x_..D) -> logits_..V float32
  # (B, S) -> cache of zeros; every leaf has axes B first, S third: [B, K, S, H]
  init_cache: Callable[[int, int], PyTree]
  # (params, x_..D) -> float32 [...]; None without a value head
  value: Callable[[Params, Array], Array] | None = None
  vocab: int = 0  # V
  # the `models.Architecture` that it was built from; None: it cannot be exported
  architecture: Any = None


class Codec(NamedTuple):
  """Converts between text and token ids."""

  encode: Callable[[str], list[int]]
  decode: Callable[[Sequence[int]], str]  # drops special tokens
  render: Callable[[Prompt], list[int]]  # a text or a conversation, by the chat template
  pad_id: int
  eos_ids: tuple[int, ...]
  vocab: int  # number of ids, for the check that tokenizer and weights fit
  save: Callable[[Any], None] | None = None  # writes a Hugging Face tokenizer into a folder
  about: tuple[tuple[str, str], ...] = ()  # (name, digest) of what it is made of, for the identity
  opened: str = ''  # tags with which every prompt begins the answer, such as '<think>\n'


class Sampler(NamedTuple):
  """The distribution that tokens are drawn from, and under which the learner scores them.

  `support` marks the tokens to keep, given logits already divided by the temperature.
  """

  temperature: float = 1.0
  support: Callable[[Array], Array] | None = None  # logits_..V -> bool_..V; None keeps every token


@dataclasses.dataclass(frozen=True, kw_only=True)
class SamplingParams:
  """What a decoder needs besides prompts. Hashable, and static in the compiled program."""

  group_size: ranges.Count  # G completions of each prompt
  max_new: ranges.Count  # tokens, the end token included
  eos_ids: tuple[ranges.Natural, ...]  # each ends a completion; (): only max_new does
  pad_id: ranges.Natural
  sampler: Sampler = dataclasses.field(default=Sampler())

  def __post_init__(self):
    """Raises ValueError for a number out of range."""
    ranges.check(self)
    ranges.real('temperature', self.sampler.temperature, above=0)


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
  """The action after a round, and its reason from the rule that fired or the human who answered."""

  action: Action
  reason: str
  # ROLLBACK and STOP: restores the weights from the end of this round; -1 is before round 0.
  round: int | None = None
  difficulty: float | None = None  # SET_DIFFICULTY
  by: str = 'rule'  # 'rule' | 'human'


@dataclasses.dataclass(frozen=True)
class Report:
  """The metrics of one round and the decision on them. Round -1 is measured before any training."""

  round: int
  metrics: Mapping[str, float]
  decision: Decision | None = None

  @classmethod
  def from_json(cls, row: Mapping[str, Any]) -> Report:
    """Rebuilds a report from `dataclasses.asdict` output read back from JSON."""
    decision = row.get('decision')
    if decision is not None:
      decision = Decision(**{**decision, 'action': Action(decision['action'])})
    metrics = {name: json_text.number(value) for name, value in row['metrics'].items()}
    return cls(row['round'], metrics, decision)


@dataclasses.dataclass(frozen=True)
class Context:
  """The round, difficulty and random key of a call of acquire or evaluate."""

  round: int
  difficulty: float
  key: Key


@dataclasses.dataclass(frozen=True)
class Outcome:
  """The result of one GRO step."""

  samples: Samples  # of this process
  rewards: Rewards  # of all processes, numpy
  metrics: Metrics


@dataclasses.dataclass(frozen=True)
class Record:
  """What evaluators may read of a round besides the weights."""

  pool: Pool
  outcome: Outcome | None  # of the round's last step, of all processes; None before round 0
  steps: Sequence[Mapping[str, float]]  # metric rows of this round's steps
