"""The folder that a GGUF file was converted into: found again, or made.

`x.gguf` is converted into the folder `x` beside it, or into the user's cache if nothing can be
written there; `origin` says whether a folder still is the conversion of the file.
"""

import errno
import hashlib
import logging
import os
import pathlib
import tempfile

from sirl.models.files import origin
from sirl.runtime import files, user_cache

READ_ONLY = (errno.EACCES, errno.EPERM, errno.EROFS)

log = logging.getLogger(__name__)


def converted(file):
  """The Hugging Face folder of a GGUF file; it is converted unless its conversion is at hand.

  Raises: ValueError if the folder beside the file has another origin; PermissionError if neither it
    nor the cache can be written.
  """
  beside = file.with_suffix('')
  if beside.exists() and not (beside / origin.RECORD).is_file():
    raise ValueError(
      f'{file.name} is converted into {beside}, which exists and has no {origin.RECORD}; '
      f'load that folder itself, or rename or remove it to convert the file'
    )
  cached = cache_folder(file)
  for folder in (beside, cached):
    if folder and origin.fits(folder, file):
      return folder
  try:
    return convert(file, beside)
  except OSError as error:
    if error.errno not in READ_ONLY:
      raise
  if cached is None:
    raise PermissionError(
      f'{file} is converted once into {beside}, which cannot be written; convert it elsewhere with '
      f'gguf.convert({str(file)!r}, FOLDER), or let SIRL_CACHE name a folder'
    )
  log.info('%s cannot be written; %s is converted into %s', beside, file.name, cached)
  files.check_folder(cached.parent, 'cache', 'set SIRL_CACHE to another folder')
  cached.parent.mkdir(parents=True, exist_ok=True)
  return convert(file, cached)


def cache_folder(file):
  """A folder of the file's own in the user's cache; None if there is no cache."""
  path = hashlib.sha256(str(file.resolve()).encode()).hexdigest()[:12]
  cache = user_cache.folder()
  return cache and cache / 'gguf' / f'{file.stem}-{path}'


def convert(file, folder):
  """Converts the file beside the folder and moves the result there, completely or not at all."""
  from sirl.models.files import gguf  # only this path needs the gguf package

  with tempfile.TemporaryDirectory(dir=folder.parent) as scratch:
    made = gguf.convert(file, pathlib.Path(scratch) / folder.name)
    if folder.exists():
      (folder / origin.RECORD).write_text('{}')  # until the new one is there, nothing fits
      for part in sorted(made.iterdir(), key=lambda part: part.name == origin.RECORD):
        os.replace(part, folder / part.name)
    else:
      os.replace(made, folder)
  return folder
