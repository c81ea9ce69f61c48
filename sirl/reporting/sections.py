"""The sections of the report page, in the order of the page. Each takes a Run and gives HTML.

A section without data is an empty string.
"""

import math

from sirl import config as configs
from sirl.reporting import doctor, figures, monitor_figures
from sirl.reporting.markup import card, code, faint, grid, number, table, tag, text
from sirl.runs import changes as history_of
from sirl.runs import metrics, reading
from sirl.runtime import plural
from sirl.types import Action

# What the sample tables show: tasks, completions of each task, characters of each text.
GROUPS, COMPLETIONS, CHARACTERS = 4, 4, 1200
ONE_LINE = 40  # characters; a shorter completion stands beside its reward
WARM_CURVES = ('Held-out accuracy', 'Loss', 'Reward by part', 'Entropy')


def header(run):
  """Name, status, the last decision, and what identifies the run."""
  versions = run.identity.get('versions', {})
  revision = run.identity.get('git_revision')
  library = run.identity.get('library', {}).get('revision')
  facts = [
    run.identity.get('experiment'),
    f'seed {run.config["seed"]}' if 'seed' in run.config else None,
    f'revision {revision[:12]}' if revision else None,
    f'library {library[:12]}' if library and library != revision else None,
    ', '.join(f'{name} {version}' for name, version in versions.items()),
  ]
  done = f'{run.status()}, {plural.counted(len(run.steps), "GRO step")}'
  if 'step_tokens' in run.step_names:
    tokens = sum(reading.finite(row.get('step_tokens'), 0.0) for row in run.steps)
    done += f', {tokens:,.0f} tokens'
  last = run.history[-1].decision if run.history else None
  decision = ''
  if last:
    when = round_name(run.history[-1])
    decision = f'<p>Last decision, {when}: {tag(last.action)} {text(last.reason)}</p>'
  return (
    f'<header><h1>{text(run.name)}</h1><p>{text(done)}</p>{decision}'
    f'<p class="faint small">{text(" · ".join(fact for fact in facts if fact))}</p></header>'
  )


def headline(run):
  """Each accuracy: before training, with the present weights, the change, and the best."""
  if not run.history:
    return faint('No report yet: the first round has not been evaluated.')
  first, last = run.history[0], run.final
  trained = len(run.history) > 1
  rows = []
  for name in run.accuracy_names:
    best = max(run.history, key=lambda report: reading.finite(report.metrics.get(name), -math.inf))
    before = number(metrics.with_interval(first.metrics, name))
    after = [
      number(metrics.with_interval(last.metrics, name)),
      number(change(first, last, name) if first is not last else ''),
      number(f'{best.metrics.get(name, math.nan):.3f} ({round_name(best)})'),
    ]
    rows.append([code(name), before, *(after if trained else [])])
  if not rows:
    return faint('This run measured no accuracy.')
  now = round_name(last) if last is not first else 'now, as before'
  after = (now, 'change', 'best') if trained else ()
  head = ['', *map(number, (round_name(first), *after))]
  note = (
    '<p class="faint small">Brackets are 95 % intervals'
    + ('; the change treats the two measurements as independent' if trained else '')
    + '.</p>'
  )
  if last is not run.history[-1]:
    end = 'the start' if last.round < 0 else f'the end of round {last.round}'
    by = f'the decision in round {run.history[-1].round}'
    note = f'<p>The present weights are those at {end}: {by} brought them back.</p>{note}'
  return f'<div class="card scroll">{table(head, rows)}</div>{note}'


def change(first, last, name):
  """'+0.31 ± 0.05' between two reports; without the error where one report has none."""
  a, b = first.metrics.get(name, math.nan), last.metrics.get(name, math.nan)
  if math.isnan(a) or math.isnan(b):
    return ''
  sem = math.hypot(*(report.metrics.get(f'{name}_sem', math.nan) for report in (first, last)))
  return f'{b - a:+.3f}' + ('' if math.isnan(sem) else f' ± {metrics.Z95 * sem:.3f}')


def findings(run):
  """What the doctor says."""
  rows = [
    [tag(f.severity), f'<b>{text(f.what)}</b><br>{text(f.evidence)}', text(f.advice)]
    for f in doctor.examine(run)
  ]
  advice = 'advice' if any(row[-1] for row in rows) else ''
  return f'<div class="card scroll">{table(["", "what", advice], rows)}</div>'


def curves(run):
  """The panels that have data."""
  return grid([card(svg, title) for title, svg in figures.svgs(run).items()])


def monitors(run):
  """A small panel for each family of monitors and unit."""
  return grid([card(svg, title) for title, svg in monitor_figures.svgs(run).items()], 'small')


