"""Which module may import which, read from the sources.

Imports point down, and method packages never import each other. docs/architecture.py reads the
imports, here and for the picture. A "room" is a package or a single file right under sirl/, or
experiments/.
"""

import importlib.util
import pathlib
import re

import pytest

ROOT = pathlib.Path(__file__).parent.parent


def loaded(path):
  """The module of a Python file that is in no package."""
  spec = importlib.util.spec_from_file_location(path.stem, path)
  module = importlib.util.module_from_spec(spec)
  spec.loader.exec_module(module)
  return module


architecture = loaded(ROOT / 'docs' / 'architecture.py')
METHODS = set(architecture.METHODS)
# What every method package may use.
BELOW = {'names', 'ranges', 'runtime', 'config', 'tasks', 'types', 'slots', 'ops'}
# Each room and those that it may use, from the bottom up.
ALLOWED = {
  'names': set(),
  'ranges': set(),
  'runtime': {'ranges'},
  'config': {'names', 'ranges'},
  'tasks': {'names', 'ranges', 'runtime'},  # the pool writes files
  'types': {'ranges', 'tasks', 'runtime'},
  'slots': {'tasks', 'types'},
  'ops': {'ranges', 'types'},
  'experiment': {'names', 'config', 'tasks', 'types', 'slots'},
  'runs': BELOW,
  **{name: BELOW for name in METHODS},
  # Rules read the path of a history, and how many rounds a run keeps.
  'evaluation': BELOW | {'runs'},
  'overlap': BELOW,
  'gro': BELOW | {'experiment', 'overlap', 'rewards'},
  'loop': BELOW | {'experiment', 'gro', 'runs'},
  # It tries a run's choices: prompts and answers as text, the reward, the objective.
  'preflight': BELOW | {'rewards', 'generation', 'optimization'},
  # These two compose methods: any of them, and those of a supervised warm start.
  'recipe': BELOW | METHODS | {'experiment', 'overlap', 'gro', 'preflight'},
  'warm_start': BELOW | METHODS | {'experiment', 'gro'},
  'reporting': BELOW | {'runs'},
  'experiment_file': {'config'},
  # It traces the programs of a step, without weights.
  'plan': BELOW
  | {'experiment', 'experiment_file', 'gro', 'recipe', 'models', 'generation', 'optimization'},
  # Besides running, commands ask a policy (generation) and fetch or export a model.
  'commands': BELOW
  | {'experiment', 'experiment_file', 'runs', 'gro', 'loop', 'reporting', 'models', 'generation'}
  | {'plan'},
  'cli': {'commands'},
  '__main__': {'cli'},
  # Names for notebooks, each imported on first use.
  'sirl': {
    'experiment', 'generation', 'gro', 'loop', 'optimization', 'reporting', 'rewards', 'runs', 'tasks',
  },
  # Experiments may import all of it except the command line, which calls them.
  'experiments': BELOW
  | METHODS
  | {'experiment', 'runs', 'overlap', 'gro', 'loop', 'recipe', 'reporting', 'warm_start', 'plan'},
}  # fmt: skip
# Rooms that may use only these modules of another room.
PARTS = {
  ('evaluation', 'runs'): {'lineage', 'retention'},
  ('gro', 'rewards'): {'check'},
}
ONLY = {  # a library and the one place that may import it
  'flax.nnx': 'sirl/models/',
  'transformers': 'sirl/models/',
  'tokenizers': 'sirl/models/',
  'safetensors': 'sirl/models/files/weights.py',
  'gguf': 'sirl/models/files/gguf',
  'huggingface_hub': 'sirl/models/',
  'orbax': 'sirl/runs/checkpoint.py',
  'rich': 'sirl/runs/progress.py',
  'tensorflow_datasets': 'sirl/acquisition/rows.py',
  'pyarrow': 'sirl/acquisition/rows.py',
  'optax': 'sirl/optimization/',
  'matplotlib': 'sirl/reporting/',
}
GRAPH = architecture.module_graph()
MODULES = architecture.modules()


@pytest.mark.parametrize(
  ('where', 'line', 'name'),
  [
    ('sirl/ops/x.py', 'from .. import loop', 'sirl.loop'),
    ('sirl/ops/x.py', 'from ..models import tabular', 'sirl.models.tabular'),
    ('sirl/ops/x.py', 'from . import keys', 'sirl.ops.keys'),
    ('sirl/ops/x.py', 'from .keys import at', 'sirl.ops.keys.at'),
    ('sirl/ops/deep/x.py', 'from ...models import tabular', 'sirl.models.tabular'),
    ('sirl/ops/__init__.py', 'from . import keys', 'sirl.ops.keys'),
    ('sirl/gro.py', 'from .loop import run', 'sirl.loop.run'),
    ('sirl/ops/x.py', 'from sirl import loop', 'sirl.loop'),
    ('sirl/ops/x.py', 'import sirl\nsirl.run()', 'sirl.run'),
    ('sirl/ops/x.py', 'import sirl.loop as l', 'sirl.loop'),
    ('sirl/ops/x.py', 'def f():\n  from sirl import loop', 'sirl.loop'),
  ],
)
def test_relative_imports_are_seen_too(tmp_path, where, line, name):
  path = written(tmp_path, where, line)
  assert list(architecture.imports(path, tmp_path)) == [name]


