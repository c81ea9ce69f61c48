"""The closed loop: acquire, select, GRO steps, evaluate, steer.

A decision or the round limit ends it. Within a round, the loop writes tasks to the pool, takes the
steps, makes the report and decision, and saves the checkpoint. A killed run recomputes what was not
saved from the same keys, so it continues bit for bit. The authoritative history is in the
checkpoint; the files of the workdir are written from it.
"""

import dataclasses
import functools
import json
import logging
import math
import pathlib
import time
from typing import NamedTuple

import jax
import jax.numpy as jnp

from sirl import gro, slots
from sirl.experiment import Experiment
from sirl.ops import keys
from sirl.runs import means, question, record
from sirl.runs.checkpoint import Store
from sirl.runtime import files, hosts, sharding, stopwatch
from sirl.tasks import Pool, Task
from sirl.types import (
  Action,
  Context,
  Decision,
  LoopState,
  Outcome,
  Record,
  Report,
  Samples,
)

events = logging.getLogger(__name__)

BASELINE = -1  # the round number of the measurement before any training


class Result(NamedTuple):
  """The result of a run: its final state and its history."""

  state: LoopState
  history: list[Report]


class WaitsForHuman(Exception):
  """The run cannot begin: its warm start, in `workdir`, waits for an answer."""

  def __init__(self, workdir, reason):
    super().__init__(f'the warm start in {workdir} waits for a human: {reason}')
    self.workdir, self.reason = workdir, reason


def run(
  experiment: Experiment, workdir, *, progress=None, sinks=(), accepted=lambda: None
) -> Result:
  """Runs or resumes an experiment in `workdir`.

  A warm start (the policy's params are themselves an Experiment) runs first, in `workdir/warm`. A
  warm start of another learner runs in `workdir/warm_NAME`.

  Args:
    progress: a display from `runs.progress`, or None.
    sinks: functions (serial, {name: number}) -> None, see `runs.sinks`.
    accepted: called once the checkpoints in the workdir are known to belong to this experiment and
      something is left to compute.
  Raises: ValueError when the workdir belongs to another config, when prompts do not divide over the
    mesh, or when sampler and learner disagree in the first step; OSError when the workdir cannot be
    written; WaitsForHuman when the warm start asks a question.
  """
  workdir = pathlib.Path(workdir)
  files.check_folder(workdir, 'workdir', 'name another one')
  accepted = functools.cache(accepted)  # once, also where a warm start calls it first
  config = experiment.config
  steps = config.steps_per_round
  mesh = sharding.make_mesh(config.mesh)
  sharding.check_rows(config.prompts, mesh)
  with jax.set_mesh(mesh), Store(workdir, config, steps_per_round=steps) as store:
    shapes = abstract_state(experiment, mesh)
    restored = store.restore(shapes)
    if restored is None:
      if experiment.trial is not None:
        experiment.trial(shapes.learners)
      params = starting_params(experiment, workdir, progress, accepted)
      restored = sharding.place(initial_state(experiment, params), mesh), [], []
    state, history, manifest = restored
    history, state = question.follow_answer(workdir, history, state, manifest, store)
    if not history or (int(state.round) < config.max_rounds and not question.is_final(history)):
      accepted()

    serial = int(state.round) * steps + int(state.step)
    with (
      record.Log(
        workdir,
        serial=serial,
        steps_per_round=steps,
        max_rounds=config.max_rounds,
        progress=progress,
        sinks=sinks,
      ) as log,
      stopwatch.announced(log.stage),
    ):
      log.rewrite(history)
      watch = stopwatch.Stopwatch()
      # A round resumed midway already has its tasks.
      committed = int(state.round) + int(state.step > 0)
      pool = Pool.load(workdir / 'pool', rounds=committed)
      pool.verify(manifest)
      if not history:
        with watch.time('evaluate'):
          report, state = evaluate(experiment, state, Record(pool, None, []), BASELINE)
        history = [
          dataclasses.replace(
            report, decision=Decision(Action.CONTINUE, 'measured before any training')
          )
        ]
        log.report(history[-1])
        store.save(state, history, pool.manifest())

      while int(state.round) < config.max_rounds and not question.is_final(history):
        pool, state, outcome = train_round(experiment, state, history, pool, store, log, watch)
        i = int(state.round)
        with watch.time('evaluate'):
          report, state = evaluate(experiment, state, Record(pool, outcome, log.round(i)), i)
        decision = experiment.steer([*history, report])
        if said := slots.wrong_decision(decision):
          raise ValueError(said)
        decision = decision or Decision(Action.CONTINUE, 'no rule fired')
        history = [*history, dataclasses.replace(report, decision=decision)]
        state = question.follow(decision, state, store)
        state = dataclasses.replace(state, round=state.round + 1, step=jnp.int32(0))
        # Written before the checkpoint, because a run resumed from it would not write the question.
        if decision.action is Action.ASK_HUMAN and hosts.is_first():
          question.write(workdir, history, outcome)
        with watch.time('checkpoint'):
          store.save(state, history, pool.manifest())
        log.report(history[-1])
  return Result(state, history)


