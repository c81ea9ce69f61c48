"""Runs side by side: accuracies with intervals, differences to the first group of runs, cost.

Runs that differ in their seed alone are one group, see groups.py; comparison.py has the statistics.
`compare` computes, `text` and `picture` show. An accuracy after training is that of the weights
that a run has now.
"""

import math
import pathlib
import statistics
import textwrap
from collections.abc import Sequence
from typing import Any

import matplotlib
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from sirl.reporting import drawing, groups, tables
from sirl.reporting.comparison import Comparison, difference, row_of
from sirl.runs import reading
from sirl.runtime import plural

INTERVALS = (
  "Brackets are 95 % intervals. A group of several seeds has Student's t over its seeds, a single "
  "run its own interval. A paired difference has Student's t over the seeds' differences. An "
  'unpaired one treats the groups as independent; of a single run it leaves out what another seed '
  "would change. No interval is narrower than the runs' own standard errors allow."
)
WIDTH = 100  # columns of the notes in a terminal
LONGEST = 32  # characters of a name; where a name is longer, letters stand for the groups


def compare(workdirs: Sequence[str | pathlib.Path]) -> Comparison:
  """The comparison of finished or running workdirs; the group of the first one is the baseline.

  Raises:
    ValueError: for fewer than two workdirs, a workdir that is damaged or has no report, a run given
      twice, or runs that measured different tasks.
    FileNotFoundError: for a folder that does not exist.
  """
  if len(workdirs) < 2:
    raise ValueError(f'got {len(workdirs) or "no"} workdir; give at least two runs to compare')
  runs = [_read(workdir) for workdir in workdirs]
  for run in runs:
    if not run.history:
      raise ValueError(
        f'{run.workdir} holds no report yet (history.jsonl is empty or missing); wait for the '
        'first evaluation, or leave it out'
      )
  found, differing = groups.grouped(runs)
  accuracies = groups.common_accuracies(runs)
  first, *others = found
  differences = [difference(first, g, name) for name in accuracies for g in others]
  return Comparison(
    accuracies=tuple(accuracies),
    rows=tuple(row_of(group, accuracies) for group in found),
    differences=tuple(differences),
    notes=tuple(_notes(found, differing, differences)),
  )


def _read(workdir):
  try:
    return reading.read(workdir)
  except (KeyError, TypeError, AttributeError) as error:
    raise ValueError(f'{workdir} is damaged: {type(error).__name__}: {error}') from error


def _notes(found, differing, differences):
  """Yields what a reader must know besides the numbers."""
  runs = [run for group in found for run in group.runs.values()]
  if len(found) == 1:
    yield 'All runs differ in their seed alone: there is one group and no difference.'
  hidden = [name for name in differing if not any(f' {name}=' in group.name for group in found)]
  if hidden:
    yield f'The groups also differ in {", ".join(hidden)}.'
  for group in found:
    if groups.changed_files(group):
      yield f'The experiment file of {group.name} was changed between its runs.'
  for run in runs:
    if run.is_unfinished:
      yield f'{run.workdir} is {run.status()}.'
  if len({len(run.trained) for run in runs}) > 1:
    yield 'The runs have trained for different numbers of rounds.'
  seeds = set(found[0].runs)
  for group in found[1:]:
    alone = sorted(seed for seed in seeds ^ set(group.runs) if seed is not None)
    if len(seeds & set(group.runs)) > 1 and alone:
      which = ', '.join(map(str, alone))
      yield f'Seeds without a pair are left out of the difference of {group.name}: {which}.'
  if any(run.warm for run in runs):
    yield 'Steps and tokens are without the warm start.'
  n = len(differences)
  if n >= 10:
    yield f'Of {n} intervals about {n / 20:.0f} would exclude 0 by chance where nothing differs.'


# ---------------------------------------------------------------- text


def text(comparison: Comparison) -> str:
  """The comparison for a terminal: a table of the groups, then a table for each accuracy."""
  blocks = [_cost(comparison.rows), *(_table(comparison, name) for name in comparison.accuracies)]
  notes = [*comparison.notes, INTERVALS]
  blocks.append('\n'.join(line for note in notes for line in textwrap.wrap(note, WIDTH)))
  return '\n\n'.join(blocks)


def _cost(rows):
  """What ran, and what it took."""
  lines = [['group', 'seeds', 'rounds', 'steps per run', 'tokens per run']]
  for row, title in zip(rows, titles(rows)):
    seeds = ' '.join('?' if seed is None else str(seed) for seed in row.seeds)
    lines.append([title, seeds, *map(_span, (row.rounds, row.steps, row.tokens))])
  return tables.aligned(lines)


def labels(rows):
  """What the groups are called in tables: their names, or letters where a name is long."""
  names = [row.name for row in rows]
  return names if max(map(len, names)) <= LONGEST else [_letters(i) for i in range(len(names))]


def titles(rows):
  """Names of the groups, each after its label where that is another one."""
  return [
    row.name if row.name == label else f'{label}  {row.name}'
    for row, label in zip(rows, labels(rows))
  ]


