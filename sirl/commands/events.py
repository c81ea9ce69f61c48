"""The project's own events on stderr."""

import logging
import sys


def show():
  """Events of the project on stderr, once; libraries only speak about errors.

  The handler is the root's: a library that sets up logging leaves a root alone that has one, and nothing is said twice.
  """
  logging.getLogger('absl').setLevel(logging.ERROR)
  logging.getLogger('sirl').setLevel(logging.INFO)
  if not any(isinstance(handler, Stderr) for handler in logging.root.handlers):
    handler = Stderr()
    handler.setFormatter(logging.Formatter('%(levelname)s %(message)s'))
    logging.root.addHandler(handler)


class Stderr(logging.Handler):
  """Writes to what sys.stderr is now: a live display replaces it, so that lines appear above the table."""

  def filter(self, record):
    """Lets the project's own events through, and the errors of others."""
    return record.name.split('.')[0] == 'sirl' or record.levelno >= logging.ERROR

  def emit(self, record):
    """Writes one line."""
    print(self.format(record), file=sys.stderr)
