"""Text tables of a run for a terminal: what it measured before and after."""

import math
import re

from sirl.runs import lineage, metrics

LABELS = (  # pattern of a metric -> label; in the order of the table's rows
  (r'heldout/pass@(\d+)', 'pass@{}, sampled'),
  (r'heldout/greedy', 'greedy'),
  (r'heldout/maj@(\d+)', 'majority of {}'),
  (r'refined/best8', 'best of 8, verified'),
  (r'fresh/pass@1', 'fresh sums, pass@1'),
)


def headline(history):
  """{label: metric} of the rows of `before_and_after`, those that the run measured."""
  rows = {}
  for pattern, label in LABELS:
    for name in history[0].metrics:
      if match := re.fullmatch(pattern, name):
        rows[label.format(*match.groups())] = name
  return rows


def before_and_after(history, rows=None):
  """A text table of metrics before training, at the end, and the change, each with its 95 % interval where known.

  Args: history: list of Reports, the first one measured before training; rows: {label: metric name}, those of `headline` by
  default.
  The end is the newest report on the path that led to the final weights.
  """
  rows = headline(history) if rows is None else rows
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
