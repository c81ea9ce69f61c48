"""Atomic file writes: an interruption leaves the old file or the new one.

`check_folder` and `check_file` try a place that a user names, before the work whose result it gets.
"""

import contextlib
import os
import pathlib
import tempfile


def atomic_write(path, content):
  """Writes a text or bytes to path; readers and crashes find the old file or the whole new one.

  The folder is created if it is missing. If several processes write the same path at the same time,
  the last one wins.
  Raises: OSError for a folder, a device or another special file, which would be replaced.
  """
  path = pathlib.Path(path)
  if why := _other(path):
    raise OSError(f'{path} cannot be written: {why}; name another file')
  path.parent.mkdir(parents=True, exist_ok=True)
  temporary = path.with_name(f'.{path.name}.{os.getpid()}.tmp')
  try:
    with named(path), open(temporary, 'wb') as file:
      file.write(content.encode() if isinstance(content, str) else content)
      file.flush()
      os.fsync(file.fileno())
    os.replace(temporary, path)
  finally:
    with contextlib.suppress(OSError):  # a read-only file system refuses this too
      temporary.unlink(missing_ok=True)
  descriptor = os.open(path.parent, os.O_RDONLY)
  try:
    os.fsync(descriptor)  # so that the new name survives a crash of the machine
  finally:
    os.close(descriptor)


@contextlib.contextmanager
def named(path):
  """Gives an OSError that names no file, such as that of a full disk, the path."""
  try:
    yield
  except OSError as error:
    if error.filename is not None:
      raise
    raise type(error)(error.errno, error.strerror, str(path)) from error


def check_folder(folder, what, todo):
  """Raises OSError unless files can be written in a folder, which may be missing yet.

  Args: what: its name in the message, such as 'workdir'; todo: what a user may do instead.
  """
  folder = pathlib.Path(folder)
  if why := _refusal(folder, folder):
    raise OSError(f'{what} {folder} cannot be written: {why}; {todo}')


def check_file(path, what):
  """Raises OSError unless a file can be written at this path, whose folder may be missing yet."""
  path = pathlib.Path(path)
  if why := _other(path) or _refusal(path.parent, path):
    raise OSError(f'{what} {path} cannot be written: {why}; name another file')


def _other(path):
  """What stands at a path that is no regular file and would be replaced by one; None if nothing."""
  if not path.exists() or path.is_file():
    return None
  return 'it is a folder' if path.is_dir() else 'it is a device, a pipe or a socket'


def _refusal(folder, asked):
  """Why a folder, or the nearest one above it that exists, takes no file; None if it takes one."""
  there = next(place for place in (folder, *folder.absolute().parents) if os.path.lexists(place))
  name = 'it' if there == asked else there
  if not os.path.isdir(there):
    return f'{name} is a file' if os.path.isfile(there) else f'{name} is no folder'
  try:
    with tempfile.TemporaryFile(dir=there):
      return None
  except OSError as error:
    return f'{name} takes no file ({error.strerror})'


def leftovers(folder):
  """Half-written files of killed processes in a folder; only the folder's owner may remove them."""
  return sorted(pathlib.Path(folder).glob('.*.tmp'))