def train_round(experiment, state, history, pool, store, log, watch):
  """Acquires tasks, prepares the selector and runs the remaining GRO steps of the round.

  A round resumed midway skips acquiring and preparing.
  """
  config, i = experiment.config, int(state.round)

  if int(state.step) == 0:
    with watch.time('acquire'):
      weights = gro.weights_of(state.learners)
      found, memory = experiment.acquire.acquire(
        state.memory['acquire'], weights, pool, context(config, state, 'acquire')
      )
      pool = pool.extend(found, round=i)
      if not len(pool):
        raise ValueError(
          f"round {i}: no task was acquired and the pool is empty; check the experiment's acquire"
        )
      key = keys.at(config.seed, 'prepare', i)
      state = state.replace(
        selector=experiment.selector.prepare(state.selector, pool, weights, key),
        memory=remembered(state.memory, acquire=memory),
      )

  outcome = None
  for s in range(int(state.step), config.steps_per_round):
    started = time.perf_counter()
    with watch.time('select'):
      rows = experiment.selector.select(
        state.selector, pool, keys.at(config.seed, 'select', i, s), config.prompts
      )
    learners, outcome = experiment.step(
      state.learners, pool[rows], keys.at(config.seed, 'gro', i, s)
    )
    if i == 0 and s == 0:
      gro.check_judged(outcome.rewards)
      gro.check_agreement(outcome.metrics, config.max_logp_gap)
    with watch.time('select'):
      selector = experiment.selector.update(state.selector, rows, outcome.rewards)
    state = state.replace(learners=learners, selector=selector, step=jnp.int32(s + 1))
    # The times of stages between two steps (acquire, evaluate, checkpoint) go into the row of the
    # step that follows.
    seconds = watch.take() | {'step_time': time.perf_counter() - started}
    outcome = dataclasses.replace(outcome, metrics=outcome.metrics | seconds)
    log.step(i, s, outcome)
    warn_if_not_finite(i, s, outcome)
    if s + 1 < config.steps_per_round and (s + 1) % config.checkpoint_every == 0:
      with watch.time('checkpoint'):
        store.save(state, history, pool.manifest())

  assert outcome is not None  # a mid-round checkpoint is never at the last step
  outcome = gathered(outcome)
  log.samples(i, outcome)
  return pool, state.replace(learners=refreshed(experiment, state.learners, i)), outcome


def refreshed(experiment, learners, round):
  """The learners after each one's refresh rule was applied to its reference."""
  rules = {name: learner.refresh for name, learner in experiment.learners.items()}
  return {
    name: state if rules[name] is None else rules[name](state, round)
    for name, state in learners.items()
  }


def gathered(outcome: Outcome) -> Outcome:
  """The outcome with the completions of all processes, so that monitors see the whole batch."""
  if hosts.count() == 1:
    return outcome
  samples = outcome.samples
  own = [[dataclasses.asdict(task), texts] for task, texts in zip(samples.tasks, samples.texts)]
  tasks, texts = zip(*hosts.gather(own))
  rollouts = hosts.everywhere(samples.rollouts)
  samples = Samples([Task.from_json(task) for task in tasks], texts, rollouts)
  return Outcome(samples, outcome.rewards, outcome.metrics)


# ---------------------------------------------------------------- state


def initial_state(experiment: Experiment, params) -> LoopState:
  """The state at round 0, step 0.

  Args: params: maps each learner's name to its starting weights.
  """
  memory = remembered({}, acquire=experiment.acquire.init(), evaluate=experiment.evaluate.init())
  return dataclasses.replace(initial_arrays(experiment, params), memory=memory)


