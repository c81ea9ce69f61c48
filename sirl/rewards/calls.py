"""Where a scoring function runs: threads, the main thread, or processes that can be killed.

An executor is (fn, calls) -> results. A call is a tuple of arguments or a dict of keyword arguments.
The results have the order of the calls, with the exception in place of a call that failed. Every
wrapper that makes a reward of a function takes one as run=.

A function that sets a signal handler works only in the main thread. Many libraries limit their time
by signal.alarm, and Math-Verify among them then answers "wrong" without a word. So `threads` notes
who sets a handler, and repeats such calls in the main thread.
"""

import asyncio
import contextlib
import functools
import importlib
import inspect
import logging
import os
import pathlib
import pickle
import queue
import subprocess
import sys
import threading
import weakref
from collections.abc import Callable, Sequence
from concurrent import futures
from multiprocessing import connection
from typing import Any, TypeAlias

from sirl.rewards import worker
from sirl.runtime import hosts

Executor: TypeAlias = Callable[[Callable, Sequence[tuple | dict]], list]

START_SECONDS = 600  # for a process to import a function

log = logging.getLogger(__name__)


class Crashed(Exception):
  """An exception of a scoring function in another process; `line` is where it was raised."""

  def __init__(self, failure: worker.Failure):
    super().__init__(failure.error)
    self.line = failure.line
    self.__notes__ = list(failure.notes)
    self.__cause__ = Exception(f'in the process of the reward:\n{failure.trace}')


class NeedsMainThread(ValueError):
  """A scoring function that sets a signal handler ran outside the main thread."""


def is_async(fn) -> bool:
  """Whether fn is a coroutine function, or an object whose __call__ is one."""
  while isinstance(fn, functools.partial):
    fn = fn.func
  return inspect.iscoroutinefunction(fn) or inspect.iscoroutinefunction(type(fn).__call__)


def threads(workers: int = 32) -> Executor:
  """Runs `workers` calls at a time in threads; one call at a time in the calling thread.

  Coroutine functions run in one event loop. Calls that set a signal handler are repeated in the
  main thread, and so are all later calls. If the executor itself was called in another thread, as
  slices= of a run does, they fail with NeedsMainThread.
  """
  if workers < 1:
    raise ValueError(f'threads: workers={workers}; expected at least 1')
  signalling = []  # the function that set a signal handler

  def run(fn, calls):
    if is_async(fn):
      # In a thread of its own, because a notebook already runs an event loop.
      with futures.ThreadPoolExecutor(1) as thread:
        return thread.submit(asyncio.run, _gathered(fn, calls, workers)).result()
    if signalling and _in_main_thread():
      return [_attempt(fn, arguments) for arguments in calls]
    results = hosts.ordered_map(lambda arguments: _watched(fn, arguments), calls, workers)
    again = [i for i, result in enumerate(results) if isinstance(result, NeedsMainThread)]
    if again and _in_main_thread():
      signalling.append(fn)
      log.warning(
        'a reward sets signal handlers, which works in the main thread only: its calls run there, '
        'one at a time; run=rewards.calls.processes() runs several at a time'
      )
      for i in again:
        results[i] = _attempt(fn, calls[i])
    return results

  return run


def main_thread() -> Executor:
  """Runs one call at a time in the main thread, for functions that work nowhere else.

  Raises: ValueError from the reward when a run judges in another thread, as slices= does.
  """

  def run(fn, calls):
    if not _in_main_thread():
      raise ValueError(
        'this reward asks for the main thread, but with slices= above 1 a run judges in another '
        'one; set slices=1, or run=rewards.calls.processes()'
      )
    return threads(1)(fn, calls)

  return run


def processes(workers: int | None = None, *, timeout: float | None = None) -> Executor:
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
  if workers is not None and workers < 1:
    raise ValueError(f'processes: workers={workers}; expected at least 1, or None')
  if timeout is not None and not timeout > 0:
    raise ValueError(f'processes: timeout={timeout}; expected seconds above 0, or None')
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


# ---------------------------------------------------------------- threads

_here = threading.local()
_signal: Any = importlib.import_module('_signal')  # where signal.signal looks up what it calls
_set_handler = _signal.signal


def _noting(number, handler):
  """signal.signal, which also notes that a thread other than the main one asked for it."""
  _here.asked = not _in_main_thread()
  return _set_handler(number, handler)


