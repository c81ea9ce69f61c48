"""The toy's programs, compiled once each for chips that are not here."""

import functools
import json
import os
import pathlib
import subprocess
import sys

import pytest

from sirl.plan import chips, topology

SCRIPT = pathlib.Path(__file__).parent / 'plan_compile.py'
# A toy whose weights split over four chips; with enough rows and slots for several fillings.
WIDE = ('width=64', 'prompts=32', 'group_size=4', 'microbatches=2')
MESHES = {
  'data': 'mesh.data=4',
  'data8': 'mesh.data=8',
  'fsdp': 'mesh.data=1 mesh.fsdp=4',
  'both': 'mesh.data=1 mesh.fsdp=2 mesh.tensor=2',
}


@functools.cache
def program(name, mesh, word='v5e:2x2'):
  """What plan_compile.py tells about a compiled program. Skips where the compiler is absent."""
  if message := topology.missing(chips.group(word)):
    pytest.skip(message)
  path = [*sys.path, str(topology.APART)]
  done = subprocess.run(
    [sys.executable, str(SCRIPT), word, name, *WIDE, *MESHES[mesh].split()],
    env={**os.environ, **topology.ENVIRONMENT, 'PYTHONPATH': os.pathsep.join(path)},
    capture_output=True, text=True, timeout=600, check=False,
  )  # fmt: skip
  assert done.returncode == 0, done.stderr[-3000:]
  return json.loads(done.stdout.splitlines()[-1])
