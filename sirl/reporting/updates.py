"""The doctor's check of updates that were not finite, and so were skipped."""

from sirl.reporting.findings import Finding
from sirl.reporting.numbers import last_value
from sirl.runs import means
from sirl.runtime import plural

SKIPPED = 0.01  # share of updates that were skipped: a problem
MOSTLY = 0.5  # share of updates above which nothing that follows was learned

NEVER = 'no update was ever finite'
MEND = {  # by what stopped being finite first in the first such step
  'the log-probs': 'The model gives no finite log-probs: look at its weights and its dtype.',
  'the advantages': 'The advantages are not finite: does their function divide by a spread that '
  'may be 0?',
  'the loss': 'The objective is not finite: does it take the log or the root of a number that may '
  'be 0 or negative?',
  'the gradient': 'The objective has no finite gradient: a root at 0, or a where of which one '
  'branch is not finite, has none.',
}


def skipped_updates(run):
  """Updates that were not finite; a step may hold several."""
  skipped = last_value(run, 'updates_skipped')
  broken = next((row for row in run.steps if means.not_finite(row)), None)
  first = None if broken is None else means.first_not_finite(broken)
  where = '' if broken is None else f'; in step {broken["serial"]}, {first} came first'
  if all(means.not_finite(row) for row in run.steps):
    yield Finding(
      'problem', NEVER, f'updates_skipped {skipped:.0f}, from step 0 on{where}',
      f'{MEND[first]} The weights never moved, so no learning rate mends it.',
    )  # fmt: skip
  elif skipped > 0:
    lower = 'Lower the learning rate or clip the gradient'
    yield Finding(
      'problem' if skipped / len(run.steps) > SKIPPED else 'warning',
      'updates were skipped because they were not finite',
      f'updates_skipped {skipped:.0f} in {plural.counted(len(run.steps), "step")}{where}',
      (MEND[first] if first == 'the advantages' else f'{lower}.')
      + ' Weights and optimizer were left as they were.',
    )  # fmt: skip


def are_skipped(run):
  """Whether most updates were skipped, so that the run learned nothing."""
  return last_value(run, 'updates_skipped') > MOSTLY * len(run.steps) or all(
    means.not_finite(row) for row in run.steps
  )
