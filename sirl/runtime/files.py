"""Atomic file writes: an interruption leaves the old file or the new one."""

import contextlib
import os
import pathlib


def atomic_write(path, content):
  """Writes a text or bytes to path; readers and crashes find the old file or the whole new one.

  The folder is created if it is missing. If several processes write the same path at the same time,
  the last one wins.
  """
  path = pathlib.Path(path)
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


def leftovers(folder):
  """Half-written files of killed processes in a folder; only the folder's owner may remove them."""
  return sorted(pathlib.Path(folder).glob('.*.tmp'))
