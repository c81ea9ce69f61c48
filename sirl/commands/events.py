"""Prints sirl's log messages on stderr, and keeps its warnings."""

import contextlib
import logging
import logging.handlers
import queue
import sys


def show():
  """Prints sirl's log messages, and the errors of other libraries, on stderr.

  Calling it again changes nothing. The handler is attached to the root logger: libraries that set
  up logging skip a root that has a handler, so no message is printed twice.
  """
  logging.getLogger('absl').setLevel(logging.ERROR)
  logging.getLogger('sirl').setLevel(logging.INFO)
  if not any(isinstance(handler, Stderr) for handler in logging.root.handlers):
    handler = Stderr()
    handler.setFormatter(logging.Formatter('%(levelname)s %(message)s'))
    logging.root.addHandler(handler)


@contextlib.contextmanager
def kept():
  """Gives a function that returns the texts of sirl's warnings since the beginning."""
  records = queue.SimpleQueue()
  handler = logging.handlers.QueueHandler(records)
  handler.setLevel(logging.WARNING)
  texts = []

  def warnings():
    while not records.empty():
      texts.append(records.get().getMessage())
    return texts

  logging.getLogger('sirl').addHandler(handler)
  try:
    yield warnings
  finally:
    logging.getLogger('sirl').removeHandler(handler)


class Stderr(logging.Handler):
  """Writes to the current sys.stderr.

  A live display replaces sys.stderr so that messages appear above its table.
  """

  def filter(self, record):
    """Accepts sirl's own messages, and errors of other libraries."""
    return record.name.split('.')[0] == 'sirl' or record.levelno >= logging.ERROR

  def emit(self, record):
    """Writes one line."""
    print(self.format(record), file=sys.stderr)
