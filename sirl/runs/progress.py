"""Displays of a run's progress: a live table on a terminal, otherwise lines of steps and rounds.

Both displays have the same methods. `record.Log` calls begin, stage, step and report; whoever
opened the display calls close.
"""

import math
import sys
import time

from rich.console import Console, Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from sirl.runs import metrics

ROUNDS_SHOWN = 8
LINES = 50  # of steps, of a whole run, where lines are printed
QUIET = 60.0  # seconds after which a step has a line in any case

# The columns of one line, in order: (label, step metric, format).
STEP_COLUMNS = (
  ('reward', 'reward', '{:.3f}'),
  ('entropy', 'entropy', '{:.3f}'),
  ('length', 'completions/mean_length', '{:.1f}'),
  ('tied', 'frac_reward_zero_std', '{:.2f}'),
  ('truncated', 'completions/clipped_ratio', '{:.2f}'),
)


def open_display(title, *, stream=None):
  """A live table if the stream (default: standard error) is a terminal, else plain lines."""
  stream = sys.stderr if stream is None else stream
  return Terminal(title, stream) if stream.isatty() else Plain(title, stream)


class Plain:
  """Lines with the time of day, for logs and pipes: every round has one, and about LINES steps."""

  def __init__(self, title, stream):
    self.stream = stream
    self.clock = Clock()
    self.every, self.printed = 1, -math.inf
    self._print(title)

  def begin(self, name, *, steps_per_round, max_rounds=None):
    """A run starts or resumes: the experiment itself or its warm start."""
    self.steps_per_round, self.max_rounds = steps_per_round, max_rounds
    self.every, self.printed = math.ceil(steps_per_round * (max_rounds or 1) / LINES), -math.inf
    pace = f'  a line for every {self.every} steps' if self.every > 1 else ''
    self._print(f'run {name}{pace}')

  def stage(self, name):
    """Prints nothing: stages are too frequent for a log."""

  def step(self, row):
    """Prints the first GRO step, every so many, and one after a minute without a line."""
    rate = self.clock.rate(row)
    if (row['serial'] + 1) % self.every and time.monotonic() - self.printed < QUIET:
      return
    self.printed = time.monotonic()
    words = [*place_words(self, row), *step_words(row)]
    seconds = f'{row["step_time"]:.1f} s' if 'step_time' in row else ''
    words += [f'{rate:.0f} tokens/s', seconds]
    self._print('  '.join(filter(None, words)))

  def report(self, report):
    """Prints one round with its decision."""
    name = 'before training' if report.round < 0 else f'round {report.round} done'
    words = [
      name,
      *(
        f'{metric} {metrics.with_interval(report.metrics, metric)}'
        for metric in metrics.accuracies(report.metrics)
      ),
    ]
    self._print('  '.join([*words, decision_words(report)]).rstrip())

  def close(self, ended='done'):
    """Prints how the run ended: 'done', 'failed', 'interrupted'."""
    self._print(ended)

  def _print(self, text):
    print(time.strftime('%H:%M:%S'), text, file=self.stream, flush=True)


