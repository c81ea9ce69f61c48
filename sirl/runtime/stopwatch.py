"""Time of a run in seconds per stage, and word of the stage that runs."""

import contextlib
import contextvars
import time

# Who is told of a stage. The stages of a GRO step stand deep in functions that an experiment has
# composed, so the listener is set around them, as the mesh is.
_told = contextvars.ContextVar('told', default=None)


@contextlib.contextmanager
def announced(tell):
  """Calls tell(stage) for every stage that starts in the with block, in this thread."""
  token = _told.set(tell)
  try:
    yield
  finally:
    _told.reset(token)


def announce(stage):
  """Says that a stage starts: 'acquire', 'generate', 'reward', 'optimize', ..."""
  if (tell := _told.get()) is not None:
    tell(stage)


class Stopwatch:
  """Sums seconds per stage until `take`, and announces each stage when it starts."""

  def __init__(self):
    self.seconds = {}

  @contextlib.contextmanager
  def time(self, stage):
    """Adds the seconds of the with block to `stage`."""
    announce(stage)
    started = time.perf_counter()
    try:
      yield
    finally:
      self.seconds[stage] = self.seconds.get(stage, 0.0) + time.perf_counter() - started

  def take(self):
    """{'time/<stage>': seconds} since the last call; resets the sums."""
    taken = {f'time/{stage}': seconds for stage, seconds in self.seconds.items()}
    self.seconds = {}
    return taken
