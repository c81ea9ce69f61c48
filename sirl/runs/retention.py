"""Which checkpoints are kept. The store follows this rule and steering relies on it."""

import dataclasses
import json
import pathlib

ROUNDS = 8  # number of past rounds whose ends are kept, as targets of a rollback
META = 'meta/metadata'  # path of a checkpoint's JSON, fixed by orbax


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


def kept_rounds(workdir):
  """Rounds whose end has a checkpoint in the workdir, ascending; -1 is the start.

  Only reads, so it is safe while the run is active.
  """
  folder = pathlib.Path(workdir) / 'checkpoints'
  saved = {int(path.name): path for path in folder.glob('[0-9]*') if path.name.isdigit()}
  for serial in sorted(saved, reverse=True):
    try:
      steps = json.loads((saved[serial] / META).read_text())['body']['steps_per_round']
    # Damaged; another checkpoint has the same steps_per_round.
    except (OSError, ValueError, KeyError):
      continue
    return round_ends(saved, steps)
  return []


def round_ends(serials, steps_per_round):
  """The rounds, ascending, that end at one of the serials; -1 is the start."""
  return [n // steps_per_round - 1 for n in sorted(serials) if n % steps_per_round == 0]
