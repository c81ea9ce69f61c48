"""Pieces that every panel of figures.py is drawn with: curves, axes, legends, colours."""

import math
from typing import Any

import numpy as np

from sirl.runs import reading
from sirl.types import Action

INK, FAINT, RULE = (
  '#1a1b1c',
  '#6a6b6c',
  '#d0d1d2',
)  # become var(--ink), var(--faint), var(--rule) on the page
COLOURS = ('#3a7bd5', '#e08a1e', '#2a9d6f', '#c8553d', '#8a63c9', '#1fa3b5', '#c95d9d', '#8a8f2a')
DECISIONS = {
  Action.ROLLBACK: ('#c8553d', 'rollback'),
  Action.STOP: (FAINT, 'stop'),
  Action.ASK_HUMAN: ('#8a63c9', 'ask human'),
  Action.SET_DIFFICULTY: ('#2a9d6f', 'harder'),
}
POINTS = 400  # a longer curve is averaged down to so many points
SMOOTH = 0.08  # width of the smoothing window as a share of the curve
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
  """A step metric: pale as measured, strong as smoothed. Returns whether there was anything."""
  x, y = series(run, name)
  step_axis(axes)
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
  """x (steps from 1) and finite values of a step metric, at most POINTS of them; `how` sums up what one point stands for."""
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
  """Means of consecutive points, or `how` of their y, so that at most POINTS remain."""
  width = math.ceil(len(x) / POINTS)
  parts = [slice(i, i + width) for i in range(0, len(x), width)]
  return np.array([x[p].mean() for p in parts]), np.array([how(y[p]) for p in parts])


def smooth(y, window):
  """Centered moving mean; the window shrinks at the ends."""
  total = np.concatenate([[0.0], np.cumsum(y)])
  i = np.arange(len(y))
  low, high = np.maximum(i - window // 2, 0), np.minimum(i + (window + 1) // 2, len(y))
  return (total[high] - total[low]) / (high - low)


def mark_decisions(run, axes):
  """A vertical line at every round whose decision was not to continue."""
  for report in run.history:
    mark = DECISIONS.get(report.decision.action) if report.decision else None
    if mark:
      axes.axvline(report.round, color=mark[0], linewidth=1, linestyle=(0, (3, 2)), label=mark[1])


def legend(axes):
  """A legend without repeats, where there is more than one curve."""
  handles = dict(reversed([(l, h) for h, l in zip(*axes.get_legend_handles_labels())]))
  if len(handles) > 1:
    names = list(reversed(handles))
    axes.legend(
      [handles[n] for n in names],
      names,
      ncols=min(4, len(names)),
      loc='lower left',
      bbox_to_anchor=(-0.02, 1.0),
      handlelength=1.2,
      columnspacing=1.0,
    )


def round_axis(run, axes):
  """Rounds on the x axis; what stands at -1 was measured before any training."""
  axes.set_xlabel('round')
  last = max((r.round for r in run.history), default=0)
  every = max(1, math.ceil((last + 1) / 8))
  before = [-1] if any(r.round < 0 for r in run.history) else []
  ticks = [*before, *range(0 if every == 1 else every, last + 1, every)]
  axes.set_xticks(ticks, ['before' if t < 0 else str(t) for t in ticks])


def step_axis(axes):
  """GRO steps, counted from 1, on the x axis."""
  axes.set_xlabel('GRO step')
  axes.xaxis.get_major_locator().set_params(integer=True)


def from_zero(axes, drawn):
  """Lets the y axis begin at 0. Returns drawn."""
  axes.set_ylim(bottom=0)
  return drawn


def shares(axes, drawn):
  """A y axis from 0 to 1. Returns drawn."""
  axes.set_ylim(-0.02, 1.02)
  legend(axes)
  return drawn


def cycle():
  """COLOURS for ever."""
  while True:
    yield from COLOURS
