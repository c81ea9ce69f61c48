"""Time of one case by operation.

  python experiments/benchmarks/operations.py CASE [VARIANT]

CASE is any part of the name of a case in experiments/benchmarks/cases.py. VARIANT is one of
our side. The process is pinned to as many cores as the case has.

In a trace of level 3 XLA names every operation that it runs on a CPU. The seconds of an
operation exclude those of the operations that it calls. They are added up by kind, shape and,
where XLA kept it, the place in the code. There `RI,OI->RO` is a product with weights,
`OI,RI->OR` is one of few rows (models/transformer.py), and `BTKRH,BKSH->BKRTS` is attention's
scores. `ThunkExecutor` is XLA between two operations, or waiting for another thread.
"""

import argparse
import collections
import glob
import gzip
import json
import os
import pathlib
import re
import tempfile
import time

DUMP = ' --xla_dump_hlo_as_text --xla_dump_to='


def main():
  arguments = parser().parse_args()
  with tempfile.TemporaryDirectory() as folder:
    # Set before the import of JAX, because XLA reads it then.
    os.environ['XLA_FLAGS'] = os.environ.get('XLA_FLAGS', '') + DUMP + folder
    case, seconds, events = traced(arguments.case, arguments.variant, f'{folder}/trace')
    places = operations(folder)
  found = collections.Counter()
  for name, own in own_seconds(events):
    found[place(name, places.get(name, ''))] += own
  total = sum(found.values())
  print(
    f'{case.name}, {arguments.variant}: {1000 * seconds:.1f} ms of CPU time, '
    f'traced {1000 * total:.1f}; tracing itself takes time'
  )
  for (kind, shape, asked), own in found.most_common(arguments.top):
    print(f'{1000 * own:9.1f} ms {100 * own / total:5.1f} %  {kind} {shape}  {asked}')


def parser():
  p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
  p.add_argument('case', help='part of the name of a case')
  p.add_argument('variant', nargs='?', default='plain', help="one of ours, by default 'plain'")
  p.add_argument('--top', type=int, default=30, help='lines to print')
  return p


def traced(part, variant, folder):
  """Runs a case and traces it.

  Returns: (case, CPU seconds of the fastest of three runs, events of a traced run).
  Raises: SystemExit for an unknown case.
  """
  import jax

  from experiments.benchmarks import cases, driver, ours
  from sirl import config
  from sirl.runtime import host_memory, sharding

  case = next((case for case in cases.CASES if part in case.name), None)
  if case is None:
    raise SystemExit(f'no case has {part!r} in its name; see experiments/benchmarks/cases.py')
  os.sched_setaffinity(0, driver.held_cores()[-case.cores :])
  host_memory.keep_freed()
  if 'two devices' in variant:
    jax.config.update('jax_num_cpu_devices', 2)
  options = jax.profiler.ProfileOptions()
  options.host_tracer_level, options.python_tracer_level = 3, 0
  with jax.set_mesh(sharding.make_mesh(config.Mesh())):
    run = ours.KINDS[case.kind](case, cases.shape(case), variant)
    run()
    seconds = []
    for _ in range(3):
      started = time.process_time()
      run()
      seconds.append(time.process_time() - started)
    with jax.profiler.trace(folder, profiler_options=options):
      run()
  (path,) = glob.glob(f'{folder}/**/*.trace.json.gz', recursive=True)
  with gzip.open(path) as file:
    return case, min(seconds), json.load(file)['traceEvents']


def own_seconds(events):
  """Yields (name, seconds) of every event with a duration, without the events nested in it."""
  threads = collections.defaultdict(list)
  for event in events:
    if event.get('ph') == 'X':
      threads[event['pid'], event['tid']].append(event)
  for thread in threads.values():
    thread.sort(key=lambda event: (event['ts'], -event['dur']))
    around = []
    for event in thread:
      event['own'] = event['dur']
      while around and around[-1]['ts'] + around[-1]['dur'] <= event['ts'] + 1e-9:
        around.pop()
      if around:
        around[-1]['own'] -= event['dur']
      around.append(event)
    yield from ((event['name'], event['own'] / 1e6) for event in thread)


def operations(folder):
  """{name: right-hand side} of every operation in the compiled programs that XLA dumped in
  `folder`.
  """
  text = '\n'.join(
    path.read_text() for path in pathlib.Path(folder).glob('*cpu_after_optimizations.txt')
  )
  return dict(re.findall(r'^\s*(?:ROOT )?%?([\w.\-]+) = (.*)$', text, re.M))


def place(name, operation):
  """(kind, shape, place in the code) of an operation."""
  asked = re.search(r'op_name="([^"]*)"', operation)
  return (
    re.sub(r'\.\d+$', '', name),
    re.split(r'[{ ]', operation)[0],
    asked.group(1) if asked else '',
  )


if __name__ == '__main__':
  main()
