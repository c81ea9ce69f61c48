"""The curves of a run, as SVG for the report page and as one PNG.

A panel draws itself on an axes and says whether it has anything to draw; the page shows those that do. Text and
lines that belong to the page rather than to the data use its colours (CSS variables), so a page can be dark.
"""

import io
import math
import re

import matplotlib
import numpy as np
from matplotlib.figure import Figure

from sirl.runtime import metrics
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
STYLE = {
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


# ---------------------------------------------------------------- panels: (run, axes) -> drawn or not


def accuracy(run, axes):
  """Accuracies of the frozen set per round with 95 % intervals, decisions marked."""
  names = names_of_accuracies(run)
  names = [name for name in names if name.startswith('heldout/')] or names
  for name, colour in zip(names, cycle()):
    rows = [
      (r.round, r.metrics[name], *metrics.interval(r.metrics, name))
      for r in run.history
      if name in r.metrics
    ]
    x, y, low, high = np.array(rows, float).T
    axes.plot(
      x, y, color=colour, marker='o', markersize=3, linewidth=1.6, label=name.partition('/')[2]
    )
    axes.fill_between(x, low, high, color=colour, alpha=0.15, linewidth=0)
  mark_decisions(run, axes)
  axes.set_ylim(0, 1.02)
  round_axis(run, axes)
  legend(axes)
  return bool(names)


def fresh_accuracy(run, axes):
  """Accuracies on sets other than the frozen one."""
  names = [name for name in names_of_accuracies(run) if not name.startswith('heldout/')]
  for name, colour in zip(names, cycle()):
    rows = [
      (r.round, r.metrics[name], *metrics.interval(r.metrics, name))
      for r in run.history
      if name in r.metrics
    ]
    x, y, low, high = np.array(rows, float).T
    axes.plot(x, y, color=colour, marker='o', markersize=3, linewidth=1.6, label=name)
    axes.fill_between(x, low, high, color=colour, alpha=0.15, linewidth=0)
  axes.set_ylim(0, 1.02)
  round_axis(run, axes)
  legend(axes)
  return bool(names)


def reward(run, axes):
  """Total reward and its parts per step."""
  parts = [name for name in step_names(run) if re.fullmatch(r'rewards/.+/mean', name)]
  parts = [name for name in parts if not name.endswith('_error/mean')]
  drawn = curve(run, axes, 'reward', INK, label='total')
  for name, colour in zip(parts, cycle()):
    drawn |= curve(run, axes, name, colour, label=name.split('/')[1])
  legend(axes)
  return drawn


def entropy(run, axes):
  """Entropy of the policy per token."""
  axes.set_ylabel('nats per token')
  return from_zero(axes, curve(run, axes, 'entropy', COLOURS[0]))


def length(run, axes):
  """Completion length: mean, and the range from shortest to longest."""
  x, low = series(run, 'completions/min_length')
  _, high = series(run, 'completions/max_length')
  if len(x) and len(low) == len(high):
    axes.fill_between(
      x, low, high, color=COLOURS[0], alpha=0.12, linewidth=0, label='shortest to longest'
    )
  drawn = curve(run, axes, 'completions/mean_length', COLOURS[0], label='mean')
  drawn |= curve(
    run, axes, 'completions/mean_terminated_length', COLOURS[1], label='mean of those that ended'
  )
  axes.set_ylabel('tokens')
  legend(axes)
  return from_zero(axes, drawn)


def kl(run, axes):
  """Divergence from the reference policy."""
  axes.set_ylabel('nats per token')
  return curve(run, axes, 'kl', COLOURS[4])


def tied(run, axes):
  """Share of groups without a learning signal, and of completions that were kept."""
  drawn = curve(run, axes, 'frac_reward_zero_std', COLOURS[3], label='tied groups')
  drawn |= curve(run, axes, 'sampling/rollouts_kept', COLOURS[2], label='completions kept')
  return shares(axes, drawn)


def truncated(run, axes):
  """Share of completions cut by length and share of tokens clipped by the objective."""
  drawn = curve(run, axes, 'completions/clipped_ratio', COLOURS[3], label='truncated completions')
  drawn |= curve(run, axes, 'clip_ratio/region_mean', COLOURS[0], label='clipped tokens')
  return shares(axes, drawn)


def gap(run, axes):
  """Difference between the log-probs of sampler and learner."""
  drawn = False
  for name, colour in (('max', COLOURS[3]), ('mean', COLOURS[0])):
    x, y = series(run, f'sampling/sampling_logp_difference/{name}')
    y = np.maximum(y, 1e-9)  # a log axis has no zero
    if len(x):
      axes.plot(x, y, color=colour, linewidth=1.2, label=name)
      drawn = True
  axes.set_yscale('log')
  axes.set_ylabel('nats')
  step_axis(axes)
  legend(axes)
  return drawn


def gradient(run, axes):
  """Gradient norm before clipping."""
  return from_zero(axes, curve(run, axes, 'grad_norm', COLOURS[5]))


def times(run, axes):
  """Seconds per step by stage, stacked."""
  names = [name for name in step_names(run) if name.startswith('time/')]
  if not names or not run.steps:
    return False
  x = np.arange(1, len(run.steps) + 1)
  stacks = [np.array([finite(row.get(name), 0.0) for row in run.steps]) for name in names]
  order = np.argsort([-stack.sum() for stack in stacks])
  thinned = [thin(x, stacks[i]) for i in order]
  axes.stackplot(
    thinned[0][0],
    [y for _, y in thinned],
    labels=[names[i].removeprefix('time/') for i in order],
    colors=[c for c, _ in zip(cycle(), names)],
    alpha=0.8,
    linewidth=0,
  )
  axes.set_ylabel('seconds per step')
  step_axis(axes)
  legend(axes)
  return True


def monitors(run, axes):
  """Warning signs, one curve each."""
  names = sorted(
    {
      n
      for r in run.history
      for n in r.metrics
      if n.startswith('monitor/') and not n.endswith(metrics.NOT_ACCURACIES)
    }
  )
  for name, colour in zip(names, cycle()):
    rows = [
      (r.round, r.metrics[name])
      for r in run.history
      if math.isfinite(r.metrics.get(name, math.nan))
    ]
    if rows:
      axes.plot(
        *np.array(rows, float).T,
        color=colour,
        marker='o',
        markersize=3,
        linewidth=1.4,
        label=name.partition('/')[2],
      )
  round_axis(run, axes)
  legend(axes)
  return bool(names)


PANELS = {  # title -> panel, in the order of the page
  'Held-out accuracy': accuracy,
  'Reward by part': reward,
  'Accuracy on other sets': fresh_accuracy,
  'Entropy': entropy,
  'Completion length': length,
  'KL to the reference': kl,
  'Groups without signal': tied,
  'Truncated and clipped': truncated,
  'Sampler against learner': gap,
  'Gradient norm': gradient,
  'Time by stage': times,
  'Monitors': monitors,
}
MAIN = ('Held-out accuracy', 'Reward by part', 'Entropy', 'Completion length')


# ---------------------------------------------------------------- output


def svgs(run, titles=tuple(PANELS)):
  """{title: inline SVG} of the panels that have something to draw."""
  drawn = {}
  for title in titles:
    with matplotlib.rc_context(STYLE):
      figure = Figure(figsize=(5.4, 2.9), layout='constrained')
      if PANELS[title](run, figure.subplots()):
        drawn[title] = _inline(figure)
  return drawn


def png(run, path):
  """The four main panels as one picture, for a README."""
  style = STYLE | {'font.family': 'sans-serif'}
  with matplotlib.rc_context(style):
    figure = Figure(figsize=(10, 5.6), layout='constrained', facecolor='white')
    for axes, title in zip(figure.subplots(2, 2).flat, MAIN):
      axes.set_title(title, loc='left', fontsize=10)
      if not PANELS[title](run, axes):
        axes.text(
          0.5, 0.5, 'not measured', ha='center', va='center', transform=axes.transAxes, color=FAINT
        )
    figure.savefig(path, dpi=160, metadata={'Software': None})


def _inline(figure):
  """The figure as an <svg> element that takes text and line colours from the page and names no other resource."""
  out = io.StringIO()
  figure.savefig(
    out,
    format='svg',
    transparent=True,
    metadata=dict.fromkeys(('Date', 'Creator', 'Format', 'Type')),
  )
  svg = out.getvalue()
  svg = svg[svg.index('<svg') :]
  svg = re.sub(r'<metadata>.*?</metadata>', '', svg, flags=re.S)
  svg = re.sub(r' xmlns(:\w+)?="[^"]*"', '', svg)
  svg = re.sub(r'(width|height)="[\d.]+pt" ?', '', svg, count=2)
  svg = re.sub(r'font: ([\w. ]*?)([\d.]+px) [^;\"]*', r'font: \1\2 var(--sans)', svg)
  for colour, name in ((INK, 'ink'), (FAINT, 'faint'), (RULE, 'rule')):
    svg = svg.replace(colour, f'var(--{name})')
  return svg


# ---------------------------------------------------------------- drawing


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


def series(run, name):
  """x (steps from 1) and finite values of a step metric, at most POINTS of them."""
  rows = [
    (i, row[name])
    for i, row in enumerate(run.steps, 1)
    if math.isfinite(finite(row.get(name), math.nan))
  ]
  if not rows:
    return np.empty(0), np.empty(0)
  x, y = np.array(rows, float).T
  return thin(x, y)


def thin(x, y):
  """Means of consecutive points, so that at most POINTS remain."""
  width = math.ceil(len(x) / POINTS)
  parts = [slice(i, i + width) for i in range(0, len(x), width)]
  return np.array([x[p].mean() for p in parts]), np.array([y[p].mean() for p in parts])


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


def names_of_accuracies(run):
  """Accuracies in any report, in the order of first appearance."""
  return list(
    dict.fromkeys(name for report in run.history for name in metrics.accuracies(report.metrics))
  )


def step_names(run):
  """Names in any row of steps, in the order of first appearance."""
  return list(dict.fromkeys(name for row in run.steps for name in row))


def cycle():
  """COLOURS for ever."""
  while True:
    yield from COLOURS


def finite(value, otherwise):
  """The number, or `otherwise` for None, NaN and infinities."""
  return value if value is not None and math.isfinite(value) else otherwise
