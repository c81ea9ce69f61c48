"""One run at a time in a workdir.

The lock is the operating system's lock on a file. It belongs to the process alone, not to its
children, and ends with it, however that ends. So a killed run leaves nothing behind that blocks a
resume, here or on another host.
"""

import contextlib
import errno
import fcntl
import logging
import os
import pathlib
import socket

from sirl import config as configs
from sirl.runtime import files

log = logging.getLogger(__name__)

FILE = '.lock'
_own = set()  # workdirs that this process holds; a lock of its own is not seen by asking for it


@contextlib.contextmanager
def held(workdir):
  """Holds the workdir, made if it is missing. One process of a distributed run calls it.

  A folder in which nothing was written is removed again.
  Raises: ValueError if another process holds it; OSError if the folder cannot be written.
  """
  workdir = pathlib.Path(workdir)
  files.check_folder(workdir, 'workdir', 'take another --workdir')
  made = [folder for folder in (workdir, *workdir.parents) if not folder.exists()]
  workdir.mkdir(parents=True, exist_ok=True)
  path = workdir / FILE
  descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
  try:
    try:
      fcntl.lockf(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
      if error.errno in (errno.EAGAIN, errno.EACCES):
        raise ValueError(busy(workdir, os.read(descriptor, 200).decode())) from None
      log.warning('%s cannot be locked (%s); start one run at a time in it', path, error)
    os.truncate(descriptor, 0)
    os.pwrite(descriptor, f'process {os.getpid()} on {socket.gethostname()}'.encode(), 0)
    _own.add(workdir.resolve())
    try:
      yield
    finally:
      _own.discard(workdir.resolve())
      os.truncate(descriptor, 0)
      if made and list(workdir.iterdir()) == [path]:
        path.unlink()
        for folder in made:
          with contextlib.suppress(OSError):  # not empty
            folder.rmdir()
  finally:
    os.close(descriptor)


def is_held(workdir):
  """Whether a process runs in this workdir; None where none ever locked it, as from a notebook."""
  path = pathlib.Path(workdir) / FILE
  if path.parent.resolve() in _own:
    return True  # to open and close the file here would end this process's lock
  if not path.exists():
    return None
  with open(path, encoding='utf-8') as file:
    try:
      fcntl.lockf(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except OSError as error:
      return True if error.errno in (errno.EAGAIN, errno.EACCES) else None
  return False


def busy(workdir, owner):
  """The message for a workdir in which another process runs."""
  return (
    f'{workdir} is in use by {owner or "another process"}; wait until it ends or stop it, or take '
    f'another --workdir. To look at it: {configs.command("doctor", workdir)}'
  )
