"""SIGKILL at ten random moments of a run: after restarts it ends with the bits of a whole run.

  python -m pytest -m slow -s tests/test_kill.py                 a small quickstart
  python tests/test_kill.py --kills 10 --set max_rounds=4        the full-size one, as a script

The timeline of an uninterrupted run is cut into ten equal stretches between its first and its last
GRO step. One moment is drawn from each stretch, and some moments are moved into the next checkpoint
save. A moment is a delay in seconds after a given row of steps.jsonl, so the time for interpreter
start and compilation does not matter. Right before the kill a signal makes the process write its
Python stack, which shows what it was doing.
"""

import argparse
import dataclasses
import itertools
import json
import os
import pathlib
import random
import re
import signal
import statistics
import subprocess
import sys
import tempfile
import time

import pytest

ROOT = pathlib.Path(__file__).parent.parent
EXPERIMENT = ROOT / 'experiments' / 'quickstart.py'
SMALL = (
  'max_rounds=3', 'steps_per_round=10', 'checkpoint_every=4', 'prompts=16', 'heldout=100', 'acquired=100', 'width=64',
  'layers=2', 'warm_rounds=4', 'warm_prompts=32', 'warm_lr=0.003',
)  # fmt: skip
LONGEST = 900  # seconds without the awaited row before the test gives up
# Only the main thread, which gets the signal: reading the stacks of running threads can crash the
# process.
STACKS = 'import faulthandler, signal; faulthandler.register(signal.SIGUSR1, open({!r}, "w"), all_threads=False)'


@dataclasses.dataclass(frozen=True)
class Moment:
  """When to kill."""

  row: int  # number of rows written until then, the warm start's included
  delay: float  # seconds after that row
  # Seconds after the next row; used if a process gets there first, because it compiles less.
  hurried: float
  in_save: bool  # kill during the next checkpoint save, in place of a delay


@dataclasses.dataclass(frozen=True)
class Kill:
  """What the process was doing when it was killed."""

  seconds: float  # since the process was started
  reached: str  # the newest row of steps.jsonl
  rows: int  # rows of warm start and run together
  new_rows: int  # rows written since the process was started
  after_row: float  # seconds since the newest row
  doing: str  # by the stack of the main thread
  saving: str  # checkpoint that the kill left half-written, '' when none
  committed: str  # newest complete checkpoint


# ---------------------------------------------------------------- what the tests claim


@pytest.mark.slow
def test_a_run_killed_at_ten_random_moments_ends_with_the_same_bits(tmp_path):
  kills = rehearse(tmp_path, settings=SMALL, kills=10, seed=0)
  check_kills_fell_during_work(kills, 10)
  compare(tmp_path / 'whole', tmp_path / 'killed', SMALL)


def check_kills_fell_during_work(kills, n):
  """Every kill hit a living process that had done new steps.

  The run advanced, and several stages were hit.
  """
  assert len(kills) == n
  assert all(kill.new_rows > 0 for kill in kills), 'a kill fell before the first new step'
  assert all(kill.doing != 'unknown' for kill in kills), 'a kill hit a process outside the loop'
  saved = [(kill.committed.startswith('run'), kill.committed) for kill in kills]
  assert saved == sorted(saved), f'a checkpoint was lost between two kills: {saved}'
  assert len(set(saved)) > n // 2, 'the run hardly advanced between the kills'
  assert kills[-1].rows > kills[0].rows + n
  assert sum(bool(kill.saving) for kill in kills) >= 2, (
    'too few kills hit a checkpoint being written'
  )
  assert len({kill.doing.split()[-1] for kill in kills}) >= 2, 'all kills hit the same stage'
  assert any(kill.reached.startswith('warm') for kill in kills)
  assert any(kill.reached.startswith('run') for kill in kills)


