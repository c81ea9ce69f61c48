"""The curves of a run, as SVG for the report page and as one PNG. Monitors: monitor_figures.py.

A panel is a function (run, axes) -> whether it has drawn anything. The page shows those that have.
Text and lines that are not data have the page's own colours (CSS variables): a page can be dark.
"""

import io
import pathlib
import re
from typing import Any

import matplotlib
import numpy as np
from matplotlib.figure import Figure

from sirl.reporting import drawing
from sirl.reporting.numbers import part_means
from sirl.runs import metrics, reading

EXACT = 1e-9  # nats; below it the axis of the sampler gap is linear, down to 0

# ---------------------------------------------------------------- panels


def accuracy(run, axes):
  """Accuracies of the frozen set by round with 95 % intervals, and marks of decisions."""
  names = run.accuracy_names
  held = [name for name in names if name.startswith('heldout/')]
  drawn = accuracies(run, axes, held or names)
  drawing.mark_decisions(run, axes)
  drawing.legend(axes)
  return drawn


def other_accuracy(run, axes):
  """Accuracies on sets other than the frozen one."""
  names = run.accuracy_names
  held = [name for name in names if name.startswith('heldout/')]
  return accuracies(run, axes, [name for name in names if held and name not in held])


def accuracies(run, axes, names):
  """Draws metrics of reports with intervals, from 0 to 1. Returns whether there was any name."""
  for name, colour in zip(names, drawing.cycle()):
    rows = [
      (r.round, r.metrics[name], *metrics.interval(r.metrics, name))
      for r in run.history
      if name in r.metrics
    ]
    x, y, low, high = np.array(rows, float).T
    axes.plot(
      x,
      y,
      color=colour,
      marker='o',
      markersize=3,
      linewidth=1.6,
      label=name.removeprefix('heldout/'),
    )
    axes.fill_between(x, low, high, color=colour, alpha=0.15, linewidth=0)
  axes.set_ylim(0, 1.02)
  axes.set_ylabel(names[0] if len(names) == 1 else 'share solved')
  drawing.round_axis(axes, [report.round for report in run.history])
  drawing.legend(axes)
  return bool(names)


def reward(run, axes):
  """Total reward and its parts by step."""
  same = lambda name: all(row.get(name) == row.get('reward') for row in run.steps)
  parts = [name for name in part_means(run) if not same(name)]  # a part alone is the total
  drawn = drawing.curve(run, axes, 'reward', drawing.INK, label='total')
  for name, colour in zip(parts, drawing.cycle()):
    drawn |= drawing.curve(run, axes, name, colour, label=name.split('/')[1])
  axes.set_ylabel('' if parts else 'total')
  drawing.legend(axes)
  return drawn


def entropy(run, axes):
  """Entropy of the policy per token."""
  axes.set_ylabel('nats per token')
  return drawing.from_zero(axes, drawing.curve(run, axes, 'entropy', drawing.COLOURS[0]))


def length(run, axes):
  """Completion length: the mean, and the range from shortest to longest."""
  x, low = drawing.series(run, 'completions/min_length', np.min)
  _, high = drawing.series(run, 'completions/max_length', np.max)
  if len(x) and len(low) == len(high):
    axes.fill_between(
      x, low, high, color=drawing.COLOURS[0], alpha=0.12, linewidth=0, label='shortest to longest'
    )
  drawn = drawing.curve(run, axes, 'completions/mean_length', drawing.COLOURS[0], label='mean')
  drawn |= drawing.curve(
    run,
    axes,
    'completions/mean_terminated_length',
    drawing.COLOURS[1],
    label='mean of those that ended',
  )
  axes.set_ylabel('tokens')
  drawing.legend(axes)
  return drawing.from_zero(axes, drawn)


def kl(run, axes):
  """Divergence from the reference policy."""
  axes.set_ylabel('nats per token')
  return drawing.curve(run, axes, 'kl', drawing.COLOURS[4])


def tied(run, axes):
  """Share of groups without a learning signal, and of completions that were kept."""
  drawn = drawing.curve(run, axes, 'frac_reward_zero_std', drawing.COLOURS[3], label='tied groups')
  drawn |= drawing.curve(
    run, axes, 'sampling/rollouts_kept', drawing.COLOURS[2], label='completions kept'
  )
  return drawing.shares(axes, drawn)


def truncated(run, axes):
  """Share of completions cut by length and share of tokens clipped by the objective."""
  drawn = drawing.curve(
    run, axes, 'completions/clipped_ratio', drawing.COLOURS[3], label='truncated completions'
  )
  drawn |= drawing.curve(
    run, axes, 'clip_ratio/region_mean', drawing.COLOURS[0], label='clipped tokens'
  )
  return drawing.shares(axes, drawn)


