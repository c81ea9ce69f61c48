"""The GRO step: generation, reward and optimization as one function of (learners, tasks, key)."""

import dataclasses
import time
from collections.abc import Mapping

import jax
import jax.numpy as jnp
import numpy as np

from sirl import ranges
from sirl.experiment import Experiment, Learner
from sirl.ops import keys, trees
from sirl.overlap import overlapped
from sirl.rewards.check import check_reward
from sirl.runtime import hosts, stopwatch
from sirl.slots import Generate, Keep, Optimize, Reward, Step, check_function
from sirl.types import Outcome, Params, Rewards, TrainState


def start(learner: Learner, params: Params | None = None) -> TrainState:
  """The TrainState before the first update.

  Copies all weights, because training donates its buffers.

  Args: params: weights to start from; None takes the learner's own.
  """
  params = learner.params if params is None else params
  return TrainState(
    step=jnp.int32(0),
    params=trees.copy(params),
    opt_state=learner.optimizer.init(params),
    frozen=trees.copy(learner.frozen),
    others={
      **({'reference': trees.copy(params)} if learner.reference else {}),
      **trees.copy(learner.others),
    },
    skipped=jnp.int32(0),
  )


def weights_of(learners: Mapping[str, TrainState]) -> dict[str, Params]:
  """All weights by name: each learner's own, and the copies in its `others`.

  The policy's others keep their names, such as 'reference'. Those of another learner are named
  'learner/name'.
  Raises: ValueError when one of the policy's others has the name of a learner.
  """
  weights = {name: trees.merged(state.frozen, state.params) for name, state in learners.items()}
  for name, state in learners.items():
    for other, params in state.others.items():
      full = other if name == 'policy' else f'{name}/{other}'
      if full in learners:
        raise ValueError(f'{full!r} names a learner and weights that the policy keeps; rename one')
      weights[full] = trees.merged(state.frozen, params)
  return weights


def starting_weights(learners: Mapping[str, Learner]) -> dict[str, Params]:
  """`weights_of` before the run. Those of a warm start are its own start."""
  weights = {}
  for name, learner in learners.items():
    params = learner.params
    while isinstance(params, Experiment):
      params = params.policy.params
    weights[name] = trees.merged(learner.frozen, params)
    own = {'reference': weights[name]} if learner.reference else {}
    for other, kept in {**own, **learner.others}.items():
      weights[other if name == 'policy' else f'{name}/{other}'] = kept
  return weights


def everything(rewards: Rewards) -> Rewards:
  """Keeps every judged completion: returns the rewards unchanged."""
  return rewards


def make_step(
  generate: Generate,
  reward: Reward,
  optimize: Optimize,
  *,
  keep: Keep = everything,
  slices: int = 1,
  others: Mapping[str, Optimize] | None = None,
) -> Step:
  """Step(learners, tasks, key) -> (learners, Outcome). The states passed in are donated.

  Args:
    optimize: updates the learner 'policy'.
    keep: excludes completions from the update, by NaN in the total. The Outcome still holds all
      rewards, so the selector and the monitors see them.
    slices: number of parts of the batch. While a thread reads and judges the texts of one part, the
      device generates the next. Samples do not change, nor do rewards that look at one task at a
      time. A reward that looks at the whole batch (`rewards.batched`, `rewards.from_trl`) sees one
      part at a time. A reward that communicates between processes needs slices=1: each process calls
      it from a thread, and these calls might meet in another order.
    others: {name of another learner: its update}, on the same rollouts and rewards. Its metrics are
      named 'name/...'.
  Metrics reach the host once, at the end, with the rewards. 'time/reward' is the time that the step
  waited for rewards.
  Raises: ValueError for slices < 1 or a function that does not have the form of its slot; at a step, when P does not
    divide into the slices of every shard.
  """

  slices = ranges.whole('slices', slices)
  check_reward(reward)
  check_function('generate', generate)
  check_function('keep', keep)
  for update in (optimize, *(others or {}).values()):
    check_function('optimize', update)
  updates = {'policy': optimize, **(others or {})}

  def step(learners, tasks, key):
    if missing := [name for name in updates if name not in learners]:
      raise ValueError(
        f'others= updates {missing[0]!r}, but the learners are {", ".join(learners)}'
      )
    key_generate, key_reward, key_optimize = jax.random.split(key, 3)
    weights, number = weights_of(learners), int(learners['policy'].step)
    started = time.perf_counter()
    numbered = lambda *args, **kw: dataclasses.replace(generate(*args, **kw), step=number)
    stopwatch.announce('generate')
    if slices == 1:
      samples = numbered(weights, tasks, key_generate)
      len(samples.texts)  # reads the texts before the reward is timed
      generated = time.perf_counter()
      stopwatch.announce('reward')
      rewards = reward(weights, samples, key_reward)
    else:
      samples, rewards, generated = overlapped(
        numbered, reward, weights, tasks, key_generate, key_reward, slices
      )
    kept = keep(rewards)
    rewarded = time.perf_counter()
    stopwatch.announce('optimize')
    learners, metrics = dict(learners), {}
    for name, update in updates.items():
      own_key = key_optimize if name == 'policy' else keys.named(key_optimize, name)
      learners[name], found = update(learners[name], samples.rollouts, kept, own_key)
      metrics |= found if name == 'policy' else {f'{name}/{k}': x for k, x in found.items()}
    metrics, counted, rewards, kept_PG = hosts.everywhere(
      (metrics, dict(samples.counted), rewards, kept.total)
    )
    optimized = time.perf_counter()
    metrics = {name: float(value) for name, value in metrics.items()}
    metrics |= {
      name: float(x.total) / float(x.of) if x.of else float('nan') for name, x in counted.items()
    }
    metrics |= reward_metrics(rewards, kept_PG)
    metrics['sampling/prompt_width'] = float(samples.rollouts.prompt_width)
    metrics |= {
      'time/generate': generated - started,
      'time/reward': rewarded - generated,
      'time/optimize': optimized - rewarded,
    }
    return learners, Outcome(samples, rewards, metrics)

  return step


