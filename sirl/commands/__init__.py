"""The commands of `sirl`. Each is a function (arguments) -> exit code, called by `sirl.cli`."""

DONE, ERROR, WAITING, INTERRUPTED = 0, 2, 3, 130


def message_of(error):
  """An error's message, or the name of its type if the message is empty."""
  return str(error) or type(error).__name__
