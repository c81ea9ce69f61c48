"""This library's side of the benchmarks: `python -m sirl.bench.ours VARIANT` answers `protocol`.

Random weights, random prompts without padding. The functions below make, for one kind of case each, what runs once per
measurement; everything is the public engine, called as an experiment calls it.
"""

import contextlib
import dataclasses
import functools
import itertools
import math
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from sirl import config, gro, loop, rewards
from sirl.acquisition import Pool, once
from sirl.bench import cases, limits, protocol
from sirl.generation import drafts, explore, refill, sampling, speculative
from sirl.generation.decode import counted_too, decode
from sirl.models import functional
from sirl.models.transformer import Architecture
from sirl.ops import logprobs, prefill
from sirl.optimization import advantages, make_optimize, objectives, transforms
from sirl.runtime import host_memory, hosts, record, sharding, stopwatch
from sirl.selection import selectors
from sirl.types import Codec, Experiment, Model, Rollouts, Task, TrainState

PAD, EOS = 1, 0
SLOTS = 16  # rows at work at once where ended ones are refilled
WIDTH = 8  # guesses a round
STEPS = 4  # of a round of the loop
SLICES = 2  # of a batch whose rewards are computed while the next one generates


def main(variant):
  """Serves the cases in one variant."""
  host_memory.keep_freed()
  if 'two devices' in variant:
    jax.config.update('jax_num_cpu_devices', 2)
  mesh = sharding.make_mesh(config.Mesh())

  def prepare(case, numbers, lengths):
    del lengths  # this side draws them
    case = cases.from_json(case)
    with jax.set_mesh(mesh):
      run = KINDS[case.kind](case, numbers, variant)

    def inside():
      with jax.set_mesh(mesh):
        return run()

    return inside

  protocol.serve(prepare, {'jax': jax.__version__, 'jaxlib': jax.lib.__version__})


# ---------------------------------------------------------------- the kinds of cases


def run_limit(case, numbers, variant):
  """A limit of the machine."""
  return limits.MEASURES[case.what]()


def run_decode(case, numbers, variant):
  """One rollout of every prompt and group member."""
  if variant == cases.FIRST:
    case = dataclasses.replace(case, new=1)
  model, params = policy(case, numbers)
  sample = sampler_of(case, model, params, prompts(case, numbers))
  return lambda: {'tokens': int(np.sum(sample().action))}


def run_prefill(case, numbers, variant):
  """Prompts to the logits of the first new token, and their cache."""
  model, params = policy(case, numbers)
  tokens_PS = prompts(case, numbers)

  @jax.jit
  def first_logits(params, tokens_PS):
    x_BD, cache = prefill.prefill(
      model, params, tokens_PS, jnp.ones(tokens_PS.shape, bool), group_size=1, room=0
    )
    return model.unembed(params, x_BD), cache

  def run():
    jax.block_until_ready(first_logits(params, tokens_PS))
    return {'tokens': tokens_PS.size}

  return run


def run_train(case, numbers, variant):
  """One update on rollouts that were there before."""
  model, params = policy(case, numbers)
  P, G, T = case.prompts, case.group_size, case.prompt + case.new
  random = np.random.default_rng(0)
  action = np.broadcast_to(np.arange(T) >= case.prompt, (P, G, T))
  tokens = random.integers(2, numbers['vocab'], (P, G, T), np.int32)
  tokens[:, :, : case.prompt] = tokens[:, :1, : case.prompt]  # a group shares its prompt
  arrays = {
    'tokens': tokens,
    'valid': np.ones((P, G, T), bool),
    'action': action,
    'logp': np.zeros((P, G, T), np.float32),
    'truncated': np.ones((P, G), bool),
  }
  arrays = {name: on_devices(array) for name, array in arrays.items()}
  rollouts = Rollouts(**arrays, prompt_width=case.prompt)
  rewards_PG = on_devices(random.random((P, G), np.float32))
  optimize = optimizer_of(case, model, variant)
  state = fresh(params)

  def run():
    nonlocal state
    state, metrics = optimize(state, rollouts, rewards_PG, jax.random.key(0))
    jax.device_get(metrics)
    return {'tokens': P * G * T}

  return run