def compare(whole, killed, settings):
  """Raises AssertionError unless both workdirs are equal.

  Compared are weights, optimizer, history, steps, tasks and samples.
  """
  import numpy as np

  for part in ('warm', '.'):
    a, b = whole / part, killed / part
    assert (a / 'history.jsonl').read_bytes() == (b / 'history.jsonl').read_bytes()
    assert untimed(a) == untimed(b)
    assert len(untimed(a)) > 0
    for folder in ('samples', 'pool'):
      names = sorted(path.name for path in (a / folder).iterdir())
      assert names == sorted(path.name for path in (b / folder).iterdir())
      for name in names:
        assert (a / folder / name).read_bytes() == (b / folder / name).read_bytes(), (
          f'{part}/{folder}/{name}'
        )
    assert not unfinished(b), 'a half-written checkpoint was left behind'

  left, right = (final_leaves(workdir, settings) for workdir in (whole, killed))
  assert left.keys() == right.keys()
  different = [name for name in left if left[name].tobytes() != right[name].tobytes()]
  assert not different, f'{len(different)} of {len(left)} arrays differ, first {different[0]}'
  assert all(np.isfinite(leaf).all() for leaf in left.values())
  return sum(leaf.size for leaf in left.values()), len(left)


# ---------------------------------------------------------------- runs


def rehearse(folder, *, settings, kills, seed, say=print):
  """One uninterrupted run in folder/whole, and one killed `kills` times in folder/killed.

  A round in folder/cold compiles everything first, or compilation would take up much of the
  timeline.
  Returns: the Kills.
  """
  uninterrupted(folder, [*settings, 'max_rounds=1'], 'cold')
  begun = time.monotonic()
  times = uninterrupted(folder, settings)
  say(f'uninterrupted: {len(times)} GRO steps, {time.monotonic() - begun:.0f} s')
  moments = draw_moments(times, kills, random.Random(seed))
  begun = time.monotonic()
  found = [kill_once(folder, settings, moment) for moment in moments]
  process, _ = start(folder, 'killed', settings)
  assert process.wait() == 0, said(folder, 'killed')
  say(f'killed {len(found)} times: {time.monotonic() - begun:.0f} s')
  say(table(found))
  return found


def uninterrupted(folder, settings, name='whole'):
  """Runs to the end. Returns: the time in seconds at which each row was seen."""
  life = Life(folder / name)
  process, _ = start(folder, name, settings)
  times = []
  while process.poll() is None:
    life.look()
    times += [time.monotonic()] * (life.rows() - len(times))
    time.sleep(0.01)
  assert process.returncode == 0, said(folder, name)
  return times


def draw_moments(times, kills, rng):
  """One Moment from each of `kills` equal stretches of the timeline.

  Two of them, not the last, are moved into a save.
  """
  length = (times[-1] - times[0]) / kills
  usual = statistics.median(b - a for a, b in itertools.pairwise(times))
  in_save = set(rng.sample(range(kills - 1), 2))
  moments = []
  for i in range(kills):
    at = times[0] + length * (i + rng.random())
    row = sum(t <= at for t in times)
    moments.append(Moment(row, at - times[row - 1], rng.random() * usual, i in in_save))
  return moments


def kill_once(folder, settings, moment):
  """Starts or resumes folder/killed, waits for the moment, kills the process. Returns: the Kill."""
  workdir = folder / 'killed'
  life = Life(workdir)
  process, stacks = start(folder, 'killed', settings)
  while not life.reached(moment):
    assert process.poll() is None, f'the process ended before {moment}: {said(folder, "killed")}'
    assert time.monotonic() - life.changed < LONGEST, f'no progress: {said(folder, "killed")}'
    time.sleep(0.002)
  process.send_signal(signal.SIGUSR1)
  # A thread that waits for the disk handles no signal until the disk responds.
  for _ in range(5000):
    if 'in main' in stacks.read_text():
      break
    time.sleep(0.001)
  killed = time.monotonic()
  process.send_signal(signal.SIGKILL)
  assert process.wait() == -signal.SIGKILL, (
    f'the process ended before it was killed: {said(folder, "killed")}'
  )
  life.look()
  return Kill(
    seconds=killed - life.began,
    reached=' '.join(map(str, life.newest())),
    rows=life.rows(),
    new_rows=life.new_rows(),
    after_row=killed - life.changed,
    doing=stage(stacks.read_text()),
    saving=' '.join(unfinished(workdir)),
    committed=committed(workdir),
  )


