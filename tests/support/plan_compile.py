"""Compiles a program of the toy for chips that are not here, and prints what tests ask about it.

plan_compile.py CHIP sampler|update NAME=VALUE...
"""

import json
import math
import re
import sys

from sirl.plan import topology

topology.prepare()

import jax

from sirl import experiment_file
from sirl.plan import chips, hlo, programs


def main(word, name, *given):
  module = experiment_file.load(experiment_file.find('gsm8k_grpo'))
  c = experiment_file.configured(module, ['debug=true', *given])
  p = programs.of(module.build, c)
  group = chips.group(word)
  mesh = topology.mesh(group, c.mesh)
  with programs.using(mesh):
    program = programs.TRACED[name](p, mesh).lower().compile()
  text = program.as_text()
  read = hlo.parse(text)
  memory = program.memory_analysis()
  state, a = programs.state(p, mesh), p.model.architecture
  rows = c.prompts * c.group_size // math.prod(mesh.shape[axis] for axis in ('data', 'fsdp'))
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
        **(lies(program, state) if name == 'update' else {}),
      }
    )
  )


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
