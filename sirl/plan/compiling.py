"""Compiles the programs of a plan, each in a child process with a time limit.

A child prints one line of JSON. Compiling in a child matters: a wrong topology aborts the process,
and a compiler cannot be interrupted.

  python -m sirl.plan.compiling < request.json
"""

import json
import os
import re
import subprocess
import sys
import time

from sirl.plan import hlo, topology, work

FULL = 'RESOURCE_EXHAUSTED'


def compiled(request: dict, seconds: float) -> dict:
  """The result of a child.

  Args:
    request: 'file' and 'set' of the experiment, 'chip', and 'program', a name in programs.NAMES.
    seconds: after which the child is killed.
  Returns: the result, see `_result`; or {'failed': why} for one that was killed, aborted or raised.
  """
  path = [*sys.path, *([str(topology.APART)] if topology.APART.is_dir() else [])]
  return answer([sys.executable, '-m', 'sirl.plan.compiling'], request, path, seconds)


def answer(command, request: dict, path, seconds: float) -> dict:
  """The JSON that a child prints as its last line, or {'failed': why}.

  Args: command: of the child, which reads the request; path: folders of its modules.
  """
  environment = {**os.environ, **topology.ENVIRONMENT, 'PYTHONPATH': os.pathsep.join(path)}
  try:
    done = subprocess.run(
      command, input=json.dumps(request), env=environment, capture_output=True, text=True,
      timeout=seconds, check=False,
    )  # fmt: skip
  except subprocess.TimeoutExpired:
    return {'failed': f'not compiled within {seconds:.0f} s; --limit gives it longer'}
  lines = done.stdout.splitlines()
  if done.returncode == 0 and lines:
    return json.loads(lines[-1])
  said = [line for line in done.stderr.splitlines() if line.strip()]
  why = said[-1] if said else 'without a message'
  return {'failed': f'the compiler ended with code {done.returncode}: {why}'}


def main():
  """Reads a request from standard input and prints the result."""
  request = json.loads(sys.stdin.read())
  topology.prepare()
  from sirl import experiment_file
  from sirl.plan import chips, programs

  group = chips.group(request['chip'])
  module = experiment_file.load(experiment_file.find(request['file']))
  config = experiment_file.configured(module, request['set'])
  p = programs.of(module.build, config)
  mesh = topology.mesh(group, config.mesh)
  with programs.using(mesh):
    print(json.dumps(result(programs.TRACED[request['program']](p, mesh), group)))


def result(traced, group) -> dict:
  """Compiles a `jax.stages.Traced` for chips. The dict that `compiled` returns."""
  started = time.monotonic()
  try:
    program = traced.lower().compile()
  except Exception as error:  # the compiler's own class, XlaRuntimeError, is not public
    if FULL not in str(error):
      raise
    return {'fits': False, 'full': _size(str(error))}
  kernels = work.flops(traced) - work.flops(traced, kernels=False)
  seconds = time.monotonic() - started
  return _result(program, group) | {'kernel_flops': kernels, 'compile_s': seconds}


def _size(message):
  """The bytes that a program would need, from the compiler's refusal; None if it does not say."""
  found = re.search(r'\(([\d.]+)([KMGT])\) exceeds', message)
  return float(found[1]) * 1024 ** ('KMGT'.index(found[2]) + 1) if found else None


def _result(program, group):
  """What an optimized program says about itself, as JSON.

  peak: bytes on a device, arguments included. moved: leaves of the result that lie elsewhere than
  the argument of the same shape and order. loops: [path, seconds of one run by the compiler's
  estimate, None without one]. collectives: [path, kind, count, bytes].
  """
  memory = program.memory_analysis()
  module = hlo.parse(program.as_text())
  clock = group.chip.clock
  return {
    'fits': True,
    'peak': memory.peak_memory_in_bytes,
    'arguments': memory.argument_size_in_bytes,
    'donated': memory.alias_size_in_bytes,
    'loops': [[path, cycles / clock] for path, cycles in hlo.cycles(module).items() if clock],
    'collectives': [list(found) for found in hlo.collectives(module)],
  }


if __name__ == '__main__':
  main()
