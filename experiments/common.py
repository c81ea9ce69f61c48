"""Shared by experiments: the reward of a demonstration, the closing table of a run."""

import math

from sirl.runtime import runs

HEADLINE = {  # label -> metric; one that a run does not measure is left out of its table
  'pass@1, sampled': 'heldout/pass@1',
  'pass@8, sampled': 'heldout/pass@8',
  'greedy': 'heldout/greedy',
  'majority of 8': 'heldout/maj@8',
  'best of 8, verified': 'refined/best8',
  'fresh sums, pass@1': 'fresh/pass@1',
}


def demonstrated(task, text):
  """A demonstration is worth learning, whatever it says."""
  del task, text
  return 1.0


def before_and_after(history, rows=HEADLINE):
  """A text table of metrics before training, at the end, and the change, with half a 95 % interval where known.

  Args: history: list of Reports, the first one measured before training; rows: {label: metric name}.
  The end is the newest report on the path that led to the final weights.
  """
  first, last = history[0], runs.final_report(history)
  lines = [f'{"held-out":<22}{"before":>16}{"after":>16}{"change":>10}', '-' * 64]
  for label, name in rows.items():
    if name in first.metrics and name in last.metrics:
      change = last.metrics[name] - first.metrics[name]
      lines.append(f'{label:<22}{shown(first, name):>16}{shown(last, name):>16}{change:>+10.3f}')
  lines.append(
    f'{len(history) - 1} rounds; last decision: {history[-1].decision.action}, {history[-1].decision.reason}'
  )
  return '\n'.join(lines)


def shown(report, name):
  """'0.512 ± 0.040'."""
  value, sem = report.metrics[name], report.metrics.get(f'{name}_sem', math.nan)
  return f'{value:.3f}' if math.isnan(sem) else f'{value:.3f} ± {1.96 * sem:.3f}'
