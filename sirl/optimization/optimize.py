"""Optimize: rollouts and rewards to new weights, in one compiled program that donates the state.

The steps are: judge, score (log-probs of the policy and of other weights), credit, then epochs of
minibatches. The gradient of a minibatch is the sum over its micro-batches. Minibatches and
micro-batches are slices of P, so they never split a group. Within one, completions may pass through
the model a few at a time, sorted by length, after their shared prompts (`passes`).
"""

import functools
from collections.abc import Sequence
from typing import NamedTuple

import chex
import jax
import jax.numpy as jnp
import optax

from sirl import ranges
from sirl.ops import logprobs, masked, trees
from sirl.optimization import contract, passes
from sirl.optimization.objectives import token_mean
from sirl.optimization.passes import Pieces
from sirl.optimization.transforms import learning_rate_of
from sirl.runtime import sharding
from sirl.slots import Credit, Objective, Optimize, check_function, check_optimizer
from sirl.types import Array, Experience, Model, Rewards, Sampler

WHOLE = Pieces()


def make_optimize(
  model: Model,
  optimizer: optax.GradientTransformation,
  credit: Credit,
  objective: Objective,
  *,
  epochs: int = 1,
  minibatches: int = 1,
  pieces: Pieces = WHOLE,
  sampler: Sampler = logprobs.PLAIN,
  from_reference: bool = False,
  parts: Sequence[str] = (),
  scored_by: Sequence[str] = ('reference',),
) -> Optimize:
  """Optimize(state, rollouts, rewards, key) -> (state, metrics); the state passed in is donated.

  Args:
    epochs, minibatches: epochs * minibatches updates per call; each epoch shuffles the tasks anew.
    pieces: how a minibatch passes through the model, for memory and speed.
    sampler: the one that `explore` drew with; log-probs are those of its distribution.
    from_reference: train a copy of the reference weights with a new optimizer state (STaR,
      ReST-EM).
    parts: names of the reward's parts that credit and objective read, see `Experience.parts`.
    scored_by: names in `state.others` whose log-probs credit and objective may read. Names that the
      state lacks are ignored.
  `optimize.trace` is that of the compiled function, see `jax.jit`; its arguments may be shapes.
  An update whose loss or gradient is not finite changes neither weights nor optimizer, and is
  counted. Metrics are float32 scalars on the device, named as in docs/metrics.md. A mean over judged
  tokens is NaN when no token was judged.
  Raises: ValueError for a number below 1, or a credit or objective of another form; at the first
    call, when P does not divide into minibatches and micro-batches, or the reward lacks a part.
  """
  check_function('credit', credit)
  check_function('objective', objective)
  check_optimizer(optimizer)
  epochs, minibatches = ranges.whole('epochs', epochs), ranges.whole('minibatches', minibatches)
  if not isinstance(pieces, Pieces):
    raise ValueError(f'pieces={pieces!r}; expected an optimization.Pieces')
  forward = passes.Forward(model, sampler, pieces)
  update = functools.partial(_update, forward, optimizer, objective, epochs * minibatches == 1)

  @functools.partial(jax.jit, donate_argnums=0)
  def compiled(state, rollouts, rewards, key):
    _check_split(rewards.total.shape[0], minibatches, pieces.microbatches)
    if from_reference:
      state = _restarted(state, optimizer)
    experience = _scored(forward, state, _judged(rollouts, rewards), scored_by)
    experience = contract.credited(credit, experience)
    state, found = _updates(update, state, experience, key, epochs, minibatches)
    state = sharding.kept(state)
    return state, _metrics(found) | _batch_metrics(state, rollouts, experience)

  def optimize(state, rollouts, rewards, key):
    # Passes only the parts that are read: another set of parts would recompile the program.
    return compiled(state, rollouts, _with_parts(rewards, parts), key)

  optimize.trace = lambda state, rollouts, rewards, key: compiled.trace(
    state, rollouts, _with_parts(rewards, parts), key
  )
  return optimize


# ---------------------------------------------------------------- updates


