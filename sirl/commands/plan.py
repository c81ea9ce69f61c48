"""sirl plan: what a run needs on chips that are not here."""

import json
import pathlib
import sys

from sirl import experiment_file
from sirl.commands import DONE


def plan(arguments):
  """sirl plan FILE --chip v5e:4x4: memory and time of a step; --compile asks the chip's compiler."""
  from sirl.plan import chips, plan, programs, report, search, topology

  topology.prepare()
  group = chips.group(arguments.chip)
  wants = arguments.compile or arguments.search
  if wants and (message := topology.missing(group)):
    raise ValueError(message)
  source = experiment_file.find(arguments.file)
  module = experiment_file.load(source)
  config = experiment_file.configured(module, arguments.set)
  if arguments.mesh:
    config = plan.with_mesh(config, arguments.mesh)
  p = programs.of(module.build, config)
  about = dict(name=source.stem, file=arguments.file, assignments=tuple(arguments.set))
  found = plan.estimated(p, group, **about)
  said = lambda text: print(text, file=sys.stderr, flush=True)
  if arguments.search:
    found = search.best(p, group, **about, seconds=arguments.limit, said=said)
  elif arguments.compile:
    found = plan.compiled(found, programs.NAMES, arguments.limit, said)
  print(report.table(found))
  print(f'\nto run it:\n  {report.command(found)}')
  if arguments.json:
    path = pathlib.Path(arguments.json)
    path.write_text(json.dumps(report.as_json(found), indent=2) + '\n', encoding='utf-8')
    print(f'written: {path}')
  return DONE
