"""Decodes, refills, speculates and updates on two fake CPU devices, for test_sharded.

python tests/support/data_shards_run.py

It prints the differences from one device, and the collectives.
"""

import dataclasses
import json
import pathlib
import re
import sys

TESTS = pathlib.Path(__file__).parent.parent
sys.path[:0] = [str(TESTS.parent), str(TESTS)]

import jax

jax.config.update('jax_num_cpu_devices', 4)

import jax.numpy as jnp
import numpy as np
from jax.sharding import NamedSharding
from jax.sharding import PartitionSpec as Spec

from sirl import config, gro, models
from sirl.experiment import Learner
from sirl.generation.engine import drafts, refill, speculative
from sirl.generation.engine.decode import decode
from sirl.ops import keys
from sirl.optimization import (
  Pieces,
  advantages,
  by_group,
  make_optimize,
  objectives,
  transforms,
)
from sirl.runtime import hosts, sharding
from sirl.types import Rewards, SamplingParams

from support.hlo import in_loops

P, S, G, N = 4, 3, 2, 6
NUMBERS = models.preset('toy', vocab=16, width=16, layers=1, head_width=8, ffw=16)
MODEL = models.build(NUMBERS)
PARAMS = MODEL.init(keys.at(0, 'init'))
LOOKUP = drafts.prompt_lookup(2)
OPTIMIZER = transforms.adamw(1e-2)


def sample(program, **more):
  """Rollouts of ragged prompts, and the text of the program."""
  valid_PS = np.arange(S) >= np.array([0, 1, 2, 0])[:, None]
  prompts_PS = np.where(valid_PS, np.arange(P * S).reshape(P, S) % 14 + 2, 0).astype(np.int32)
  arrays = prompts_PS, valid_PS, np.arange(P, dtype=np.uint32), np.zeros(P, np.int32)
  prompts_PS, valid_PS, *address = (jnp.asarray(hosts.global_rows(x)) for x in arrays)
  how = SamplingParams(group_size=G, max_new=N, eos_ids=(1, 5, 9), pad_id=0)
  arguments = PARAMS, prompts_PS, valid_PS, tuple(address), keys.at(0, 'gro'), how
  text = program.lower(MODEL, *arguments, **more).compile().as_text()
  return program(MODEL, *arguments, **more), text


def update(rollouts, model=MODEL, **pieces):
  """Weights after one update by two pieces of micro-batch and rows, and the text of the program."""
  learner = Learner(model=model, params=PARAMS, optimizer=OPTIMIZER)
  state = sharding.place(gro.start(learner), jax.sharding.get_mesh())
  optimize = make_optimize(
    model,
    OPTIMIZER,
    by_group(advantages.centered),
    objectives.policy_gradient(),
    pieces=Pieces(**{'microbatches': 2, 'rows': 1, **pieces}),
  )
  rewards_PG = jnp.asarray(hosts.global_rows(np.eye(P, G, dtype=np.float32)))
  arguments = state, rollouts, Rewards(rewards_PG, {}), keys.at(0, 'gro')
  text = jax.jit(optimize, donate_argnums=0).lower(*arguments).compile().as_text()
  return optimize(*arguments)[0].params, text


def everything(devices):
  """Results, and the collectives in the loops of each program."""
  with jax.set_mesh(sharding.make_mesh(config.Mesh(), jax.devices()[:devices])):
    (rollouts, plain), ((refilled, _), slots) = (
      sample(decode),
      sample(refill.decode, slots=4, block=2),
    )
    (guessed, counts), draft = sample(speculative.speculate, draft=LOOKUP, width=2)
    params, learner = update(rollouts)
  results = jax.tree.map(
    np.asarray, ((rollouts.tokens, refilled.tokens, guessed.tokens, counts), params)
  )
  return results, {'decode': plain, 'refill': slots, 'speculate': draft, 'update': learner}


def with_split_weights():
  """Tokens and weights on data=2 x fsdp=2, by each way to gather weights."""
  mesh = sharding.make_mesh(config.Mesh(data=2, fsdp=2))
  with jax.set_mesh(mesh):
    rollouts, _ = sample(decode)
    build = lambda **changes: models.build(
      dataclasses.replace(NUMBERS, **changes), constrain=sharding.pin
    )
    found = [
      *(update(rollouts, build(), microbatches=1, gather=how)[0] for how in ('minibatch', 'layer')),
      update(rollouts, build(remat='block'), microbatches=1, gather='layer')[0],
    ]
    try:
      update(rollouts, build(), microbatches=2)
      refused = None
    except ValueError as error:
      refused = str(error)
  return (*jax.tree.map(np.asarray, (rollouts.tokens, found)), refused)


def gathered_on_split_rows():
  """Shapes of the all-gathers for a weight [48, 16] that fsdp=2 and tensor=2 split, in a product."""
  mesh = sharding.make_mesh(config.Mesh(data=1, fsdp=2, tensor=2))
  array = lambda *shape, spec: jax.ShapeDtypeStruct(
    shape, jnp.float32, sharding=NamedSharding(mesh, Spec(*spec))
  )

  def product(weight, x_BI):
    return sharding.on_data_shards(
      lambda weight, x: x @ sharding.whole_over_fsdp(weight, 1).T,
      (weight,), (x_BI,), axes=sharding.ROWS, given=(Spec(None, 'fsdp'),),
    )  # fmt: skip

  with jax.set_mesh(mesh):
    arguments = array(48, 16, spec=('tensor', 'fsdp')), array(8, 16, spec=(sharding.ROWS,))
    text = jax.jit(product).lower(*arguments).compile().as_text()
  return re.findall(r'= f32\[([\d,]+)\]\S* all-gather', text)


(one, _), (two, texts), four = everything(1), everything(2), with_split_weights()
apart = lambda one, other: max(
  float(np.abs(a - b).max()) for a, b in zip(*map(jax.tree.leaves, (one, other)))
)
print(
  json.dumps(
    {
      'tokens equal': all(
        np.array_equal(a, b) for a, b in zip(*map(jax.tree.leaves, (one[0], two[0])))
      ),
      'weights differ by': apart(one[1], two[1]),
      'tokens equal where weights are split': bool(np.array_equal(one[0][0], four[0])),
      'split weights differ by': [apart(one[1], each) for each in four[1]],
      'four shards and two microbatches': four[2],
      'gathered on split rows': gathered_on_split_rows(),
      'sums of the update': texts['update'].count(' all-reduce('),
      'in loops': {name: sorted(in_loops(text)) for name, text in texts.items()},
    }
  )
)
