"""Which checkpoints are kept. The store follows this rule and steering relies on it."""

import dataclasses

ROUNDS = 8  # number of past rounds whose ends are kept, as targets of a rollback


@dataclasses.dataclass(frozen=True)
class Kept:
  """An orbax preservation policy.

  Keeps the last two checkpoints, the last `rounds` round ends, and serial 0.
  """

  steps_per_round: int
  rounds: int

  def should_preserve(self, checkpoints, *, context):
    """One bool per checkpoint, oldest first."""
    del context
    serials = [checkpoint.step for checkpoint in checkpoints]
    ends = [serial for serial in serials if serial % self.steps_per_round == 0]
    kept = {0, *serials[-2:], *ends[len(ends) - min(self.rounds, len(ends)) :]}
    return [serial in kept for serial in serials]