def samples(run):
  """Groups of the first and of the last round, side by side."""
  cards = []
  for i, rows in run.samples.items():
    groups = {}
    for row in rows:
      groups.setdefault(row['task'], []).append(row)
    shown = list(groups.values())[:GROUPS]
    tasks = ''.join(task(group[:COMPLETIONS], len(group)) for group in shown)
    cards.append(card(tasks, f'Round {i}'))
  return grid(cards)


def task(group, size):
  """One prompt with some of its completions. Args: size: how many completions there are."""
  first = group[0]
  known = first['answer'] is not None
  answer = f'answer {code(first["answer"])}' if known else 'nobody knows the answer'
  shown = f', {len(group)} of {size} completions' if size > len(group) else ''
  return (
    f'<div class="task"><pre>{text(short(first["prompt"]))}</pre>'
    f'<p class="faint small">{answer}{shown}</p>'
    + ''.join(completion(row) for row in group)
    + '</div>'
  )


def completion(row):
  """One completion with its reward and the reward's parts."""
  parts = [
    f'{name} {value:.3g}' if value is not None else f'{name} –'
    for name, value in row['parts'].items()
  ]
  total = 'not judged' if row['reward'] is None else f'reward {row["reward"]:.3g}'
  words = [
    f'<b>{text(total)}</b>',
    *(text(part) for part in parts),
    f'{plural.counted(row["tokens"], "token")}',
  ]
  cut = f' {tag("truncated", "warning")}' if row['truncated'] else ''
  about = f'<span class="small">{" · ".join(words)}</span>{cut}'
  body = short(row['completion'])
  if body and len(body) <= ONE_LINE and '\n' not in body:
    return f'<div class="sample line">{code(body)}<span>{about}</span></div>'
  return f'<div class="sample">{about}<pre>{text(body) or "(empty)"}</pre></div>'


def short(value):
  """A text cut to CHARACTERS."""
  return value if len(value) <= CHARACTERS else f'{value[:CHARACTERS]}… ({len(value)} characters)'


def decisions(run):
  """Every decision that was not to continue. A click shows all of them."""
  decided = {r.round: (r, r.decision) for r in run.history if r.decision is not None}
  if not decided:
    return ''
  rows = {
    round: [
      number(round_name(report)),
      tag(decision.action),
      text(target(decision)),
      text(decision.reason),
      text(decision.by),
    ]
    for round, (report, decision) in decided.items()
  }
  head = [('number', 'round'), 'decision', '', 'reason', 'by']
  notable = [rows[i] for i, (_, d) in decided.items() if d.action is not Action.CONTINUE]
  if notable:
    shown = f'<div class="card scroll">{table(head, notable)}</div>'
  else:
    n = len(decided)
    shown = f'<p>{f"All {n} decisions were" if n > 1 else "The one decision was"} to continue.</p>'
  return f'{shown}<details><summary>Every decision</summary>{table(head, rows.values())}</details>'


def target(decision):
  """What a decision names: a round or a difficulty."""
  if decision.round is not None:
    return 'to the start' if decision.round == -1 else f'to the end of round {decision.round}'
  return f'{decision.difficulty:g}' if decision.difficulty is not None else ''


def round_name(report):
  """'before', or the number of the round."""
  return 'before' if report.round < 0 else f'round {report.round}'


def changes(run):
  """What was changed on purpose while the run went on, and from where on."""
  rows = [[code(history_of.in_words(row))] for row in run.changes]
  return f'<div class="card scroll">{table(["what changed"], rows)}</div>' if rows else ''


def warm_start(run):
  """The run whose weights this one started from."""
  if run.warm is None:
    return ''
  cards = [card(svg, title) for title, svg in figures.svgs(run.warm, WARM_CURVES).items()]
  return (
    f'<p>{plural.counted(len(run.warm.steps), "step")} before round 0 of the run.</p>'
    f'{headline(run.warm)}{grid(cards)}'
  )


def config(run):
  """Every number of the config."""
  rows = [[code(name), code(value)] for name, value in configs.flat(run.config).items()]
  if not rows:
    return faint('No config.json in this workdir.')
  numbers = table(['name', 'value'], rows)
  return f'<details open><summary>{len(rows)} numbers</summary>{numbers}</details>'


def definitions(run):
  """Definitions of the run's metrics. A metric that no table knows is the experiment's own."""
  names = [name for name in run.step_names if name not in ('round', 'step', 'serial')]
  reported = dict.fromkeys(name for report in run.history for name in report.metrics)
  names += [
    name
    for name in reported
    if not name.startswith('train/') and not name.endswith(tuple(metrics.BESIDE))
  ]
  rows = [
    [code(name), text(metrics.describe(name, reported) or 'Defined by this experiment.')]
    for name in dict.fromkeys(names)
  ]
  meanings = table(['name', 'meaning'], rows)
  return f'<details><summary>{len(rows)} metrics</summary>{meanings}</details>'
