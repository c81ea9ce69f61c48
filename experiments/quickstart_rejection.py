"""Rejection sampling: quickstart that imitates its own right answers and nothing else.

  sirl run experiments/quickstart_rejection.py

Generate eight answers, keep the right ones, raise their likelihood: STaR, RAFT and ReST-EM without their outer resets.
Wrong answers are not judged, so the loss is the mean over kept tokens. Source: RAFT, Dong et al. 2023 (arXiv 2304.06767).
"""

import functools

import jax.numpy as jnp

from experiments import quickstart
from sirl.optimization import advantages, objectives

Config = quickstart.Config
shrink, summary = quickstart.shrink, quickstart.summary


def right_ones(rewards):
  """Only right answers are judged; NaN leaves the others out of the loss and of its denominator."""
  return jnp.where(jnp.asarray(rewards.parts['correct']) >= 1, rewards.total, jnp.nan)


build = functools.partial(
  quickstart.build,
  keep=right_ones,
  advantage=advantages.accept(1.0),
  objective=objectives.nll(),
)
