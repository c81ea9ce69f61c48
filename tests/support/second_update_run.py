"""Updates twice on four fake CPU devices whose weights are split, for test_sharded.

python tests/support/second_update_run.py

It prints how often the second call compiled, and how many leaves of the state moved.
"""

import json
import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).parent.parent.parent))

import jax

jax.config.update('jax_num_cpu_devices', 4)

import jax.numpy as jnp

from sirl import config, gro, models
from sirl.experiment import Learner
from sirl.ops import keys
from sirl.optimization import advantages, by_group, make_optimize, objectives, transforms
from sirl.runtime import sharding
from sirl.types import Rewards, Rollouts

P, G, T, S = 4, 2, 8, 4
NUMBERS = models.preset(
  'toy', vocab=64, width=32, layers=2, heads=4, head_width=8, ffw=64, qkv_bias=True
)


def batch(mesh):
  """Rollouts and rewards on the mesh."""
  put = lambda x: jax.device_put(x, sharding.batch_sharding(mesh))
  all_PGT = put(jnp.ones((P, G, T), bool))
  rollouts = Rollouts(
    tokens=put(jnp.ones((P, G, T), jnp.int32)),
    valid=all_PGT,
    action=put(all_PGT.at[..., :S].set(False)),
    logp=put(jnp.zeros((P, G, T))),
    truncated=put(jnp.zeros((P, G), bool)),
    prompt_width=S,
  )
  return rollouts, Rewards(put(jnp.arange(P * G, dtype=jnp.float32).reshape(P, G)), {})


def twice(numbers):
  """[compilations of the second call, leaves of the state that lie elsewhere after it]."""
  compiled = []
  jax.monitoring.register_event_duration_secs_listener(
    lambda name, seconds, **about: compiled.append(name) if 'backend_compile' in name else None
  )
  mesh = sharding.make_mesh(numbers)
  model, optimizer = models.build(NUMBERS, constrain=sharding.pin), transforms.adamw(1e-3)
  with jax.set_mesh(mesh):
    learner = Learner(model=model, params=model.init(keys.at(0, 'init')), optimizer=optimizer)
    state = sharding.place(gro.start(learner), mesh)
    before = jax.tree.map(lambda x: x.sharding, state)
    optimize = make_optimize(
      model, optimizer, by_group(advantages.centered), objectives.policy_gradient()
    )
    arguments = *batch(mesh), keys.at(0, 'gro')
    state, _ = optimize(state, *arguments)
    del compiled[:]
    state, _ = optimize(state, *arguments)
    moved = jax.tree.map(lambda x, s: not x.sharding.is_equivalent_to(s, x.ndim), state, before)
  return [len(compiled), sum(jax.tree.leaves(moved))]


print(json.dumps({f'tensor={t}': twice(config.Mesh(data=1, fsdp=-1, tensor=t)) for t in (1, 2)}))
