"""Commands that list methods and tasks, fetch pretrained models and run benchmarks."""

import ast
import pathlib
import re
import sys

from sirl import experiment_file
from sirl.commands import DONE


def methods(arguments):
  """sirl methods: lists each method and control with its description, paper and file."""
  del arguments
  found = [
    (path.stem, *described(path), str(path))
    for folder in experiment_file.METHODS
    for path in sorted(pathlib.Path(folder).glob('*.py'))
    if path.stem != '__init__'
  ]
  if not found:
    raise ValueError(
      'no experiments/methods here; run this from the folder that holds experiments/, the clone'
    )
  width = max(len(name) for name, *_ in found)
  for name, what, paper, file in found:
    print(f'{name:<{width}}  {what}')
    print(f'{"":<{width}}  {paper}{file}')
  print('\nrun one on a task: sirl run NAME --set task=TASK --set model=MODEL')
  return DONE


def described(path):
  """(first sentence of a Python file's docstring, its paper as 'arXiv ..., ' or '')."""
  text = ast.get_docstring(ast.parse(path.read_text(encoding='utf-8'))) or ''
  first = ' '.join(text.split('\n\n')[0].split())
  papers = re.findall(r'arXiv (\d{4}\.\d{4,5})', text)
  return first, f'arXiv {papers[0]}, ' if papers else ''


def tasks(arguments):
  """sirl tasks: describes each task, then each model.

  Shows one example of each task and the score of trivial answers.
  """
  del arguments
  clone_first()
  try:
    from experiments import settings
  except ModuleNotFoundError as error:
    if error.name != 'experiments':
      raise
    raise ValueError('no experiments/settings.py here; run this from the clone') from None

  for name, domain_of in settings.TASKS.items():
    file = pathlib.Path(domain_of.__code__.co_filename)
    print(f'{name}\n  {first_line(domain_of)}')
    for line in settings.examples(name):
      print(f'  {line}')
    print(f'  experiments/{file.name}')
  print('\nmodels')
  for name, make in settings.MODELS.items():
    print(f'  {name}: {first_line(make)}')
  print(f'  PATH: {first_line(settings.load)}')
  return DONE


def first_line(function):
  """The first paragraph of a docstring, as one line."""
  return ' '.join((function.__doc__ or '').strip().split('\n\n')[0].split())


def clone_first():
  """Puts the working directory first in sys.path, so that its experiments/ is imported."""
  if (here := str(pathlib.Path.cwd())) not in sys.path:
    sys.path.insert(0, here)


def fetch(arguments):
  """sirl fetch NAME FOLDER: downloads, verifies and converts a pretrained model."""
  from sirl.models.files import fetch as fetching

  print(fetching.fetch(arguments.name, arguments.folder, dtype=arguments.dtype))
  return DONE


def bench(arguments):
  """sirl bench: runs the benchmarks and prints a table."""
  clone_first()
  try:
    from experiments.benchmarks import command
  except ModuleNotFoundError as error:
    if error.name != 'experiments.benchmarks' and error.name != 'experiments':
      raise
    raise ValueError(
      'bench is a tool of the clone; run it from the folder that holds experiments/'
    ) from None

  command.bench(
    arguments.cases, repeats=arguments.repeats, out=arguments.out, peers=arguments.peers
  )
  return DONE