class Life:
  """The two steps.jsonl of a workdir while one process writes them.

  When a process opens its record, it rewrites the file without uncommitted rows. A row is therefore
  new if it came after the file's inode changed.
  """

  def __init__(self, workdir):
    self.files = [workdir / 'warm' / 'steps.jsonl', workdir / 'steps.jsonl']
    self.before = [inode(path) for path in self.files]
    self.kept = [None, None]  # rows in the new file when it was first seen
    self.lines = [lines(path) for path in self.files]
    self.began = self.changed = time.monotonic()
    # Times at which the moment's row (and one new row) was there, and at which the next row was.
    self.due = self.overtaken = None

  def look(self):
    for i, path in enumerate(self.files):
      found = lines(path)
      if self.kept[i] is None and inode(path) != self.before[i]:
        self.kept[i] = len(found)
      if len(found) != len(self.lines[i]):
        self.changed = time.monotonic()
      self.lines[i] = found

  def rows(self):
    return sum(map(len, self.lines))

  def new_rows(self):
    return sum(len(rows) - kept for rows, kept in zip(self.lines, self.kept) if kept is not None)

  def newest(self):
    name, rows = ('run', self.lines[1]) if self.lines[1] else ('warm', self.lines[0])
    return name, json.loads(rows[-1])['serial'] if rows else 'nothing'

  def reached(self, moment):
    self.look()
    if self.new_rows() < 1 or self.rows() < moment.row:
      return False
    self.due = self.due or time.monotonic()
    if moment.in_save:
      return bool(unfinished(self.files[1].parent))
    if self.rows() > moment.row:
      self.overtaken = self.overtaken or time.monotonic()
    late = self.overtaken and time.monotonic() - self.overtaken >= moment.hurried
    return late or time.monotonic() - self.due >= moment.delay


def start(folder, name, settings):
  """`sirl run` in a process of its own.

  Returns: the process, and the file to which it writes its stacks on a signal.
  """
  hook = folder / 'hook'
  hook.mkdir(exist_ok=True)
  stacks = hook / 'stacks.txt'
  stacks.write_text('')
  (hook / 'sitecustomize.py').write_text(STACKS.format(str(stacks)))
  environment = os.environ | {
    'JAX_PLATFORMS': 'cpu',
    'PYTHONPATH': os.pathsep.join([str(hook), str(ROOT)]),
    'SIRL_CACHE': os.environ.get('SIRL_CACHE') or str(folder / 'cache'),
  }
  command = [sys.executable, '-m', 'sirl', 'run', str(EXPERIMENT), '--workdir', str(folder / name)]
  command += [word for setting in settings for word in ('--set', setting)]
  with open(folder / f'{name}.log', 'a') as log:
    return subprocess.Popen(command, env=environment, cwd=folder, stdout=log, stderr=log), stacks


# ---------------------------------------------------------------- what is on disk


def inode(path):
  return path.stat().st_ino if path.exists() else None


def lines(path):
  """Complete lines of a file; [] when it does not exist."""
  try:
    return path.read_text().split('\n')[:-1]
  except FileNotFoundError:
    return []


def untimed(workdir):
  """Rows of steps.jsonl without the fields that hold seconds."""
  rows = map(json.loads, lines(workdir / 'steps.jsonl'))
  return [{name: value for name, value in row.items() if 'time' not in name} for row in rows]


def checkpoints(workdir):
  """Names of the entries of the checkpoint folders, the warm start's first."""
  folders = [workdir / 'warm' / 'checkpoints', workdir / 'checkpoints']
  names = [
    [path.name for path in sorted(folder.iterdir())] if folder.is_dir() else []
    for folder in folders
  ]
  return [f'warm {name}' for name in names[0]] + [f'run {name}' for name in names[1]]


def unfinished(workdir):
  """Checkpoints whose writing has begun but not ended."""
  return [name.split('.')[0] for name in checkpoints(workdir) if 'tmp' in name]