def _watched(fn, arguments):
  """The result of a call, or NeedsMainThread if it set a signal handler in another thread."""
  _signal.signal = _noting  # also reaches a `from signal import signal` of earlier
  _here.asked = False
  result = _attempt(fn, arguments)
  if not _here.asked:
    return result
  return _needs_main_thread()


def _needs_main_thread():
  return NeedsMainThread(
    'sets a signal handler, which works in the main thread only (libraries such as Math-Verify '
    'hide the error); give it run=rewards.calls.processes(), or set slices=1'
  )


def _in_main_thread():
  return threading.current_thread() is threading.main_thread()


def _attempt(fn, arguments):
  try:
    return worker.call(fn, arguments)
  except Exception as error:
    return error


async def _gathered(fn, calls, workers):
  places = asyncio.Semaphore(workers)
  _signal.signal, _here.asked = _noting, False

  async def attempt(arguments):
    async with places:
      try:
        return await worker.call(fn, arguments)
      except Exception as error:
        return error

  results = await asyncio.gather(*map(attempt, calls))
  # Calls take turns in this thread, so none can be told from the others.
  return [_needs_main_thread() for _ in results] if _here.asked else results


# ---------------------------------------------------------------- processes


def _start(fn):
  """What a process needs to import fn."""
  try:
    data = pickle.dumps(fn)
  except Exception as error:
    raise ValueError(
      f'a process cannot import this reward ({error}); define the function, or the class of the '
      'object, at the top level of a file, not inside a function and not as a lambda'
    ) from error
  modules = {name: getattr(module, '__file__', None) for name, module in [*sys.modules.items()]}
  if modules.get('__main__') is None and b'__main__' in data:
    raise ValueError(
      'a process cannot import this reward, for it was defined in a notebook or at a prompt; '
      'write it to a file and import it'
    )
  # An experiment file is loaded under another name than its own.
  files = {
    name: str(pathlib.Path(file).resolve())
    for name, file in modules.items()
    if file and '.' not in name and file.endswith('.py')
    if pathlib.Path(file).stem not in (name, '__init__')
  }
  return {'fn': data, 'files': files, 'path': [*sys.path]}


class _Process:
  """A process that calls one function. It starts at the first call, and again after a kill."""

  def __init__(self):
    self.start: Any = None
    self.pipe: Any = None
    self.stop: Any = None

  def call(self, start, arguments, timeout):
    if self.pipe is None or self.start != start:
      self._load(start)
    pipe: Any = self.pipe
    pipe.send(('call', pickle.dumps(arguments)))
    what, value = self._answer(timeout, 'took longer than')
    if what == 'raised':
      raise Crashed(worker.Failure(*value))
    return value

  def _load(self, start):
    if self.pipe is None:
      self.pipe, theirs = connection.Pipe()
      program = [sys.executable, '-P', str(worker.HERE), str(theirs.fileno())]
      environment = {**os.environ, 'JAX_PLATFORMS': 'cpu'}
      process = subprocess.Popen(program, pass_fds=[theirs.fileno()], env=environment)
      theirs.close()
      self.stop = functools.partial(_stop, process)
      weakref.finalize(self, _stop, process)
    pipe: Any = self.pipe
    self.start = None
    pipe.send(('load', start))
    answer = self._answer(START_SECONDS, 'was not imported in')
    if answer != 'ready':
      failure = worker.Failure(*answer[1])
      raise ValueError(f'a process cannot import this reward: {failure.error}') from Crashed(
        failure
      )
    self.start = start

  def _answer(self, timeout, what):
    """The next message. Kills the process after `timeout` seconds."""
    try:
      if self.pipe.poll(timeout):
        return self.pipe.recv()
    except (EOFError, ConnectionResetError) as error:
      code = self._end(grace=1)
      raise RuntimeError(f'its process ended with exit code {code}') from error
    self._end()
    raise TimeoutError(f'{what} {timeout:g} seconds; its process was killed')

  def _end(self, grace=0):
    self.pipe.close()
    self.pipe = None
    return self.stop(grace)


def _stop(process, grace=0):
  """Ends a process, after `grace` seconds to end by itself; returns its exit code."""
  with contextlib.suppress(subprocess.TimeoutExpired):
    process.wait(grace)
  process.kill()
  return process.wait()
