"""The report page of a finished or running workdir: one HTML file that needs nothing else.

Sections in order: what ran and how it ended, before and after, what the doctor says, curves, samples of the first
and the last round, decisions, the warm start, the numbers of the config, and what every metric means.
"""

import html
import math
import pathlib

from sirl import config as configs
from sirl.reporting import doctor, figures
from sirl.runs import metrics, reading
from sirl.runtime import files
from sirl.types import Action

GROUPS, COMPLETIONS, CHARACTERS = (
  4,
  4,
  1200,
)  # of the sample tables: tasks, completions of each, text of each
ONE_LINE = 40  # characters of a completion that stands beside its reward

STYLE = """
:root { color-scheme: light dark;
  --sans: ui-sans-serif, system-ui, -apple-system, "Segoe UI", Roboto, "Helvetica Neue", Arial, sans-serif;
  --mono: ui-monospace, "SF Mono", Menlo, Consolas, "DejaVu Sans Mono", monospace;
  --ink: #1c2024; --faint: #667079; --rule: #e3e6e9; --page: #fbfbfa; --card: #ffffff;
  --good: #1f7a54; --warn: #a86412; --bad: #b3402c; }
@media (prefers-color-scheme: dark) { :root {
  --ink: #e6e8ea; --faint: #98a2ab; --rule: #33393f; --page: #15181b; --card: #1c2024;
  --good: #5cc493; --warn: #e0a458; --bad: #ee8672; } }
* { box-sizing: border-box; }
body { margin: 0; background: var(--page); color: var(--ink); font: 15px/1.55 var(--sans); }
main { max-width: 1120px; margin: 0 auto; padding: 40px 28px 80px; }
h1 { font-size: 28px; line-height: 1.2; margin: 0 0 4px; letter-spacing: -0.01em; }
h2 { font-size: 18px; margin: 44px 0 12px; padding-bottom: 6px; border-bottom: 1px solid var(--rule); }
h3 { font-size: 14px; margin: 0 0 6px; font-weight: 600; }
p { margin: 6px 0; } .faint { color: var(--faint); } .small { font-size: 13px; }
.card { background: var(--card); border: 1px solid var(--rule); border-radius: 8px; padding: 14px 16px; min-width: 0; }
.grid { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(440px, 100%), 1fr)); gap: 16px; align-items: start; }
.scroll { overflow-x: auto; } svg { display: block; width: 100%; height: auto; }
table { border-collapse: collapse; width: 100%; font-size: 14px; }
th { text-align: left; font-weight: 600; color: var(--faint); font-size: 12.5px; }
th, td { padding: 6px 14px 6px 0; border-bottom: 1px solid var(--rule); vertical-align: top; }
tr:last-child td { border-bottom: 0; }
td.number, th.number { text-align: right; font-variant-numeric: tabular-nums; white-space: nowrap; }
code, pre { font-family: var(--mono); font-size: 12.5px; } pre { margin: 4px 0; white-space: pre-wrap; overflow-wrap: anywhere; }
.tag { display: inline-block; font-size: 12px; padding: 1px 8px; border-radius: 99px; border: 1px solid var(--rule); color: var(--faint); white-space: nowrap; }
.good { color: var(--good); } .warning { color: var(--warn); } .problem { color: var(--bad); }
.tag.good, .tag.warning, .tag.problem { border-color: currentColor; }
.sample { border-top: 1px solid var(--rule); padding: 8px 0; } .sample pre { background: var(--page); padding: 6px 8px; border-radius: 5px; }
.line { display: flex; justify-content: space-between; gap: 16px; align-items: baseline; }
.task + .task { margin-top: 18px; } details summary { cursor: pointer; color: var(--faint); margin: 8px 0; }
"""


def write(workdir):
  """Writes `workdir/report.html` and returns its path.

  Raises: FileNotFoundError or ValueError when there is no run to report.
  """
  run = recorded(workdir)
  path = pathlib.Path(workdir) / 'report.html'
  files.atomic_write(path, page(run))
  return path


def figure(workdir, path):
  """Writes the main curves as a PNG. Raises as `write` does."""
  figures.png(recorded(workdir), path)


def recorded(workdir):
  """The Run in a workdir. Raises ValueError when nothing was recorded yet."""
  run = reading.read(workdir)
  if run.is_empty:
    raise ValueError(
      f'{workdir} holds no step and no report yet (steps.jsonl and history.jsonl are empty or missing); '
      'run the experiment first, or give the --workdir of a run'
    )
  return run


def page(run):
  """The whole HTML text of a Run."""
  sections = [
    header(run),
    section('Before and after', headline(run)),
    section('Diagnosis', findings(run)),
    section('Curves', curves(run)),
    section('Samples', samples(run)),
    section('Decisions', decisions(run)),
    section('Warm start', warm_start(run)),
    section('Config', numbers(run)),
    section('What the metrics mean', definitions(run)),
  ]
  return (
    '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
    '<meta name="viewport" content="width=device-width, initial-scale=1">'
    f'<title>{text(run.name)}</title><style>{STYLE}</style></head>\n<body><main>\n'
    + '\n'.join(part for part in sections if part)
    + '\n</main></body></html>\n'
  )


