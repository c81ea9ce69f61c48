"""What steering rules share: making a decision, and checking their numbers."""

from sirl import ranges
from sirl.runs import lineage, retention
from sirl.runtime import plural
from sirl.types import Action, Decision


def stop(reason, round=None):
  """A STOP decision. With a round, the run keeps the weights from the end of that round."""
  return Decision(Action.STOP, reason, round=round)


def back(reports, round, reason, limit):
  """A ROLLBACK decision, or STOP at the same round once the run has rolled back `limit` times."""
  taken = sum(lineage.decided(report, Action.ROLLBACK) for report in reports)
  if taken < limit:
    return Decision(Action.ROLLBACK, f'{reason} Back to round {round}.', round=round)
  return stop(
    f'{reason} The run has rolled back {plural.counted(taken, "time")} already, the limit is '
    f'{limit}; round {round} was sound.',
    round,
  )


def numbers(**values):
  """Raises ValueError, with the name, for a value that is no finite number."""
  for name, value in values.items():
    ranges.real(name, value)


def limits(**values):
  """`numbers`, of which each may be None."""
  for name, value in values.items():
    ranges.optional(name, value, ranges.real)


def kept(horizon, limit=0):
  """Raises ValueError for a horizon in rounds beyond the checkpoints that are kept.

  Also for a negative limit of rollbacks.
  """
  ranges.whole('horizon', horizon, 1, retention.ROUNDS)
  ranges.whole('limit', limit, 0)
