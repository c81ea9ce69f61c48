"""Weights that stay split over fsdp while they decode: the same samples, and less on each device."""

import json
import os
import pathlib
import subprocess
import sys

import jax
import pytest

from sirl import config, models
from sirl.generation.engine import arrangement
from sirl.generation.engine.decode import static
from sirl.models import functional
from sirl.plan import chips, topology
from sirl.runtime import sharding

SCRIPT = pathlib.Path(__file__).parents[2] / 'support' / 'arrangement_run.py'


@pytest.mark.all
def test_samples_do_not_depend_on_how_weights_lie():
  """Also with two kv heads on meshes that split four or eight ways."""
  done = subprocess.run(
    [sys.executable, str(SCRIPT)],
    env={**os.environ, 'JAX_DISABLE_MOST_OPTIMIZATIONS': '1'},
    capture_output=True, text=True, timeout=400, check=False,
  )  # fmt: skip
  assert done.returncode == 0, done.stderr[-3000:]
  found = json.loads(done.stdout.splitlines()[-1])
  assert len(found) == 4
  for name, each in found.items():
    assert each['same tokens'], name
    assert each['logp'] < 1e-5, name
    assert 'fsdp' in each['rows'], name  # they return to the mesh of the run


@pytest.mark.parametrize(
  ('preset', 'word', 'split'),
  [
    ('qwen2.5-0.5b', 'v5e:4x4', False),  # 0.9 GiB of 15.75
    ('qwen3-8b', 'v5e:8x8', True),  # 15.3 GiB of 15.75
    ('qwen3-8b', 'h100x8', False),  # of 79.1
    ('llama3.1-70b', 'h100x8', True),  # 131 GiB
  ],
)
def test_auto_splits_weights_above_a_third_of_a_chip(preset, word, split):
  architecture = models.preset(preset, dtype='bfloat16')
  model, params = models.build(architecture), functional.shapes(architecture)
  mesh = topology.abstract_mesh(chips.group(word), config.Mesh(data=1, fsdp=-1))
  with jax.sharding.use_abstract_mesh(mesh):
    assert arrangement.splits(model, params, 'auto') is split
    assert arrangement.splits(model, params, 'whole') is False
    assert arrangement.splits(model, params, 'tensor') is True
  with jax.sharding.use_abstract_mesh(arrangement.arranged(mesh)):
    assert sharding.row_shards(arrangement.arranged(mesh)) == 1
    assert arrangement.splits(model, params, 'tensor') is False  # nothing is left to split


def test_an_unknown_word_is_refused():
  with pytest.raises(
    ValueError, match="decode_weights='both'; expected one of auto, whole, tensor"
  ):
    arrangement.decoder(static, 'both')
