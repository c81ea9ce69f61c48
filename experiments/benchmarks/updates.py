"""This library's updates: their time, and the memory that the compiler reserves for them."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from experiments.benchmarks import limits
from experiments.benchmarks.workload import OPTIMIZER, fresh, learner, on_devices, policy
from sirl import gro
from sirl.models import functional
from sirl.models.transformer import Architecture
from sirl.optimization import Pieces, advantages, by_group, make_optimize, objectives
from sirl.runtime import sharding
from sirl.types import Rewards, Rollouts


def run_train(case, numbers, variant):
  """One update on given rollouts."""
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
  rewards = Rewards(on_devices(random.random((P, G), np.float32)), {})
  optimize = optimizer_of(case, model, variant)
  state = fresh(model, params)

  def run():
    nonlocal state
    state, metrics = optimize(state, rollouts, rewards, jax.random.key(0))
    jax.device_get(metrics)
    return {'tokens': P * G * T}

  return run


def run_memory(case, numbers, variant):
  """The compiler's account of an update; nothing is run.

  The function returns bytes: 'temporary' memory besides state and batch, the 'largest' array, and
  what all 'logits' would take; also 'tokens'.
  """
  architecture = Architecture(**numbers, remat='block')
  model = functional.build(architecture)
  optimize = make_optimize(
    model,
    OPTIMIZER,
    by_group(advantages.raw),
    objectives.clipped(),
    pieces=Pieces(
      rows=case.micro if variant == 'few rows' else None,
      chunk=case.new if variant == 'whole head' else 16,
    ),
  )
  array: Any = lambda dtype, *shape: jax.ShapeDtypeStruct(shape, dtype)
  P, G, T = case.prompts, case.group_size, case.prompt + case.new
  shapes = functional.shapes(architecture)
  state = jax.eval_shape(lambda params: gro.start(learner(model, params)), shapes)
  rollouts = Rollouts(
    *(array(dtype, P, G, T) for dtype in (jnp.int32, bool, bool, jnp.float32)),
    truncated=array(bool, P, G),
    prompt_width=case.prompt,
  )
  key = jax.eval_shape(lambda: jax.random.key(0))
  rewards = Rewards(array(jnp.float32, P, G), {})
  compiled = jax.jit(optimize, donate_argnums=0).lower(state, rollouts, rewards, key).compile()
  memory = compiled.memory_analysis()
  assert memory is not None  # the CPU and the GPU backend report it
  found = {
    'temporary': memory.temp_size_in_bytes,
    'largest': limits.largest_array(compiled.as_text()),
    'logits': limits.FLOAT * P * G * case.new * numbers['vocab'],
    'tokens': P * G * T,
  }
  return lambda: found


def optimizer_of(case, model, variant):
  """GRPO with AdamW, on whole batches or, in 'micro' variants, on a few rows at a time."""
  few = 'micro' in variant
  # Without groups, micro-batches cut prompts together with their completions. With groups, the
  # shared prompts are computed once, and only the rows of completions are cut.
  alone = case.group_size == 1 and case.lengths == 'fixed'
  shards = sharding.row_shards(jax.sharding.get_mesh())
  slices = max(1, case.prompts * case.group_size // (case.micro * shards))
  return make_optimize(
    model,
    OPTIMIZER,
    by_group(advantages.normalized if case.group_size > 1 else advantages.raw),
    objectives.clipped(),
    pieces=Pieces(
      microbatches=slices if few and alone else 1,
      rows=case.micro if few and not alone else None,
      widths=widths(case) if few else (),
    ),
  )


def widths(case):
  """Narrower completion widths for pieces, if lengths differ."""
  return (case.new // 4, case.new // 2) if case.lengths != 'fixed' else ()
