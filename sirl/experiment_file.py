"""Loads an experiment file, builds its config with overrides, and names the workdir of its run.

Loading executes the file. This module itself does not import JAX.
"""

import difflib
import hashlib
import importlib.metadata
import importlib.util
import json
import pathlib
import re
import sys
import traceback

from sirl import config as configs

# Folders in which a bare name is searched, in this order.
METHODS = ('experiments/methods', 'experiments/controls')
LONGEST = 80  # most characters of overrides in a workdir's name; values of a longer one are cut
LONG = 20  # characters that a cut value keeps


def find(name):
  """The path of an experiment. A bare name is searched in the folders of the clone.

  'grpo' is experiments/methods/grpo.py, 'quickstart' is experiments/quickstart.py. A path with a
  folder or a suffix is returned as it is.
  """
  path = pathlib.Path(name)
  if path.is_file() or path.suffix or len(path.parts) > 1:
    return path
  places = [pathlib.Path(folder, f'{name}.py') for folder in (*METHODS, 'experiments')]
  return next((place for place in places if place.is_file()), path)


def load(path):
  """Executes an experiment file and returns its module.

  Adds the file's own folder, its root folder and the working directory to sys.path.
  Raises: FileNotFoundError, or ValueError naming what the file lacks or where it fails.
  """
  path = pathlib.Path(path)
  if not path.is_file():
    raise FileNotFoundError(f'no experiment file {path}; {_nearest(path)}')
  if path.suffix != '.py':
    raise ValueError(
      f'{path} is not a Python file; expected an experiment such as experiments/quickstart.py'
    )
  own = path.resolve().parent
  beside = [] if (own / '__init__.py').is_file() else [own]  # a package is imported by its name
  for folder in (pathlib.Path.cwd(), _root(path), *beside):  # last inserted, first searched
    if str(folder) not in sys.path:
      sys.path.insert(0, str(folder))
  name = f'experiment_{path.stem}'
  spec = importlib.util.spec_from_file_location(name, path)
  assert spec is not None
  assert spec.loader is not None
  module = importlib.util.module_from_spec(spec)
  sys.modules[name] = module  # dataclasses find their module by name
  try:
    spec.loader.exec_module(module)
  except (Exception, SystemExit) as error:
    missing = error.name if isinstance(error, ModuleNotFoundError) else None
    hint = _extra_of(missing) if missing else ''
    if missing == 'experiments':
      hint = '; run it from the folder that holds experiments/, the clone'
    if isinstance(error, SystemExit):
      hint = '; raise an error in place of sys.exit'
    if 'non-frozen dataclass' in str(error):
      hint = '; write @dataclasses.dataclass(frozen=True, kw_only=True) above the class'
    raise ValueError(
      f'{path} cannot be loaded: {type(error).__name__}: {error}{_line_in(path, error)}{hint}'
    ) from error
  kind = getattr(module, 'Config', None)
  if not (isinstance(kind, type) and issubclass(kind, configs.Base)):
    program = '; this one is a program of its own: python -m ' + '.'.join(
      path.with_suffix('').parts
    )
    raise ValueError(
      f'{path} has no Config; an experiment file defines Config, a subclass of sirl.config.Base, '
      f'and build(config){program if hasattr(module, "main") and not path.is_absolute() else ""}'
    )
  configs.check_class(kind)
  if not callable(getattr(module, 'build', None)):
    what = 'no build' if not hasattr(module, 'build') else 'a build that is not a function'
    raise ValueError(
      f'{path} has {what}; an experiment file defines build(config) -> sirl.experiment.Experiment'
    )
  return module


def _extra_of(module):
  """ "; pip install '.[peers]' brings it" for the module 'trl'; '' for one that no extra brings."""
  try:
    lines = importlib.metadata.requires('sirl') or []
  except importlib.metadata.PackageNotFoundError:  # a clone that is on the path, not installed
    return ''
  plain = lambda name: name.lower().replace('_', '-')
  for line in lines:
    found = re.match(r'([\w.-]+).*extra == "([\w-]+)"', line)
    if found and plain(found[1]) == plain(module.split('.')[0]):
      return f"; pip install '.[{found[2]}]' brings it"
  return ''


def _root(path):
  """The folder from which a file imports its neighbours.

  This is the folder above its packages. For a file outside a package it is the parent of its own
  folder.
  """
  folder = path.resolve().parent
  if not (folder / '__init__.py').is_file():
    return folder.parent
  while (folder / '__init__.py').is_file():
    folder = folder.parent
  return folder