def _letters(i):
  """0 -> 'A', 25 -> 'Z', 26 -> 'AA'."""
  return (_letters(i // 26 - 1) if i >= 26 else '') + chr(ord('A') + i % 26)


def _table(comparison, name):
  """One accuracy of all groups, with the differences to the first group."""
  differences = {d.group: d for d in comparison.differences if d.accuracy == name}
  called = labels(comparison.rows)
  lines = [[name, 'before', 'after', *([f'minus {called[0]}'] if differences else [])]]
  for row, label in zip(comparison.rows, called):
    score = row.scores[name]
    before = '–' if math.isnan(score.before) else f'{score.before:.3f}'
    line = [label, before, f'{score.after:.3f}{_interval(score, ".3f")}']
    if found := differences.get(row.name):
      how = f'paired, {plural.counted(found.pairs, "seed")}' if found.pairs else 'unpaired'
      line += [f'{found.value:+.3f}{_interval(found, "+.3f")}', how, verdict(found)]
    lines.append(line)
  return tables.aligned(lines)


def verdict(difference):
  """'higher', 'lower', or 'cannot tell' where the interval holds 0 or is not known."""
  if not difference.is_clear:
    return 'cannot tell'
  return 'higher' if difference.value > 0 else 'lower'


def _interval(value, form):
  return '' if math.isnan(value.low) else f' [{value.low:{form}}, {value.high:{form}}]'


def _span(values):
  """'1,200', or '800 to 1,200' where runs differ; '–' where none is known."""
  known = sorted(value for value in values if not math.isnan(value))
  ends = list(dict.fromkeys(f'{value:,.0f}' for value in (known[0], known[-1]))) if known else []
  return ' to '.join(ends) or '–'


# ---------------------------------------------------------------- picture


def picture(comparison: Comparison, path: str | pathlib.Path) -> None:
  """Writes a PNG: the first accuracy by round, and the differences with their intervals.

  Makes the folder when missing.
  """
  pathlib.Path(path).parent.mkdir(parents=True, exist_ok=True)
  colours = dict(zip((row.name for row in comparison.rows), drawing.cycle()))
  # Colours repeat; lines with a repeated colour are dashed.
  dashes: Any = {n: '-' if i < len(drawing.COLOURS) else '--' for i, n in enumerate(colours)}
  differences = comparison.differences
  lines = len(differences) + len({d.accuracy for d in differences})
  with matplotlib.rc_context(drawing.STYLE):
    size = (10 if differences else 6, max(3.8, 1.4 + 0.24 * lines + 0.1 * len(comparison.rows)))
    figure = Figure(figsize=size, layout='constrained', facecolor='white')
    if differences:
      left, right = figure.add_subplot(1, 2, 1), figure.add_subplot(1, 2, 2)
      _forest(comparison, right, colours)
    else:
      left = figure.add_subplot()
    _curves(comparison, left, colours, dashes)
    names = titles(comparison.rows)
    handles = [
      Line2D([], [], color=colour, linestyle=dashes[name], linewidth=2)
      for name, colour in colours.items()
    ]
    columns = max(1, min(4, 150 // (6 + max(map(len, names)))))
    figure.legend(handles, names, loc='outside upper left', ncols=columns)
    figure.savefig(path, dpi=160, metadata={'Software': None})


def _curves(comparison, axes, colours, dashes):
  """The first accuracy by round: thin lines of the runs, a strong line of their mean."""
  for row in comparison.rows:
    colour, dash = colours[row.name], dashes[row.name]
    runs = [dict(curve) for curve in row.curves]
    if len(runs) > 1:
      for run in runs:
        axes.plot(list(run), list(run.values()), color=colour, linewidth=0.8, alpha=0.45)
    rounds = [i for i in runs[0] if all(i in run for run in runs)]
    means = [statistics.fmean(run[i] for run in runs) for i in rounds]
    axes.plot(rounds, means, dash, color=colour, linewidth=2, marker='o', markersize=3)
  drawing.round_axis(axes, [i for row in comparison.rows for curve in row.curves for i, _ in curve])
  axes.set_ylabel(comparison.accuracies[0])


def _forest(comparison, axes, colours):
  """The differences below each other. A hollow mark: its interval contains 0."""
  called = dict(zip((row.name for row in comparison.rows), labels(comparison.rows)))
  ticks = []
  for name in dict.fromkeys(d.accuracy for d in comparison.differences):
    ticks.append(name)
    for found in (d for d in comparison.differences if d.accuracy == name):
      y, colour = len(ticks), colours[found.group]
      if not math.isnan(found.low):
        axes.plot([found.low, found.high], [y, y], color=colour, linewidth=1.6)
      fill = colour if found.is_clear else 'white'
      axes.plot(found.value, y, 'o', color=colour, markerfacecolor=fill, markersize=5.5)
      ticks.append(called[found.group])
  axes.axvline(0, color=drawing.INK, linewidth=1)
  axes.set_yticks(range(len(ticks)), ticks)
  for label in axes.get_yticklabels():
    if label.get_text() in comparison.accuracies:
      label.set(fontweight='bold', color=drawing.INK)
  axes.set_ylim(len(ticks) - 0.4, -0.6)
  axes.grid(visible=False, axis='y')
  low, high = axes.get_xlim()
  axes.set_xlim(max(low, -1), min(high, 1))  # few seeds have intervals beyond what is possible
  first = called[comparison.rows[0].name]
  axes.set_xlabel(f'minus {first}\n95 % intervals; hollow: cannot tell')