class Found(NamedTuple):
  """What one update found, or all updates of a step together."""

  metrics: dict  # of the objective; means over judged tokens
  moved: dict  # {'loss', 'grad_norm'}
  gap: tuple  # of `sampler_gap`
  tokens: Array  # float32 [], judged tokens


def _updates(update, state, experience, key, epochs, minibatches):
  """(state, Found) after epochs of updates on minibatches, in an order drawn anew for each epoch."""
  if epochs * minibatches == 1:
    return update(state, contract.with_counts(experience))
  P = experience.rewards.shape[0]
  order = jnp.concatenate(
    [jax.random.permutation(k, P) for k in jax.random.split(key, epochs)]
  ).reshape(epochs * minibatches, -1)

  def turn(state, rows_p):
    rows = jax.tree.map(lambda x: x[rows_p], experience)
    return update(state, contract.with_counts(rows))

  state, (metrics, moved, _, tokens) = jax.lax.scan(turn, state, order)
  # Weighted by tokens, so a minibatch without judged tokens has no weight.
  share = tokens / jnp.maximum(jnp.sum(tokens), 1.0)
  metrics = jax.tree.map(lambda x: masked.sum(x * share, share > 0), metrics)
  moved = jax.tree.map(lambda x: jnp.sum(x * share), moved)
  gap = sampler_gap(experience.old_logp, experience.rollouts)
  return state, Found(metrics, moved, gap, jnp.sum(tokens))


def _update(forward, optimizer, objective, alone, state, experience):
  """(state, Found) after one update.

  Args: alone: whether it is the only one of its step.
  """
  loss = functools.partial(_loss, objective, alone)
  (loss, (metrics, gap)), grads = passes.gradients(
    forward, loss, state.params, state.frozen, experience
  )
  # Gradients are summed in float32; the optimizer's state has the dtypes of the weights.
  grads = jax.tree.map(lambda g, p: g.astype(p.dtype), grads, state.params)
  norm = trees.global_norm(grads)
  finite = jnp.isfinite(loss) & jnp.isfinite(norm)

  def moved(grads, opt_state, params):
    steps, opt_state = optimizer.update(grads, opt_state, params)
    return optax.apply_updates(params, steps), opt_state

  def kept(grads, opt_state, params):
    return params, opt_state

  params, opt_state = jax.lax.cond(finite, moved, kept, grads, state.opt_state, state.params)
  state = state.replace(
    step=state.step + finite.astype(jnp.int32),
    params=params,
    opt_state=opt_state,
    skipped=state.skipped + (~finite).astype(jnp.int32),
  )
  return state, Found(metrics, {'loss': loss, 'grad_norm': norm}, gap, experience.counts.tokens)


def _loss(objective, alone, stats, experience):
  """(loss, (metrics, gap)) of a piece, for `passes.gradients`."""
  # With a single update the weights have not changed, so its forward pass gives old_logp too.
  if alone:
    experience = experience.replace(old_logp=jax.lax.stop_gradient(stats.logp))
  loss, metrics = contract.loss_of(objective, stats, experience)
  metrics |= {'entropy': token_mean(stats.entropy, experience)}
  if experience.ref_logp is not None:
    metrics |= {'kl': token_mean(logprobs.k3(stats.logp, experience.ref_logp), experience)}
  return loss, (metrics, sampler_gap(stats.logp, experience.rollouts))


# ---------------------------------------------------------------- before the updates


def _restarted(state, optimizer):
  """The state with the reference's weights and a new optimizer state."""
  params = trees.copy(state.others['reference'])
  return state.replace(params=params, opt_state=optimizer.init(params))


def _with_parts(rewards, names):
  """The rewards with only the named parts."""
  if missing := [name for name in names if name not in rewards.parts]:
    raise ValueError(
      f'credit or objective reads the part {missing[0]!r}; the reward has '
      f'{", ".join(rewards.parts) or "none"}'
    )
  return Rewards(rewards.total, {name: rewards.parts[name] for name in names}, rewards.tokens)


