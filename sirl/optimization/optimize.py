"""Optimize: rollouts and rewards to new weights, in one compiled program with the state donated.

Judge and credit (advantages), score (old and reference log-probs), then epochs of minibatches, each the sum of
micro-batches. Groups are never split: minibatches and micro-batches are slices of P. Within one, completions may go
through the model a few at a time, sorted by length, after the prompts that they share (`passes`).
"""

import dataclasses
import functools
from collections.abc import Sequence

import jax
import jax.numpy as jnp
import optax

from sirl.ops import logprobs, masked, trees
from sirl.optimization import passes
from sirl.optimization.objectives import token_mean
from sirl.optimization.transforms import learning_rate_of
from sirl.types import Advantage, Counts, Experience, Model, Objective, Optimize, Sampler


def make_optimize(
  model: Model,
  optimizer: optax.GradientTransformation,
  advantage: Advantage,
  objective: Objective,
  *,
  epochs: int = 1,
  minibatches: int = 1,
  microbatches: int = 1,
  rows: int | None = None,
  widths: Sequence[int] = (),
  sampler: Sampler = logprobs.PLAIN,
  from_reference: bool = False,
  chunk: int = 64,
) -> Optimize:
  """Optimize(state, rollouts, rewards_PG, key) -> (state, metrics); the state passed in is donated.

  Args:
    epochs, minibatches: epochs * minibatches updates per call; each epoch shuffles the tasks anew.
    microbatches: pieces of a minibatch whose gradients are added, for memory; changes nothing but rounding (about 1e-5 nats
      between sampler and learner, where whole batches agree to 1e-6). Every data shard cuts its own tasks into so many, if
      they divide.
    rows: completions that go through the model at once within a micro-batch, on every data shard, longest first; None: all of
      them. Objectives that compare completions of one group need None.
    widths: completion columns, below max_new, that pieces of `rows` are cut to when they fit. Every width is compiled into the
      one program, so no batch compiles anew.
    sampler: the one that `explore` drew with, so that log-probs are of the distribution sampled from.
    from_reference: train a copy of the reference weights afresh, optimizer included (STaR, ReST-EM).
    chunk: completion columns unembedded at once.
  An update whose loss or gradient is not finite leaves weights and optimizer as they were and is counted.
  Metrics are float32 scalars on the device, named as in docs/metrics.md.
  Raises: ValueError here for rows or widths below 1; at the first call when P does not divide into minibatches and micro-batches.
  """
  if (rows is not None and rows < 1) or any(width < 1 for width in widths):
    raise ValueError(
      f'rows={rows}, widths={tuple(widths)}: expected at least 1 completion and 1 column each'
    )
  updates = epochs * minibatches

  def loss_fn(stats, experience):
    # Of a single update the weights have not moved yet: its forward pass gives the old log-probs too.
    if updates == 1:
      experience = experience.replace(old_logp=jax.lax.stop_gradient(stats.logp))
    loss, metrics = objective(stats, experience)
    metrics |= {'entropy': token_mean(stats.entropy, experience)}
    if experience.ref_logp is not None:
      metrics |= {'kl': token_mean(logprobs.k3(stats.logp, experience.ref_logp), experience)}
    return loss, (metrics, sampler_gap(stats.logp, experience.rollouts))

  scored, gradients = passes.make_passes(
    model,
    loss_fn,
    microbatches=microbatches,
    rows=rows,
    widths=widths,
    sampler=sampler,
    chunk=chunk,
  )

  def update(state, experience):
    (loss, (metrics, gap)), grads = gradients(state.params, experience)
    # What was summed over pieces is float32; the optimizer's state has the dtypes of the weights.
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
    return state, (metrics | {'loss': loss, 'grad_norm': norm}, gap, experience.counts.tokens)

  @functools.partial(jax.jit, donate_argnums=0)
  def optimize(state, rollouts, rewards_PG, key):
    _check_split(rewards_PG.shape[0], minibatches, microbatches)
    if from_reference:
      params = trees.copy(state.ref_params)
      state = state.replace(params=params, opt_state=optimizer.init(params))
    experience = _experience(rollouts, rewards_PG, advantage)
    if updates > 1:
      old_logp = scored(state.params, experience)
      experience = dataclasses.replace(experience, old_logp=old_logp)
    if state.ref_params is not None:
      ref_logp = scored(state.ref_params, experience)
      experience = dataclasses.replace(experience, ref_logp=ref_logp)

    if updates == 1:
      state, (metrics, gap, _) = update(state, _with_counts(experience))
    else:
      order = jnp.concatenate(
        [jax.random.permutation(k, rewards_PG.shape[0]) for k in jax.random.split(key, epochs)]
      ).reshape(updates, -1)

      def turn(state, rows_p):
        return update(state, _with_counts(jax.tree.map(lambda x: x[rows_p], experience)))

      state, (metrics, _, tokens) = jax.lax.scan(turn, state, order)
      # Weighted by tokens: a minibatch with nothing judged says nothing.
      share = tokens / jnp.maximum(jnp.sum(tokens), 1.0)
      metrics = jax.tree.map(lambda x: jnp.sum(x * share), metrics)
      gap = sampler_gap(experience.old_logp, rollouts)
    return state, metrics | _gap_metrics(gap) | _batch_metrics(state, rollouts, experience)

  return optimize


def _experience(rollouts, rewards_PG, advantage):
  """Judge and credit: NaN rewards become a mask, rewards become token advantages."""
  judged_PG = jnp.isfinite(rewards_PG)
  rewards_PG = masked.clean(rewards_PG, judged_PG).astype(jnp.float32)
  advantages = advantage(rewards_PG, judged_PG)
  advantages = advantages[..., None] if advantages.ndim == 2 else advantages
  mask_PGT = rollouts.action & judged_PG[..., None]
  return Experience(
    rollouts=rollouts,
    rewards=rewards_PG,
    judged=judged_PG,
    advantages=jnp.where(mask_PGT, advantages, 0.0),
    mask=mask_PGT,
    old_logp=jnp.zeros_like(
      rollouts.logp
    ),  # a placeholder until it is scored, or taken from the update itself
    ref_logp=None,
  )


def _with_counts(experience):
  """Global denominators of the minibatch, before anything is cut."""
  tokens = masked.count(experience.mask)
  sequences = masked.count(jnp.any(experience.mask, axis=-1))
  return experience.replace(counts=Counts(tokens=tokens, sequences=sequences))


def _check_split(P, minibatches, microbatches):
  if P % (minibatches * microbatches):
    raise ValueError(
      f'prompts={P} cannot be cut into minibatches={minibatches} of microbatches={microbatches}; '
      f'choose prompts as a multiple of {minibatches * microbatches}'
    )


def sampler_gap(logp_PGT, rollouts):
  """(sum, count, max) of |learner - sampler| log-prob over sampled tokens, nats; demonstrations have none."""
  sampled = rollouts.action & ~jnp.isnan(rollouts.logp)
  gap = jnp.abs(jnp.where(sampled, jax.lax.stop_gradient(logp_PGT) - rollouts.logp, 0.0))
  gap = jnp.where(jnp.isnan(gap), jnp.inf, gap)  # a learner that gives NaN agrees with nothing
  return jnp.sum(gap), masked.count(sampled), jnp.max(gap)


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
    'completions/mean_terminated_length': masked.mean(lengths_PG, ended_PG),
    'judged_ratio': jnp.mean(experience.judged, dtype=jnp.float32),
    'advantage_abs_mean': masked.mean(jnp.abs(experience.advantages), experience.mask),
    'updates_skipped': jnp.asarray(state.skipped, jnp.float32),
  }
