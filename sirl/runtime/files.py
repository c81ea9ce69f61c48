"""Writing a file so that an interruption leaves the old one or the new one."""

import os
import pathlib


def atomic_write(path, content):
  """Writes a text or bytes to path; a reader, or a crash, sees the old file or the whole new one, never a part.

  The folder is made when missing. Processes that write the same path at once do not meet: the last one wins.
  """
  path = pathlib.Path(path)
  path.parent.mkdir(parents=True, exist_ok=True)
  temporary = path.with_name(f'.{path.name}.{os.getpid()}.tmp')
  try:
    with open(temporary, 'wb') as file:
      file.write(content.encode() if isinstance(content, str) else content)
      file.flush()
      os.fsync(file.fileno())
    os.replace(temporary, path)
  finally:
    temporary.unlink(missing_ok=True)
  descriptor = os.open(path.parent, os.O_RDONLY)
  try:
    os.fsync(descriptor)  # the name, too, must outlive a crash of the machine
  finally:
    os.close(descriptor)


def leftovers(folder):
  """Half-written files that killed processes left in a folder; only its owner may remove them."""
  return sorted(pathlib.Path(folder).glob('.*.tmp'))
