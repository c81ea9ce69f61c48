"""Time of a run in seconds per stage."""

import contextlib
import time


class Stopwatch:
  """Sums seconds per stage until `take`; calls announce(stage) when a stage starts."""

  def __init__(self, announce=lambda stage: None):
    self.announce = announce
    self.seconds = {}

  @contextlib.contextmanager
  def time(self, stage):
    """Adds the seconds of the with block to `stage`."""
    self.announce(stage)
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
