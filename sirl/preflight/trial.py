"""The trial of a run: tries every slot on one task before anything is trained.

Errors that would otherwise come after a warm start, a baseline or a rollout come here, with the
slot's name and the user's own line. The trial draws and saves nothing, and compiles no model: the
update is only traced, with the shapes of the run, and a function that asks the model is tried up to
there.
"""

import contextlib
import dataclasses
import json
import logging
import math
from collections.abc import Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from sirl import slots
from sirl.generation import texts
from sirl.generation.engine import layout
from sirl.ops import keys
from sirl.optimization import contract
from sirl.runtime import hosts, sharding, worker
from sirl.tasks import Pool, Task
from sirl.types import (
  Action,
  Context,
  Decision,
  Outcome,
  Record,
  Report,
  Rewards,
  Rollouts,
  Samples,
)

log = logging.getLogger(__name__)

TRACED = jax.errors.ConcretizationTypeError, jax.errors.TracerArrayConversionError
SMALL = 20_000_000  # numbers of a model that a reward may read here


class _Asked(Exception):
  """A function asked the model, which the trial does not run."""


class _Weights(dict):
  """Weights by name; to read others than those given ends the trial of the function."""

  def __contains__(self, name):
    return True

  def __missing__(self, name):
    raise _Asked(name)


class _Unmeasured(dict):
  """Metrics of a report before anything is measured: NaN under every name."""

  def __missing__(self, name):
    return math.nan


@dataclasses.dataclass(frozen=True, kw_only=True)
class Choices:
  """The choices of a run, one by one."""

  config: Any  # recipe.Config
  setting: Any  # recipe.Setting
  generate: slots.Generate
  reward: slots.Reward
  keep: slots.Keep
  updates: Mapping[str, slots.Optimize]  # of every learner, by its name
  objective: slots.Objective
  credit: slots.Credit | None = None
  acquire: slots.Acquirer
  selector: slots.Selector
  evaluators: Sequence[slots.Evaluator]
  steer: slots.Rule
  weights: Mapping[str, Any]  # that the run starts from, by name
  parts: Sequence[str] = ()  # of the reward, which the update reads
  fails: str | None = None  # what `check_reward` returned; said if the trial of the reward passes


def run(choices: Choices, learners):
  """Tries every slot.

  Args: learners: the TrainStates by name, as shapes.
  Raises: ValueError that names the slot, what it did and where.
  """
  if hosts.count() > 1:  # functions of one process may wait for the others
    return
  pool, tasks, state, rows = _tasks(choices)
  rollouts = _rollouts(choices, tasks)
  samples = _samples(choices, tasks[0], rollouts)
  rewards = _rewards(choices, samples, tasks[0])
  if choices.fails:
    log.warning('%s', choices.fails)
  if rewards is not None and rows is not None:
    with _slot('selector'):
      host = jax.tree.map(np.asarray, rewards)
      choices.selector.update(state, rows[: len(samples.tasks)], host)
  metrics = _update(choices, learners, rollouts, rewards)
  _objective(choices, rollouts)
  _evaluate(choices, pool, samples, rewards, metrics)
  _steer(choices)


# ---------------------------------------------------------------- tasks


def _tasks(choices):
  """(pool, the tasks of a step, the selector's state, its rows or None if it was not tried)."""
  c, pool = choices.config, Pool()
  found = []
  with _slot('acquire'):
    start = _plain('acquire', choices.acquire.init())
    context = Context(0, 0.0, keys.at(c.seed, 'acquire', 0))
    result = choices.acquire.acquire(start, _Weights(), pool, context)
    found = _pair('acquire', result, '(list of Task, state)')[0]
    again = choices.acquire.acquire(start, _Weights(), pool, context)[0]
    if wrong := [task for task in found if not isinstance(task, Task)]:
      raise ValueError(f'got {wrong[0]!r}; expected {slots.form("acquire")}')
    if [task.id for task in found] != [task.id for task in again]:
      raise ValueError(
        'two calls with one seed gave other tasks, so no resumed run would see the same ones; '
        'draw from the rng or key that the function gets, not from the global random or the clock'
      )
  pool = pool.in_memory(found or choices.setting.heldout)
  state, rows = choices.selector.init(), None
  with _slot('selector'):
    state = choices.selector.prepare(state, pool, _Weights(), keys.at(c.seed, 'prepare', 0))
    key = keys.at(c.seed, 'select', 0, 0)
    picked = np.asarray(choices.selector.select(state, pool, key, c.prompts))
    if picked.shape != (c.prompts,) or picked.dtype.kind != 'i':
      raise ValueError(
        f'select returned {picked.dtype} {list(picked.shape)}; expected int32 '
        f'[{c.prompts}], rows of the pool'
      )
    rows = picked
  chosen = np.arange(c.prompts) % len(pool) if rows is None else rows
  return pool, pool[chosen], state, rows