# ---------------------------------------------------------------- sections


def header(run):
  """Name, status, the last decision, and what identifies the run."""
  versions = ', '.join(
    f'{name} {version}' for name, version in run.identity.get('versions', {}).items()
  )
  facts = [
    run.identity.get('experiment'),
    f'seed {run.config["seed"]}' if 'seed' in run.config else None,
    f'revision {run.identity["git_revision"][:12]}' if run.identity.get('git_revision') else None,
    versions or None,
  ]
  last = run.history[-1].decision if run.history else None
  decision = (
    f'<p>Last decision, {round_name(run.history[-1])}: {tag(last.action)} {text(last.reason)}</p>'
    if last
    else ''
  )
  done = f'{run.status()}, {len(run.steps)} GRO steps'
  if 'step_tokens' in run.step_names:
    tokens = sum(reading.finite(row.get('step_tokens'), 0.0) for row in run.steps)
    done += f', {tokens:,.0f} tokens'
  return (
    f'<header><h1>{text(run.name)}</h1><p>{text(done)}</p>{decision}'
    f'<p class="faint small">{text(" · ".join(fact for fact in facts if fact))}</p></header>'
  )


def headline(run):
  """Each accuracy before training, with the present weights and at its best, and the difference with its interval."""
  if not run.history:
    return '<p class="faint">No report yet: the first round has not been evaluated.</p>'
  first, last = run.history[0], run.final
  rows = []
  for name in run.accuracy_names:
    best = max(run.history, key=lambda report: reading.finite(report.metrics.get(name), -math.inf))
    rows.append([
      f'<code>{text(name)}</code>',
      number(metrics.with_interval(first.metrics, name)),
      number(metrics.with_interval(last.metrics, name)),
      number(change(first, last, name) if first is not last else ''),
      number(f'{best.metrics.get(name, math.nan):.3f} ({round_name(best)})'),
    ])  # fmt: skip
  if not rows:
    return '<p class="faint">This run measured no accuracy.</p>'
  head = [
    '',
    *(('number', label) for label in (round_name(first), round_name(last), 'change', 'best')),
  ]
  note = '<p class="faint small">Brackets are 95 % intervals; the change treats the two measurements as independent.</p>'
  if last is not run.history[-1]:
    end = 'the start' if last.round < 0 else f'the end of round {last.round}'
    by = f'the decision in round {run.history[-1].round}'
    note = f'<p>The present weights are those at {end}: {by} brought them back.</p>{note}'
  return f'<div class="card scroll">{table(head, rows)}</div>{note}'


def findings(run):
  """What the doctor says."""
  rows = [
    [
      tag(found.severity),
      f'<b>{text(found.what)}</b><br>{text(found.evidence)}',
      text(found.advice),
    ]
    for found in doctor.examine(run)
  ]
  advice = 'advice' if any(row[-1] for row in rows) else ''
  return f'<div class="card scroll">{table(["", "what", advice], rows)}</div>'


def curves(run):
  """The panels that have data."""
  drawn = figures.svgs(run)
  cards = [f'<div class="card"><h3>{text(title)}</h3>{svg}</div>' for title, svg in drawn.items()]
  return f'<div class="grid">{"".join(cards)}</div>' if cards else ''


def samples(run):
  """Groups of the first and of the last round, side by side."""
  cards = []
  for i, rows in run.samples.items():
    groups = {}
    for row in rows:
      groups.setdefault(row['task'], []).append(row)
    tasks = ''.join(
      task(group[:COMPLETIONS], len(group)) for group in list(groups.values())[:GROUPS]
    )
    cards.append(f'<div class="card"><h3>Round {i}</h3>{tasks}</div>')
  return f'<div class="grid">{"".join(cards)}</div>' if cards else ''


def task(group, size):
  """One prompt with some of its completions."""
  first = group[0]
  answer = (
    'nobody knows the answer'
    if first['answer'] is None
    else f'answer <code>{text(first["answer"])}</code>'
  )
  shown = f', {len(group)} of {size} completions' if size > len(group) else ''
  return (
    f'<div class="task"><pre>{text(short(first["prompt"]))}</pre><p class="faint small">{answer}{shown}</p>'
    + ''.join(completion(row) for row in group)
    + '</div>'
  )


def completion(row):
  """One completion with its reward and the parts of it."""
  parts = [
    f'{name} {value:.3g}' if value is not None else f'{name} –'
    for name, value in row['parts'].items()
  ]
  total = 'not judged' if row['reward'] is None else f'reward {row["reward"]:.3g}'
  words = [f'<b>{text(total)}</b>', *(text(part) for part in parts), f'{row["tokens"]} tokens']
  cut = f' {tag("truncated", "warning")}' if row['truncated'] else ''
  about = f'<span class="small">{" · ".join(words)}</span>{cut}'
  body = short(row['completion'])
  if body and len(body) <= ONE_LINE and '\n' not in body:
    return f'<div class="sample line"><code>{text(body)}</code><span>{about}</span></div>'
  return f'<div class="sample">{about}<pre>{text(body) or "(empty)"}</pre></div>'


