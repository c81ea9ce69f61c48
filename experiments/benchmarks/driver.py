"""Runs all sides in turn. Each side and variant has its own process, idle while another measures.

One repeat measures every contender of a case once, so a busy moment of the machine affects all of
them alike. A row of the results is {'case': fields, 'shape': numbers, 'lengths': tokens of each
completion or None, 'load': load average, 'flops': work or None, 'sides': {side: {variant: entry}}}.
An entry is {'runs': [answers]}, and has 'error' or 'missing' with a reason where something failed.
"""

import contextlib
import dataclasses
import json
import os
import pathlib
import platform
import select
import subprocess
import sys
import time

from experiments.benchmarks import cases as table
from experiments.benchmarks import limits

ROOT = pathlib.Path(__file__).parents[2]
SCRIPTS = ROOT / 'experiments' / 'benchmarks'  # the sides of the peers
MISSING = 'not installed'
PATIENCE = 1200  # seconds to wait for one answer, compilation included


def measure(sets, *, repeats, peers, logs, say=print):
  """Measures the named sets of cases and yields the results so far after each case.

  Args:
    sets: names in `cases.GROUPS`.
    repeats: measurements per contender.
    peers: folder of the peers' virtual environments.
    logs: folder for the output of the sides.
    say: called with a line of progress.
  Yields: {'machine': ..., 'repeats': ..., 'versions': {side: ...}, 'rows': [...]}, JSON values
    only.
  Raises: ValueError for an unknown set or repeats < 1.
  """
  if repeats < 1:
    raise ValueError(f'repeats={repeats}; expected at least 1 measurement of everything')
  chosen = table.chosen(sets)
  held = len(held_cores())
  for case in [case for case in chosen if case.cores > held and case.set != 'limit']:
    say(f'left out, {held} core is not {case.cores}: {case.name}')
  chosen = [case for case in chosen if case.cores <= held]
  started = time.time()
  rows, sides = [], Sides(pathlib.Path(peers), pathlib.Path(logs))
  with contextlib.closing(sides):
    for i, case in enumerate(chosen):
      say(f'[{i + 1}/{len(chosen)}, {time.time() - started:.0f} s] {case.name}')
      rows.append(run_case(case, sides, repeats))
      for line in broken(rows[-1]):
        say(line)
      yield {
        'machine': machine() | {'seconds': time.time() - started},
        'repeats': repeats,
        'versions': sides.versions,
        'rows': rows,
      }


def run_case(case, sides, repeats):
  """Measures one case; returns its row of the results."""
  message = {'case': dataclasses.asdict(case), 'shape': table.shape(case), 'lengths': None}
  found: dict[str, dict] = {side: {} for side in (table.OURS, *case.peers)}
  playing = []
  sides.keep(case.kind, case.cores)
  for side, variant in table.contenders(case):
    entry: dict = {'runs': []}
    found[side][variant] = entry
    worker = sides.get(side, variant, case.cores)
    if worker is None:
      entry['missing'] = MISSING
      continue
    answer = worker.ask(message | {'measure': False})
    if 'error' in answer:
      entry['error'] = answer['error']
    if answer.get('ready'):
      playing.append((worker, entry))
      # Our side comes first and draws the lengths.
      message['lengths'] = message['lengths'] or answer.get('lengths')
  for repeat in range(repeats):
    for worker, entry in playing if repeat % 2 == 0 else playing[::-1]:
      answer = worker.ask(message | {'measure': True})
      if 'wall' in answer:
        entry['runs'].append({name: x for name, x in answer.items() if name != 'lengths'})
      else:
        entry['error'] = answer.get('error', f'unexpected answer {answer}')
  return {
    'case': message['case'],
    'shape': message['shape'],
    'lengths': message['lengths'],
    # Of the last minute. If it is far above the cores in use, other programs ran.
    'load': os.getloadavg()[0],
    'flops': limits.flops(message['shape'], case),
    'sides': found,
  }


def broken(row):
  """Yields a line for every variant that failed in this case; such a variant is never the best."""
  for side, variants in row['sides'].items():
    for variant, entry in variants.items():
      if 'error' in entry:
        yield f'  {side}, {variant}: {entry["error"]}'