def committed(workdir):
  whole = [name for name in checkpoints(workdir) if 'tmp' not in name]
  return whole[-1] if whole else 'none'


def said(folder, name):
  return (folder / f'{name}.log').read_text()[-2000:]


def final_leaves(workdir, settings):
  """{path: array} of the newest checkpoints of a run and of its warm start."""
  import jax
  import numpy as np

  from sirl import experiment_file, loop
  from sirl.runs.checkpoint import Store
  from sirl.runtime import sharding

  module = experiment_file.load(EXPERIMENT)
  experiment = module.build(experiment_file.configured(module, settings))
  leaves = {}
  for name, exp, folder in (
    ('run', experiment, workdir),
    ('warm', experiment.policy.params, workdir / 'warm'),
  ):
    mesh = sharding.make_mesh(exp.config.mesh)
    with (
      jax.set_mesh(mesh),
      Store(folder, exp.config, steps_per_round=exp.config.steps_per_round) as store,
    ):
      state, _, _ = store.restore(loop.abstract_state(exp, mesh))
    for path, leaf in jax.tree_util.tree_leaves_with_path(state):
      leaves[f'{name} {jax.tree_util.keystr(path)}'] = np.asarray(leaf)
  return leaves


# ---------------------------------------------------------------- what the process was doing

# (stage, pattern of a stack frame); the first stage with a frame in the stack counts.
STAGES = (
  ('saving', r'checkpoint\.py", line \d+ in (save|close|_wait)'),
  ('restoring', r'checkpoint\.py", line \d+ in restore'),
  ('evaluation', r'loop\.py", line \d+ in evaluate'),
  ('acquisition', r'sirl/acquisition/'),
  ('selection', r'sirl/selection/'),
  ('generation', r'sirl/generation/'),
  ('reward', r'sirl/rewards/'),
  ('optimization', r'gro\.py", line \d+ in step'),
  ('records', r'sirl/runs/record\.py'),
  ('loop', r'loop\.py", line \d+ in (run|train_round)'),
)


def stage(stack):
  """The stage in the stack of the main thread: 'warm start: generation', 'optimization', ..."""
  found = next((name for name, pattern in STAGES if re.search(pattern, stack)), 'unknown')
  compiling = ' (compiling)' if 'jax/_src/compiler.py' in stack else ''
  return ('warm start: ' if 'in starting_params' in stack else '') + found + compiling


def table(kills):
  """One line per kill."""
  lines = [
    f'{"kill":>4} {"alive s":>8} {"newest row":>11} {"new rows":>9} {"s after row":>12}  {"doing":<28} {"half-saved":<14} committed'
  ]
  for i, kill in enumerate(kills, 1):
    lines.append(
      f'{i:>4} {kill.seconds:>8.1f} {kill.reached:>11} {kill.new_rows:>9} {kill.after_row:>12.2f}  '
      f'{kill.doing:<28} {kill.saving or "-":<14} {kill.committed}'
    )
  return '\n'.join(lines)


def main():
  parser = argparse.ArgumentParser(
    description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
  )
  parser.add_argument('--kills', type=int, default=10)
  parser.add_argument('--seed', type=int, default=0, help='of the moments')
  parser.add_argument(
    '--set', action='append', default=[], metavar='NAME=VALUE', help='as for sirl run; repeatable'
  )
  parser.add_argument('--folder', help='where both runs stay (default: a temporary folder)')
  arguments = parser.parse_args()
  with tempfile.TemporaryDirectory() as scratch:
    folder = pathlib.Path(arguments.folder or scratch).absolute()
    folder.mkdir(parents=True, exist_ok=True)
    kills = rehearse(folder, settings=arguments.set, kills=arguments.kills, seed=arguments.seed)
    check_kills_fell_during_work(kills, arguments.kills)
    numbers, arrays = compare(folder / 'whole', folder / 'killed', arguments.set)
  print(f'bit-identical: {numbers} numbers in {arrays} arrays, history, steps, tasks and samples')


if __name__ == '__main__':
  sys.path.insert(0, str(ROOT))
  main()
