"""The same run on one device and on several: same samples, same weights up to the order of sums. Own processes."""

import json
import os
import pathlib
import subprocess
import sys

import numpy as np
import pytest

SCRIPT = pathlib.Path(__file__).parent / 'sharded_run.py'


def run(devices, workdir, *numbers):
  """What one run printed, and its final weights."""
  environment = {**os.environ, 'JAX_PLATFORMS': 'cpu'}
  command = [sys.executable, str(SCRIPT), str(devices), str(workdir), *numbers]
  done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=600)
  assert done.returncode == 0, done.stderr[-3000:]
  return json.loads(done.stdout.splitlines()[-1]), np.load(workdir / 'params.npz')


@pytest.fixture(scope='module')
def alone(tmp_path_factory):
  workdir = tmp_path_factory.mktemp('alone')
  return *run(1, workdir), workdir


@pytest.mark.parametrize('mesh', [('mesh.data=4',), ('mesh.data=2', 'mesh.fsdp=2')], ids=' '.join)
def test_a_mesh_changes_no_sample_and_weights_only_by_rounding(alone, tmp_path, mesh):
  one, weights, workdir = alone
  (
    several,
    sharded,
  ) = run(4, tmp_path, *mesh)
  assert several['devices'] == 4
  if 'mesh.fsdp=2' in mesh:
    assert any('fsdp' in spec for spec in several['shardings'])
  read = lambda folder: [
    json.loads(line)['completion']
    for line in (folder / 'samples' / 'round_00000.jsonl').read_text().splitlines()
  ]
  assert read(tmp_path) == read(workdir)
  for name in weights:
    # Three Adam steps of 7e-4: a sum in another order moves a weight by far less than one step.
    np.testing.assert_allclose(sharded[name], weights[name], atol=2e-5, err_msg=name)
  for name in ('train/reward', 'heldout/pass@1', 'heldout/pass@8'):
    assert several['metrics'][name] == pytest.approx(one['metrics'][name], abs=1e-6)
