"""Curves, axes, legends and colours, shared by figures.py and the picture of compare.py."""

import math
from typing import Any

import numpy as np

from sirl.runs import reading
from sirl.types import Action

# The report page replaces these three by its own variables --ink, --faint and --rule.
INK, FAINT, RULE = '#1a1b1c', '#6a6b6c', '#d0d1d2'
COLOURS = ('#3a7bd5', '#e08a1e', '#2a9d6f', '#c8553d', '#8a63c9', '#1fa3b5', '#c95d9d', '#8a8f2a')
DECISIONS = {
  Action.ROLLBACK: ('#c8553d', 'rollback'),
  Action.STOP: (FAINT, 'stop'),
  Action.ASK_HUMAN: ('#8a63c9', 'ask human'),
  Action.SET_DIFFICULTY: ('#2a9d6f', 'harder'),
}
POINTS = 400  # most points of a curve; a longer curve is averaged
TICKS = 8  # most numbers at an axis of rounds or steps
SMOOTH = 0.08  # width of the smoothing window, as a share of the curve
STYLE: Any = {
  'svg.fonttype': 'none',
  'svg.hashsalt': 'sirl',
  'font.size': 9,
  'axes.edgecolor': RULE,
  'axes.labelcolor': FAINT,
  'text.color': INK,
  'xtick.color': FAINT,
  'ytick.color': FAINT,
  'axes.spines.top': False,
  'axes.spines.right': False,
  'axes.grid': True,
  'axes.axisbelow': True,
  'grid.color': RULE,
  'grid.linewidth': 0.6,
  'legend.frameon': False,
  'legend.fontsize': 8,
  'xtick.major.size': 0,
  'ytick.major.size': 0,
}


def curve(run, axes, name, colour, label=None):
  """Draws a step metric: pale as measured, strong as smoothed. Returns whether there was any."""
  x, y = series(run, name)
  step_axis(run, axes)
  if not len(x):
    return False
  window = max(1, round(SMOOTH * len(y)))
  if window > 1:
    axes.plot(x, y, color=colour, linewidth=0.8, alpha=0.3)
  axes.plot(
    x,
    smooth(y, window),
    color=colour,
    linewidth=1.6,
    label=label,
    marker='o' if len(x) == 1 else None,
    markersize=4,
  )
  return True


def series(run, name, how=np.mean):
  """Steps, counted from 1, and the finite values of a step metric there: at most POINTS.

  Args: how: makes one value of the values that one point replaces.
  """
  rows = [
    (i, row[name])
    for i, row in enumerate(run.steps, 1)
    if math.isfinite(reading.finite(row.get(name), math.nan))
  ]
  if not rows:
    return np.empty(0), np.empty(0)
  x, y = np.array(rows, float).T
  return thin(x, y, how)


def thin(x, y, how=np.mean):
  """The curve with at most POINTS points. Each is the mean x and `how` of y over neighbours."""
  width = math.ceil(len(x) / POINTS)
  parts = [slice(i, i + width) for i in range(0, len(x), width)]
  return np.array([x[p].mean() for p in parts]), np.array([how(y[p]) for p in parts])


def smooth(y, window):
  """Centered moving mean. The window shrinks at the ends."""
  total = np.concatenate([[0.0], np.cumsum(y)])
  i = np.arange(len(y))
  low, high = np.maximum(i - window // 2, 0), np.minimum(i + (window + 1) // 2, len(y))
  return (total[high] - total[low]) / (high - low)


def mark_decisions(run, axes):
  """Draws a vertical line at every round whose decision was not to continue."""
  for report in run.history:
    mark = DECISIONS.get(report.decision.action) if report.decision else None
    if mark:
      axes.axvline(report.round, color=mark[0], linewidth=1, linestyle=(0, (3, 2)), label=mark[1])


def legend(axes, columns=4):
  """Draws a legend without repeats, where there is more than one curve."""
  handles = dict(reversed([(l, h) for h, l in zip(*axes.get_legend_handles_labels())]))
  if len(handles) > 1:
    names = list(reversed(handles))
    axes.legend(
      [handles[n] for n in names],
      names,
      ncols=min(columns, len(names)),
      loc='lower left',
      bbox_to_anchor=(-0.02, 1.0),
      handlelength=1.2,
      columnspacing=1.0,
    )


def round_axis(axes, rounds):
  """Labels the x axis with rounds. Round -1 is called before: it was measured before training."""
  axes.set_xlabel('round')
  first, last = min(rounds, default=0), max(rounds, default=0)
  ticks = evenly(min(first, 0), last, TICKS)
  axes.set_xticks(ticks, ['before' if t < 0 else str(t) for t in ticks])


def evenly(first, last, most):
  """Whole numbers at equal distances from the first one, at most so many; the last one if it can be."""
  least = max(1, math.ceil((last - first) / (most - 1)))
  even = [every for every in range(least, 2 * least) if (last - first) % every == 0]
  return [*range(first, last + 1, even[0] if even else least)]


def step_axis(run, axes):
  """Labels the x axis with steps, counted from 1: the first one, round numbers, and the last one."""
  axes.set_xlabel('step')
  last = max(1, len(run.steps))
  size = 10 ** math.floor(math.log10(max(last / (TICKS - 1), 1)))
  every = next(size * n for n in (1, 2, 5, 10) if size * n * (TICKS - 1) >= last)
  between = [t for t in range(every, last, every) if t > 1 and 2 * (last - t) >= every]
  axes.set_xticks(sorted({1, *between, last}))


def from_zero(axes, drawn):
  """Begins the y axis at 0. Returns `drawn`."""
  axes.set_ylim(bottom=0)
  return drawn


def shares(axes, drawn):
  """Makes the y axis go from 0 to 1, and draws the legend. Returns `drawn`."""
  axes.set_ylim(-0.02, 1.02)
  legend(axes)
  return drawn


def cycle():
  """Yields COLOURS again and again."""
  while True:
    yield from COLOURS
