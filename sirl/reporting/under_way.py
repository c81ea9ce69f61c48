"""The doctor's checks of how a run began, and of whether a process goes on with it."""

from sirl.reporting.findings import Finding
from sirl.runs import identity, lock


def warned(run):
  """What was warned of before the first step, as of a reward that pays wrong answers."""
  for line in identity.last_warnings(run.workdir):
    yield Finding(
      'warning', 'the run began with a warning', line,
      'It was printed before the first step. Mend its cause, unless it is what you want.',
    )  # fmt: skip


def unfinished(run):
  """A run that did not reach its end, and not by an error, which is a finding of its own.

  The lock of the workdir tells whether a process holds it.
  """
  if not run.is_unfinished or identity.last_error(run.workdir):
    return
  row, held = run.steps[-1], lock.is_held(run.workdir)
  reported = run.history[-1].round if run.history else None
  waits = reported is None or row['round'] > reported
  if held is False:
    yield Finding(
      'warning', 'the run was cut off: no process holds it',
      f'the last row is round {row["round"]}, step {row["step"]}; {run.status()}',
      'The same command goes on from the newest checkpoint.',
    )  # fmt: skip
  elif waits:
    yield Finding(
      'note', 'a round is under way',
      f'the last row is round {row["round"]}, step {row["step"]}; its report is not written yet',
      '' if held else 'If no process is running, the same command resumes the run.',
    )  # fmt: skip
