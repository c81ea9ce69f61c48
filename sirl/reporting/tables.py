"""Text tables for a terminal: what a run measured before and after, and the runs in a folder."""

import math
import pathlib
import re
import time

from sirl.reporting.numbers import first_accuracy
from sirl.runs import identity, lineage, metrics, reading
from sirl.runtime import plural

LABELS = (  # pattern of a metric -> label; in the order of the table's rows
  (r'heldout/pass@(\d+)', 'pass@{}, sampled'),
  (r'heldout/greedy', 'greedy'),
  (r'heldout/maj@(\d+)', 'majority of {}'),
  (r'refined/best8', 'best of 8 by check'),
  (r'fresh/pass@1', 'fresh tasks, pass@1'),
)

HEAD = (  # of the table of runs
  'name',
  'experiment',
  'task',
  'model',
  'seed',
  'rounds',
  'status',
  'accuracy',
  'before -> after',
  'age',
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
  """A table of metrics before training, at the end, and the change; 95 % intervals where known.

  A row ends with the metric's name in history.jsonl.

  The end is the newest report on the path that led to the final weights.

  Args:
    history: list of Reports, the first one measured before training.
    rows: {label: metric name}; those of `headline` by default.
  """
  rows = headline(history) if rows is None else rows
  first, last = history[0], lineage.final(history)
  if len(history) == 1:
    lines = [f'{"held-out":<22}{"before":>22}  metric', '-' * 62]
    lines += [f'{label:<22}{shown(first, name):>22}  {name}' for label, name in rows.items()]
    return '\n'.join([*lines, 'no round was trained'])
  lines = [f'{"held-out":<22}{"before":>22}{"after":>22}{"change":>10}  metric', '-' * 94]
  for label, name in rows.items():
    if name in first.metrics and name in last.metrics:
      change = last.metrics[name] - first.metrics[name]
      numbers = f'{shown(first, name):>22}{shown(last, name):>22}{change:>+10.3f}'
      lines.append(f'{label:<22}{numbers}  {name}')
  decision = history[-1].decision
  done = plural.counted(len(history) - 1, 'round')
  lines.append(f'{done}; last decision: {decision.action}, {decision.reason}')
  return '\n'.join(lines)


def shown(report, name):
  """'0.968 [0.957, 0.977]', or '0.512 ± 0.040' without the interval's ends, or '0.512'."""
  value, sem = report.metrics[name], report.metrics.get(f'{name}_sem', math.nan)
  if not math.isnan(report.metrics.get(f'{name}_low', math.nan)):
    return metrics.with_interval(report.metrics, name)
  return f'{value:.3f}' if math.isnan(sem) else f'{value:.3f} ± {metrics.Z95 * sem:.3f}'


# ---------------------------------------------------------------- the runs in a folder


def runs(folder, now=None):
  """A table of the runs in a folder, and in the folders directly in it, such as those of a sweep.

  A run that cannot be read has a row that says why.

  Args: now: seconds since 1970 that ages are counted to; the present by default.
  Raises: FileNotFoundError when there is no such folder.
  """
  folder = pathlib.Path(folder)
  if not folder.is_dir():
    raise FileNotFoundError(f'no folder {folder}; give the folder that holds your runs')
  workdirs = [path for path in (folder, *_workdirs(folder)) if (path / 'config.json').exists()]
  if not workdirs:
    return (
      f'no run in {folder}; start one: sirl run FILE --workdir {folder}/NAME, or give the folder '
      'that holds your runs'
    )
  now = time.time() if now is None else now
  rows, damaged = [], []
  for workdir in workdirs:
    name = (workdir.relative_to(folder) if workdir != folder else workdir.resolve()).as_posix()
    try:
      cells = _cells(reading.read(workdir))
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
      damaged.append(f'{name} is damaged: {type(error).__name__}: {error}')
      cells = ['–', '–', '–', '–', '–', 'damaged, see below', '–', '–']
    rows.append([name, *cells, _age(workdir, now)])
  return '\n'.join([aligned([HEAD, *rows]), *damaged])


def _workdirs(folder):
  """Folders that may be runs: one and two levels below. A warm start belongs to its run."""
  return sorted(
    path
    for pattern in ('*', '*/*')
    for path in folder.glob(pattern)
    if path.is_dir() and path.name != 'warm'
  )


def _cells(run):
  """What the table says of a run."""
  marks = ', last attempt failed' if identity.last_error(run.workdir) else ''
  marks += ', a debug run' if run.config.get('debug') else ''
  return [
    run.name,
    *(str(run.config.get(key, '–')) for key in ('task', 'model', 'seed')),
    f'{len(run.trained)} of {run.config.get("max_rounds", "?")}',
    run.status() + marks,
    first_accuracy(run) or '–',
    _before_after(run),
  ]


def _before_after(run):
  """'0.300 -> 0.759 [0.719, 0.799]' of the first accuracy; '–' without one."""
  name = first_accuracy(run)
  if name is None:
    return '–'
  first, now = run.history[0].metrics, metrics.with_interval(run.final.metrics, name)
  return f'{first.get(name, math.nan):.3f} -> {now}' if run.trained else now


def _age(workdir, now):
  """Time since the run last wrote: '5 min', '3 h', '12 d'."""
  paths = [workdir / name for name in ('config.json', 'steps.jsonl', 'history.jsonl')]
  seconds = now - max(path.stat().st_mtime for path in paths if path.exists())
  if seconds < 3600:
    return f'{max(seconds, 0) / 60:.0f} min'
  return f'{seconds / 3600:.0f} h' if seconds < 48 * 3600 else f'{seconds / 86400:.0f} d'


def aligned(rows):
  """Rows of text cells as a table with aligned columns; the first row is its head."""
  columns = max(map(len, rows))
  rows = [[*row, *[''] * (columns - len(row))] for row in rows]
  widths = [max(map(len, column)) for column in zip(*rows)]
  lines = ['  '.join(f'{cell:<{w}}' for cell, w in zip(row, widths)).rstrip() for row in rows]
  return '\n'.join([lines[0], '-' * max(map(len, lines)), *lines[1:]])
