"""Two real processes, joined as on a pod, give the results of one process with two devices."""

import os
import pathlib
import signal
import socket
import subprocess
import sys

import pytest

from sirl.runs import record

ROOT = pathlib.Path(__file__).parent.parent
SECONDS = 240  # each; 35 and 70 seconds of every process, nearly all of it compilation
NUMBERS = (
  'debug=true', 'max_rounds=1', 'steps_per_round=3', 'prompts=4', 'heldout=8', 'acquired=8', 'mesh.data=2',
)  # fmt: skip


def command(workdir):
  """quickstart with a reward for right digits.

  Hardly trained weights earn some of this reward, so there are gradients to compare.
  """
  numbers = [word for number in NUMBERS for word in ('--set', number)]
  return ['run', 'experiments/my_reward.py', *numbers, '--workdir', str(workdir)]


def finish(arguments, **environment):
  """Runs commands to their end in the root of the project, or ends all of them.

  Their output is the message of a failure.
  """
  started = subprocess.Popen(
    arguments,
    cwd=ROOT,
    env={**os.environ, 'JAX_PLATFORMS': 'cpu', 'PYTHONPATH': str(ROOT), **environment},
    stdout=subprocess.DEVNULL,
    stderr=subprocess.PIPE,
    text=True,
    start_new_session=True,
  )
  try:
    _, said = started.communicate(timeout=SECONDS)
  except subprocess.TimeoutExpired:
    os.killpg(started.pid, signal.SIGKILL)
    pytest.fail(f'not done in {SECONDS} seconds; it said\n{started.communicate()[1][-3000:]}')
  assert started.returncode == 0, said[-3000:]


def free_port():
  with socket.socket() as probe:
    probe.bind(('127.0.0.1', 0))
    return probe.getsockname()[1]


@pytest.fixture(scope='module')
def runs(tmp_path_factory):
  """(workdir of one process with two devices, workdir of two processes with one each)."""
  folder = tmp_path_factory.mktemp('processes')
  one, two = folder / 'one', folder / 'two'
  finish([sys.executable, '-m', 'sirl', *command(one)], JAX_NUM_CPU_DEVICES='2')
  finish(
    [str(ROOT / 'launch' / 'local.sh'), '2', '--', *command(two)],
    JAX_NUM_CPU_DEVICES='1',
    SIRL=f'{sys.executable} -m sirl',
    PORT=str(free_port()),
    LOGS=str(folder / 'logs'),
  )
  return one, two


@pytest.mark.all
def test_two_processes_draw_the_same_tasks_and_samples(runs):
  for run in ('', 'warm'):
    one, two = (workdir / run for workdir in runs)
    pools = [(workdir / 'pool' / 'round_00000.jsonl').read_bytes() for workdir in (one, two)]
    assert pools[0] == pools[1]
    samples = [(workdir / 'samples' / 'round_00000.jsonl').read_bytes() for workdir in (one, two)]
    assert samples[0] == samples[1] > b''


@pytest.mark.all
def test_two_processes_report_the_same_numbers(runs):
  for run in ('', 'warm'):
    one, two = (record.read_rows(workdir / run / 'history.jsonl') for workdir in runs)
    assert [row['decision'] for row in one] == [row['decision'] for row in two]
    assert len(one) == 2  # before training, and round 0
    for alone, together in zip(one, two):
      # The same program on the same mesh; only the place where the two sums are added differs.
      assert together['metrics'] == pytest.approx(alone['metrics'], rel=1e-5, abs=1e-6, nan_ok=True)


@pytest.mark.all
def test_every_process_ends_by_itself(runs):
  _, two = runs
  log = (two.parent / 'logs' / 'process_1.log').read_text()
  assert 'error' not in log.lower(), log
  assert (two / 'report.html').exists()
