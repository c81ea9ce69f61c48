"""A run on one device and on several has the same samples, and the same weights up to rounding.

Every run has a process of its own.
"""

import json
import os
import pathlib
import subprocess
import sys

import numpy as np
import pytest

FOLDER = pathlib.Path(__file__).parent / 'support'


def printed(script, *arguments, **environment):
  """The last JSON that a script in `support` printed."""
  done = subprocess.run(
    [sys.executable, str(FOLDER / script), *map(str, arguments)],
    env={**os.environ, 'JAX_PLATFORMS': 'cpu', **environment},
    capture_output=True,
    text=True,
    timeout=600,
  )
  assert done.returncode == 0, done.stderr[-3000:]
  return json.loads(done.stdout.splitlines()[-1])


def run(devices, workdir, *numbers):
  """The output of one run, and its final weights."""
  quick = {'JAX_DISABLE_MOST_OPTIMIZATIONS': '1'}
  said = printed('sharded_run.py', devices, workdir, *numbers, **quick)
  return said, np.load(workdir / 'params.npz')


@pytest.mark.all
def test_a_mesh_changes_no_sample_and_weights_only_by_rounding(tmp_path):
  folders = [tmp_path / 'one', tmp_path / 'four']
  one, weights = run(1, folders[0])
  several, sharded = run(4, folders[1], 'mesh.data=2', 'mesh.fsdp=2')
  assert (one['devices'], several['devices']) == (1, 4)
  assert any('fsdp' in spec for spec in several['shardings'])
  assert one['metrics']['train/grad_norm'] > 0.01  # there was something to learn
  samples = [(folder / 'samples' / 'round_00000.jsonl').read_text() for folder in folders]
  assert samples[0] == samples[1]
  for name in weights:
    # Three Adam steps of up to 2e-4 each: a sum in another order moves a weight by far less than
    # one of them.
    np.testing.assert_allclose(sharded[name], weights[name], atol=2e-5, err_msg=name)
  for name in ('train/reward', 'train/entropy', 'train/completions/mean_length', 'train/loss'):
    assert several['metrics'][name] == pytest.approx(one['metrics'][name], abs=1e-5)


@pytest.mark.all
def test_data_shards_work_apart_until_gradients_are_summed():
  found = printed('data_shards_run.py')
  assert found['tokens equal']
  # One Adam step of 1e-2, gradients summed in another order.
  assert found['weights differ by'] < 1e-5
  assert found['tokens equal where weights are split']
  assert max(found['split weights differ by']) < 1e-5
  # A device keeps its half over tensor; the compiler alone would gather all 48 rows.
  assert '24,16' in found['gathered on split rows']
  assert '48,16' not in found['gathered on split rows']
  refused = found['four shards and two microbatches']
  assert 'prompts=4 are 1 on each of 4 data shards' in refused
  assert 'prompts as a multiple of 8' in refused
  assert found['in loops'] == {'decode': [], 'refill': [], 'speculate': [], 'update': []}
  assert found['sums of the update'] > 0  # gradients are summed after the loops


@pytest.mark.all
def test_an_update_leaves_weights_where_they_were_so_a_second_one_compiles_nothing():
  assert printed('second_update_run.py') == {'tensor=1': [0, 0], 'tensor=2': [0, 0]}


@pytest.mark.all
def test_a_step_of_every_family_on_a_mesh_of_eight_is_that_of_one_device():
  found = printed('families_run.py', JAX_DISABLE_MOST_OPTIMIZATIONS='1')
  assert set(found) == {'llama', 'qwen2', 'qwen3', 'gemma2', 'gemma3'}
  for family, step in found.items():
    assert step['same texts'], family
    # One Adam step of 1e-2; where a gradient is near zero, rounding moves Adam's quotient.
    assert step['moved'] > 5e-3, family
    assert step['apart'] < 1e-4, family