class Terminal:
  """A live table of the last rounds, the current step and the current stage."""

  def __init__(self, title, stream):
    self.title, self.name = title, ''
    self.steps_per_round = self.max_rounds = None
    self.clock, self.started = Clock(), time.monotonic()
    self.pace = Pace()
    self.reports = []
    self.row = None
    self.running, self.ended = 'starting', ''
    self.since = time.monotonic()
    self.live = Live(console=Console(file=stream), get_renderable=self.render, refresh_per_second=4)
    self.live.start()

  def begin(self, name, *, steps_per_round, max_rounds=None):
    """A run starts or resumes: the experiment itself or its warm start."""
    self.name, self.steps_per_round, self.max_rounds = name, steps_per_round, max_rounds
    self.reports, self.row = [], None
    self.pace = Pace(steps_per_round * max_rounds if max_rounds else None)

  def stage(self, name):
    """Shows the stage and restarts its clock."""
    self.running, self.since = name, time.monotonic()

  def step(self, row):
    """Shows one GRO step."""
    self.pace.step(row['serial'])
    self.row = row | {'tokens/s': self.clock.rate(row)}

  def report(self, report):
    """Adds one round to the table."""
    self.reports.append(report)

  def close(self, ended='done'):
    """Leaves the last state on the screen, and how the run ended: 'done', 'failed', ..."""
    self.running = self.ended = ended
    self.live.stop()

  def render(self):
    """The current contents of the screen."""
    title = Text.assemble((self.title, 'bold'), f'  {self.name}')
    return Group(title, self._rounds(), self._now())

  def _rounds(self):
    names = metrics.accuracies(self.reports[-1].metrics)[:4] if self.reports else []
    table = Table(box=None, padding=(0, 2, 0, 0), header_style='dim')
    for label in ('round', *names, 'reward', 'decision'):
      table.add_column(label, overflow='fold')
    for report in self.reports[-ROUNDS_SHOWN:]:
      reward = report.metrics.get('train/reward', math.nan)
      table.add_row(
        'before' if report.round < 0 else str(report.round),
        *(metrics.with_interval(report.metrics, name) for name in names),
        '' if math.isnan(reward) else f'{reward:.3f}',
        decision_words(report),
      )
    return table

  def _now(self):
    seconds = time.monotonic() - self.since
    words = [self.ended or f'{self.running} {seconds:.0f}s']
    if self.row is not None:
      words += [
        *place_words(self, self.row),
        *step_words(self.row),
        f'{self.row["tokens/s"]:.0f} tokens/s',
      ]
    return Text('  '.join([*words, *self._times()]), style='cyan')

  def _times(self):
    """['5 min since the start', 'about 12 min left at most'], the second while it can be told.

    At most, because a rule may stop the run before its last round.
    """
    left = None if self.ended else self.pace.left()
    elapsed = f'{duration(time.monotonic() - self.started)} since the start'
    return [elapsed] if left is None else [elapsed, f'about {duration(left)} left at most']


class Clock:
  """Measures tokens per second. Wall time stays out of files that must be reproducible."""

  def __init__(self):
    self.last = time.monotonic()

  def rate(self, row):
    """Tokens of this step per second.

    Divides by the row's 'step_time', or else by the time since the previous call.
    """
    now = time.monotonic()
    seconds = row.get('step_time') or now - self.last
    self.last = now
    return row.get('step_tokens', 0.0) / max(seconds, 1e-9)


class Pace:
  """Estimates how long a run goes on, from the steps that this process has taken."""

  def __init__(self, steps=None):
    """Args: steps: how many steps the whole run has; None if unknown."""
    self.steps = steps
    self.first = self.last = None  # (time, serial)

  def step(self, serial):
    """Notes the end of a step."""
    self.last = (time.monotonic(), serial)
    self.first = self.first or self.last

  def left(self):
    """Seconds until the last step ends; None before the second step, or without a last one.

    The first step compiles, so it is not counted. Evaluations between steps are.
    """
    if self.steps is None or self.first == self.last:
      return None
    (then, before), (now, serial) = self.first, self.last
    each = (now - then) / (serial - before)
    return max(each * (self.steps - 1 - serial) - (time.monotonic() - now), 0.0)


def duration(seconds):
  """'45 s', '12 min' or '3.5 h'."""
  if seconds < 90:
    return f'{seconds:.0f} s'
  return f'{seconds / 60:.0f} min' if seconds < 90 * 60 else f'{seconds / 3600:.1f} h'


def place_words(display, row):
  """['round 3/10', 'step 4/10']; without the total of rounds if it is unknown."""
  rounds = f'/{display.max_rounds}' if display.max_rounds else ''
  return [f'round {row["round"]}{rounds}', f'step {row["step"] + 1}/{display.steps_per_round}']


def step_words(row):
  """['reward 0.512', ...] for the metrics that the row has."""
  return [
    f'{label} {form.format(row[name])}'
    for label, name, form in STEP_COLUMNS
    if name in row and not math.isnan(row[name])
  ]


def decision_words(report):
  """'continue', or the action with its target and reason."""
  decision = report.decision
  if decision is None:
    return ''
  if decision.action == 'continue':
    return 'continue'
  target = {'rollback': f' to round {decision.round}', 'set_difficulty': f' {decision.difficulty}'}
  return f'{decision.action}{target.get(decision.action, "")}: {decision.reason}'
