"""The files that a run writes for people: steps.jsonl, history.jsonl and readable samples.

The checkpoint is authoritative. Opening a Log therefore cuts the files back to the saved steps, and
the resumed run writes the later ones again. Process 0 writes; every process may read rows.

  workdir/steps.jsonl                 one row per GRO step: round, step, serial and its metrics
  workdir/history.jsonl               one report per round, with the decision
  workdir/samples/round_00003.jsonl   every completion of the round's last step
  workdir/samples/round_00003.txt     a few of its groups, as readable text

history.jsonl holds no times, so it repeats bit for bit.
"""

import json
import logging
import os
import pathlib
import textwrap

import jax
import numpy as np

from sirl.runs.digests import report_json
from sirl.runtime import files, hosts, json_text

log = logging.getLogger(__name__)

READABLE_GROUPS = 4  # number of groups in the text file
ADDRESS = ('round', 'step', 'serial')  # the fields of a row that are not metrics


class Log:
  """The record of a workdir, opened at the serial of the restored checkpoint (0 for a new run)."""

  def __init__(self, workdir, *, serial, steps_per_round, max_rounds=None, progress=None, sinks=()):
    """Cuts the files back to the saved steps.

    Args:
      serial: round * steps_per_round + step of the restored state.
      max_rounds: for the display.
      progress: a display from `runs.progress`, or None.
      sinks: functions (serial, {name: number}) -> None, such as `sinks.tensorboard(...)`.
    """
    self.workdir = pathlib.Path(workdir)
    self.steps_per_round = steps_per_round
    self.progress = progress
    self.sinks = tuple(sinks) if hosts.is_first() else ()
    self.workdir.mkdir(parents=True, exist_ok=True)
    rows = [row for row in read_rows(self.workdir / 'steps.jsonl') if row['serial'] < serial]
    self.rows = [row for row in rows if row['round'] == serial // steps_per_round]
    if len(self.rows) != serial % steps_per_round:
      log.warning(
        'steps.jsonl holds %d of the %d committed steps of round %d; their means in the report '
        'will differ',
        len(self.rows), serial % steps_per_round, serial // steps_per_round,
      )  # fmt: skip
    if hosts.is_first():
      self._cut(rows, serial // steps_per_round)
    hosts.barrier('record opened')
    if self.progress is not None:
      self.progress.begin(self.workdir.name, steps_per_round=steps_per_round, max_rounds=max_rounds)

  def __enter__(self):
    return self

  def __exit__(self, *_):
    """Closes nothing: a file is closed after every row, and the caller closes the display."""

  def stage(self, name):
    """Tells the display which stage is running, see `stopwatch.announce`."""
    if self.progress is not None:
      self.progress.stage(name)

  def step(self, round, step, outcome):
    """Writes the metrics of one GRO step. outcome: an Outcome, or the metrics themselves."""
    metrics = jax.device_get(dict(getattr(outcome, 'metrics', outcome)))
    row = {'round': round, 'step': step, 'serial': round * self.steps_per_round + step}
    row |= {name: float(value) for name, value in metrics.items()}
    self.rows = [*(r for r in self.rows if r['round'] == round), row]
    if hosts.is_first():
      self._append('steps.jsonl', row)
    for sink in self.sinks:
      sink(row['serial'], {name: row[name] for name in row if name not in ADDRESS})
    if self.progress is not None:
      self.progress.step(row)

  def round(self, i):
    """Rows of the steps of round i, which must be the latest; NaN for a metric without a value."""
    return [row for row in self.rows if row['round'] == i]

  def report(self, report):
    """Writes one round's report and passes it to sinks and display."""
    if hosts.is_first():
      self._append('history.jsonl', report_json(report))
    for sink in self.sinks:
      sink((report.round + 1) * self.steps_per_round, dict(report.metrics))
    if self.progress is not None:
      self.progress.report(report)

  def rewrite(self, history):
    """Writes history.jsonl again from the history of the checkpoint."""
    if hosts.is_first():
      files.atomic_write(
        self.workdir / 'history.jsonl', ''.join(_line(report_json(report)) for report in history)
      )

  def samples(self, round, outcome):
    """Writes the round's samples: every completion as JSON, a few groups as text."""
    if not hosts.is_first():
      return
    groups = sample_rows(round, outcome)
    lines = ''.join(_line(row) for group in groups for row in group)
    stem = self.workdir / 'samples' / f'round_{round:05d}'
    files.atomic_write(stem.with_suffix('.jsonl'), lines)
    files.atomic_write(stem.with_suffix('.txt'), readable(groups[:READABLE_GROUPS]))

  def _append(self, name, row):
    path = self.workdir / name
    with files.named(path), open(path, 'a', encoding='utf-8') as file:
      file.write(_line(row))
      file.flush()
      os.fsync(file.fileno())

  def _cut(self, rows, round):
    files.atomic_write(self.workdir / 'steps.jsonl', ''.join(_line(row) for row in rows))
    # The report of round -1 belongs to serial 0. At serial 0 it may not be saved yet, so it is
    # dropped as well; `rewrite` writes it again if the checkpoint has it.
    reports = [
      row for row in read_rows(self.workdir / 'history.jsonl') if row['round'] < round and round > 0
    ]
    files.atomic_write(self.workdir / 'history.jsonl', ''.join(_line(row) for row in reports))
    for path in (self.workdir / 'samples').glob('round_*.*'):
      if int(path.stem.removeprefix('round_')) >= round:
        path.unlink()
    for path in files.leftovers(self.workdir / 'samples'):
      path.unlink()


def read_rows(path):
  """Rows of a JSONL file, with metrics by `json_text.number`; [] if the file does not exist.

  An incomplete last line is dropped.
  Raises: ValueError naming the line when an earlier one is not JSON.
  """
  path = pathlib.Path(path)
  if not path.exists():
    return []
  lines = path.read_text(encoding='utf-8', errors='replace').split('\n')
  last = lines.pop()  # '' for a complete file, else an incomplete line
  if last:
    log.warning('%s: dropped a torn last line of %d characters', path, len(last))
  rows = []
  for number, line in enumerate(lines, 1):
    try:
      rows.append(_numbers(json.loads(line)))
    except json.JSONDecodeError as error:
      raise ValueError(
        f'{path}, line {number} is not JSON ({error}); restore or remove the file'
      ) from None
  return rows


def sample_rows(round, outcome):
  """A list of rows per group, one row per completion, as samples/*.jsonl holds them."""
  total_PG, parts = outcome.rewards.total, outcome.rewards.parts
  truncated_PG = hosts.local_rows(outcome.samples.rollouts.truncated)
  tokens_PG = hosts.local_rows(outcome.samples.rollouts.action).sum(axis=-1)
  return [
    [
      {
        'round': round,
        'task': task.id,
        'prompt': task.text,
        'answer': task.answer,
        'sample': g,
        'completion': text,
        'reward': _or_none(total_PG[p, g]),
        'parts': {name: _or_none(part_PG[p, g]) for name, part_PG in parts.items()},
        'truncated': bool(truncated_PG[p, g]),
        'tokens': int(tokens_PG[p, g]),
      }
      for g, text in enumerate(outcome.samples.texts[p])
    ]
    for p, task in enumerate(outcome.samples.tasks)
  ]


def readable(groups):
  """Groups of sample rows as readable text."""
  blocks = []
  for group in groups:
    first = group[0]
    blocks.append('=' * 88)
    blocks.append(f'prompt  ({first["task"]})\n{_indent(first["prompt"])}')
    blocks.append(
      f'answer  {first["answer"] if first["answer"] is not None else "(nobody knows it)"}'
    )
    for row in group:
      parts = '  '.join(f'{name}={_short(value)}' for name, value in row['parts'].items())
      cut = '  TRUNCATED' if row['truncated'] else ''
      blocks.append('-' * 88)
      blocks.append(
        f'[{row["sample"]}] reward={_short(row["reward"])}  {parts}  tokens={row["tokens"]}{cut}'
      )
      blocks.append(_indent(row['completion']) or '    (empty)')
  return '\n'.join(blocks) + '\n'


def _line(row):
  return json_text.dumps(row) + '\n'


def _numbers(row):
  """A row whose metrics are numbers; null stays None for the reward of a sample, not judged."""
  if 'metrics' in row:
    return row | {'metrics': _numbers(row['metrics'])}
  if 'completion' in row:
    parts = {name: _reward(value) for name, value in row['parts'].items()}
    return row | {'reward': _reward(row['reward']), 'parts': parts}
  return {name: json_text.number(value) for name, value in row.items()}


def _reward(value):
  return None if value is None else json_text.number(value)


def _or_none(value):
  value = float(value)
  return None if np.isnan(value) else value


def _short(value):
  return 'none' if value is None else f'{value:.3g}'


def _indent(text):
  return textwrap.indent(text.rstrip('\n'), '    ')
