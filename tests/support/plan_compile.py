"""Compiles a program of the toy for chips that are not here, and prints what tests ask about it.

plan_compile.py CHIP sampler|refilled|speculative|update NAME=VALUE...
"""

import dataclasses
import json
import math
import re
import sys

from sirl.plan import topology

topology.prepare()

import jax

from sirl import experiment_file
from sirl.generation.engine import drafts, refill, speculative
from sirl.plan import chips, hlo, programs

SLOTS = 96  # of 128 completions, so rows of every shard wait in a queue
DECODERS = {
  'refilled': lambda: refill.decoder(SLOTS),
  'speculative': lambda: speculative.decoder(drafts.prompt_lookup(2), width=3),
}


def main(word, name, *given):
  module = experiment_file.load(experiment_file.find('gsm8k_grpo'))
  c = experiment_file.configured(module, ['debug=true', *given])
  p = programs.of(module.build, c)
  if name in DECODERS:
    p = p._replace(setting=dataclasses.replace(p.setting, decode=DECODERS[name]()))
  group = chips.group(word)
  mesh = topology.mesh(group, c.mesh)
  with programs.using(mesh):
    traced = programs.TRACED['update' if name == 'update' else 'sampler']
    program = traced(p, mesh).lower().compile()
  text = program.as_text()
  read = hlo.parse(text)
  memory = program.memory_analysis()
  state, a = programs.state(p, mesh), p.model.architecture
  rows = (SLOTS if name == 'refilled' else c.prompts * c.group_size) // math.prod(
    mesh.shape[axis] for axis in ('data', 'fsdp')
  )
  # k or v of one layer
  cache = rows * (c.max_prompt + c.max_new) * a.kv_heads * a.head_width * 4 // mesh.shape['tensor']
  print(
    json.dumps(
      {
        'peak': memory.peak_memory_in_bytes,
        'arguments': memory.argument_size_in_bytes,
        'donated': memory.alias_size_in_bytes,
        'state': own_bytes(state),
        'weights': own_bytes(state.params),
        'cache': cache,
        'logits': rows * a.vocab * 4,
        'half': text.count('bf16['),
        'precisions': sorted(set(re.findall(r'operand_precision=\{([^}]*)\}', text))),
        'loops': sorted({path for path, _, _ in hlo.walk(read)}, key=str),
        'collectives': hlo.collectives(read),
        'copies': hlo.copies(read, cache),
        'written': written(read, cache),
        **(lies(program, state) if name == 'update' else {}),
      }
    )
  )


def written(read, least):
  """Paths of updates in place of arrays of at least `least` bytes."""
  updates = [(path, line) for path, _, line in hlo.walk(read) if ' dynamic-update-slice(' in line]
  return [path for path, line in updates if hlo.result_bytes(line) >= least]


def own_bytes(tree):
  """Bytes on one chip."""
  leaves = jax.tree.leaves(tree)
  return sum(math.prod(x.sharding.shard_shape(x.shape)) * x.dtype.itemsize for x in leaves)


def lies(program, state):
  """Leaves of the state, and those that lie elsewhere after the update."""
  before, after = program.input_shardings[0][0], program.output_shardings[0]
  paths = [jax.tree_util.keystr(path) for path, _ in jax.tree_util.tree_leaves_with_path(before)]
  pairs = zip(paths, jax.tree.leaves(before), jax.tree.leaves(after), jax.tree.leaves(state))
  moved = [path for path, a, b, x in pairs if not a.is_equivalent_to(b, len(x.shape))]
  return {'leaves': len(paths), 'moved': moved}


if __name__ == '__main__':
  main(*sys.argv[1:])
