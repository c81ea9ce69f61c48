"""Two processes on this machine: rows are gathered wherever they are, and failures end both.

If one process fails, the other does not wait for it.
"""

import os
import pathlib
import socket
import subprocess
import sys
import textwrap
import time

ROOT = pathlib.Path(__file__).parent.parent
LONGEST = 200  # seconds; the orderly end of a broken run waited for the others for 300

# The failure happens in build: the processes have joined, and there are no weights yet.
EXPERIMENT = """
  import jax
  import numpy as np
  from jax.sharding import NamedSharding, PartitionSpec as P
  from sirl import config
  from sirl.runtime import hosts

  Config = config.Base

  def laid_out(mesh, spec, whole):
    return jax.make_array_from_callback(whole.shape, NamedSharding(mesh, spec), lambda i: whole[i])

  def build(c):
    whole = np.arange(24.0).reshape(4, 6)
    mesh = jax.make_mesh((2, 2), ('process', 'device'), (jax.sharding.AxisType.Auto,) * 2)
    mine = whole[2 * hosts.index() : 2 * hosts.index() + 2]
    for spec in (P('process'), P('process', 'device'), P(('process', 'device')), P(), P('device'), P(None, 'device')):
      np.testing.assert_array_equal(hosts.local_rows(laid_out(mesh, spec, whole)), mine, str(spec))
    try:
      hosts.local_rows(laid_out(mesh, P(None, 'process'), whole))
    except ValueError as error:
      print(error)
    agreed = hosts.agree({'pi': 3.141592653589793, 'nan': float('nan')} if hosts.is_first() else {'other': 1.0})
    assert list(agreed) == ['pi', 'nan'] and agreed['pi'] == 3.141592653589793, agreed
    whole = [{'text': 'é'}, [1, 'two'], None]
    assert hosts.gather(whole[hosts.index() : 1 + 2 * hosts.index()]) == whole
    hosts.barrier('both are here')
    if hosts.index() == 1:
      raise ValueError('process 1 breaks')
    hosts.barrier('never complete')
"""


def test_rows_come_back_and_a_broken_process_takes_the_other_with_it(tmp_path):
  file = tmp_path / 'experiment.py'
  file.write_text(textwrap.dedent(EXPERIMENT))
  with socket.socket() as free:
    free.bind(('127.0.0.1', 0))
    port = free.getsockname()[1]
  command = [sys.executable, '-m', 'sirl', 'run', str(file), '--distributed']
  processes = []
  for i in range(2):
    environment = {
      **os.environ, 'PYTHONPATH': str(ROOT), 'JAX_PLATFORMS': 'cpu', 'JAX_NUM_CPU_DEVICES': '2', 'SIRL_CACHE': '',
      'JAX_COORDINATOR_ADDRESS': f'127.0.0.1:{port}', 'JAX_NUM_PROCESSES': '2', 'JAX_PROCESS_ID': str(i),
    }  # fmt: skip
    processes.append(
      subprocess.Popen(
        [*command, '--workdir', str(tmp_path / 'w')],
        env=environment,
        cwd=ROOT,
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
      )
    )
  deadline = time.monotonic() + LONGEST
  try:
    ends = [process.communicate(timeout=deadline - time.monotonic()) for process in processes]
  finally:
    for process in processes:
      process.kill()
  assert [process.returncode for process in processes] == [2, 2], ends
  (out, _), (_, cause) = ends
  assert 'rows 0 to 1 of an array (4, 6) are not all on this process' in out
  last = 'sirl: error: process 1 breaks (--traceback shows where this was raised)'
  assert cause.splitlines()[-1] == last
