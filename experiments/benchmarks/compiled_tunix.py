"""Tunix's programs, compiled for a chip that is not here, see `compiled.py`.

It runs in Tunix's environment with the compiler of ours: the same jax and libtpu. The model is its
Qwen2 in the shape of Qwen2.5-0.5B: float32 weights, bfloat16 computation. Its mesh has the axes
`fsdp` and `tp`. For a mesh that splits only the rows it has a layout of its own, the one meant for
sampling, whose weights lie whole on every chip.

  python -m experiments.benchmarks.compiled_tunix < request.json
"""

import json
import sys

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import nnx
from jax.sharding import NamedSharding, PartitionSpec
from tunix.generate import sampler as samplers
from tunix.models.qwen2 import model as qwen2
from tunix.rl import common

from experiments.benchmarks import tunix_side
from sirl.plan import chips, compiling, topology

# Its own leaves constraints out where this host's first device is a CPU.
qwen2.shard = lambda x, axes: jax.lax.with_sharding_constraint(x, PartitionSpec(*axes))


def abstract(r, mesh):
  """(config, graph, weights as shapes with their places) of the model.

  Args: r: the request: 'mesh' ('data' or 'fsdp'), 'remat' (a name of its RematConfig), 'flash' (block
    of its flash attention, 0: without), 'layers' (fewer than the model has, for trying out).
  """
  config = qwen2.ModelConfig.qwen2p5_0p5b()
  config.num_layers = r.get('layers', config.num_layers)
  config.dtype = jnp.bfloat16
  config.shd_config = qwen2.ShardingConfig.get_default_sharding(is_sampling=r['mesh'] == 'data')
  config.remat_config = qwen2.RematConfig[r['remat']]
  config.use_flash_attention, config.flash_attention_block_size = bool(r['flash']), r['flash']
  model = nnx.eval_shape(lambda: qwen2.Qwen2(config, rngs=nnx.Rngs(0)))
  return config, *placed(model, mesh)


def placed(module, mesh):
  """(graph, state) of a module; every leaf has the place that the module names."""
  graph, state = nnx.split(module)
  put = lambda x, s: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=s)
  return graph, jax.tree.map(put, state, nnx.get_named_sharding(state, mesh))


def sampler(r, mesh):
  """The decoding loop, or prefill, and its arguments."""
  config, graph, state = abstract(r, mesh)
  size = r['prompt'] + r['new']
  cache = samplers.CacheConfig(size, config.num_layers, config.num_kv_heads, config.head_dim)
  sample = samplers.Sampler(nnx.merge(graph, state), tunix_side.Numbers(), cache)
  sample.eos_ids = jnp.array([config.vocab_size])  # never drawn
  few = 3
  started = sample.init_sample_state(
    jnp.ones((few, r['prompt']), jnp.int32), size, include_logits=False, forbidden_token_ids=None,
    temperature=1.0, top_p=1.0, top_k=None, seed=jax.random.PRNGKey(0), beam_size=None,
    include_logprobs=True,
  )  # fmt: skip

  def shaped(x, s=None):
    x = jnp.asarray(x)
    shape = (r['rows'], *x.shape[1:]) if x.ndim and len(x) == few else x.shape
    return jax.ShapeDtypeStruct(shape, x.dtype, sharding=s)

  weights = jax.tree.leaves(state, is_leaf=lambda x: isinstance(x, nnx.Variable))
  if r['program'] == 'prefill':
    given = jax.tree.map(shaped, started)
    return sample._compiled_prefill_fn, (weights, given, None, False)
  split = lambda x: PartitionSpec('fsdp') if jnp.ndim(x) and len(x) == few else PartitionSpec()
  where = jax.tree.map(lambda x: NamedSharding(mesh, split(x)), started)
  return sample._compiled_decode_fn, (weights, jax.tree.map(shaped, started, where))


def update(r, mesh):
  """One micro-step of the actor's trainer and its arguments, with the loss of its GRPOLearner."""
  shape = dict(layers=1, vocab=8, width=8, ffw=8, heads=1, head_width=8, kv_heads=1)
  case = dict(prompt=r['prompt'], new=r['new'], group_size=r['group_size'])
  learner, cluster = tunix_side.learner_of(case, shape, 1, 1)
  del learner  # creating it has set the trainer's loss, which takes any model
  step = cluster.actor_trainer.create_train_step_fn()
  config, model, weights = abstract(r, mesh)
  optimizer = optax.chain(
    optax.clip_by_global_norm(1.0), optax.adamw(1e-6, b2=0.95, weight_decay=0.0)
  )
  optimizer = optax.MultiSteps(optimizer, r['micro_steps'])
  whole = lambda: nnx.Optimizer(qwen2.Qwen2(config, rngs=nnx.Rngs(0)), optimizer, wrt=nnx.Param)
  optimizer, moments = placed(nnx.eval_shape(whole), mesh)

  def micro_step(weights, moments, example):
    net, adam = nnx.merge(model, weights), nnx.merge(optimizer, moments)
    return step(net, adam, example), nnx.state(net), nnx.state(adam)

  return jax.jit(micro_step, donate_argnums=1), (weights, moments, examples(r, mesh))


def logps(r, mesh):
  """The pass that computes old log-probs and its arguments, for the rows of one micro-step."""
  _, model, weights = abstract(r, mesh)
  example = examples(r, mesh)
  ids = example.prompt_ids, example.completion_ids
  return common.compute_per_token_logps, (model, weights, *ids, tunix_side.PAD, tunix_side.EOS)


def examples(r, mesh):
  """The batch of a micro-step as shapes."""
  rows = NamedSharding(mesh, PartitionSpec('fsdp'))
  array = lambda *shape, dtype: jax.ShapeDtypeStruct((r['rows'], *shape), dtype, sharding=rows)
  return common.TrainExample(
    prompt_ids=array(r['prompt'], dtype=jnp.int32),
    prompt_mask=array(r['prompt'], dtype=bool),
    completion_ids=array(r['new'], dtype=jnp.int32),
    completion_mask=array(r['new'], dtype=bool),
    advantages=array(dtype=jnp.float32),
    ref_per_token_logps=None,
    old_per_token_logps=None,
  )


PROGRAMS = {'prefill': sampler, 'sampler': sampler, 'update': update, 'logps': logps}


def main():
  """Reads a request from standard input and prints the result, as `sirl.plan.compiling` does."""
  r = json.loads(sys.stdin.read())
  topology.prepare()
  group = chips.group(r['chip'])
  mesh = jax.sharding.Mesh(np.array(topology.devices(group)).reshape(-1, 1), ('fsdp', 'tp'))
  function, arguments = PROGRAMS[r['program']](r, mesh)
  with mesh:
    print(json.dumps(compiling.result(function.trace(*arguments), group)))


if __name__ == '__main__':
  main()
