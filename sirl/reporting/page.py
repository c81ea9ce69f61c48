"""The report page of a finished or running workdir: one HTML file that needs nothing else.

sections.py holds its sections, markup.py the HTML they are made of.
"""

import pathlib

from sirl.reporting import figures, sections
from sirl.reporting.markup import section, text
from sirl.runs import reading
from sirl.runtime import files

STYLE = """
:root { color-scheme: light dark;
  --sans: ui-sans-serif, system-ui, -apple-system, "Segoe UI", Roboto, "Helvetica Neue", Arial,
    sans-serif;
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
h2 { font-size: 18px; margin: 44px 0 12px; padding-bottom: 6px;
  border-bottom: 1px solid var(--rule); }
h3 { font-size: 14px; margin: 0 0 6px; font-weight: 600; }
p { margin: 6px 0; } .faint { color: var(--faint); } .small { font-size: 13px; }
.card { background: var(--card); border: 1px solid var(--rule); border-radius: 8px;
  padding: 14px 16px; min-width: 0; }
.grid { display: grid; gap: 16px; align-items: start;
  grid-template-columns: repeat(auto-fit, minmax(min(440px, 100%), 1fr)); }
.grid.small { grid-template-columns: repeat(auto-fit, minmax(min(300px, 100%), 1fr)); }
.scroll { overflow-x: auto; } svg { display: block; width: 100%; height: auto; }
table { border-collapse: collapse; width: 100%; font-size: 14px; }
th { text-align: left; font-weight: 600; color: var(--faint); font-size: 12.5px; }
th, td { padding: 6px 14px 6px 0; border-bottom: 1px solid var(--rule); vertical-align: top; }
tr:last-child td { border-bottom: 0; }
td.number, th.number { text-align: right; font-variant-numeric: tabular-nums;
  white-space: nowrap; }
code, pre { font-family: var(--mono); font-size: 12.5px; }
pre { margin: 4px 0; white-space: pre-wrap; overflow-wrap: anywhere; }
.tag { display: inline-block; font-size: 12px; padding: 1px 8px; border-radius: 99px;
  border: 1px solid var(--rule); color: var(--faint); white-space: nowrap; }
.good { color: var(--good); } .warning { color: var(--warn); } .problem { color: var(--bad); }
.tag.good, .tag.warning, .tag.problem { border-color: currentColor; }
.sample { border-top: 1px solid var(--rule); padding: 8px 0; }
.sample pre { background: var(--page); padding: 6px 8px; border-radius: 5px; }
.line { display: flex; justify-content: space-between; gap: 16px; align-items: baseline; }
.task + .task { margin-top: 18px; }
details summary { cursor: pointer; color: var(--faint); margin: 8px 0; }
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
      f'{workdir} holds no step and no report yet (steps.jsonl and history.jsonl are empty or '
      'missing); run the experiment first, or give the --workdir of a run'
    )
  return run


def page(run):
  """The whole HTML text of a Run."""
  parts = [
    sections.header(run),
    section('Before and after', sections.headline(run)),
    section('Diagnosis', sections.findings(run)),
    section('Curves', sections.curves(run)),
    section('Monitors', sections.monitors(run)),
    section('Samples', sections.samples(run)),
    section('Decisions', sections.decisions(run)),
    section('Changes', sections.changes(run)),
    section('Warm start', sections.warm_start(run)),
    section('Config', sections.config(run)),
    section('What the metrics mean', sections.definitions(run)),
  ]
  return (
    '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
    '<meta name="viewport" content="width=device-width, initial-scale=1">'
    f'<title>{text(run.name)}</title><style>{STYLE}</style></head>\n<body><main>\n'
    + '\n'.join(part for part in parts if part)
    + '\n</main></body></html>\n'
  )
