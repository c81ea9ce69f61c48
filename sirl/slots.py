"""The type of every slot: the arguments and results of the function that fills it.

Stateless slots take functions. Slots with memory take NamedTuples of pure functions with an
explicit state. The end of the file checks whether a value has the form of its slot.
"""

from __future__ import annotations

import inspect
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
  Sampler,
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
# (rewards_PG, judged_PG) -> [P, G]. P is the whole batch, before it is cut into minibatches.
Advantage: TypeAlias = Callable[[Array, Array], Array]
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


# ---------------------------------------------------------------- whether a value has the form

# {slot: (arguments, result)} of the functions that a method, a domain or a file brings
FORMS = {
  'advantage': (('rewards_PG', 'judged_PG'), 'float [P, G], one number per completion'),
  'credit': (('experience',), 'float [P, G, T], one number per token'),
  'objective': (('stats', 'experience'), '(scalar loss, {metric: scalar})'),
  'optimize': (('state', 'rollouts', 'rewards', 'key'), '(TrainState, {metric: scalar})'),
  'generate': (('weights', 'tasks', 'key'), 'Samples'),
  'keep': (('rewards',), 'Rewards, with NaN in the total of what is left out'),
  'evaluate': (('weights', 'record', 'context'), '{metric: number}'),
  'acquire': (('weights', 'pool', 'context'), 'list of Task'),
  'steer': (('reports',), 'Decision, or None for the next rule'),
  'refresh': (('state', 'round'), 'TrainState'),
  'generator': (('rng', 'index', 'difficulty'), 'Task'),
  'extract': (('text',), 'the answer in the text, or None'),
  'same': (('answer', 'other'), 'bool'),
  'correct': (('task', 'text'), '1 right, 0 wrong, None if it cannot tell'),
  'check': (('task', 'text'), '1 right, 0 wrong, None if it cannot tell'),
  'solution': (('task',), 'text, or None'),
  'baseline': (('task',), 'text'),
  'domain': (('config',), 'recipe.Domain'),
  'setting': (('config',), 'recipe.Setting'),
  'method': (('config', 'setting'), 'recipe.Method'),
  'summary': (('history',), 'text'),
}


def form(slot: str) -> str:
  """'credit(experience) -> float [P, G, T], one number per token'."""
  names, result = FORMS[slot]
  return f'{slot}({", ".join(names)}) -> {result}'


def check_function(slot: str, fn):
  """Raises ValueError unless fn can be called with the arguments of the slot."""
  names, _ = FORMS[slot]
  if not callable(fn):
    raise ValueError(f'{slot}: got {_short(fn)}; expected a function {form(slot)}')
  fits = binds(fn, len(names)) and not _is_factory(fn)
  if fits and (slot == 'same' or in_order(fn, names)):
    return
  hint = ''
  if fits:
    raise ValueError(
      f'{slot}: {name_of(fn)!r} takes its arguments in another order, but they are passed by '
      f'position; expected {form(slot)}'
    )
  if _is_factory(fn):
    hint = f'. If it makes one, call it: {name_of(fn)}()'
  elif slot == 'credit' and binds(fn, 2):
    hint = f'. A function of a group becomes one by optimization.by_group({name_of(fn)})'
  raise ValueError(
    f'{slot}: {name_of(fn)!r} does not take {len(names)} argument{"s" * (len(names) != 1)}{hint}; '
    f'expected {form(slot)}'
  )


def checked_result(slot: str, value, kind):
  """The result of a slot's function. Raises ValueError unless it is of this kind."""
  if isinstance(value, kind):
    return value
  hint = ' (does the function end with return?)' if value is None else ''
  raise ValueError(f'{slot} returned {_short(value)}{hint}; expected {form(slot)}')


def check_kind(slot: str, value, kind, lift: str = ''):
  """Raises ValueError unless the value is of a kind with memory: Selector, Acquirer, Evaluator.

  Args: lift: what makes one of a plain function.
  """
  if isinstance(value, kind):
    return
  what = name_of(value) if callable(value) else repr(value)
  hint = f'wrap the function: {lift}({what})' if lift else 'see docs/architecture.md'
  if callable(value) and _is_factory(value):
    hint = f'call it: {what}()'
  raise ValueError(
    f'{slot}: got {what}; expected a slots.{kind.__name__}({", ".join(kind._fields)}); {hint}'
  )


def check_mapping(slot: str, value, kind, what: str):
  """Raises ValueError unless the value is {name: a value of this kind}."""
  wrong = value if not isinstance(value, Mapping) else None
  for name, item in value.items() if wrong is None else ():
    if not isinstance(item, kind):
      raise ValueError(f'{slot}: {name!r} is {_short(item)}; expected {what}')
  if wrong is not None:
    raise ValueError(f'{slot}: got {_short(wrong)}; expected {{name: {what}}}')


