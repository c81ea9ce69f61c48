"""`sirl bench`: measures, prints the table, writes it with bench.json and the pictures."""

import json
import pathlib

from experiments.benchmarks import cases, driver, render


def bench(sets, *, repeats, out, peers):
  """Measures and writes into `out`. Args: as in `driver.measure`; sets: 'all' or names with commas between."""
  out = pathlib.Path(out)
  out.mkdir(parents=True, exist_ok=True)
  results: dict = {}
  for results in driver.measure(
    cases.GROUPS if sets == 'all' else sets.split(','),
    repeats=repeats,
    peers=peers,
    logs=out / 'logs',
    say=lambda line: print(line, flush=True),
  ):
    # After every case: an interrupted run keeps what it has.
    (out / 'bench.json').write_text(json.dumps(results, indent=1) + '\n')
  show(results, out)


def show(results, out):
  """Prints the table and writes it and the pictures, from what bench.json holds."""
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
