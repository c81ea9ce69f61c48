"""Who may import whom, read from the sources: data flows one way, and packages beside each other stay strangers."""

import ast
import pathlib

import pytest

ROOT = pathlib.Path(__file__).parent.parent / 'sirl'
METHODS = (
  'models', 'generation', 'rewards', 'optimization', 'acquisition', 'selection', 'domains', 'refinement', 'evaluation',
)  # fmt: skip
BELOW = {'types', 'config', 'ops', 'runtime'}  # what every method package may use
ALLOWED = {
  'types': set(),
  'config': {'types'},
  'ops': {'types'},
  'runtime': {'types', 'config', 'ops'},
  **{name: BELOW for name in METHODS},
  'overlap': BELOW,
  'gro': BELOW | {'overlap'},
  # The loop knows the pool it extends; the methods themselves arrive in the Experiment.
  'loop': BELOW | {'acquisition'},
  'drawing': BELOW,
  'figures': BELOW | {'drawing'},
  'report': BELOW | {'figures', 'drawing', 'doctor'},
  'doctor': BELOW,
  # Measures whole steps as an experiment composes them.
  'bench': {
    'acquisition',
    'loop',
    'selection',
    'models',
    'generation',
    'rewards',
    'optimization',
    'gro',
    'drawing',
    *BELOW,
  },
  'experiment_file': {'config'},
  'cli': {'experiment_file', 'loop', 'report', 'doctor', 'models', 'bench', *BELOW},
  '__main__': {'cli'},
  # Names for a notebook, each imported when it is first asked for.
  '__init__': {'doctor', 'generation', 'gro', 'loop', 'optimization', 'rewards', *BELOW},
}
ONLY = {  # a library and the one place that may import it
  'flax.nnx': 'models',
  'transformers': 'models',
  'orbax': 'runtime/checkpoint.py',
  'tensorflow_datasets': 'acquisition/curated.py',
  'optax': 'optimization',
}
FILES = sorted(ROOT.rglob('*.py'))


def imports(path):
  """Full dotted names that a file imports, also inside functions; names under `if TYPE_CHECKING` do not count."""
  tree = ast.parse(path.read_text())
  typing_only = {
    id(inner)
    for node in ast.walk(tree)
    if isinstance(node, ast.If) and 'TYPE_CHECKING' in ast.unparse(node.test)
    for inner in ast.walk(node)
  }
  for node in ast.walk(tree):
    if id(node) in typing_only:
      continue
    if isinstance(node, ast.Import):
      yield from (alias.name for alias in node.names)
    elif isinstance(node, ast.ImportFrom):
      package = ['sirl', *path.relative_to(ROOT).parts[: -node.level]] if node.level else []
      module = '.'.join([*package, *filter(None, [node.module])])
      yield from (f'{module}.{alias.name}' for alias in node.names)


@pytest.mark.parametrize(
  ('where', 'line', 'name'),
  [
    ('ops/x.py', 'from .. import loop', 'sirl.loop'),
    ('ops/x.py', 'from ..models import tabular', 'sirl.models.tabular'),
    ('ops/x.py', 'from . import keys', 'sirl.ops.keys'),
    ('ops/x.py', 'from .keys import at', 'sirl.ops.keys.at'),
    ('ops/deep/x.py', 'from ...models import tabular', 'sirl.models.tabular'),
    ('gro.py', 'from .loop import run', 'sirl.loop.run'),
    ('ops/x.py', 'from sirl import loop', 'sirl.loop'),
  ],
)
def test_relative_imports_are_seen_too(tmp_path, monkeypatch, where, line, name):
  monkeypatch.setitem(globals(), 'ROOT', tmp_path)
  path = tmp_path / where
  path.parent.mkdir(parents=True, exist_ok=True)
  path.write_text(line)
  assert list(imports(path)) == [name]


def room_of(path):
  first = path.relative_to(ROOT).parts[0]
  return first.removesuffix('.py')


@pytest.mark.parametrize('path', FILES, ids=lambda p: str(p.relative_to(ROOT)))
def test_imports_point_down(path):
  room = room_of(path)
  for name in imports(path):
    if name == 'sirl' or not name.startswith('sirl.'):
      continue
    other = name.split('.')[1]
    if other in ('__version__', room):
      continue
    assert other in ALLOWED[room], (
      f'{path.relative_to(ROOT)} imports sirl.{other}; {room} may use {sorted(ALLOWED[room])}'
    )


@pytest.mark.parametrize('path', FILES, ids=lambda p: str(p.relative_to(ROOT)))
def test_heavy_libraries_stay_in_their_room(path):
  where = str(path.relative_to(ROOT))
  for name in imports(path):
    for library, home in ONLY.items():
      if name == library or name.startswith(library + '.'):
        assert where.startswith(home), f'{where} imports {library}, which belongs to {home}'