def run_step(case, numbers, variant):
  """One whole GRO step: generate, reward, optimize."""
  model, params = policy(case, numbers)
  step, tasks = whole_step(case, model, prompts(case, numbers), variant)
  state = fresh(params)

  def run():
    nonlocal state
    state, outcome = step(state, tasks, jax.random.key(0))
    rollouts = outcome.samples.rollouts
    lengths = np.asarray(rollouts.action).sum(axis=-1).reshape(-1)
    tokens = int(lengths.sum()) + lengths.size * case.prompt
    times = {name: value for name, value in outcome.metrics.items() if name.startswith('time/')}
    return {'tokens': tokens, 'lengths': lengths.tolist()} | times

  return run


def run_growth(case, numbers, variant):
  """The same, for the curves."""
  return run_step(case, numbers, 'whole')


def run_overhead(case, numbers, variant):
  """A round of the loop, and what it spent within calls of the two compiled programs."""
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
    model=model,
    params=params,
    optimizer=transforms.adamw(1e-5),
    acquire=once(tasks),
    selector=selectors.uniform(),
    step=step,
    evaluate=lambda params, record, context: {},
    steer=lambda history: None,
  )

  def run():
    with tempfile.TemporaryDirectory() as folder:
      state = placed(loop.initial_state(experiment, params))
      pool, watch = Pool(folder=f'{folder}/pool'), stopwatch.Stopwatch()
      spent.clear()
      with record.Log(folder, serial=0, steps_per_round=STEPS) as log:
        started = time.perf_counter()
        loop.train_round(experiment, state, [], pool, None, log, watch)
        seconds = time.perf_counter() - started
    tokens = STEPS * case.prompts * case.group_size * (case.prompt + case.new)
    return {'tokens': tokens, 'round': seconds} | spent

  return run


def run_memory(case, numbers, variant):
  """Nothing but the compiler's account of an update: the memory it sets aside beside state and batch, and its largest array."""
  architecture = Architecture(**numbers, remat='block')
  model, optimizer = functional.build(architecture), transforms.adamw(1e-5)
  optimize = make_optimize(
    model,
    optimizer,
    advantages.raw,
    objectives.clipped(),
    rows=case.micro if variant == 'few rows' else None,
    chunk=case.new if variant == 'whole head' else 16,
  )
  params = functional.shapes(architecture)
  array: Any = lambda dtype, *shape: jax.ShapeDtypeStruct(shape, dtype)
  P, G, T = case.prompts, case.group_size, case.prompt + case.new
  state = TrainState(
    array(jnp.int32), params, jax.eval_shape(optimizer.init, params), skipped=array(jnp.int32)
  )
  rollouts = Rollouts(
    *(array(dtype, P, G, T) for dtype in (jnp.int32, bool, bool, jnp.float32)),
    truncated=array(bool, P, G),
    prompt_width=case.prompt,
  )
  key = jax.eval_shape(lambda: jax.random.key(0))
  compiled = optimize.lower(state, rollouts, array(jnp.float32, P, G), key).compile()
  found = {
    'temporary': compiled.memory_analysis().temp_size_in_bytes,
    'largest': limits.largest_array(compiled.as_text()),
    'logits': limits.FLOAT * P * G * case.new * numbers['vocab'],
    'tokens': P * G * T,
  }
  return lambda: found


def run_sampling(case, numbers, variant):
  """One draw per row from logits of the whole vocabulary."""
  sampler = {
    'plain': sampling.sampler(),
    'top-k 50': sampling.sampler(top_k=50),
    'top-p 0.9': sampling.sampler(top_p=0.9),
  }[case.what]
  key = jax.random.key(0)
  logits_BV = 3 * jax.random.normal(key, (case.prompts, numbers['vocab']))
  uniform_B = jax.random.uniform(key, (case.prompts,))
  draw = jax.jit(functools.partial(sampling.draw, sampler=sampler))

  def run(times=20):
    for _ in range(times):
      jax.block_until_ready(draw(logits_BV, uniform_B))
    return {'tokens': times * case.prompts, 'draws': times}

  return run