def reward_metrics(rewards: Rewards, kept_PG):
  """Scalar metrics of a step's rewards, named as in TRL where possible. NaN if none was judged."""
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
    metrics[f'rewards/{name}/best'] = _mean(_best(part))
    judged = part[np.isfinite(part)]
    spread = float(np.std(judged, ddof=1)) if judged.size > 1 else float('nan')
    metrics[f'rewards/{name}/std'] = spread
    metrics[f'rewards/{name}/unjudged'] = float(1 - np.isfinite(part).mean())
  return metrics


def _mean(values):
  values = values[np.isfinite(values)]
  return float(values.mean()) if values.size else float('nan')


def _best(part_PG):
  """The highest value within each group; NaN for a group with none judged."""
  high = np.max(np.where(np.isfinite(part_PG), part_PG, -np.inf), axis=1)
  return np.where(np.isfinite(high), high, np.nan)


def _spread(total_PG):
  """Standard deviation (n - 1) within each group; NaN for fewer than two judged completions."""
  n = np.isfinite(total_PG).sum(axis=1)
  mean = np.nansum(total_PG, axis=1) / np.maximum(n, 1)
  squares = np.nansum(np.square(total_PG - mean[:, None]), axis=1)
  return np.where(n > 1, np.sqrt(squares / np.maximum(n - 1, 1)), np.nan)


def _tied(total_PG):
  """1 for a group whose judged rewards are equal, else 0; NaN for a group with none judged."""
  low = np.min(np.where(np.isfinite(total_PG), total_PG, np.inf), axis=1)
  high = np.max(np.where(np.isfinite(total_PG), total_PG, -np.inf), axis=1)
  return np.where(np.isfinite(low), (high - low < 1e-8).astype(float), np.nan)


# ---------------------------------------------------------------- the first step of a run


def check_judged(rewards):
  """Raises ValueError if the reward judged no completion of the run's first step."""
  if np.isnan(rewards.total).all():
    raise ValueError(
      'every completion of the first step was left unjudged; does the reward return a number? '
      'None and NaN mean not judged, and a step without a judged completion teaches nothing'
    )


def check_agreement(metrics, limit):
  """Raises ValueError if sampler and learner log-probs differ by more than `limit` nats."""
  gap = metrics.get(
    'sampling/sampling_logp_difference/max', float('nan')
  )  # NaN: nothing was sampled
  if gap > limit:
    raise ValueError(
      'sampler and learner disagree: with equal weights the largest log-prob difference is '
      f'{gap:.2e} nats, max_logp_gap is {limit:.0e}. Both must see one distribution: give explore '
      'and make_optimize the same sampler, and check compute dtype and padding. A lower compute '
      'precision needs a larger --set max_logp_gap.'
    )


# ---------------------------------------------------------------- one program


def fuse(sample, reward, optimize: Optimize, *, steps: int):
  """Compiles `steps` GRO steps into one XLA program, for rewards that are array programs.

  Args:
    sample: (params, key) -> Rollouts.
    reward: (Rollouts) -> float32 [P, G].
    optimize: from `make_optimize`.
  Returns: (state, key) -> (state, metrics with a leading [steps] axis). `jax.vmap` over keys gives
    error bars.
  Raises: ValueError for steps < 1.
  """
  steps = ranges.whole('steps', steps)

  def run(state, key):
    def step(state, key):
      key_sample, key_optimize = jax.random.split(key)
      rollouts = sample(state.params, key_sample)
      rewards_PG = reward(rollouts)
      state, metrics = optimize(state, rollouts, Rewards(rewards_PG, {}), key_optimize)
      return state, metrics | {'reward': rewards_PG.mean()}

    return jax.lax.scan(step, state, jax.random.split(key, steps))

  return run