class Sides:
  """The running processes of all sides."""

  def __init__(self, peers, logs):
    self.peers, self.logs, self.versions = peers, logs, {}
    self.workers = {}
    self.kept = None

  def keep(self, *what):
    """Ends all processes if `what` differs from the last call, to free memory for other cases."""
    if what != self.kept:
      self.close()
      self.kept = what

  def get(self, side, variant, cores):
    """The worker of a side in a variant on this number of cores, started if need be.

    Returns None if the side is not installed.
    """
    if (side, variant) not in self.workers:
      command = command_of(side, variant, self.peers)
      if command is None:
        return None
      self.logs.mkdir(parents=True, exist_ok=True)
      log = self.logs / f'{side}-{variant.replace(" ", "-")}-{cores}.log'
      self.workers[side, variant] = Worker(command, cores, log)
      self.versions.setdefault(side, self.workers[side, variant].versions)
    return self.workers[side, variant]

  def close(self):
    """Ends every process."""
    for worker in self.workers.values():
      worker.close()
    self.workers = {}


def command_of(side, variant, peers):
  """The command line of a side, or None if its environment or its script is missing."""
  if side == table.OURS:
    return [sys.executable, '-m', 'experiments.benchmarks.ours', variant]
  python, script = peers / side / 'bin' / 'python', SCRIPTS / f'{side}_side.py'
  # The file `installed` marks a finished installation.
  if not (peers / side / 'installed').is_file() or not script.is_file():
    return None
  return [str(python.absolute()), str(script), variant]


class Worker:
  """The process of a side. After its death every answer is an error that names its log file."""

  def __init__(self, command, cores, log):
    self.log = log
    with open(log, 'a') as stderr:
      self.process = subprocess.Popen(
        pinned(command, cores), stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=stderr,
        env={**os.environ, 'PYTHONPATH': str(ROOT), 'HF_HUB_OFFLINE': '1'},
      )  # fmt: skip
    assert self.process.stdin is not None
    assert self.process.stdout is not None
    self.questions, self.answers = self.process.stdin, self.process.stdout
    self.versions = self.answer().get('versions', {})

  def ask(self, message):
    """The answer to a message, as a dict."""
    try:
      self.questions.write((json.dumps(message) + '\n').encode())
      self.questions.flush()
    except OSError:
      return self.gone()
    return self.answer()

  def answer(self):
    """The next line of the process, as a dict."""
    ready, _, _ = select.select([self.answers], [], [], PATIENCE)
    line = self.answers.readline() if ready else b''
    if not ready:
      self.process.kill()
    return json.loads(line) if line else self.gone()

  def gone(self):
    """An error in place of an answer."""
    code = self.process.wait()
    return {'error': f'the process ended with exit code {code}; see {self.log}'}

  def close(self):
    """Ends the process."""
    with contextlib.suppress(BrokenPipeError):  # the process died before it read the last message
      self.questions.close()
    try:
      self.process.wait(timeout=10)
    except subprocess.TimeoutExpired:
      self.process.kill()
      self.process.wait()
    self.answers.close()


def pinned(command, cores):
  """The command, pinned to the last `cores` cores in use; its thread pools then have that size."""
  held = held_cores()[-cores:]
  return ['taskset', '--cpu-list', ','.join(map(str, held)), *command]


def held_cores():
  """The numbers of the cores that this process may use."""
  if not hasattr(os, 'sched_getaffinity'):
    raise ValueError('a benchmark needs a system that can pin processes to cores, such as Linux')
  return sorted(os.sched_getaffinity(0))


def machine():
  """{'cpu': model name, 'cores': number, 'python': version} of this machine."""
  cpu = platform.processor() or platform.machine()
  with contextlib.suppress(OSError):
    lines = pathlib.Path('/proc/cpuinfo').read_text().splitlines()
    cpu = next(
      (line.split(':', 1)[1].strip() for line in lines if line.startswith('model name')), cpu
    )
  return {
    'cpu': cpu,
    'cores': os.cpu_count(),
    'python': platform.python_version(),
  }
