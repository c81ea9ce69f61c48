"""What is wrong with a run, in words: the findings of all checks, worst first.

A check reads the recorded numbers and says what it saw and what to do; checks.py holds them all.
"""

import math

from sirl.reporting import causes, checks, numbers
from sirl.reporting.findings import SEVERITIES, Finding, render
from sirl.runs import lock, metrics, reading
from sirl.runtime import plural

__all__ = ['SEVERITIES', 'Finding', 'diagnose', 'examine', 'render']


def diagnose(workdir):
  """Findings about a workdir, worst first; a healthy run has one finding that gives its numbers.

  Raises: FileNotFoundError when there is no such folder, ValueError when a file is not readable.
  """
  return examine(reading.read(workdir))


def examine(run):
  """Findings about a Run, worst first."""
  if not run.steps:
    ended = [*checks.ended_badly(run)]  # the same command would end so again
    return [*ended, *checks.warned(run), *([] if ended else [no_steps(run)])]
  found = causes.joined(run, [(check, f) for check in checks.CHECKS for f in check(run)])
  if not any(finding.severity in ('problem', 'warning') for finding in found):
    found.append(healthy(run))
  return sorted(found, key=lambda finding: SEVERITIES.index(finding.severity))


def no_steps(run):
  """The finding about a run that has no GRO step yet."""
  if run.config.get('max_rounds') == 0:
    return Finding(
      'note', 'this run has no rounds', 'max_rounds=0: it measured the weights and trained nothing',
      'Raise max_rounds to train.',
    )  # fmt: skip
  done = 'the baseline was measured' if run.history else 'no report either'
  warm = f', the warm start has {plural.counted(len(run.warm.steps), "step")}' if run.warm else ''
  if lock.is_held(run.workdir) is False:
    return Finding(
      'note', 'no GRO step yet, and no process runs it', f'steps.jsonl is empty; {done}{warm}',
      'The same command starts it again, or resumes it.',
    )  # fmt: skip
  return Finding(
    'note', 'no GRO step yet', f'steps.jsonl is empty; {done}{warm}',
    'The first step compiles for a while. If no process is running, start the run again: it '
    'resumes.',
  )  # fmt: skip


def healthy(run):
  """The finding about a run without problems and warnings: its numbers."""
  name = numbers.first_accuracy(run)
  words = []
  if name and len(run.history) > 1:
    before, after = (metrics.with_interval(r.metrics, name) for r in (run.history[0], run.final))
    words.append(f'{name} {before} -> {after}')
  forms = {'reward': '.3f', 'entropy': '.3f', 'completions/mean_length': '.1f'}
  for step_metric, form in forms.items():
    early, now = numbers.first(run, step_metric), numbers.recent(run, step_metric)
    if math.isfinite(now):
      words.append(f'{step_metric} {early:{form}} -> {now:{form}}')
  for step_metric in ('frac_reward_zero_std', 'completions/clipped_ratio'):
    now = numbers.recent(run, step_metric)
    if math.isfinite(now):
      words.append(f'{step_metric} {now:.2f}')
  return Finding('healthy', f'nothing ails this run ({run.status()})', '; '.join(words), '')
