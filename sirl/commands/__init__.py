"""The commands of `sirl`, each a function (arguments) -> exit code. `sirl.cli` parses the line and calls one."""

DONE, ERROR, WAITING, INTERRUPTED = 0, 2, 3, 130


def message_of(error):
  """An error's message, or its type where there is none."""
  return str(error) or type(error).__name__
