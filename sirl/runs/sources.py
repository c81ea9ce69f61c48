"""The code behind a run: the modules that an experiment file imports, and the library itself."""

import ast
import functools
import hashlib
import importlib.util
import pathlib
import site
import subprocess
import sys
import sysconfig

LIBRARY = pathlib.Path(__file__).resolve().parent.parent


def imported(source):
  """{module: SHA-256} of the files of `own`."""
  return {name: hashlib.sha256(path.read_bytes()).hexdigest() for name, path in own(source).items()}


def own(source):
  """{module: its file} of an experiment's own modules: what the file imports, also indirectly.

  Leaves out the library, Python's own modules and installed packages, whose versions are recorded.
  A module inside a package that is not loaded yet is not seen.
  """
  found, seen = {}, set()
  waiting = [(pathlib.Path(source), '')]
  while waiting:
    path, package = waiting.pop()
    for name in _names(path, package):
      spec = None if name in seen else _spec(name)
      seen.add(name)
      file = spec and spec.origin
      if file and file.endswith('.py') and _is_own(file):
        found[name] = pathlib.Path(file)
        waiting.append((found[name], spec.parent or ''))
  return dict(sorted(found.items()))


def library():
  """{'revision': git revision of the library or None, 'sha256': digest of its sources}."""
  return {'revision': git_revision(LIBRARY), 'sha256': _digest(LIBRARY)}


def git_revision(folder):
  """The git revision of a folder, with '-dirty' for uncommitted changes; None outside git."""
  words = ['describe', '--always', '--dirty', '--abbrev=40', '--exclude=*']
  command = ['git', '-C', str(folder), *words]
  try:
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=10)
  except (OSError, subprocess.TimeoutExpired):
    return None
  return done.stdout.strip() or None


def _spec(name):
  """The ModuleSpec of a module that is loaded, or that a function may import later; else None."""
  if name in sys.modules:
    return sys.modules[name].__spec__
  if '.' in name:
    return None  # finding it would import its package
  try:
    return importlib.util.find_spec(name)
  except (ImportError, ValueError):
    return None


def _names(path, package):
  """Full names of the modules that a file may import: each name, and the packages above it."""
  for node in ast.walk(ast.parse(path.read_bytes())):
    if isinstance(node, ast.Import):
      names = [alias.name for alias in node.names]
    elif isinstance(node, ast.ImportFrom):
      above = package.split('.')[: -(node.level - 1) or None] if node.level else []
      base = '.'.join(filter(None, [*above, node.module]))
      names = [f'{base}.{alias.name}' for alias in node.names]
    else:
      continue
    for name in names:
      parts = name.split('.')
      yield from ('.'.join(parts[:n]) for n in range(1, len(parts) + 1))


def _is_own(file):
  folders = pathlib.Path(file).resolve().parents
  return LIBRARY not in folders and not any(place in folders for place in _installed())


@functools.cache
def _installed():
  paths = sysconfig.get_paths()
  places = [paths[name] for name in ('stdlib', 'platstdlib', 'purelib', 'platlib')]
  return {
    pathlib.Path(place).resolve()
    for place in (*places, *site.getsitepackages(), site.getusersitepackages())
  }


@functools.cache
def _digest(folder):
  hashed = hashlib.sha256()
  for path in sorted(folder.rglob('*.py')):
    hashed.update(f'{path.relative_to(folder).as_posix()}\n'.encode())
    hashed.update(hashlib.sha256(path.read_bytes()).digest())
  return hashed.hexdigest()
