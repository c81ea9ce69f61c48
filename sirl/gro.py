"""The GRO step: generation, reward, optimization as one function of (state, tasks, key)."""

import time

import jax
import numpy as np

from sirl.overlap import overlapped
from sirl.rewards.check import check_reward
from sirl.runtime import hosts
from sirl.types import Generate, Optimize, Outcome, Reward, Rewards, Step


def everything(rewards: Rewards):
  """Keep every judged completion: the total as it is."""
  return rewards.total


def make_step(
  generate: Generate, reward: Reward, optimize: Optimize, *, keep=everything, slices: int = 1
) -> Step:
  """Step(state, tasks, key) -> (state, Outcome). The state passed in is donated.

  Args:
    keep: turns Rewards into the float32 [P, G] that is optimised, with NaN for what is left out; the outcome, and so the
      selector and the monitors, see all rewards.
    slices: parts of the batch. While the texts of one are read and judged on a thread, the next one is generated: with the same
      weights and the same noise, so samples are the same, and so are rewards that look at one task at a time. A reward of a whole
      batch (`rewards.batched`, `rewards.from_trl`) is called once per slice, so one that ranks or normalises over what it is given
      needs slices=1; so does one that runs collectives over several processes, for threads would issue them in any order.
  Metrics come to the host once, at the end, with the rewards. 'time/reward' is what the step waited for rewards.
  Raises: ValueError for slices < 1 or a function that is no Reward, and at a step whose P does not divide into the slices of every shard.
  """

  if slices < 1:
    raise ValueError(f'slices={slices}; expected at least 1')
  check_reward(reward)

  def step(state, tasks, key):
    key_generate, key_reward, key_optimize = jax.random.split(key, 3)
    started = time.perf_counter()
    if slices == 1:
      samples = generate(state.params, tasks, key_generate)
      len(samples.texts)  # read before the clock of the reward starts
      generated = time.perf_counter()
      rewards = reward(state.params, samples, key_reward)
    else:
      samples, rewards, generated = overlapped(
        generate, reward, state.params, tasks, key_generate, key_reward, slices
      )
    kept_PG = keep(rewards)
    rewarded = time.perf_counter()
    state, metrics = optimize(state, samples.rollouts, kept_PG, key_optimize)
    metrics, counted, judged, kept_PG = hosts.everywhere(
      (metrics, dict(samples.counted), rewards, kept_PG)
    )
    optimized = time.perf_counter()
    metrics = {name: float(value) for name, value in metrics.items()}
    metrics |= {
      name: float(x.total) / float(x.of) if x.of else float('nan') for name, x in counted.items()
    }
    metrics |= reward_metrics(judged, kept_PG)
    metrics['sampling/prompt_width'] = float(samples.rollouts.prompt_width)
    metrics |= {
      'time/generate': generated - started,
      'time/reward': rewarded - generated,
      'time/optimize': optimized - rewarded,
    }
    return state, Outcome(samples, rewards, metrics)

  return step


def reward_metrics(rewards: Rewards, kept_PG):
  """Scalars of a step's rewards, under TRL's names where TRL has the quantity. NaN where nothing was judged."""
  total = np.asarray(rewards.total)
  metrics = {
    'reward': _mean(total),
    'reward_std': _mean(_spread(total)),
    'frac_reward_zero_std': _mean(_tied(total)),
    'sampling/rollouts_kept': float(np.isfinite(kept_PG).mean()),
  }
  for name, part in rewards.parts.items():
    part = np.asarray(part)
    metrics[f'rewards/{name}/mean'] = _mean(part)
    judged = part[np.isfinite(part)]
    spread = float(np.std(judged, ddof=1)) if judged.size > 1 else float('nan')
    metrics[f'rewards/{name}/std'] = spread
    metrics[f'rewards/{name}/unjudged'] = float(1 - np.isfinite(part).mean())
  return metrics


def _mean(values):
  values = values[np.isfinite(values)]
  return float(values.mean()) if values.size else float('nan')


def _spread(total_PG):
  """Standard deviation within each group, n - 1 below; NaN for fewer than two judged."""
  n = np.isfinite(total_PG).sum(axis=1)
  mean = np.nansum(total_PG, axis=1) / np.maximum(n, 1)
  squares = np.nansum(np.square(total_PG - mean[:, None]), axis=1)
  return np.where(n > 1, np.sqrt(squares / np.maximum(n - 1, 1)), np.nan)


def _tied(total_PG):
  """1 for a group whose judged rewards are equal, 0 for another, NaN for one with none judged."""
  low = np.min(np.where(np.isfinite(total_PG), total_PG, np.inf), axis=1)
  high = np.max(np.where(np.isfinite(total_PG), total_PG, -np.inf), axis=1)
  return np.where(np.isfinite(low), (high - low < 1e-8).astype(float), np.nan)


def fuse(sample, reward, optimize: Optimize, *, steps: int):
  """One XLA program of `steps` GRO steps for rewards that are array programs: no host between them.

  Args: sample: (params, key) -> Rollouts; reward: (Rollouts) -> float32 [P, G]; optimize: from `make_optimize`.
  Returns: (state, key) -> (state, metrics with a leading [steps] axis). `jax.vmap` over keys gives error bars.
  """

  def run(state, key):
    def step(state, key):
      key_sample, key_optimize = jax.random.split(key)
      rollouts = sample(state.params, key_sample)
      rewards_PG = reward(rollouts)
      state, metrics = optimize(state, rollouts, rewards_PG, key_optimize)
      return state, metrics | {'reward': rewards_PG.mean()}

    return jax.lax.scan(step, state, jax.random.split(key, steps))

  return run
