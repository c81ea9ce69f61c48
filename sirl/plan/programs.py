"""The programs that a step of a run compiles, with shapes in place of arrays."""

import contextlib
import dataclasses
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax.sharding import NamedSharding
from jax.sharding import PartitionSpec as Spec

from sirl import gro, recipe
from sirl.experiment import Experiment
from sirl.generation.engine import arrangement
from sirl.plan import topology
from sirl.runtime import sharding
from sirl.types import Model, Params, Rewards, Rollouts, SamplingParams, TrainState

SAMPLER, UPDATE = NAMES = ('sampler', 'update')


class Programs(NamedTuple):
  """What a step of a run computes, before it is put on a mesh."""

  config: recipe.Config
  model: Model
  learner: Any  # experiment.Learner; its params are shapes
  setting: recipe.Setting
  optimize: Any  # slots.Optimize
  parts: tuple[str, ...]  # parts of the reward that the update reads
  own_generate: bool  # whether the method brings its own Generate, which a plan cannot see into


def of(build, c) -> Programs:
  """The programs of an experiment file, see `recipe.Recipe`. Reads no weights and no tasks.

  Raises: ValueError for a `build` that is not a recipe.
  """
  if not isinstance(build, recipe.Recipe):
    raise ValueError(
      'a plan needs a method on a setting: build = settings.built(method); this build makes its '
      'Experiment by itself'
    )
  setting = (build.sketch or build.setting)(c)
  method = build.method_on(c, setting)
  learner = recipe.policy_of(c, setting, method)
  learner = dataclasses.replace(learner, params=shapes(learner.params))
  update = recipe.update_of(c, setting, method)
  own = method.generate is not None
  return Programs(c, setting.model, learner, setting, update, tuple(method.parts), own)


def shapes(params) -> Params:
  """The shapes of weights, or of those that a warm start trains."""
  while isinstance(params, Experiment):
    params = params.policy.params
  return jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype), params)


def state(p: Programs, mesh) -> TrainState:
  """The policy's TrainState as shapes, each leaf with its sharding."""
  kept = p.learner.params, p.learner.frozen, p.learner.others

  def start(params, frozen, others):
    return gro.start(dataclasses.replace(p.learner, frozen=frozen, others=others), params)

  found = jax.eval_shape(start, *kept)
  return placed(found, sharding.shardings(found, mesh))


def placed(tree, where):
  """Shapes with shardings."""
  put = lambda x, s: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=s)
  return jax.tree.map(put, tree, where)


def rows(mesh, *shape, dtype=jnp.float32):
  """An array [P, ...] as a shape, split over the data shards."""
  return jax.ShapeDtypeStruct(shape, dtype, sharding=sharding.batch_sharding(mesh))


def key(mesh):
  """A random key as a shape."""
  found = jax.eval_shape(lambda: jax.random.key(0))
  return placed(found, NamedSharding(mesh, Spec()))


def traced_sampler(p: Programs, mesh):
  """The decoder of a step, traced: `jax.stages.Traced`. Run it under `using(mesh)`."""
  c, s = p.config, p.setting
  P, S = c.prompts, c.max_prompt
  how = SamplingParams(
    group_size=c.group_size, max_new=c.max_new, eos_ids=s.codec.eos_ids, pad_id=s.codec.pad_id,
    sampler=s.sampler,
  )  # fmt: skip

  def sampler(params, prompts_PS, valid_PS, address, key):
    return s.decode(p.model, params, prompts_PS, valid_PS, address, key, how)

  mesh = sampler_mesh(p, mesh)
  params = placed(p.learner.params, sharding.shardings(p.learner.params, mesh))
  address = rows(mesh, P, dtype=jnp.uint32), rows(mesh, P, dtype=jnp.int32)
  prompts = rows(mesh, P, S, dtype=jnp.int32), rows(mesh, P, S, dtype=bool)
  with using(mesh):
    return jax.jit(sampler).trace(params, *prompts, address, key(mesh))


def sampler_mesh(p: Programs, mesh):
  """The mesh that the sampler runs on, see `arrangement`."""
  with using(mesh):
    n = arrangement.parts(p.model, p.learner.params, p.config.decode_weights)
  return mesh if n == 1 else arrangement.arranged(mesh, n)


def traced_update(p: Programs, mesh):
  """The policy's update, traced: `jax.stages.Traced`. Run it under `using(mesh)`."""
  c = p.config
  P, G, T = c.prompts, c.group_size, c.max_prompt + c.max_new
  array = lambda dtype: rows(mesh, P, G, T, dtype=dtype)
  rollouts = Rollouts(
    tokens=array(jnp.int32), valid=array(bool), action=array(bool), logp=array(jnp.float32),
    truncated=rows(mesh, P, G, dtype=bool), prompt_width=c.max_prompt,
  )  # fmt: skip
  where = NamedSharding(mesh, Spec())  # rewards reach the device whole
  total = jax.ShapeDtypeStruct((P, G), jnp.float32, sharding=where)
  rewards = Rewards(total, {name: total for name in p.parts})
  return p.optimize.trace(state(p, mesh), rollouts, rewards, key(mesh))


@contextlib.contextmanager
def using(mesh):
  """A context in which programs are traced and compiled for a mesh, real or abstract."""
  abstract = isinstance(mesh, jax.sharding.AbstractMesh)
  use = jax.sharding.use_abstract_mesh if abstract else jax.set_mesh
  with use(mesh), topology.cudnn():
    yield


TRACED = {SAMPLER: traced_sampler, UPDATE: traced_update}
