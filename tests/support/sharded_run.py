"""Runs three GRO steps of the quickstart on fake CPU devices, for test_sharded.

python tests/support/sharded_run.py DEVICES WORKDIR [NAME=VALUE ...]

The weights are untrained. The script prints what it did.
"""

import dataclasses
import json
import pathlib
import sys

sys.path[:0] = [str(pathlib.Path(__file__).parent.parent.parent)]

import jax

jax.config.update('jax_num_cpu_devices', int(sys.argv[1]))

import numpy as np

from experiments import quickstart, settings
from sirl import loop, rewards
from sirl.evaluation import evaluator
from sirl.selection import selectors

# Untrained weights solve nothing; a reward for length varies within groups, so there are gradients
# to compare.
length = rewards.per_completion(lambda task, text: len(text))
build = settings.built(quickstart.method, reward=length)
numbers = ['debug=true', 'max_rounds=1', 'steps_per_round=3', *sys.argv[3:]]
experiment = build(build.configured(quickstart.Config, numbers))
# No warm start and no evaluation: the test compares generation and optimization, and compilation
# takes most of its time.
policy = experiment.policy
experiment = dataclasses.replace(
  experiment,
  learners={'policy': dataclasses.replace(policy, params=policy.model.init(jax.random.key(0)))},
  selector=selectors.uniform(),
  evaluate=evaluator(),
)
state, history = loop.run(experiment, sys.argv[2])
leaves = jax.tree_util.tree_leaves_with_path(state.learners['policy'].params)
where = {str(leaf.sharding.spec) for _, leaf in leaves}
np.savez(
  pathlib.Path(sys.argv[2]) / 'params.npz',
  **{jax.tree_util.keystr(path): np.asarray(leaf) for path, leaf in leaves},
)
print(
  json.dumps(
    {
      'devices': len(jax.devices()),
      'shardings': sorted(where),
      'metrics': dict(history[-1].metrics),
    }
  )
)