def test_imports_for_the_type_checker_do_not_count(tmp_path):
  source = 'if TYPE_CHECKING:\n  from sirl import loop\nelse:\n  from sirl import gro'
  path = written(tmp_path, 'sirl/x.py', source)
  assert list(architecture.imports(path, tmp_path)) == ['sirl.gro']


def test_a_circle_is_found_and_named(tmp_path):
  written(tmp_path, 'sirl/__init__.py', '')
  written(tmp_path, 'sirl/a.py', 'from sirl import b')
  written(tmp_path, 'sirl/b.py', 'def late():\n  from sirl.c.d import e')
  written(tmp_path, 'sirl/c/__init__.py', 'from sirl.c import d')
  written(tmp_path, 'sirl/c/d.py', 'from .. import a\nfrom sirl import __version__')
  graph = architecture.module_graph(tmp_path)
  assert graph['sirl.c'] == {'sirl.c.d'}
  assert graph['sirl.c.d'] == {'sirl.a'}
  assert architecture.circles(graph) == [('sirl.a', 'sirl.b', 'sirl.c.d')]
  assert architecture.circles(architecture.room_graph(graph)) == [('a', 'b', 'c')]


def written(root, where, text):
  path = root / where
  path.parent.mkdir(parents=True, exist_ok=True)
  path.write_text(text)
  return path


@pytest.mark.parametrize('name', GRAPH)
def test_imports_point_down(name):
  room = architecture.room(name)
  assert room in ALLOWED, f'{room} is new: give it a place in ALLOWED'
  for end in sorted(GRAPH[name]):
    other = architecture.room(end)
    # The command line calls the tools in experiments/; nothing else in sirl imports them.
    if other == room or (name, other) == architecture.UP:
      continue
    assert other in ALLOWED[room], (
      f'{name} imports {end}; {room} may use {", ".join(sorted(ALLOWED[room])) or "no other room"}'
    )
    part = end.removeprefix(f'sirl.{other}').lstrip('.')
    parts = PARTS.get((room, other))
    assert parts is None or part in parts, (
      f'{name} imports {end}; of {other}, {room} may use {", ".join(sorted(parts))}'
    )


def test_the_table_is_in_order():
  """A room uses only rooms above its own line, so the table cannot allow a circle."""
  rooms = list(ALLOWED)
  for i, room in enumerate(rooms):
    assert ALLOWED[room] <= set(rooms[:i]), f'{room} may use {ALLOWED[room] - set(rooms[:i])}'


def test_method_packages_are_strangers():
  for room in METHODS:
    assert not ALLOWED[room] & METHODS


def test_no_circle_of_modules():
  """No file imports, directly or indirectly, a file that imports it. Imports in functions count."""
  found = architecture.circles(GRAPH)
  assert not found, '; '.join(f'circle: {", ".join(names)}' for names in found)


def test_no_circle_of_rooms():
  found = architecture.circles(architecture.room_graph(GRAPH))
  assert not found, '; '.join(f'circle: {", ".join(names)}' for names in found)


@pytest.mark.parametrize('name', [name for name in GRAPH if name.startswith('sirl')])
def test_heavy_libraries_stay_in_their_room(name):
  where = str(MODULES[name].relative_to(ROOT))
  for imported in architecture.imports(MODULES[name]):
    for library, home in ONLY.items():
      if imported == library or imported.startswith(library + '.'):
        assert where.startswith(home), f'{where} imports {library}, which belongs to {home}'


# ---------------------------------------------------------------- the picture


def test_the_picture_is_what_the_code_gives():
  digest = architecture.digest(GRAPH)
  for ending in ('svg', 'png'):
    path = ROOT / 'docs' / f'architecture.{ending}'
    said = re.search(rb'graph ([0-9a-f]{64})', path.read_bytes())
    assert said, f'{path} names no graph'
    assert said[1].decode() == digest, (
      f'the imports have changed since {path} was drawn: python docs/architecture.py'
    )


def test_the_picture_is_drawn_the_same_twice():
  assert architecture.drawn(GRAPH, 'svg') == architecture.drawn(GRAPH, 'svg')


def test_the_picture_shows_every_room_and_no_route_without_an_arrow():
  assert set(ALLOWED) - set(architecture.HIDDEN) == set(architecture.LAYOUT) - {architecture.FRAME}
  assert set(architecture.ROUTES) <= set(architecture.arrows(GRAPH))


@pytest.mark.parametrize(
  ('module', 'end', 'says'),
  [
    ('sirl.ops.keys', 'sirl.loop', 'ops imports loop'),
    ('sirl.cellar', 'sirl.ops.keys', 'no place in LAYOUT for cellar'),
    ('sirl.gro', 'experiments.settings', 'gro imports experiments'),
  ],
)
def test_the_picture_refuses_what_points_up(module, end, says):
  graph = {**GRAPH, module: {*GRAPH.get(module, ()), end}}
  with pytest.raises(ValueError, match=says):
    architecture.arrows(graph)
