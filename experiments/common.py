"""Shared by experiments: the reward of a demonstration, the closing table of a run."""

import math

from sirl.runs import lineage, metrics

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
  """A text table of metrics before training, at the end, and the change, each with its 95 % interval where known.

  Args: history: list of Reports, the first one measured before training; rows: {label: metric name}.
  The end is the newest report on the path that led to the final weights.
  """
  first, last = history[0], lineage.final(history)
  lines = [f'{"held-out":<22}{"before":>22}{"after":>22}{"change":>10}', '-' * 76]
  for label, name in rows.items():
    if name in first.metrics and name in last.metrics:
      change = last.metrics[name] - first.metrics[name]
      lines.append(f'{label:<22}{shown(first, name):>22}{shown(last, name):>22}{change:>+10.3f}')
  lines.append(
    f'{len(history) - 1} rounds; last decision: {history[-1].decision.action}, {history[-1].decision.reason}'
  )
  return '\n'.join(lines)


def shown(report, name):
  """'0.968 [0.957, 0.977]' where the report holds the ends of the interval, else '0.512 ± 0.040', else '0.512'."""
  value, sem = report.metrics[name], report.metrics.get(f'{name}_sem', math.nan)
  if not math.isnan(report.metrics.get(f'{name}_low', math.nan)):
    return metrics.with_interval(report.metrics, name)
  return f'{value:.3f}' if math.isnan(sem) else f'{value:.3f} ± {metrics.Z95 * sem:.3f}'
