"""Calls a function in other processes, which can be killed. `worker` is their program."""

import contextlib
import functools
import os
import pickle
import pickletools
import queue
import subprocess
import sys
import weakref
from multiprocessing import connection
from typing import Any

from sirl import ranges
from sirl.runtime import hosts, worker

START_SECONDS = 600  # for a process to import a function


class Crashed(Exception):
  """An exception of a function in another process; `line` is where it was raised."""

  def __init__(self, failure: worker.Failure):
    super().__init__(failure.error)
    self.line = failure.line
    self.__notes__ = list(failure.notes)
    self.__cause__ = Exception(f'in its process:\n{failure.trace}')


def processes(workers: int | None = None, *, timeout: float | None = None):
  """Runs calls in processes; a call that takes longer than `timeout` is killed and fails.

  A function and its arguments are pickled, so the function must stand at the top level of a file,
  and so must the class of an object. A process imports that file once. Coroutine functions run one
  at a time in each process. Processes see no accelerator.

  A timeout depends on the machine, so a run in which one strikes may not repeat exactly. It stops
  the run, unless `rewards.tolerant` counts it and leaves the completion unjudged.

  Args:
    workers: number of processes; None takes one per CPU core.
    timeout: seconds for one call; None waits.
  """
  ranges.optional('processes: workers', workers)
  ranges.optional('processes: timeout', timeout, ranges.real, above=0)
  most = workers or os.cpu_count() or 1
  idle: queue.SimpleQueue[_Process] = queue.SimpleQueue()
  for _ in range(most):
    idle.put(_Process())

  def run(fn, calls):
    start = _start(fn)

    def call(arguments):
      process = idle.get()
      try:
        return process.call(start, arguments, timeout)
      except Exception as error:
        return error
      finally:
        idle.put(process)

    return hosts.ordered_map(call, calls, most)

  return run


def _start(fn):
  """What a process needs to import fn."""
  try:
    data = pickle.dumps(fn)
  except Exception as error:
    raise ValueError(
      f'a process cannot import this function ({error}); define the function, or the class of the '
      'object, at the top level of a file, not inside a function and not as a lambda'
    ) from error
  named = {word for _, word, _ in pickletools.genops(data) if isinstance(word, str)}
  found = {name: getattr(sys.modules[name], '__file__', None) for name in named & {*sys.modules}}
  files = {name: os.path.realpath(file) for name, file in found.items() if file}
  if '__main__' in found and not os.path.isfile(files.get('__main__', '')):
    raise ValueError(
      'a process cannot import this function, for it was defined in a notebook or at a prompt; '
      'write it to a file and import it'
    )
  return {'fn': data, 'files': files, 'path': [*sys.path]}


class _Process:
  """A process that calls one function. It starts at the first call, and again after a kill."""

  def __init__(self):
    self.start: Any = None
    self.pipe: Any = None
    self.stop: Any = None

  def call(self, start, arguments, timeout):
    """The result of one call. Raises Crashed for an exception of the function."""
    try:
      if self.pipe is None or self.start != start:
        self._load(start)
      pipe: Any = self.pipe
      pipe.send(('call', pickle.dumps(arguments)))
      what, value = self._answer(timeout, 'took longer than')
    except BaseException:  # an interrupt too: a late answer must not become that of the next call
      self._end()
      raise
    if what == 'raised':
      raise Crashed(worker.Failure(*value))
    return value

  def _load(self, start):
    if self.pipe is None:
      self.pipe, theirs = connection.Pipe()
      ids = [str(theirs.fileno()), str(os.getpid())]
      program = [sys.executable, '-P', str(worker.HERE), *ids]
      environment = {**os.environ, 'JAX_PLATFORMS': 'cpu'}
      process = subprocess.Popen(
        program,
        pass_fds=[theirs.fileno()],
        env=environment,
        start_new_session=True,  # Ctrl-C is for the parent
      )
      theirs.close()
      self.stop = functools.partial(_stop, process)
      weakref.finalize(self, _stop, process)
    pipe: Any = self.pipe
    self.start = None
    pipe.send(('load', start))
    answer = self._answer(START_SECONDS, 'was not imported in')
    if answer != 'ready':
      failure = worker.Failure(*answer[1])
      raise ValueError(f'a process cannot import this function: {failure.error}') from Crashed(
        failure
      )
    self.start = start

  def _answer(self, timeout, what):
    pipe: Any = self.pipe
    try:
      if pipe.poll(timeout):
        return pipe.recv()
    except (EOFError, ConnectionResetError) as error:
      raise RuntimeError(f'its process ended with exit code {self._end(grace=1)}') from error
    raise TimeoutError(f'{what} {timeout:g} seconds; its process was killed')

  def _end(self, grace=0):
    if self.pipe is None:
      return None
    self.pipe.close()
    self.pipe = None
    return self.stop(grace)


def _stop(process, grace=0):
  """Ends a process, after `grace` seconds to end by itself; returns its exit code."""
  with contextlib.suppress(subprocess.TimeoutExpired):
    process.wait(grace)
  process.kill()
  return process.wait()