def initial_arrays(experiment: Experiment, params) -> LoopState:
  """`initial_state` without memory, which may be traced: memory is agreed on between processes."""
  return LoopState(
    learners={
      name: gro.start(learner, params[name]) for name, learner in experiment.learners.items()
    },
    selector=experiment.selector.init(),
    round=jnp.int32(0),
    step=jnp.int32(0),
    difficulty=jnp.float32(0),
  )


def remembered(memory, **states):
  """The memory with new states of the given stages.

  Each state passes through JSON, so an uninterrupted run sees the same values as a resumed one.
  Raises: ValueError for a state that is not JSON.
  """
  for stage, state in states.items():
    try:
      plain = json.loads(json.dumps(state))
    except (TypeError, ValueError) as error:
      raise ValueError(
        f'{stage}: its memory is no JSON ({error}); keep numbers, texts, None, lists and dicts of '
        'them'
      ) from error
    memory = {**memory, stage: hosts.agree(plain)}
  return memory


def abstract_state(experiment: Experiment, mesh):
  """The shapes, dtypes and shardings of this experiment's LoopState on this mesh."""
  params = {name: starting_shapes(learner) for name, learner in experiment.learners.items()}
  shapes = jax.eval_shape(lambda p: initial_arrays(experiment, p), params)
  return jax.tree.map(
    lambda x, s: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=s),
    shapes,
    sharding.shardings(shapes, mesh),
  )


def starting_shapes(learner):
  """A tree with the shapes and dtypes of the learner's starting weights, also for a warm start."""
  return starting_shapes(learner.params.policy) if is_warm_started(learner) else learner.params


def is_warm_started(learner) -> bool:
  """Whether the learner starts from the final weights of another run."""
  return isinstance(learner.params, Experiment)


def starting_params(experiment: Experiment, workdir, progress, accepted):
  """{name of a learner: its starting weights}. Runs the warm starts that have rounds first."""
  params = {}
  for name, learner in experiment.learners.items():
    params[name] = learner.params
    if is_warm_started(learner):
      folder = workdir / ('warm' if name == 'policy' else f'warm_{name}')
      if not learner.params.config.max_rounds and not folder.exists():
        params |= {name: starting_params(learner.params, folder, progress, accepted)['policy']}
        continue
      warm = run(learner.params, folder, progress=progress, accepted=accepted)
      decision = warm.history[-1].decision
      if decision is not None and decision.action is Action.ASK_HUMAN:
        raise WaitsForHuman(folder, decision.reason)
      if decision is not None and decision.action is not Action.STOP:
        debug = experiment.config.debug
        events.log(
          logging.INFO if debug else logging.WARNING,
          'the warm start in %s used all its rounds and did not reach its goal%s',
          folder, ' (as is to be expected of a debug run)' if debug else '',
        )  # fmt: skip
      params[name] = warm.state.learners['policy'].params
  return params


def context(config, state, purpose) -> Context:
  """The round, the difficulty and the random key for a purpose such as acquire."""
  i = int(state.round)
  return Context(i, float(state.difficulty), keys.at(config.seed, purpose, i))


def warn_if_not_finite(round, step, outcome: Outcome):
  """Logs the step and its tasks at once if a metric is not finite.

  Steering decides after the round whether to stop.
  """
  if said := means.not_finite(outcome.metrics):
    gap = outcome.metrics.get('sampling/sampling_logp_difference/max', math.nan)
    events.warning(
      'round %d, step %d is not finite: %s; %s came first; '
      'largest sampler-learner difference %.3g nats; tasks %s',
      round, step, ', '.join(said), means.first_not_finite(outcome.metrics), gap,
      ', '.join(task.id for task in outcome.samples.tasks),
    )  # fmt: skip


# ---------------------------------------------------------------- evaluation and decisions


def evaluate(experiment, state, record, round):
  """(Report, state): the means of the round's steps, and the evaluators' measurements.

  Omits times, because a history must be reproducible.
  """
  own = Context(round, float(state.difficulty), keys.at(experiment.config.seed, 'evaluate', round))
  weights = gro.weights_of(state.learners)
  found, memory = experiment.evaluate.evaluate(state.memory['evaluate'], weights, record, own)
  numbers = means.of_steps(record.steps) | means.broken_steps(record.steps)
  numbers |= hosts.agree({name: float(value) for name, value in found.items()})
  return Report(round, numbers), state.replace(memory=remembered(state.memory, evaluate=memory))
