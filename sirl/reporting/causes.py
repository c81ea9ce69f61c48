"""One cause instead of several findings: what only follows from a problem is named in its advice.

A reward that nothing can earn makes the start look weak, groups tied and the gain missing; advice
on these would lead away from the cause.
"""

import dataclasses

from sirl.reporting import checks, heldout, signal, updates
from sirl.reporting.numbers import outcome_name, recent
from sirl.runs import identity

WARNED = 'First mend what was warned of before the first step. '


def rules(run):
  """(check, whether its problems are causes in this run, checks of what follows), most basic first."""
  wrong = recent(run, outcome_name(run)) <= checks.ALL_WRONG
  untold = (signal.weak_start, checks.tied_groups, heldout.no_gain)
  gamed = heldout.reward_without_outcome
  return (
    (
      updates.skipped_updates,
      updates.are_skipped(run),
      (checks.nothing_judged, gamed, checks.decisions, *untold),
    ),
    (checks.scorers, True, (checks.nothing_judged, heldout.no_gain)),
    # A policy that draws at random does not end its answers, nor write their form.
    (signal.weak_start, signal.draws_at_random(run), (checks.truncation, checks.parsing)),
    (checks.truncation, wrong, (checks.parsing, *untold)),
    (checks.parsing, wrong, untold),
    (checks.tied_groups, True, (checks.nothing_judged, gamed, heldout.no_gain)),
    (checks.nothing_judged, True, (heldout.no_gain,)),
  )


def joined(run, found):
  """The findings without those that follow from another one, which names them.

  Args: found: list of (check, Finding).
  """
  for cause, holds, followers in rules(run):
    at = next((i for i, (c, f) in enumerate(found) if c is cause and f.severity == 'problem'), None)
    follow = [pair for pair in found if pair[0] in followers]
    if holds and at is not None and follow:
      said = '; '.join(finding.what for _, finding in follow)
      finding = found[at][1]
      advice = f'{finding.advice} Mend it first: what else was found may follow from it ({said}).'
      found = [*found[:at], (cause, dataclasses.replace(finding, advice=advice)), *found[at + 1 :]]
      found = [pair for pair in found if pair not in follow]
  warned = WARNED if identity.last_warnings(run.workdir) else ''
  unearned = (signal.weak_start, checks.tied_groups)  # as of a reward that pays wrong answers
  return [
    dataclasses.replace(finding, advice=warned + finding.advice) if check in unearned else finding
    for check, finding in found
  ]
