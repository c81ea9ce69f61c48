"""A workdir read back, finished or running: what the report page and the doctor look at."""

import dataclasses
import math
import pathlib
from collections.abc import Mapping, Sequence

from sirl.runtime import metrics
from sirl.runtime.identity import read as read_identity
from sirl.runtime.record import read_rows
from sirl.types import Action, Report

# Two-sided 95 % points of Student's t by degrees of freedom; 2.1 beyond the table.
T95 = (12.71, 4.30, 3.18, 2.78, 2.57, 2.45, 2.36, 2.31, 2.26, 2.23)


@dataclasses.dataclass(frozen=True)
class Run:
  """The files of one workdir, parsed; what was not written yet is empty."""

  workdir: pathlib.Path
  identity: Mapping  # config.json; {} when it is missing
  steps: Sequence[Mapping]  # rows of steps.jsonl
  history: Sequence[Report]
  samples: Mapping[int, Sequence[Mapping]]  # of the first and the last round that has any
  warm: 'Run | None'  # the warm start before the run

  @property
  def name(self):
    """Name of the experiment file, or of the workdir."""
    return pathlib.Path(self.identity.get('experiment', self.workdir.resolve().name)).stem

  @property
  def config(self):
    """The numbers, nested as in Config; {} when unknown."""
    return self.identity.get('config', {})

  @property
  def is_empty(self):
    """True when nothing was recorded yet, not even by a warm start."""
    return not self.steps and not self.history and self.warm is None

  @property
  def trained(self):
    """Reports of rounds 0 and later."""
    return [report for report in self.history if report.round >= 0]

  @property
  def final(self):
    """The report of the weights that the run has now; None before the first."""
    return final_report(self.history) if self.history else None

  @property
  def step_names(self):
    """Names in any row of steps, in the order of first appearance."""
    return list(dict.fromkeys(name for row in self.steps for name in row))

  @property
  def accuracy_names(self):
    """Accuracies in any report, in the order of first appearance."""
    names = (name for report in self.history for name in metrics.accuracies(report.metrics))
    return list(dict.fromkeys(names))

  def status(self):
    """One phrase: how far the run is and why it ended, if it did. Whether a process is alive is not known here."""
    rounds = len(self.trained)
    limit = self.config.get('max_rounds')
    decision = self.history[-1].decision if self.history else None
    if decision is not None and decision.action is Action.STOP:
      return f'stopped after {rounds} rounds'
    if decision is not None and decision.action is Action.ASK_HUMAN:
      return f'waits for a human after {rounds} rounds'
    if limit is not None and self.history and self.history[-1].round + 1 >= limit:
      return f'finished all {limit} rounds'
    return (
      f'unfinished: {rounds} rounds'
      + (f' of at most {limit}' if limit is not None else '')
      + ' reported'
    )


def read(workdir):
  """The Run in a workdir.

  Raises: FileNotFoundError when the folder does not exist, ValueError when a file is not JSON.
  """
  workdir = pathlib.Path(workdir)
  if not workdir.is_dir():
    raise FileNotFoundError(f'no workdir {workdir}; give the --workdir of a run')
  return _read(workdir)


def _read(workdir):
  warm = _read(workdir / 'warm') if (workdir / 'warm').is_dir() else None
  return Run(
    workdir=workdir,
    identity=read_identity(workdir) if (workdir / 'config.json').exists() else {},
    steps=read_rows(workdir / 'steps.jsonl'),
    history=[Report.from_json(row) for row in read_rows(workdir / 'history.jsonl')],
    samples=_samples(workdir / 'samples'),
    warm=None if warm is None or warm.is_empty else warm,
  )


def _samples(folder):
  rounds = sorted(int(path.stem.removeprefix('round_')) for path in folder.glob('round_*.jsonl'))
  ends = sorted({*rounds[:1], *rounds[-1:]})
  return {i: read_rows(folder / f'round_{i:05d}.jsonl') for i in ends}


def final_report(history):
  """The report of the weights that a run ended with, or goes on from: a rollback or a stop may name an earlier round's.

  The end of a round that was itself rolled back holds the weights it was rolled back to, so the way may have several steps.
  Args: history: list of Reports, not empty.
  """
  report = history[-1]
  while (target := _target(report)) is not None:
    report = next(earlier for earlier in history if earlier.round == target)
  return report


def _target(report):
  """The earlier round whose weights this report's decision brought back, None where the weights stayed."""
  decision = report.decision
  if decision is None or decision.action not in (Action.ROLLBACK, Action.STOP):
    return None
  return None if decision.round == report.round else decision.round


def mean(values):
  """Mean of the finite ones; NaN without any."""
  values = [value for value in values if math.isfinite(finite(value, math.nan))]
  return math.fsum(values) / len(values) if values else math.nan


def finite(value, otherwise):
  """The number, or `otherwise` for None, NaN and infinities."""
  return value if value is not None and math.isfinite(value) else otherwise


def slope(reports, name):
  """(slope per round, half a 95 % interval) of a least-squares line through a report metric.

  The error is the larger of what the scatter around the line and what the metric's own standard errors give.
  """
  x = [float(r.round) for r in reports]
  y = [r.metrics[name] for r in reports]
  n, mean_x, mean_y = len(x), mean(x), mean(y)
  spread = math.fsum((a - mean_x) ** 2 for a in x)
  value = math.fsum((a - mean_x) * (b - mean_y) for a, b in zip(x, y)) / spread
  scatter = math.fsum((b - mean_y - value * (a - mean_x)) ** 2 for a, b in zip(x, y)) / (n - 2)
  own = [r.metrics.get(f'{name}_sem', 0.0) for r in reports]
  measured = mean(v * v for v in own)
  variance = max(scatter, 0.0 if math.isnan(measured) else measured)
  t = T95[n - 3] if n - 3 < len(T95) else 2.1
  return value, t * math.sqrt(variance / spread)
