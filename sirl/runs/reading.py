"""Reads a workdir, finished or running, for the report page and the doctor."""

import dataclasses
import math
import pathlib
from collections.abc import Mapping, Sequence

from sirl.runs import changes, lineage, lock, metrics
from sirl.runs.identity import read as read_identity
from sirl.runs.record import read_rows
from sirl.runtime import plural
from sirl.types import Action, Report


@dataclasses.dataclass(frozen=True)
class Run:
  """The parsed files of one workdir; files that do not exist yet give empty values."""

  workdir: pathlib.Path
  identity: Mapping  # config.json; {} when it is missing
  steps: Sequence[Mapping]  # rows of steps.jsonl
  history: Sequence[Report]
  samples: Mapping[
    int, Sequence[Mapping]
  ]  # {round: rows} of the first and the last round with samples
  warm: 'Run | None'  # the warm start before the run
  changes: Sequence[Mapping] = ()  # rows of changes.jsonl

  @property
  def name(self):
    """Name of the experiment file, or of the workdir if the file is unknown."""
    return pathlib.Path(self.identity.get('experiment', self.workdir.resolve().name)).stem

  @property
  def config(self):
    """The numbers, nested as in Config; {} if unknown."""
    return self.identity.get('config', {})

  @property
  def is_empty(self):
    """Whether nothing is recorded yet, not even by a warm start."""
    return not self.steps and not self.history and self.warm is None

  @property
  def trained(self):
    """Reports of rounds 0 and later."""
    return [report for report in self.history if report.round >= 0]

  @property
  def final(self):
    """The report of the run's present weights; None before the first report."""
    return lineage.final(self.history) if self.history else None

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
    """A phrase: how many rounds are done, and why the run ended, if it did.

    For an unfinished run it also says whether a process holds the workdir, where that is known.
    """
    done = plural.counted(len(self.trained), 'round')
    limit = self.config.get('max_rounds')
    decision = self.history[-1].decision if self.history else None
    if self.is_stopped:
      return f'stopped after {done}'
    if decision is not None and decision.action is Action.ASK_HUMAN:
      return f'waits for a human after {done}'
    if limit == 0:
      return 'no rounds: max_rounds=0'
    if limit is not None and self.history and self.history[-1].round + 1 >= limit:
      return f'finished all {limit} rounds' if limit > 1 else 'finished its one round'
    held = {True: ', running', False: ', no process runs it', None: ''}[lock.is_held(self.workdir)]
    most = f' of at most {limit}' if limit is not None else ''
    return f'unfinished: {done}{most} reported{held}'

  @property
  def is_stopped(self):
    """Whether a rule, or a human, stopped the run."""
    decision = self.history[-1].decision if self.history else None
    return decision is not None and decision.action is Action.STOP

  @property
  def is_unfinished(self):
    """Whether rounds are left to run, and no decision ended the run."""
    return self.status().startswith('unfinished')


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
    changes=changes.read(workdir),
  )


def _samples(folder):
  rounds = sorted(int(path.stem.removeprefix('round_')) for path in folder.glob('round_*.jsonl'))
  ends = sorted({*rounds[:1], *rounds[-1:]})
  return {i: read_rows(folder / f'round_{i:05d}.jsonl') for i in ends}


def mean(values):
  """Mean of the finite values; NaN if there are none."""
  values = [value for value in values if math.isfinite(finite(value, math.nan))]
  return math.fsum(values) / len(values) if values else math.nan


def finite(value, otherwise):
  """The number, or `otherwise` for None, NaN and infinities."""
  return value if value is not None and math.isfinite(value) else otherwise