def configured(module, assignments):
  """The config of a run: the module's Config with the assignments applied.

  If `build` is a recipe, the numbers go on top of its setting's, see `recipe.Recipe`. For any other
  file, `debug=true` first applies the module's shrink(config).
  Raises: ValueError for an assignment that the Config rejects, or for debug without a shrink.
  """
  if hasattr(module.build, 'configured'):
    return module.build.configured(module.Config, assignments)
  config = configs.override(module.Config(), assignments)
  if not config.debug:
    return config
  if not hasattr(module, 'shrink'):
    raise ValueError(
      f'debug=true: {module.__file__} has no shrink(config) -> config that makes its numbers '
      'small; add one'
    )
  return configs.override(module.shrink(module.Config()), assignments)


def summary(module):
  """The summary function (history) -> str of the module or its recipe, or None."""
  return getattr(module, 'summary', None) or getattr(module.build, 'summary', None)


def workdir(path, module, config, assignments, always=()):
  """The default workdir: runs/<name of the file>, followed by the numbers that were overridden.

  Example: 'runs/quickstart-lr=0.01,seed=1'. Names are sorted, so the order of --set does not
  matter. Numbers that do not change the results are omitted. Names in `always`, those of a sweep,
  are always included. See `folder_name` for long ones.
  """
  set_names = {assignment.split('=')[0].strip() for assignment in assignments}
  kept = configs.setting(assignments, ('task', 'model', 'debug'))
  before = {
    **_words(configured(module, kept)),
    **{name: word for name, word in _words(module.Config()).items() if name in ('task', 'model')},
  }
  changed = {'debug': 'true'} if config.debug else {}
  changed |= {
    name: word
    for name, word in _words(config).items()
    if name in always
    or (name in set_names and word != before.get(name) and name not in configs.FREE)
  }
  named = folder_name(dict(sorted(changed.items())), first=always)
  return pathlib.Path('runs', f'{path.stem}-{named}' if named else path.stem)


def sweep_folder(config, names):
  """The name of a run's folder among those of a sweep: its values of the swept names."""
  words = _words(config)
  return folder_name({name: words[name] for name in names}, first=names)


def folder_name(words, first=()):
  """'lr=0.01,seed=1' of {name: word}, without the characters that file systems refuse.

  Where that is too long, values are cut, paths to their last part, and the names in `first` come
  first. The name ends in a hash of the words if anything was cut or replaced.
  """
  safe = lambda word: re.sub('[^A-Za-z0-9._+-]', '_', word)
  named = ','.join(f'{name}={safe(word)}' for name, word in words.items())
  if len(named) > LONGEST:
    order = sorted(words, key=lambda name: name not in first)
    cut = {name: safe(pathlib.PurePath(words[name]).name or words[name])[:LONG] for name in order}
    named = ','.join(f'{name}={word}' for name, word in cut.items())[:LONGEST]
  if any(f'{name}={word}' not in named.split(',') for name, word in words.items()):
    exact = json.dumps(sorted(words.items())).encode()
    named += f'-{hashlib.sha256(exact).hexdigest()[:8]}'
  return named


def _words(config):
  return {name: _word(value) for name, value in configs.flat(configs.dump(config)).items()}


def _word(value):
  """A config value in the form that --set takes; the items of a tuple are joined by '+'."""
  if isinstance(value, list):
    return '+'.join(map(_word, value))
  return value if isinstance(value, str) else str(value).lower()


def _nearest(path):
  """A hint at files with similar names, beside the missing file and in the clone's folders."""
  beside = sorted(path.parent.glob('*.py')) if path.parent.is_dir() else []
  known = [p for folder in (*METHODS, 'experiments') for p in pathlib.Path(folder).glob('*.py')]
  names = {p.stem: p for p in [*known, *beside] if p.stem != '__init__'}
  if near := difflib.get_close_matches(path.stem, names, n=1):
    return f'did you mean {names[near[0]]}?'
  listed = ', '.join(p.name for p in beside if _may_be_experiment(p))
  return (
    f'{path.parent} holds: {listed}' if listed else 'expected a Python file with Config and build'
  )


def _may_be_experiment(path):
  """Whether a Python file names Config and build at the start of a line, read without running it."""
  text = path.read_text(encoding='utf-8', errors='replace')
  return all(
    re.search(rf'^(class |def )?(\w+, )?{name}\b', text, re.M) for name in ('Config', 'build')
  )


def _line_in(path, error):
  """' (line 3)', the line of the experiment file that the error passed through, or ''."""
  lines = [f.lineno for f in traceback.extract_tb(error.__traceback__) if f.filename == str(path)]
  return f' (line {lines[-1]})' if lines else ''
