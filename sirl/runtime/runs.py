"""A workdir read back, finished or running: what the report page and the doctor look at."""

import dataclasses
import json
import logging
import pathlib
from collections.abc import Mapping, Sequence

from sirl.runtime.record import read_rows
from sirl.types import Action, Report

log = logging.getLogger(__name__)


@dataclasses.dataclass(frozen=True)
class Run:
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
  identity = workdir / 'config.json'
  warm = _read(workdir / 'warm') if (workdir / 'warm').is_dir() else None
  return Run(
    workdir=workdir,
    identity=_json(identity) if identity.exists() else {},
    steps=read_rows(workdir / 'steps.jsonl'),
    history=[Report.from_json(row) for row in read_rows(workdir / 'history.jsonl')],
    samples=_samples(workdir / 'samples'),
    warm=None if warm is None or warm.is_empty else warm,
  )


def _json(path):
  try:
    return json.loads(path.read_text(encoding='utf-8'))
  except json.JSONDecodeError as error:
    raise ValueError(f'{path} is not JSON ({error}); restore or remove the file') from None


def _samples(folder):
  rounds = sorted(int(path.stem.removeprefix('round_')) for path in folder.glob('round_*.jsonl'))
  ends = sorted({*rounds[:1], *rounds[-1:]})
  return {i: read_rows(folder / f'round_{i:05d}.jsonl') for i in ends}
