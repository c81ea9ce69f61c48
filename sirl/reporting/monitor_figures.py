"""The monitors of a run as small curves: a panel for each family and unit, with alarms' limits.

A panel's axis names its unit. A dashed line is a limit: one of the doctor's, or that of a steering
rule that has fired.
"""

import math
import re
from collections.abc import Mapping
from typing import NamedTuple

import matplotlib
import numpy as np
from matplotlib.figure import Figure

from sirl.reporting import checks, drawing, signal
from sirl.reporting.figures import inline
from sirl.runs import lineage, metrics

SIZE = (4.4, 2.5)  # inches
COLUMNS = 2  # of a legend


class Panel(NamedTuple):
  """The monitors of one family that have the same unit."""

  title: str
  unit: str  # the label of the axis
  pattern: str  # of the names, without 'monitor/'
  limits: Mapping[str, float] = {}  # by the last part of a name: the doctor's


PANELS = (
  Panel('Diversity', 'share', r'distinct_\d+|duplicate_share|synthetic_share'),
  Panel('Feedback', 'share of completions', 'feedback_agreement|false_positive|false_negative'),
  Panel(
    'Optimization: entropy', 'nats per token', 'entropy|entropy_min', {'entropy': checks.ENTROPY_GONE}
  ),
  Panel('Optimization: KL', 'nats per token', 'kl|kl_max'),
  Panel(
    'Optimization: signal', 'share', 'clipped_ratio|frac_reward_zero_std',
    {'clipped_ratio': checks.TRUNCATED_SOME, 'frac_reward_zero_std': signal.TIED_SOME},
  ),
  Panel('Optimization: length', 'last step over first', 'length_ratio'),
  Panel('Optimization: not finite', 'steps of the round', 'steps_not_finite'),
  Panel(
    'Consensus: agreement', 'share',
    '[^/]+/(answer_concentration|majority_ratio|vote_margin|parsed|anchor_agreement)',
    {'parsed': checks.PARSED_SOME, 'answer_concentration': signal.CONSTANT[0]},
  ),
  Panel('Consensus: entropy of the answers', 'nats', '[^/]+/answer_entropy'),
  Panel('Consensus: different answers', 'answers per prompt', '[^/]+/distinct_answers'),
)  # fmt: skip
HIDDEN = ('first_step_not_finite',)  # a position and no measure of anything


def svgs(run):
  """{title: inline SVG} of the panels that have data. A monitor of the experiment's own has one."""
  names = names_of(run)
  drawn = {}
  for panel in PANELS:
    own = [name for name in names if re.fullmatch(panel.pattern, name)]
    names = [name for name in names if name not in own]
    if own:
      drawn[panel.title] = _svg(run, panel, own)
  for name in names:
    drawn[name] = _svg(run, Panel(name, name, ''), [name])
  return drawn


def names_of(run):
  """The monitors with any number, without 'monitor/', in alphabetical order."""
  found = {
    name.removeprefix('monitor/')
    for report in run.history
    for name, value in report.metrics.items()
    if name.startswith('monitor/') and math.isfinite(value)
  }
  return sorted(name for name in found if not name.endswith((*metrics.BESIDE, *HIDDEN)))


def _svg(run, panel, names):
  with matplotlib.rc_context(drawing.STYLE):
    figure = Figure(figsize=SIZE, layout='constrained')
    draw(run, figure.subplots(), panel, names)
    return inline(figure)


def draw(run, axes, panel, names):
  """Draws the monitors by round, with their 95 % intervals where known and the limits."""
  alone = len({name.rpartition('/')[0] for name in names}) == 1
  for name, colour in zip(names, drawing.cycle()):
    full, label = f'monitor/{name}', name.rpartition('/')[2] if alone else name
    rows = [
      (r.round, r.metrics[full], *metrics.interval(r.metrics, full))
      for r in lineage.measured(run.history, full)
    ]
    x, y, low, high = np.array(rows, float).T
    axes.plot(x, y, color=colour, marker='o', markersize=3, linewidth=1.4, label=label)
    axes.fill_between(x, low, high, color=colour, alpha=0.15, linewidth=0)
    for limit in limits(run, full, panel):
      axes.axhline(limit, color=colour, linewidth=1, linestyle=(0, (4, 3)))
      axes.annotate(
        f' limit {limit:g}', (1, limit), xycoords=('axes fraction', 'data'), ha='left', va='center',
        fontsize=7, color=drawing.FAINT,
      )  # fmt: skip
  axes.set_ylabel(panel.unit)
  if panel.unit.startswith('share'):
    axes.set_ylim(-0.02, 1.02)
  drawing.round_axis(axes, [report.round for report in run.history])
  drawing.legend(axes, COLUMNS)


def limits(run, name, panel):
  """The limits of a metric, each once: the doctor's, and those that a decision has named."""
  found = {panel.limits.get(name.rsplit('/')[-1])}
  for report in run.history:
    found |= set(lineage.limits_in(report.decision.reason if report.decision else '', name))
  return sorted(limit for limit in found if limit is not None)
