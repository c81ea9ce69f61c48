"""This library's rollouts, and parts of them.

Each run_* function returns the function that runs once per measurement of its case.
"""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np

from experiments.benchmarks import cases
from experiments.benchmarks.workload import PAD, SLOTS, ending, on_devices, policy, prompts
from sirl.generation.engine import drafts, refill, sampling, speculative
from sirl.generation.engine.decode import static
from sirl.ops import logprobs, prefill
from sirl.slots import Decode
from sirl.types import SamplingParams

WIDTH = 8  # tokens proposed in a round


def run_decode(case, numbers, variant):
  """One rollout of every prompt and group member."""
  if variant == cases.FIRST:
    case = dataclasses.replace(case, new=1)
  model, params = policy(case, numbers)
  sample = sampler_of(case, model, params, prompts(case, numbers))

  def run():
    rollouts, _ = sample()
    return {'tokens': int(np.sum(rollouts.action))}

  return run


def run_prefill(case, numbers, variant):
  """A prefill of the prompts: their cache and the logits of the first new token."""
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


def run_sampling(case, numbers, variant):
  """One draw per row from logits over the whole vocabulary."""
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
  """More prompts than slots.

  'static' decodes one batch after the other and stops each at its last end token. 'refill' gives
  the slot of a finished row to the next prompt.
  """
  model, params = policy(case, numbers)
  tokens_PS = prompts(case, numbers)
  if variant == 'static':
    batches = range(0, case.prompts, SLOTS)
    samples = [sampler_of(case, model, params, tokens_PS[i : i + SLOTS], first=i) for i in batches]
    return lambda: {'tokens': sum(int(np.sum(sample()[0].action)) for sample in samples)}
  sample = sampler_of(case, model, params, tokens_PS, with_=refill.decoder(SLOTS))

  def run():
    rollouts, counted = sample()
    use = counted['sampling/slot_use']
    return {'tokens': int(np.sum(rollouts.action)), 'slot_use': int(use.total) / int(use.of)}

  return run


def run_speculate(case, numbers, variant):
  """One greedy rollout, with or without tokens proposed by prompt lookup.

  Random weights soon repeat themselves, so copying from the text often proposes the right token.
  """
  model, params = policy(case, numbers)
  draft = drafts.prompt_lookup()
  guessing = speculative.decoder(draft, width=WIDTH)
  sample = sampler_of(
    case,
    model,
    params,
    prompts(case, numbers),
    with_=guessing if variant == 'prompt lookup' else static,
    sampler=sampling.greedy(),
  )

  def run():
    rollouts, counted = sample()
    shares = {name.split('/')[1]: int(x.total) / int(x.of) for name, x in counted.items()}
    return {'tokens': int(np.sum(rollouts.action))} | shares

  return run


def sampler_of(
  case, model, params, tokens_PS, *, first=0, with_: Decode = static, sampler=logprobs.PLAIN
):
  """() -> (Rollouts, counts), decoded by `with_` with fixed or lognormal lengths.

  Args: first: the number of the first prompt, which addresses its noise.
  """
  model, ends = ending(case, model)
  ids_P = np.arange(first, first + len(tokens_PS), dtype=np.uint32)
  arrays = (tokens_PS, np.ones(tokens_PS.shape, bool), ids_P, np.zeros(len(ids_P), np.int32))
  tokens, valid, ids, starts = (on_devices(x) for x in arrays)

  sampling_params = SamplingParams(
    group_size=case.group_size, max_new=case.new, eos_ids=ends, pad_id=PAD, sampler=sampler
  )

  def sample():
    found = with_(model, params, tokens, valid, (ids, starts), jax.random.key(0), sampling_params)
    return jax.block_until_ready(found)

  return sample
