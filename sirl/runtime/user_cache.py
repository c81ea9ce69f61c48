"""The user's cache folder, for what can be made again: compiled programs, converted models."""

import os
import pathlib

VARIABLE = 'SIRL_CACHE'


def folder():
  """$SIRL_CACHE, else 'sirl' in the user's cache; None if the variable is set to nothing."""
  usual = os.environ.get('XDG_CACHE_HOME') or pathlib.Path.home() / '.cache'
  chosen = os.environ.get(VARIABLE, str(pathlib.Path(usual) / 'sirl'))
  return pathlib.Path(chosen) if chosen else None
