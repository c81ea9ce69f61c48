"""sirl plan: what a run needs on chips that are not here."""

import json
import logging
import pathlib
import sys

from sirl import experiment_file
from sirl.commands import DONE


def plan(arguments):
  """sirl plan FILE --chip v5e:4x4: memory and time of a step; --compile asks the chip's compiler."""
  from sirl.plan import chips, plan, programs, report, search, topology
  from sirl.runtime import files, sharding

  topology.prepare()
  group = chips.group(arguments.chip)
  if arguments.json:
    files.check_file(arguments.json, '--json')
  wants = arguments.compile or arguments.search
  if wants and (message := topology.missing(group)):
    raise ValueError(message)
  source = experiment_file.find(arguments.file)
  module = experiment_file.load(source)
  config = experiment_file.configured(module, arguments.set)
  given = tuple(arguments.set)
  if arguments.mesh:
    config = plan.with_mesh(config, arguments.mesh)
    given += tuple(f'mesh.{axis}={getattr(config.mesh, axis)}' for axis in sharding.AXES)
  p = programs.of(module.build, config)
  about = {'name': source.stem, 'file': arguments.file, 'assignments': given}
  said = lambda text: print(text, file=sys.stderr, flush=True)
  if arguments.search:
    logging.getLogger('sirl.runtime.sharding').setLevel(logging.WARNING)  # else a line a mesh
    found = search.best(p, group, **about, seconds=arguments.limit, said=said)
  else:
    found = plan.estimated(p, group, **about)
    if arguments.compile:
      found = plan.compiled(found, programs.NAMES, arguments.limit, said)
  print(report.table(found))
  if arguments.json:
    path = pathlib.Path(arguments.json)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(report.as_json(found), indent=2) + '\n', encoding='utf-8')
    print(f'written: {path}', file=sys.stderr)
  return DONE
