"""Rejection sampling: imitate one's own right answers and nothing else.

Generate a group, keep the right ones, raise their likelihood: STaR, RAFT and ReST-EM without their outer resets. Wrong
answers are not judged, so the loss is the mean over kept tokens.
Source: RAFT, Dong et al. 2023 (arXiv 2304.06767). Differs: one update a step, on whatever the step generated.
"""

import jax.numpy as jnp

from experiments import settings
from sirl import recipe
from sirl.optimization import advantages, by_group, objectives

Config = recipe.Config


def right_ones(rewards):
  """Only right answers are judged; NaN leaves the others out of the loss and of its denominator."""
  right = jnp.asarray(rewards.parts['correct']) >= 1
  return rewards.replace(total=jnp.where(right, rewards.total, jnp.nan))


def method(c, s):
  """Likelihood of what was kept."""
  return recipe.Method(
    keep=right_ones, credit=by_group(advantages.ones), objective=objectives.nll()
  )


build = settings.built(method)