# ---------------------------------------------------------------- generate and reward


def _rollouts(choices, tasks):
  """The shapes of a step's rollouts: those of `explore` where the model would be asked."""
  s, c = choices.setting, choices.config
  with _slot('generate'):
    samples = choices.generate(_Weights(), tasks, keys.at(c.seed, 'gro', 0, 0))
    if not isinstance(samples, Samples):
      raise ValueError(f'returned {type(samples).__name__}; expected {slots.form("generate")}')
    return jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype), samples.rollouts)
  shape = c.prompts, c.group_size, s.max_prompt + s.max_new
  of = lambda dtype, axes=3: jax.ShapeDtypeStruct(shape[:axes], dtype)
  arrays: list[Any] = [
    of(jnp.int32),
    of(jnp.bool_),
    of(jnp.bool_),
    of(jnp.float32),
    of(jnp.bool_, 2),
  ]
  return Rollouts(*arrays, prompt_width=s.max_prompt)


def _samples(choices, task, rollouts):
  """Made-up samples: the task's own solution, and its question as an answer, in turns."""
  s, (_, G, T) = choices.setting, rollouts.tokens.shape
  S, P = rollouts.prompt_width, sharding.row_shards(jax.sharding.get_mesh())
  wrong = s.codec.decode(s.codec.encode(task.text)[: T - S - 1])
  gold = None if task.answer is None else s.domain.solution(task)
  fits = gold is not None and len(s.codec.encode(gold)) < T - S
  said = [[gold, wrong][g % 2] if fits else wrong for g in range(G)]
  tokens, valid = texts.encode(s.codec, [task.prompt], s.max_prompt)
  prompts = np.repeat(tokens[:, -S:], P * G, 0), np.repeat(valid[:, -S:], P * G, 0)
  answers = texts.endings(s.codec, [task] * P * G, said * P, T - S)
  made = layout.given(*prompts, *answers)
  made = jax.tree.map(lambda x: x.reshape(P, G, *x.shape[2:]), made)
  made = made.replace(logp=np.where(made.action, np.float32(-1), np.float32(0)))
  return Samples([task] * P, [said] * P, jax.tree.map(hosts.global_rows, made), step=0)


def _rewards(choices, samples, task):
  """Rewards of the made-up samples; None if the reward asks a model too large to be run here."""
  size = sum(np.size(x) for x in jax.tree.leaves(dict(choices.weights)))
  weights = _Weights(choices.weights if size <= SMALL else {})
  with _slot('reward', lined=False):  # rewards name the line themselves
    rewards = choices.reward(weights, samples, keys.at(choices.config.seed, 'gro', 0, 0))
    _check_rewards('reward', rewards, samples)
    right = choices.setting.domain.solution(task) if task.answer is not None else None
    if right in samples.texts[0] and task.role == 'solve' and np.isnan(rewards.total).all():
      raise ValueError(
        f'it left every completion unjudged, also {right!r}, the solution of {task.text[:60]!r}; '
        'does it return a number? None and NaN mean not judged'
      )
    with _slot('keep'):
      _check_rewards('keep', choices.keep(rewards), samples)
    return rewards
  return None


def _check_rewards(slot, rewards, samples):
  shape = samples.rollouts.truncated.shape
  if not isinstance(rewards, Rewards):
    raise ValueError(f'{slot} returned {type(rewards).__name__}; expected sirl.types.Rewards')
  for name, part in {'total': rewards.total, **rewards.parts}.items():
    if np.shape(part) != shape:
      raise ValueError(
        f'{slot}: {name} has shape {list(np.shape(part))}, expected [P, G] = {list(shape)}'
      )


# ---------------------------------------------------------------- the update


def _update(choices, learners, rollouts, rewards):
  """Names of the metrics of a step. Traces every learner's update with the shapes of the run."""
  P, G, T = rollouts.tokens.shape
  one = jax.ShapeDtypeStruct((P, G), jnp.float32)
  names = choices.parts if rewards is None else rewards.parts
  tokens = None
  if rewards is not None and rewards.tokens is not None:
    tokens = jax.ShapeDtypeStruct((P, G, T), jnp.float32)
  given = Rewards(one, dict.fromkeys(names, one), tokens)  # ty: ignore[invalid-argument-type]
  key = keys.at(choices.config.seed, 'gro', 0, 0)
  metrics = ['reward', *(f'rewards/{name}/mean' for name in names)]
  for name, update in choices.updates.items():
    with _slot('the update'):
      result = jax.eval_shape(update, learners[name], rollouts, given, key)
      found = _pair('optimize', result, '(TrainState, {metric: scalar})')[1]
      metrics += found if name == 'policy' else [f'{name}/{metric}' for metric in found]
  return metrics


