"""`sirl bench`: measures, prints the table, and writes it with bench.json and the pictures."""

import pathlib

from experiments.benchmarks import cases, driver, render
from sirl.runtime import files, json_text


def bench(sets, *, repeats, out, peers):
  """Measures and writes into the folder `out`.

  Args: sets: 'all', or names with commas between; the rest as in `driver.measure`.
  """
  out = pathlib.Path(out)
  files.check_folder(out, '--out', 'name another folder')
  out.mkdir(parents=True, exist_ok=True)
  results: dict = {}
  for results in driver.measure(
    cases.GROUPS if sets == 'all' else sets.split(','),
    repeats=repeats,
    peers=peers,
    logs=out / 'logs',
    say=lambda line: print(line, flush=True),
  ):
    # Written after every case, so an interrupted run keeps its results.
    (out / 'bench.json').write_text(json_text.dumps(results, indent=1) + '\n')
  show(results, out)


def show(results, out):
  """Prints the table; writes the table and the pictures into `out`.

  Args: results: the content of bench.json.
  """
  out = pathlib.Path(out)
  text = render.table(results)
  print(f'\n{text}')
  (out / 'bench.md').write_text(text)
  pictures = [
    name
    for name, draw in (('bench.png', render.picture), ('growth.png', render.growth))
    if draw(results, out / name)
  ]
  print('wrote ' + ', '.join(str(out / name) for name in ('bench.json', 'bench.md', *pictures)))