def gap(run, axes):
  """Difference between the log-probs of sampler and learner."""
  drawn = False
  for name, colour in (('max', drawing.COLOURS[3]), ('mean', drawing.COLOURS[0])):
    x, y = drawing.series(run, f'sampling/sampling_logp_difference/{name}')
    if len(x):
      axes.plot(x, y, color=colour, linewidth=1.2, label=name)
      drawn = True
  axes.set_yscale('symlog', linthresh=EXACT)
  axes.set_ylim(bottom=0)
  axes.set_ylabel('nats')
  drawing.step_axis(run, axes)
  drawing.legend(axes)
  return drawn


def gradient(run, axes):
  """Gradient norm before clipping."""
  return drawing.from_zero(axes, drawing.curve(run, axes, 'grad_norm', drawing.COLOURS[5]))


def loss(run, axes):
  """The loss. It shows the progress of a supervised warm start; on policy it is always near 0."""
  return drawing.curve(run, axes, 'loss', drawing.COLOURS[7])


def times(run, axes):
  """Seconds per step by stage, stacked.

  A step far above the others, such as the first, which compiles, is cut off. Its time is written.
  """
  names = [name for name in run.step_names if name.startswith('time/')]
  if not names or not run.steps:
    return False
  x = np.arange(1, len(run.steps) + 1)
  stacks = [np.array([reading.finite(row.get(name), 0.0) for row in run.steps]) for name in names]
  order = np.argsort([-stack.sum() for stack in stacks])
  thinned = [drawing.thin(x, stacks[i]) for i in order]
  axes.stackplot(
    thinned[0][0],
    [y for _, y in thinned],
    labels=[names[i].removeprefix('time/') for i in order],
    colors=[c for c, _ in zip(drawing.cycle(), names)],
    alpha=0.8,
    linewidth=0,
  )
  total = np.sum(stacks, axis=0)
  usual = 4 * np.quantile(total, 0.9)
  if total.max() > usual > 0:
    axes.set_ylim(0, usual)
    cut = f'step {x[total.argmax()]}: {total.max():.1f} s'
    axes.text(0.98, 0.97, cut, ha='right', va='top', transform=axes.transAxes, color=drawing.FAINT)
  axes.set_ylabel('seconds per step')
  drawing.step_axis(run, axes)
  drawing.legend(axes)
  return True


PANELS = {  # title -> panel, in the order of the page
  'Held-out accuracy': accuracy,
  'Reward by part': reward,
  'Accuracy on other sets': other_accuracy,
  'Entropy': entropy,
  'Completion length': length,
  'KL to the reference': kl,
  'Groups without signal': tied,
  'Truncated and clipped': truncated,
  'Sampler against learner': gap,
  'Gradient norm': gradient,
  'Loss': loss,
  'Time by stage': times,
}
MAIN = ('Held-out accuracy', 'Reward by part', 'Entropy', 'Completion length')


# ---------------------------------------------------------------- output


def svgs(run, titles=tuple(PANELS)):
  """{title: inline SVG} of the panels that have something to draw."""
  drawn = {}
  for title in titles:
    with matplotlib.rc_context(drawing.STYLE):
      figure = Figure(figsize=(5.4, 2.9), layout='constrained')
      if PANELS[title](run, figure.subplots()):
        drawn[title] = inline(figure)
  return drawn


def png(run, path):
  """Writes the four main panels as one picture, for a README. Makes the folder when missing."""
  pathlib.Path(path).parent.mkdir(parents=True, exist_ok=True)
  with matplotlib.rc_context(drawing.STYLE):
    figure = Figure(figsize=(10, 6), layout='constrained', facecolor='white')
    parts: Any = figure.subfigures(2, 2, wspace=0.03, hspace=0.03)
    for part, title in zip(parts.flat, MAIN):
      axes = part.subplots()
      part.suptitle(title, x=0.02, ha='left', fontsize=11)
      if not PANELS[title](run, axes):
        axes.text(0.5, 0.5, 'not measured', ha='center', va='center', transform=axes.transAxes)
    figure.savefig(path, dpi=160, metadata={'Software': None})


def inline(figure):
  """The figure as an <svg> element with the page's font and colours. It loads nothing else."""
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
  for colour, name in ((drawing.INK, 'ink'), (drawing.FAINT, 'faint'), (drawing.RULE, 'rule')):
    svg = svg.replace(colour, f'var(--{name})')
  return svg