def _judged(rollouts, rewards) -> Experience:
  """The Experience in which NaN rewards are a mask.

  Log-probs and advantages are placeholders until they are computed.
  """
  shape = rollouts.tokens.shape[:2]
  chex.assert_shape([rewards.total, *rewards.parts.values()], shape)
  judged_PG = jnp.isfinite(rewards.total)
  nothing = jnp.zeros_like(rollouts.logp)
  return Experience(
    rollouts=rollouts,
    rewards=masked.clean(rewards.total, judged_PG).astype(jnp.float32),
    judged=judged_PG,
    mask=rollouts.action & judged_PG[..., None],
    advantages=nothing,
    old_logp=nothing,
    parts=rewards.parts,
    token_rewards=rewards.tokens,
  )


def _scored(forward, state, experience, names) -> Experience:
  """Adds the learner's log-probs and values, and the log-probs of other weights.

  The compiler drops what nobody reads.
  """
  weights = trees.merged(state.frozen, state.params)
  old_logp, values = passes.scored(forward, weights, experience)
  named_logp = {
    name: passes.scored(forward, trees.merged(state.frozen, state.others[name]), experience)[0]
    for name in names
    if name in state.others
  }
  return experience.replace(old_logp=old_logp, values=values, named_logp=named_logp)


def _check_split(P, minibatches, microbatches):
  if P % (minibatches * microbatches):
    raise ValueError(
      f'prompts={P} cannot be cut into minibatches={minibatches} of microbatches={microbatches}; '
      f'choose prompts as a multiple of {minibatches * microbatches}'
    )
  shards = sharding.row_shards(jax.sharding.get_abstract_mesh())
  if not P % shards and P // shards % (minibatches * microbatches):
    raise ValueError(
      f'prompts={P} are {P // shards} on each of {shards} data shards, which cannot be cut into '
      f'minibatches={minibatches} of microbatches={microbatches}; choose their product as a divisor '
      f'of {P // shards}, or prompts as a multiple of {shards * minibatches * microbatches}'
    )


def sampler_gap(logp_PGT, rollouts):
  """(sum, count, max) of |learner - sampler| log-prob over sampled tokens, in nats.

  Demonstrations were not sampled and are not counted.
  """
  sampled = rollouts.action & ~jnp.isnan(rollouts.logp)
  gap = jnp.abs(jnp.where(sampled, jax.lax.stop_gradient(logp_PGT) - rollouts.logp, 0.0))
  gap = jnp.where(jnp.isnan(gap), jnp.inf, gap)  # NaN from the learner is an infinite gap
  return jnp.sum(gap), masked.count(sampled), jnp.max(gap)


# ---------------------------------------------------------------- metrics


def _metrics(found):
  """Metrics of the updates. Means over judged tokens do not exist without one."""
  metrics = jax.tree.map(lambda x: jnp.where(found.tokens > 0, x, jnp.nan), found.metrics)
  return metrics | found.moved | _gap_metrics(found.gap)


def _gap_metrics(gap):
  total, count, largest = gap
  nan = jnp.nan
  return {
    'sampling/sampling_logp_difference/mean': jnp.where(
      count > 0, total / jnp.maximum(count, 1.0), nan
    ),
    'sampling/sampling_logp_difference/max': jnp.where(count > 0, largest, nan),
  }


def _batch_metrics(state, rollouts, experience):
  lengths_PG = jnp.sum(rollouts.action, axis=-1, dtype=jnp.float32)
  ended_PG = ~rollouts.truncated
  return {
    'learning_rate': jnp.asarray(learning_rate_of(state.opt_state), jnp.float32),
    'step_tokens': jnp.sum(rollouts.valid, dtype=jnp.float32),
    'completions/mean_length': jnp.mean(lengths_PG),
    'completions/min_length': jnp.min(lengths_PG),
    'completions/max_length': jnp.max(lengths_PG),
    'completions/clipped_ratio': jnp.mean(rollouts.truncated, dtype=jnp.float32),
    'completions/mean_terminated_length': masked.mean(lengths_PG, ended_PG, empty=jnp.nan),
    'judged_ratio': jnp.mean(experience.judged, dtype=jnp.float32),
    'advantage_abs_mean': masked.mean(
      jnp.abs(experience.advantages), experience.mask, empty=jnp.nan
    ),
    'updates_skipped': jnp.asarray(state.skipped, jnp.float32),
  }