def check_optimizer(optimizer):
  """Raises ValueError unless the value has the functions of an optax optimizer."""
  if not all(callable(getattr(optimizer, name, None)) for name in ('init', 'update')):
    raise ValueError(
      f'optimizer: got {_short(optimizer)}; expected an optax.GradientTransformation, such as '
      'optimization.transforms.adamw(1e-3)'
    )


def check_method(method):
  """Raises ValueError for a field of a `recipe.Method` of another form."""
  for slot in ('credit', 'objective'):
    check_function(slot, getattr(method, slot))
  if method.optimizer is not None:
    check_optimizer(method.optimizer)
  if not isinstance(method.sampler, Sampler | None):
    raise ValueError(f'sampler: got {_short(method.sampler)}; expected a types.Sampler')
  check_mapping('teachers', method.teachers, Mapping, "a model's weights")
  check_mapping('others', method.others, Callable, f'a function {form("optimize")}')
  check_mapping('acquirers', method.acquirers, object, 'a slots.Acquirer')
  check_mapping('evaluators', method.evaluators, object, 'a slots.Evaluator')
  if isinstance(method.parts, str) or not isinstance(method.parts, Sequence):
    raise ValueError(
      f"parts: got {_short(method.parts)}; expected a sequence of names, such as ('correct',)"
    )
  for slot in ('answers', 'reference', 'from_reference'):
    if not isinstance(getattr(method, slot), bool):
      raise ValueError(f'{slot}: got {_short(getattr(method, slot))}; expected True or False')


def check_domain(domain):
  """Raises ValueError for a field of a `recipe.Domain` of another form."""
  for slot in ('generator', 'extract', 'same', 'correct', 'solution', 'check'):
    if (fn := getattr(domain, slot)) is not None:
      check_function(slot, fn)
  for fn in domain.baselines.values():
    check_function('baseline', fn)
  owner = f'domain {domain.name}'
  if not isinstance(domain.alphabet, str | None):
    raise ValueError(
      f'{owner}: alphabet={_short(domain.alphabet)}; expected a text with every character of '
      'prompts and answers once'
    )
  if domain.splits is None:
    return
  expected = "expected {'train': tasks, 'heldout': tasks}"
  if not isinstance(domain.splits, Mapping):
    raise ValueError(f'{owner}: splits={_short(domain.splits)}; {expected}')
  if not {'train', 'heldout'} <= set(domain.splits):
    raise ValueError(f'{owner}: splits has {", ".join(domain.splits) or "nothing"}; {expected}')
  for name, tasks in domain.splits.items():
    if not isinstance(tasks, Sequence):
      raise ValueError(f'{owner}: splits[{name!r}]={_short(tasks)}; expected a list of Task')
    if wrong := [task for task in tasks if not isinstance(task, Task)]:
      raise ValueError(f'{owner}: splits[{name!r}] holds {_short(wrong[0])}; expected a Task')


def wrong_decision(decision) -> str | None:
  """What is wrong with the result of a rule; None if it is a Decision or None."""
  if decision is None or isinstance(decision, Decision):
    return None
  made = (
    f'. It returned a function; call it first: {name_of(decision)}' if callable(decision) else ''
  )
  return f'steer returned {decision!r}{made}; expected {form("steer")}'


def binds(fn, n: int) -> bool:
  """Whether fn can be called with n positional arguments; True if it has no signature."""
  try:
    inspect.signature(fn).bind(*[None] * n)
  except TypeError:
    return False
  except ValueError:  # builtins have none
    return True
  return True


def in_order(fn, names: Sequence[str]) -> bool:
  """Whether no argument of fn has one of these names at another place; they are passed by position."""
  try:
    parameters = inspect.signature(fn).parameters.values()
  except (TypeError, ValueError):
    return True
  places = {p.name: i for i, p in enumerate(parameters) if p.kind is not p.KEYWORD_ONLY}
  return all(places.get(name, i) == i for i, name in enumerate(names))


def _is_factory(fn):
  """Whether fn needs no argument, as what makes a function of a slot, but not one itself."""
  try:
    kinds = {parameter.kind for parameter in inspect.signature(fn).parameters.values()}
  except (TypeError, ValueError):
    return False
  return inspect.Parameter.VAR_POSITIONAL not in kinds and binds(fn, 0)


def name_of(fn) -> str:
  """The name of a function, a partial or an object that is called."""
  fn = getattr(fn, 'func', fn)
  return getattr(fn, '__name__', type(fn).__name__)


def _short(value):
  """A value for a message; the type of one that would fill it."""
  said = repr(value)
  return said if len(said) <= 60 else f'a {type(value).__name__}'
