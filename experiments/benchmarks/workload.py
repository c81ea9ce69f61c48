"""What this library's side works on: random weights and prompts, lengths, and their placement."""

import itertools
import math
import statistics

import jax
import jax.numpy as jnp
import numpy as np

from sirl import gro
from sirl.experiment import Learner
from sirl.models import functional
from sirl.models.transformer import Architecture
from sirl.optimization import transforms
from sirl.runtime import hosts, sharding
from sirl.types import Model

PAD, EOS = 1, 0
SLOTS = 16  # rows decoded at once with continuous batching
OPTIMIZER = transforms.adamw(1e-5)


def policy(case, numbers):
  """(Model, params) with random weights, on the devices in use."""
  model = functional.build(Architecture(**numbers))
  params = jax.jit(model.init)(jax.random.key(0))
  return model, placed(params)


def prompts(case, numbers):
  """Random tokens, int32 [P, S], none of them padding or an end token."""
  random = np.random.default_rng(0)
  return random.integers(2, numbers['vocab'], (case.prompts, case.prompt), np.int32)


def learner(model, params):
  """The Learner of a policy."""
  return Learner(model=model, params=params, optimizer=OPTIMIZER)


def fresh(model, params):
  """A TrainState with a copy of params; the copy may be donated."""
  return placed(gro.start(learner(model, params)))


def placed(tree):
  """The tree, replicated on every device of the mesh in use."""
  mesh = jax.sharding.get_mesh()
  return sharding.place(tree, mesh) if mesh.size > 1 else tree


def on_devices(array):
  """Rows [P, ...], split over the devices of the mesh in use as `explore` splits them."""
  return jnp.asarray(hosts.global_rows(array))


def ending(case, model: Model):
  """(model, end tokens) for the lengths of a case.

  Fixed lengths: the model as it is, and no end token. Lognormal lengths: a model that ends at a
  rate which depends on the position alone. The end token is 0, so an inverse-CDF draw ends a row if
  its noise is below the rate. The length is then a function of the row's key: it is the same in
  every batch layout, and the decoder cannot know it in advance.
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
  """float [limit]: probability that a completion ends at each token, given that it got there.

  The lengths are lognormal.
  """
  normal = statistics.NormalDist(math.log(mean) - sigma**2 / 2, sigma)
  longer = [1.0] + [1 - normal.cdf(math.log(n)) for n in range(1, limit + 1)]
  rates = [1 - after / before for before, after in itertools.pairwise(longer)]
  return np.clip(rates, 1e-9, 1 - 1e-6)
