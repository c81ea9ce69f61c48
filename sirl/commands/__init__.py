"""The commands of `sirl`. Each is a function (arguments) -> exit code, called by `sirl.cli`."""

from sirl.runtime import worker

DONE, ERROR, WAITING, INTERRUPTED = 0, 2, 3, 130


def message_of(error):
  """An error's message, or the name of its type if the message is empty.

  A call of sys.exit says nothing by itself, so its line is added.
  """
  error = worker.exited(error) if isinstance(error, SystemExit) else error
  line = worker.line_of(error) if isinstance(error, worker.Exited) else ''
  return (str(error) or type(error).__name__) + (f' ({line})' if line else '')
