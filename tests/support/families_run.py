"""One GRPO step of every model family on meshes of eight fake CPU devices, for test_sharded.

python tests/support/families_run.py

Each family has a mesh of its own. It prints whether the samples are those of one device, how far
the weights are from those of one device, and how far the step moved them.
"""

import json
import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).parent.parent.parent))

import jax

jax.config.update('jax_num_cpu_devices', 8)

import numpy as np

from sirl import config, gro, models, rewards
from sirl.experiment import Learner
from sirl.generation import explore
from sirl.generation.engine.decode import static
from sirl.models import tokenizer
from sirl.ops import keys
from sirl.optimization import advantages, by_group, make_optimize, objectives, transforms
from sirl.runtime import sharding
from sirl.tasks import Task

CODEC = tokenizer.characters('0123456789+-= ')
# The size of every axis divides by 8.
SIZES = dict(
  vocab=CODEC.vocab, width=32, layers=2, heads=8, kv_heads=2, head_width=8, ffw=32,
)  # fmt: skip
GEMMA = dict(
  activation='gelu_tanh', post_norms=True, norm_plus_one=True, embed_scale=32**0.5, query_scale=8,
  sliding_window=4, local_layers=(0,),
)  # fmt: skip
# Its settings and its mesh: data, fsdp, tensor. The last one splits two kv heads over four.
FAMILIES = {
  'llama': (dict(tied=False), (8, 1, 1)),
  'qwen2': (dict(qkv_bias=True), (2, 2, 2)),
  'qwen3': (dict(qk_norm=True), (1, 8, 1)),
  'gemma2': (dict(**GEMMA, attention_softcap=50.0, logit_softcap=30.0), (1, 4, 2)),
  'gemma3': (dict(**GEMMA, qk_norm=True, rope_local_theta=1e4), (2, 1, 4)),
}
TASKS = [Task(id=f'sum-{i}', prompt=f'{i}+{7 * i % 10}=') for i in range(8)]


def length(task, text):
  return float(len(text)) + text.count(task.prompt[0])


def step(numbers, mesh):
  """The completions of one step, and the weights before it and after it."""
  optimizer = transforms.adamw(1e-2)
  with jax.set_mesh(mesh):
    model = models.build(models.preset('toy', **SIZES, **numbers), constrain=sharding.pin)
    params = jax.jit(model.init)(keys.at(0, 'init'))
    before = jax.tree.map(np.array, params)
    learner = Learner(model=model, params=params, optimizer=optimizer)
    state = sharding.place(gro.start(learner), mesh)
    run = gro.make_step(
      generate=explore(model, CODEC, group_size=2, max_prompt=4, max_new=4, decode=static),
      reward=rewards.per_completion(length, workers=1),
      optimize=make_optimize(
        model, optimizer, by_group(advantages.centered), objectives.policy_gradient()
      ),
    )
    learners, outcome = run({'policy': state}, TASKS, keys.at(0, 'gro', 0, 0))
  return outcome.samples.texts, before, jax.tree.map(np.array, learners['policy'].params)


def apart(one, other):
  """The largest difference of two trees of weights."""
  pairs = zip(jax.tree.leaves(one), jax.tree.leaves(other), strict=True)
  return max(float(np.abs(a - b).max()) for a, b in pairs)


found = {}
for family, (numbers, (data, fsdp, tensor)) in FAMILIES.items():
  texts, before, weights = step(numbers, sharding.make_mesh(config.Mesh(), jax.devices()[:1]))
  mesh = sharding.make_mesh(config.Mesh(data=data, fsdp=fsdp, tensor=tensor))
  others, _, other = step(numbers, mesh)
  found[family] = {
    'same texts': texts == others,
    'moved': apart(before, weights),
    'apart': apart(weights, other),
  }
print(json.dumps(found))
