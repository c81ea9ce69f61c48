"""Where a scoring function runs: threads, the main thread, or processes that can be killed.

An executor is (fn, calls) -> results. A call is a tuple of arguments or a dict of keyword arguments.
The results have the order of the calls, with the exception in place of a call that failed. Every
wrapper that makes a reward of a function takes one as run=.

A function that sets a signal handler works only in the main thread. Many libraries limit their time
by signal.alarm, and Math-Verify among them then answers "wrong" without a word. So `threads` notes
who sets a handler or signal.set_wakeup_fd, and repeats such calls in the main thread. A function that
asks for the event loop of its thread gets one.
"""

import asyncio
import functools
import importlib
import inspect
import logging
import signal
import threading
from collections.abc import Callable, Sequence
from concurrent import futures
from typing import Any, TypeAlias

from sirl import ranges
from sirl.runtime import hosts, worker
from sirl.runtime.processes import Crashed, processes

__all__ = ['Crashed', 'Executor', 'NeedsMainThread', 'main_thread', 'processes', 'threads']

Executor: TypeAlias = Callable[[Callable, Sequence[tuple | dict]], list]

log = logging.getLogger(__name__)


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
  ranges.whole('threads: workers', workers)
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
      log.info(
        'a reward sets signal handlers, which works in the main thread only: its calls run there, '
        'one at a time; run=rewards.calls.processes() runs several, and is needed for slices= above 1'
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
    if is_async(fn):
      return asyncio.run(_gathered(fn, calls, 1))
    return [_attempt(fn, arguments) for arguments in calls]

  return run


# ---------------------------------------------------------------- threads

_here = threading.local()
_signal: Any = importlib.import_module('_signal')  # where signal.signal looks up what it calls
_set_handler = _signal.signal


_set_wakeup_fd = signal.set_wakeup_fd
_loops: Any = asyncio.DefaultEventLoopPolicy  # its function makes a loop in the main thread only
_get_loop = _loops.get_event_loop
_said = []  # not empty once a thread that a reward started has set a handler


def _noting(setter):
  """The setter of a handler, which also notes that a thread other than the main one asked for it."""

  @functools.wraps(setter)
  def noted(*arguments, **options):
    if not _in_main_thread():
      if not hasattr(_here, 'asked') and not _said:
        _said.append(True)
        log.warning(
          'a reward sets a signal handler in a thread that it starts itself, where that always fails; '
          'a library that hides the error then gives wrong scores. Take another way to limit its time'
        )
      _here.asked = True
    return setter(*arguments, **options)

  return noted


def _loop_of_thread(policy):
  """asyncio's loop of this thread; where there is none, a call of a reward gets a new one."""
  try:
    return _get_loop(policy)
  except RuntimeError:
    if not hasattr(_here, 'asked'):
      raise
  _here.loop = _Loop()
  return _get_loop(policy)


class _Loop:
  """An event loop that is closed when its thread ends."""

  def __init__(self):
    self.loop = asyncio.new_event_loop()
    asyncio.set_event_loop(self.loop)

  def __del__(self):
    self.loop.close()


def _watch():
  """Puts the noting functions in place, and forgets what this thread asked for."""
  _signal.signal = _NOTED  # also reaches a `from signal import signal` of earlier
  signal.set_wakeup_fd = _NOTED_FD
  _loops.get_event_loop = _loop_of_thread
  _here.asked = False


_NOTED, _NOTED_FD = _noting(_set_handler), _noting(_set_wakeup_fd)


def _watched(fn, arguments):
  """The result of a call, or NeedsMainThread if it set a signal handler in another thread."""
  _watch()
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
  _watch()

  async def attempt(arguments):
    async with places:
      try:
        with worker.exits_raise():
          return await worker.call(fn, arguments)
      except Exception as error:
        return error

  results = await asyncio.gather(*map(attempt, calls))
  # Calls take turns in this thread, so none can be told from the others.
  return [_needs_main_thread() for _ in results] if _here.asked else results
