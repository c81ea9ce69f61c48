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

SCRIPT = pathlib.Path(__file__).parents[2] / 'support' / 'arrangement_run.py'


@pytest.mark.all
def test_samples_do_not_depend_on_how_weights_lie():
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
  ('preset', 'word', 'fsdp', 'tensor', 'parts', 'most'),
  [
    ('qwen2.5-0.5b', 'v5e:4x4', 16, 1, 1, 2),  # 0.9 GiB of 15.75; two kv heads
    ('qwen3-8b', 'v5e:8x8', 64, 1, 4, 8),  # 15.3 GiB, a quarter is below a third of 15.75
    ('qwen3-8b', 'v5e:8x8', 8, 8, 1, 1),  # an eighth of it already
    ('qwen3-8b', 'h100x8', 8, 1, 1, 8),  # 15.3 of 79.1
    ('llama3.1-70b', 'v5p:4x4x4', 64, 1, 8, 8),  # 131 GiB of 95.7; a quarter is above a third
    ('llama3.1-70b', 'v5p:4x4x4', 16, 4, 2, 2),
  ],
)
def test_auto_splits_as_far_as_a_third_of_a_chip_needs(preset, word, fsdp, tensor, parts, most):
  architecture = models.preset(preset, dtype='bfloat16')
  model, params = models.build(architecture), functional.shapes(architecture)
  shape = config.Mesh(data=-1, fsdp=fsdp, tensor=tensor)
  mesh = topology.abstract_mesh(chips.group(word), shape)
  with jax.sharding.use_abstract_mesh(mesh):
    found = [arrangement.parts(model, params, how) for how in ('auto', 'whole', 'tensor')]
  assert found == [parts, 1, most]
  other = arrangement.arranged(mesh, parts).shape
  assert (other['fsdp'], other['tensor']) == (fsdp // parts, tensor * parts)


def test_an_unknown_word_is_refused():
  with pytest.raises(
    ValueError, match="decode_weights='both'; expected one of auto, whole, tensor"
  ):
    arrangement.decoder(static, 'both')
