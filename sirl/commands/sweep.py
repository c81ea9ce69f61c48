"""sirl run FILE --sweep: runs every combination of several values, each in its own process."""

import pathlib
import shlex
import subprocess
import sys

from sirl import config as configs
from sirl import experiment_file
from sirl.commands import DONE, ERROR
from sirl.runtime import files


def run(arguments):
  """Runs all combinations one after the other, or prints their command lines (--print).

  Printed lines can feed a cluster's job array. All combinations are checked before the first one
  starts. A run that fails or waits does not stop the others.
  Raises: ValueError for a sweep without values, or over a name that the config lacks.
  """
  if arguments.distributed and not arguments.print:
    raise ValueError(
      '--sweep starts every run by itself, so it cannot be one of several processes; '
      'print the command lines with --print and launch each of them'
    )
  found = commands(arguments)
  if arguments.print:
    print('\n'.join(shlex.join(line) for line in found))
    return DONE
  folders = [line[line.index('--workdir') + 1] for line in found]
  for folder in folders:
    files.check_folder(folder, 'workdir', 'take another --workdir')
  ended = {}
  for i, line in enumerate(found, 1):
    print(f'[{i}/{len(found)}] {shlex.join(line)}', flush=True)
    ended[shlex.join(line)] = subprocess.run([sys.executable, '-m', *line], check=False).returncode
  bad = {line: code for line, code in ended.items() if code != DONE}
  for line, code in bad.items():
    print(f'ended with exit code {code}: {line}')
  print(f'compare them: {configs.command("compare", *folders)}')
  return ERROR if bad else DONE


def commands(arguments):
  """The command line of every combination, as lists of words."""
  source = experiment_file.find(arguments.file)
  module = experiment_file.load(source)
  swept = [choices(text) for text in arguments.sweep]
  names, values = [name for name, _ in swept], [found for _, found in swept]
  if len(set(names)) < len(names):
    raise ValueError(
      f'--sweep names {", ".join(names)}: give the values of each number in one --sweep'
    )
  for name, found in swept:
    if len(set(found)) < len(found):
      raise ValueError(f'--sweep {name}={",".join(found)}: a value stands there twice')
  lines = []
  for combination in configs.product(**dict(zip(names, values, strict=True))):
    assignments = [*arguments.set, *combination]
    # Raises for an unknown name or a value of another type.
    config = experiment_file.configured(module, assignments)
    workdir = experiment_file.workdir(source, module, config, assignments, always=names)
    if arguments.workdir:
      workdir = pathlib.Path(arguments.workdir) / experiment_file.sweep_folder(config, names)
    line = ['sirl', 'run', str(source)]
    line += [word for assignment in assignments for word in ('--set', assignment)]
    line += ['--distributed'] * arguments.distributed
    line += [word for sink in arguments.sink for word in ('--sink', sink)]
    lines.append([*line, '--workdir', str(workdir)])
  return lines


def choices(text):
  """Splits 'lr=1e-4,3e-4' into ('lr', ['1e-4', '3e-4']). Commas within brackets do not split.

  Raises: ValueError for a text without '=' or with an empty value.
  """
  name, equals, listed = text.partition('=')
  found, depth = [''], 0
  for character in listed:
    depth += {'(': 1, '[': 1, ')': -1, ']': -1}.get(character, 0)
    if character == ',' and depth == 0:
      found.append('')
    else:
      found[-1] += character
  if not equals or not all(value.strip() for value in found):
    raise ValueError(f'--sweep {text!r}: expected NAME=VALUE,VALUE, for example --sweep seed=0,1,2')
  return name.strip(), [value.strip() for value in found]