def decisions(run):
  """Every decision that was not to continue, and all of them on request."""
  decided = [report for report in run.history if report.decision is not None]
  if not decided:
    return ''
  rows = {report.round: [number(round_name(report)), tag(report.decision.action), text(target(report.decision)), text(report.decision.reason), text(report.decision.by)] for report in decided}  # fmt: skip
  head = [('number', 'round'), 'decision', '', 'reason', 'by']
  notable = [rows[r.round] for r in decided if r.decision.action is not Action.CONTINUE]
  if notable:
    shown = f'<div class="card scroll">{table(head, notable)}</div>'
  else:
    n = len(decided)
    shown = f'<p>{f"All {n} decisions were" if n > 1 else "The one decision was"} to continue.</p>'
  return f'{shown}<details><summary>Every decision</summary>{table(head, rows.values())}</details>'


def warm_start(run):
  """The run whose weights this one started from."""
  if run.warm is None:
    return ''
  titles = ('Held-out accuracy', 'Loss', 'Reward by part', 'Entropy')
  cards = [
    f'<div class="card"><h3>{text(t)}</h3>{svg}</div>'
    for t, svg in figures.svgs(run.warm, titles).items()
  ]
  return (
    f'<p>{len(run.warm.steps)} GRO steps before round 0 of the run.</p>'
    f'{headline(run.warm)}<div class="grid">{"".join(cards)}</div>'
  )


def numbers(run):
  """Every number of the config."""
  rows = [
    [f'<code>{text(name)}</code>', f'<code>{text(value)}</code>']
    for name, value in configs.flat(run.config).items()
  ]
  if not rows:
    return '<p class="faint">No config.json in this workdir.</p>'
  return f'<details open><summary>{len(rows)} numbers</summary>{table(["name", "value"], rows)}</details>'


def definitions(run):
  """Definitions of the metrics that occur in this run; those that no table knows are listed as such."""
  names = [name for name in run.step_names if name not in ('round', 'step', 'serial')]
  reported = dict.fromkeys(name for report in run.history for name in report.metrics)
  names += [
    name
    for name in reported
    if not name.startswith('train/') and not name.endswith(tuple(metrics.BESIDE))
  ]
  rows = [
    [
      f'<code>{text(name)}</code>',
      text(metrics.describe(name, reported) or 'Defined by this experiment.'),
    ]
    for name in dict.fromkeys(names)
  ]
  return (
    f'<details><summary>{len(rows)} metrics</summary>{table(["name", "meaning"], rows)}</details>'
  )


# ---------------------------------------------------------------- pieces


def change(first, last, name):
  """'+0.31 ± 0.05' between two reports; without the interval where one has no standard error."""
  a, b = first.metrics.get(name, math.nan), last.metrics.get(name, math.nan)
  if math.isnan(a) or math.isnan(b):
    return ''
  sem = math.hypot(
    first.metrics.get(f'{name}_sem', math.nan), last.metrics.get(f'{name}_sem', math.nan)
  )
  return f'{b - a:+.3f}' + ('' if math.isnan(sem) else f' ± {metrics.Z95 * sem:.3f}')


def target(decision):
  """What a decision names: a round or a difficulty."""
  if decision.round is not None:
    return 'to the start' if decision.round == -1 else f'to the end of round {decision.round}'
  return f'{decision.difficulty:g}' if decision.difficulty is not None else ''


def round_name(report):
  """'before', or the number of the round."""
  return 'before' if report.round < 0 else f'round {report.round}'


def section(title, body):
  """A titled section, nothing for an empty body."""
  return f'<section><h2>{text(title)}</h2>{body}</section>' if body else ''


def table(head, rows):
  """An HTML table of ready cells; a cell or heading may be ('number', cell) to be right aligned."""

  def cells(row, element):
    return ''.join(
      f'<{element} class="{cell[0]}">{cell[1]}</{element}>'
      if isinstance(cell, tuple)
      else f'<{element}>{cell}</{element}>'
      for cell in row
    )

  body = ''.join(f'<tr>{cells(row, "td")}</tr>' for row in rows)
  return f'<table><tr>{cells(head, "th")}</tr>{body}</table>'


def number(value):
  """A right-aligned cell."""
  return ('number', text(value))


def tag(value, kind=None):
  """A small label, coloured by what it says."""
  kinds = {
    'rollback': 'problem',
    'stop': 'warning',
    'ask_human': 'warning',
    'set_difficulty': 'good',
    'healthy': 'good',
  }
  return f'<span class="tag {kind or kinds.get(str(value), str(value))}">{text(str(value).replace("_", " "))}</span>'


def short(value):
  """A text cut to CHARACTERS."""
  return value if len(value) <= CHARACTERS else f'{value[:CHARACTERS]}… ({len(value)} characters)'


def text(value):
  """Anything, escaped for HTML: samples are written by a model and must not become markup."""
  return html.escape(str(value))