def run_refill(case, numbers, variant):
  """More prompts than slots: batch after batch with early exit, or finished rows refilled from the queue."""
  model, params = policy(case, numbers)
  tokens_PS = prompts(case, numbers)
  if variant == 'static':
    batches = range(0, case.prompts, SLOTS)
    samples = [sampler_of(case, model, params, tokens_PS[i : i + SLOTS], first=i) for i in batches]
    return lambda: {'tokens': sum(int(np.sum(sample().action)) for sample in samples)}
  sample = sampler_of(case, model, params, tokens_PS, with_=refill.decoder(SLOTS))

  def run():
    rollouts, counted = sample()
    use = counted['sampling/slot_use']
    return {'tokens': int(np.sum(rollouts.action)), 'slot_use': int(use.total) / int(use.of)}

  return run


def run_speculate(case, numbers, variant):
  """One greedy rollout, whose text soon repeats itself as that of random weights does, with guesses copied from it or without."""
  model, params = policy(case, numbers)
  draft = drafts.prompt_lookup()
  guessing = speculative.decoder(draft, width=WIDTH)
  sample = sampler_of(
    case,
    model,
    params,
    prompts(case, numbers),
    with_=guessing if variant == 'prompt lookup' else decode,
    sampler=sampling.greedy(),
  )

  def run():
    rollouts, counted = counted_too(sample())
    shares = {name.split('/')[1]: int(x.total) / int(x.of) for name, x in counted.items()}
    return {'tokens': int(np.sum(rollouts.action))} | shares

  return run


KINDS = {
  name.removeprefix('run_'): function
  for name, function in list(globals().items())
  if name.startswith('run_')
}


# ---------------------------------------------------------------- what they are made of


def policy(case, numbers):
  """A Model of random weights and its params, on the devices in use."""
  model = functional.build(Architecture(**numbers))
  params = jax.jit(model.init)(jax.random.key(0))
  return model, placed(params)


def prompts(case, numbers):
  """int32 [P, S] of random tokens, none of them padding or an end."""
  random = np.random.default_rng(0)
  return random.integers(2, numbers['vocab'], (case.prompts, case.prompt), np.int32)


def sampler_of(
  case, model, params, tokens_PS, *, first=0, with_: Callable = decode, sampler=logprobs.PLAIN
):
  """() -> what `with_` returns of the prompts, of fixed or lognormal lengths. Row `first` is the noise of the first one."""
  model, ends = ending(case, model)
  ids_P = np.arange(first, first + len(tokens_PS), dtype=np.uint32)
  arrays = (tokens_PS, np.ones(tokens_PS.shape, bool), ids_P, np.zeros(len(ids_P), np.int32))
  tokens, valid, *address = (on_devices(x) for x in arrays)

  def sample():
    rollouts = with_(
      model, params, tokens, valid, tuple(address), jax.random.key(0), group_size=case.group_size,
      max_new=case.new, sampler=sampler, eos_ids=ends, pad_id=PAD,
    )  # fmt: skip
    return jax.block_until_ready(rollouts)

  return sample


