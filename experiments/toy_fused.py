"""GRO in one XLA program, vmapped over seeds for error bars.

  python -m experiments.toy_fused

`gro.fuse` joins sampling, reward and update. A tabular policy learns to count upwards: the reward
is the share of tokens that are one more than the token before, modulo the vocabulary. It reads
arrays and no text, so nothing leaves the device between two steps. Ten seeds of 60 steps take a few
seconds on 2 CPU cores. If a reward must read text, use `gro.make_step`: the same step, with the
host between its three functions.
"""

import functools
import math

import jax
import jax.numpy as jnp
import numpy as np
import optax

from sirl import gro
from sirl.experiment import Learner
from sirl.generation.engine.decode import decode
from sirl.models import tabular
from sirl.optimization import advantages, by_group, make_optimize, objectives
from sirl.types import SamplingParams

VOCAB, LENGTH = 6, 4  # tokens in the vocabulary; tokens of a completion
PROMPTS, GROUP_SIZE = VOCAB, 8  # every token is the prompt of one task
STEPS, LR = 60, 0.1
MODEL = tabular.tabular(VOCAB, 1 + LENGTH)
OPTIMIZER = optax.adam(LR)
OPTIMIZE = make_optimize(
  MODEL, OPTIMIZER, by_group(advantages.centered), objectives.policy_gradient()
)


def sample(params, key):
  """Rollouts [P, G, 1 + LENGTH] of all prompts. No token ends a completion."""
  return decode(
    MODEL,
    params,
    jnp.arange(PROMPTS, dtype=jnp.int32)[:, None],
    jnp.ones((PROMPTS, 1), bool),
    (jnp.arange(PROMPTS, dtype=jnp.uint32), jnp.zeros(PROMPTS, jnp.int32)),
    key,
    SamplingParams(group_size=GROUP_SIZE, max_new=LENGTH, eos_ids=(), pad_id=0),
  )


def counts_up(rollouts):
  """Share of the completion's tokens that continue the count, float32 [P, G]."""
  before, after = rollouts.tokens[..., :-1], rollouts.tokens[..., 1:]
  return jnp.mean(after == (before + 1) % VOCAB, axis=-1, dtype=jnp.float32)


def start(seed):
  """(TrainState, key) of a seed; the seed may be traced."""
  key_init, key_run = jax.random.split(jax.random.key(seed))
  learner = Learner(model=MODEL, params=MODEL.init(key_init), optimizer=OPTIMIZER)
  return gro.start(learner), key_run


@functools.partial(jax.jit, static_argnames='steps')
def learn(seeds, *, steps=STEPS):
  """Runs all seeds at once.

  Args: seeds: int32 [N]. Returns: TrainState and metrics, both with leading axes [N, ...].
  """
  run = gro.fuse(sample, counts_up, OPTIMIZE, steps=steps)
  return jax.vmap(lambda seed: run(*start(seed)))(seeds)


def interval(values_N):
  """(mean over seeds, half the width of its 95 % interval), by the normal approximation."""
  values_N = np.asarray(values_N, np.float64)
  return values_N.mean(), 1.96 * values_N.std(ddof=1) / math.sqrt(len(values_N))


def main(seeds=10, rows=6):
  """Prints reward and entropy over the steps."""
  _, metrics = learn(jnp.arange(seeds))
  print(f'{seeds} seeds, {STEPS} steps each, in one program; chance is {1 / VOCAB:.3f}')
  print(f'{"step":>5}{"reward":>18}{"entropy":>18}')
  for step in np.linspace(0, STEPS - 1, rows).round().astype(int):
    cells = [interval(metrics[name][:, step]) for name in ('reward', 'entropy')]
    print(f'{step:>5}' + ''.join(f'{mean:>10.3f} ± {half:.3f}' for mean, half in cells))


if __name__ == '__main__':
  main()