def _objective(choices, rollouts):
  """Tries the advantage on a tied group, and the objective on two halves, of a made-up batch."""
  _, G, T = rollouts.tokens.shape
  with _slot('advantage'):
    made = contract.made_up(
      group_size=G, prompt_width=rollouts.prompt_width, width=T, parts=choices.parts,
      named=[name for name in choices.weights if name != 'policy'], values=choices.setting.model.value is not None,
    )  # fmt: skip
    if choices.credit is not None:
      contract.check_ties(choices.credit, made[1])
  with _slot('objective'):
    if not contract.has_gradient(choices.objective, *made):
      log.warning(
        'objective: the loss of %r has no gradient for a made-up batch, so it would train nothing; '
        'it must read stats.logp, stats.entropy or stats.value, not only the experience',
        slots.name_of(choices.objective),
      )
    if (
      contract.check_sums(choices.objective, *made)
      and choices.config.epochs * choices.config.minibatches == 1
    ):
      log.info(
        'one update per rollout (epochs=1, minibatches=1): the weights have not moved since the '
        'samples were drawn, so every ratio pi / pi_old is 1 and a clip does nothing; '
        '--set minibatches=4 makes it act'
      )


# ---------------------------------------------------------------- evaluation and steering


def _evaluate(choices, pool, samples, rewards, metrics):
  """Tries the evaluators before round 0, and after a round."""
  records = [Record(pool, None, [])]
  if rewards is not None:
    row = dict.fromkeys(metrics, 0.0)
    outcome = Outcome(samples, jax.tree.map(np.asarray, rewards), row)
    records.append(Record(pool, outcome, [row]))
  for evaluator in choices.evaluators:
    state = evaluator.init()
    for round, record in enumerate(records, -1):
      with _slot('evaluate'):
        context = Context(round, 0.0, keys.at(choices.config.seed, 'evaluate', round))
        result = evaluator.evaluate(_plain('evaluate', state), _Weights(), record, context)
        found, state = _pair('evaluate', result, '({metric: number}, state)')
        if not isinstance(found, Mapping):
          raise ValueError(f'got {found!r}; expected {slots.form("evaluate")}')
        for name, value in found.items():
          if np.ndim(value) or not isinstance(value, bool | int | float | np.number | jax.Array):
            raise ValueError(f'{name} is {value!r}; expected a number')


def _steer(choices):
  """Tries the rule on two reports. Their numbers are made up, so only its form is checked."""
  said = Decision(Action.CONTINUE, 'measured before any training')
  reports = [Report(-1, _Unmeasured(), said), Report(0, _Unmeasured())]
  with _slot('steer'), contextlib.suppress(ValueError, ArithmeticError, LookupError):
    decision = choices.steer(reports)
    said = slots.wrong_decision(decision)
  if isinstance(said, str):
    raise ValueError(said)


# ---------------------------------------------------------------- one slot


@contextlib.contextmanager
def _slot(name, *, lined=True):
  """Names the slot, and the user's line, in an error from the block.

  Leaves the block in silence where it asks the model.
  """
  try:
    with worker.exits_raise():
      yield
  except _Asked:
    pass
  except Exception as error:
    what = str(error) if isinstance(error, ValueError) else f'{type(error).__name__}: {error}'
    if isinstance(error, TRACED):
      what = (
        f'{type(error).__name__}: it is traced by JAX, where arrays have no values yet; use jnp in '
        'place of numpy and float(), and jnp.where in place of if'
      )
    line = worker.line_of(error) if lined else ''
    said = what if what.startswith(name) else f'{name}: {what}'
    raise ValueError(f'{said}{f" ({line})" if line else ""}') from error


def _pair(slot, result, expected):
  if not (isinstance(result, tuple) and len(result) == 2):
    raise ValueError(f'{slot} returned {type(result).__name__}; expected {expected}')
  return result


def _plain(slot, state):
  """The state as it is after a checkpoint."""
  try:
    return json.loads(json.dumps(state))
  except (TypeError, ValueError) as error:
    raise ValueError(f'{slot}: its memory is no JSON ({error})') from error