def optimizer_of(case, model, variant):
  """GRPO with AdamW, on whole batches, or a few rows at a time where the variant says so."""
  few = 'micro' in variant
  # Prompts that nobody shares are cut with their completions; those of a group are computed once before.
  alone = case.group_size == 1 and case.lengths == 'fixed'
  shards = sharding.row_shards(jax.sharding.get_mesh())
  pieces = max(1, case.prompts * case.group_size // (case.micro * shards))
  return make_optimize(
    model,
    transforms.adamw(1e-5),
    advantages.normalized if case.group_size > 1 else advantages.raw,
    objectives.clipped(),
    microbatches=pieces if few and alone else 1,
    rows=case.micro if few and not alone else None,
    widths=widths(case) if few else (),
  )


def widths(case):
  """Completion widths that pieces may be cut to, where lengths differ."""
  return (case.new // 4, case.new // 2) if case.lengths != 'fixed' else ()


def whole_step(case, model, tokens_PS, variant, *, watched=lambda name, program: program):
  """(step, tasks): a GRO step, its two compiled programs as `watched` makes of them."""
  sampled_from, ends = ending(case, model)
  tasks = [Task(id=f'bench-{p}', prompt=' '.join(map(str, row))) for p, row in enumerate(tokens_PS)]
  optimize = watched('optimize', optimizer_of(case, model, variant))
  generate = explore(
    sampled_from,
    words(model.vocab, ends),
    group_size=case.group_size,
    max_prompt=case.prompt,
    max_new=case.new,
    decode=watched('decode', refill.decoder(SLOTS) if 'refill' in variant else decode),
  )
  judge = rewards.per_completion(reward_of(case), workers=case.prompts * case.group_size)
  slices = SLICES if 'sliced' in variant else 1
  return gro.make_step(generate, judge, optimize, slices=slices), tasks


def words(vocab, ends):
  """A Codec of numbers as words: token 17 is '17'."""
  read = lambda text: [int(word) for word in text.split()]
  write = lambda ids: ' '.join(map(str, ids))
  return Codec(read, write, read, pad_id=PAD, eos_ids=ends, vocab=vocab)


def reward_of(case):
  """A reward of the text alone, which takes as long as the case says."""

  def odd(task, text):
    if case.reward_seconds:
      time.sleep(case.reward_seconds)
    return len(text) % 7 / 7

  return odd


def fresh(params):
  """TrainState around a copy of params: the copy may be donated."""
  params = jax.tree.map(jnp.copy, params)
  opt_state = transforms.adamw(1e-5).init(params)
  return placed(TrainState(jnp.int32(0), params, opt_state, skipped=jnp.int32(0)))


def placed(tree):
  """The tree whole on every device of the mesh in use."""
  mesh = jax.sharding.get_mesh()
  return sharding.place(tree, mesh) if mesh.size > 1 else tree


def on_devices(array):
  """Rows [P, ...] split over the devices of the mesh in use, as `explore` does it."""
  return jnp.asarray(hosts.global_rows(array))


# ---------------------------------------------------------------- lengths


def ending(case, model: Model):
  """(model, end tokens): never an end for fixed lengths, else ends at a rate that depends on position alone.

  With token 0 as the end, an inverse-CDF draw ends a row where its noise is below the rate: lengths are then a function of the
  row's key, the same in every batch layout, and unknown to whatever batches the rows.
  """
  if case.lengths == 'fixed':
    return model, ()
  rate_N = jnp.asarray(end_rates(case.new), jnp.float32)

  def hidden(params, tokens_BT, positions_BT, *rest, **more):
    x_BTD, cache = model.hidden(params, tokens_BT, positions_BT, *rest, **more)
    return jnp.concatenate([x_BTD, positions_BT[..., None].astype(x_BTD.dtype)], axis=-1), cache

  def unembed(params, x):
    logits = model.unembed(params, x[..., :-1])
    index = jnp.clip(x[..., -1].astype(jnp.int32) + 1 - case.prompt, 0, case.new - 1)
    others = jax.nn.logsumexp(logits[..., 1:], axis=-1)
    return logits.at[..., EOS].set(others + jax.scipy.special.logit(rate_N[index]))

  return model._replace(hidden=hidden, unembed=unembed), (EOS,)


def end_rates(limit, mean=40.0, sigma=0.75):
  """Probability that a completion ends at each token if it came so far, float [limit], of lognormal lengths."""
  normal = statistics.NormalDist(math.log(mean) - sigma**2 / 2, sigma)
  longer = [1.0] + [1 - normal.cdf(math.log(n)) for n in range(1, limit + 1)]
  rates = [1 - after / before for before, after in itertools.pairwise(longer)]
  return np.clip(rates, 1e-9, 1 - 1e-6)


if __name__ == '__main__':
  with contextlib.suppress(KeyboardInterrupt):
    main(sys.argv[1] if len(sys.argv) > 1 else 'plain')
