"""What steering rules share: making a decision, and checking their numbers."""

from sirl.runs import lineage, retention
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
    f'{reason} The run has rolled back {taken} times already, the limit is {limit}; round {round} '
    'was sound.',
    round,
  )


def at_least_one(name, value):
  """Raises ValueError, with the name, for a value below 1."""
  if value < 1:
    raise ValueError(f'{name}={value}; expected at least 1')


def kept(horizon):
  """Raises ValueError for a horizon in rounds beyond the checkpoints that are kept."""
  if not 1 <= horizon <= retention.ROUNDS:
    raise ValueError(
      f'horizon={horizon}; expected 1 to {retention.ROUNDS}, the rounds whose weights are kept'
    )
