"""This library's whole GRO steps, and rounds of the loop."""

import tempfile
import time

import jax
import numpy as np

from experiments.benchmarks.updates import optimizer_of
from experiments.benchmarks.workload import (
  PAD,
  SLOTS,
  ending,
  fresh,
  learner,
  placed,
  policy,
  prompts,
)
from sirl import config, gro, loop, rewards
from sirl.acquisition import acquirer, once
from sirl.evaluation import evaluator
from sirl.experiment import Experiment
from sirl.generation import explore
from sirl.generation.engine import refill
from sirl.generation.engine.decode import static
from sirl.runs import record
from sirl.runtime import stopwatch
from sirl.selection import selectors
from sirl.tasks import Pool, Task
from sirl.types import Codec

STEPS = 4  # GRO steps in a round of the loop
SLICES = 2  # slices of a batch; one is rewarded while the next one is generated


def run_step(case, numbers, variant):
  """One whole GRO step: generate, reward, optimize."""
  model, params = policy(case, numbers)
  step, tasks = whole_step(case, model, prompts(case, numbers), variant)
  learners = {'policy': fresh(model, params)}

  def run():
    nonlocal learners
    learners, outcome = step(learners, tasks, jax.random.key(0))
    rollouts = outcome.samples.rollouts
    lengths = np.asarray(rollouts.action).sum(axis=-1).reshape(-1)
    tokens = int(lengths.sum()) + lengths.size * case.prompt
    times = {name: value for name, value in outcome.metrics.items() if name.startswith('time/')}
    return {'tokens': tokens, 'lengths': lengths.tolist()} | times

  return run


def run_growth(case, numbers, variant):
  """The variant 'whole' of `run_step`, for the growth curves."""
  return run_step(case, numbers, 'whole')


def run_overhead(case, numbers, variant):
  """A round of the loop, with the time spent in calls of the two compiled programs."""
  model, params = policy(case, numbers)
  spent = {}

  def timed(name, program):
    def call(*arguments, **options):
      jax.block_until_ready(arguments)
      started = time.perf_counter()
      found = jax.block_until_ready(program(*arguments, **options))
      spent[name] = spent.get(name, 0.0) + time.perf_counter() - started
      return found

    return call

  step, tasks = whole_step(case, model, prompts(case, numbers), 'whole', watched=timed)
  experiment = Experiment(
    config=config.Base(
      prompts=case.prompts, steps_per_round=STEPS, checkpoint_every=STEPS, max_logp_gap=1.0
    ),
    learners={'policy': learner(model, params)},
    acquire=acquirer(once(tasks)),
    selector=selectors.uniform(),
    step=step,
    evaluate=evaluator(),
    steer=lambda history: None,
  )

  def run():
    with tempfile.TemporaryDirectory() as folder:
      state = placed(loop.initial_state(experiment, {'policy': params}))
      pool, watch = Pool(folder=f'{folder}/pool'), stopwatch.Stopwatch()
      spent.clear()
      with record.Log(folder, serial=0, steps_per_round=STEPS) as log:
        started = time.perf_counter()
        loop.train_round(experiment, state, [], pool, None, log, watch)
        seconds = time.perf_counter() - started
    tokens = STEPS * case.prompts * case.group_size * (case.prompt + case.new)
    return {'tokens': tokens, 'round': seconds} | spent

  return run


def whole_step(case, model, tokens_PS, variant, *, watched=lambda name, program: program):
  """(step, tasks): a GRO step and its tasks.

  Args: watched: (name, program) -> program, applied to 'decode' and to 'optimize'.
  """
  sampled_from, ends = ending(case, model)
  tasks = [Task(id=f'bench-{p}', prompt=' '.join(map(str, row))) for p, row in enumerate(tokens_PS)]
  optimize = watched('optimize', optimizer_of(case, model, variant))
  generate = explore(
    sampled_from,
    words(model.vocab, ends),
    group_size=case.group_size,
    max_prompt=case.prompt,
    max_new=case.new,
    decode=watched('decode', refill.decoder(SLOTS) if 'refill' in variant else static),
  )
  judge = rewards.per_completion(reward_of(case), workers=case.prompts * case.group_size)
  slices = SLICES if 'sliced' in variant else 1
  return gro.make_step(generate, judge, optimize, slices=slices), tasks


def words(vocab, ends):
  """A Codec whose words are numbers: token 17 is '17'."""
  read = lambda text: [int(word) for word in text.split()]
  render = lambda messages: [id_ for message in messages for id_ in read(message.content)]
  write = lambda ids: ' '.join(map(str, ids))
  return Codec(read, write, render, pad_id=PAD, eos_ids=ends, vocab=vocab)


def reward_of(case):
  """A reward of the text alone, which sleeps for the seconds that the case sets."""

  def odd(task, text):
    if case.reward_seconds:
      time.sleep(case.reward_seconds)
    return len(text) % 7 / 7

  return odd
