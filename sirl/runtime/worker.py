"""The program of a process that calls functions, see `processes`.

It imports nothing of the library, so a small scorer starts in a tenth of a second. Its arguments are
the file descriptor of a connection and the parent's process id. Messages are pickles:

  parent  ('load', start)        the function, and how to import it     worker  'ready'
  parent  ('call', arguments)                                           worker  ('returned', value)

For an exception the worker answers ('raised', the fields of Failure), a plain tuple because the
parent knows no class of this program. It ends when the parent closes the connection.
"""

import asyncio
import contextlib
import importlib
import importlib.util
import inspect
import io
import os
import pathlib
import pickle
import sys
import sysconfig
import threading
import time
import traceback
from typing import Any, NamedTuple

HERE = pathlib.Path(__file__).resolve()
INSTALLED = tuple(sysconfig.get_paths()[name] for name in ('stdlib', 'purelib', 'platlib'))


class Failure(NamedTuple):
  """An exception as texts, because not every exception can be pickled."""

  error: str  # 'KeyError: 3'
  notes: tuple[str, ...]
  line: str  # of the user's code, see `line_of`
  trace: str


class Exited(Exception):
  """A user's function called sys.exit."""


def exited(error: SystemExit) -> Exited:
  """The call of sys.exit as an Exited, with the place of the call."""
  said = f'sys.exit({error.code!r}) was called; raise an error instead'
  return Exited(said).with_traceback(error.__traceback__)


@contextlib.contextmanager
def exits_raise():
  """Turns a sys.exit in the block into an Exited, an error that is said and counted like others."""
  try:
    yield
  except SystemExit as error:
    raise exited(error) from None


def call(fn, arguments):
  """The result of fn for a tuple of arguments, or a dict of keyword arguments."""
  with exits_raise():
    return fn(**arguments) if isinstance(arguments, dict) else fn(*arguments)


def line_of(error) -> str:
  """'my_reward.py, line 12', the innermost line of the user's own code; '' if there is none.

  The user's own code is what lies neither in this library nor among the installed packages. If the
  error passed through none, the innermost line outside the library is taken.
  """
  library = str(HERE.parents[1])
  frames = [
    frame
    for frame in traceback.extract_tb(error.__traceback__)
    if not frame.filename.startswith((library, '<frozen'))
  ]
  own = [frame for frame in frames if not frame.filename.startswith(INSTALLED)] or frames
  return f'{own[-1].filename}, line {own[-1].lineno}' if own else ''


class _Reader(pickle.Unpickler):
  """Takes each module from the file that the parent has it from, whatever its name is there."""

  def __init__(self, data, files):
    super().__init__(io.BytesIO(data))
    self.files = files  # {module name: file}

  def find_class(self, module, name):
    if module not in self.files:
      return super().find_class(module, name)
    found = _imported(module, self.files[module])
    for part in name.split('.'):
      found = getattr(found, part)
    return found


def _imported(name, file):
  """The module, by its name if that leads to the file; an experiment file has another name."""
  alias = f'scorer_{name}'
  if alias in sys.modules:
    return sys.modules[alias]
  if name != '__main__':
    with contextlib.suppress(ImportError):
      found = importlib.import_module(name)
      if os.path.realpath(getattr(found, '__file__', None) or '') == file:
        return found
  spec: Any = importlib.util.spec_from_file_location(alias, file)
  found = importlib.util.module_from_spec(spec)
  sys.modules[alias] = found
  spec.loader.exec_module(found)
  return found


def _failure(error):
  notes = tuple(getattr(error, '__notes__', ()))
  trace = ''.join(traceback.format_exception(error))
  return 'raised', (f'{type(error).__name__}: {error}', notes, line_of(error), trace)


def _answer(fn, arguments):
  try:
    with exits_raise():
      value = call(fn, arguments)
      return 'returned', asyncio.run(value) if inspect.iscoroutine(value) else value
  except Exception as error:
    return _failure(error)


def _end_with(parent):
  """Ends this process when its parent is gone, though a call still runs."""
  while os.getppid() == parent:
    time.sleep(1)
  os._exit(1)


def main(connection):
  """Answers messages until the connection is closed."""
  fn = None
  while True:
    try:
      what, sent = connection.recv()
    except EOFError:
      return
    try:
      if what == 'load':
        sys.path[:] = sent['path']
        with exits_raise():
          fn = _Reader(sent['fn'], sent['files']).load()
        connection.send('ready')
      else:
        connection.send(_answer(fn, pickle.loads(sent)))
    except Exception as error:  # it cannot be imported, or its value cannot be pickled
      connection.send(_failure(error))


if __name__ == '__main__':
  from multiprocessing.connection import Connection

  threading.Thread(target=_end_with, args=[int(sys.argv[2])], daemon=True).start()
  main(Connection(int(sys.argv[1])))
