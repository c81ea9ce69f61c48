"""The picture of the house, drawn from the imports of its sources: `python docs/architecture.py` writes the SVG and the PNG.

Modules and their imports are read with `ast`, nothing is run. A room is a package or a file at the top of sirl/, or the
folder experiments/. An arrow is an import. Those that follow from other arrows are left out: where gro imports rewards and
rewards imports ops, no arrow leads from gro to ops. The boxes stand where LAYOUT says; a room without a place, or an
arrow that points up, is an error. tests/test_layers.py has the rules, and uses the same reader.
"""

import ast
import functools
import hashlib
import io
import json
import pathlib

ROOT = pathlib.Path(__file__).resolve().parent.parent
METHODS = (
  'models', 'generation', 'rewards', 'optimization', 'acquisition', 'selection', 'domains', 'refinement', 'evaluation',
)  # fmt: skip
FRAME = 'method packages'
# What every file may read of the root without importing what stands in it.
CONSTANTS = ('sirl.__version__',)
# For the clone's own commands: the one file that may look up.
UP = ('sirl.commands.catalog', 'experiments')


# ---------------------------------------------------------------- imports


def modules(root=ROOT):
  """{dotted name: path} of every file of sirl/ and experiments/; a package's name is that of its __init__."""
  found = {}
  for top in ('sirl', 'experiments'):
    for path in sorted((root / top).rglob('*.py')):
      parts = path.relative_to(root).with_suffix('').parts
      found['.'.join(parts[:-1] if parts[-1] == '__init__' else parts)] = path
  return found


def imports(path, root=ROOT):
  """Full dotted names that a file imports, in functions too; names under `if TYPE_CHECKING` do not count.

  `import sirl` gives the names that are then read from it, such as `sirl.loop`.
  """
  tree = ast.parse(path.read_text(encoding='utf-8'))
  typing_only = {
    id(inner)
    for node in ast.walk(tree)
    if isinstance(node, ast.If) and 'TYPE_CHECKING' in ast.unparse(node.test)
    for child in node.body
    for inner in ast.walk(child)
  }
  folder = path.relative_to(root).parts
  for node in ast.walk(tree):
    if id(node) in typing_only:
      continue
    if isinstance(node, ast.Import):
      yield from (alias.name for alias in node.names if alias.name != 'sirl' or alias.asname)
    elif isinstance(node, ast.ImportFrom):
      package = folder[: -node.level] if node.level else ()
      module = '.'.join([*package, *filter(None, [node.module])])
      yield from (f'{module}.{alias.name}' for alias in node.names)
    elif (
      isinstance(node, ast.Attribute)
      and isinstance(node.value, ast.Name)
      and node.value.id == 'sirl'
    ):
      yield f'sirl.{node.attr}'


def module_graph(root=ROOT):
  """{module: modules of sirl and experiments that it imports}. A package that is passed through does not count."""
  known = modules(root)
  graph = {}
  for name, path in known.items():
    graph[name] = set()
    for imported in imports(path, root):
      parts = imported.split('.')
      if parts[0] not in ('sirl', 'experiments') or imported in CONSTANTS:
        continue
      ends = ('.'.join(parts[:n]) for n in range(len(parts), 0, -1))
      if (end := next((end for end in ends if end in known), None)) and end != name:
        graph[name].add(end)
  return graph


def room(module):
  """The room of a module: 'ops' of 'sirl.ops.keys', 'sirl' of the root, 'experiments' of all above."""
  first, *rest = module.split('.')
  return first if first == 'experiments' or not rest else rest[0]


def room_graph(graph):
  """{room: rooms that its modules import}."""
  rooms = {room(name): set() for name in graph}
  for name, ends in graph.items():
    rooms[room(name)] |= {room(end) for end in ends} - {room(name)}
  return rooms


def circles(graph):
  """Groups of nodes that reach one another, each sorted: what must be empty."""
  reach = {node: _reached(graph, node) for node in graph}
  found = {
    tuple(sorted(b for b in reach[a] if a in reach.get(b, ()))) for a in graph if a in reach[a]
  }
  return sorted(found)


def _reached(graph, start):
  seen, todo = set(), [start]
  while todo:
    for end in graph.get(todo.pop(), ()):
      if end not in seen:
        seen.add(end)
        todo.append(end)
  return seen


# ---------------------------------------------------------------- picture

WIDTH, HEIGHT = 1000, 1025
# room: (left, top, width, height, what is in it)
LAYOUT = {
  'experiments': (40, 2, 250, 58, 'settings, methods, controls:\nyour files stand here too'),
  'cli': (620, 6, 220, 38, 'parses a line'),
  'commands': (620, 62, 220, 58, 'run, sweep, compare, sample,\nevaluate, export, ...'),
  'plan': (345, 66, 210, 58, 'memory and time of a run\non chips that are not here'),
  'recipe': (40, 200, 148, 58, 'Domain, Setting,\nMethod together'),
  'warm_start': (200, 200, 122, 58, 'a supervised\nrun before a run'),
  'loop': (345, 200, 210, 58, 'acquire, select, step,\nevaluate, steer'),
  'reporting': (680, 200, 135, 58, 'page, doctor,\ncomparison'),
  'experiment_file': (832, 200, 158, 58, 'loads a file'),
  'gro': (345, 302, 210, 58, 'the step: generate,\nreward, optimize'),
  'preflight': (40, 308, 110, 46, 'tries a run'),
  FRAME: (40, 386, 650, 222, ''),
  'models': (56, 420, 200, 52, 'decoder, tokenizers, files'),
  'generation': (270, 420, 200, 52, 'explore, ask; the engine'),
  'rewards': (484, 420, 190, 52, 'texts to numbers'),
  'optimization': (56, 482, 200, 52, 'credit, objectives, update'),
  'acquisition': (270, 482, 200, 52, 'where tasks come from'),
  'selection': (484, 482, 190, 52, 'which tasks to train on'),
  'domains': (56, 544, 200, 52, 'generators and checks'),
  'refinement': (270, 544, 200, 52, 'better answers at inference'),
  'evaluation': (484, 544, 190, 52, 'accuracy, monitors, rules'),
  'runs': (750, 540, 150, 84, "a run's folder:\ncheckpoints,\nrecords, lineage"),
  'ops': (40, 652, 164, 52, 'array math, keys'),
  'experiment': (240, 652, 190, 52, 'Experiment, Learner'),
  'overlap': (450, 652, 150, 52, 'slices of a step'),
  'slots': (240, 732, 190, 38, 'functions'),
  'types': (40, 796, 390, 38, 'values'),
  'tasks': (40, 858, 390, 38, 'Task, Message, Pool'),
  'runtime': (40, 918, 560, 38, 'hosts, mesh, sharding, files'),
  'config': (640, 918, 350, 38, 'numbers of a run'),
  'ranges': (40, 978, 600, 38, 'checks of numbers'),
  'names': (680, 978, 310, 38, 'misspelt names'),
}  # fmt: skip
# Arrows that are not straight down: their corners.
ROUTES = {
  ('experiments', 'plan'): [(290, 40), (345, 80)],
  ('experiments', 'loop'): [(270, 60), (400, 200)],
  ('experiments', 'reporting'): [(285, 60), (325, 140), (712, 200)],
  ('experiments', 'refinement'): [
    (255, 60), (333, 180), (333, 412), (477, 412), (477, 570), (470, 570),
  ],
  ('commands', 'plan'): [(620, 95), (555, 95)],
  ('commands', 'loop'): [(635, 120), (500, 200)],
  ('plan', 'recipe'): [(365, 124), (180, 200)],
  ('plan', 'experiment_file'): [(540, 124), (850, 200)],
  ('loop', 'runs'): [(555, 240), (668, 240), (668, 280), (764, 280), (764, 540)],
  ('recipe', 'gro'): [(176, 258), (345, 325)],
  ('recipe', FRAME): [(170, 258), (170, 386)],
  ('recipe', 'preflight'): [(95, 258), (95, 308)],
  ('warm_start', FRAME): [(230, 258), (230, 386)],
  ('warm_start', 'gro'): [(290, 258), (375, 302)],
  ('gro', 'experiment'): [(555, 331), (718, 331), (718, 630), (335, 630), (335, 652)],
  ('gro', 'overlap'): [(555, 331), (718, 331), (718, 630), (525, 630), (525, 652)],
  ('evaluation', 'runs'): [(674, 566), (750, 578)],
  (FRAME, 'slots'): [(222, 608), (222, 751), (240, 751)],
  ('experiment', 'config'): [(415, 704), (415, 719), (690, 719), (690, 918)],
  ('runs', 'types'): [(775, 624), (775, 815), (430, 815)],
  ('tasks', 'names'): [(430, 877), (625, 877), (625, 967), (710, 967), (710, 978)],
  ('config', 'ranges'): [(655, 956), (610, 978)],
}  # fmt: skip
HIDDEN = ('sirl', '__main__')  # names for notebooks, `python -m sirl`
INK, FAINT, LINE, FILL, METHOD = '#16222d', '#4d5963', '#5b6770', '#f3f6fb', '#dfe9f7'


def arrows(graph):
  """Pairs (room, room) to draw: the imports that do not follow from others; two method packages or more count as FRAME.

  Raises: ValueError for a room without a place, and for an arrow that points up.
  """
  seen = {a: {b for b in ends if (a, room(b)) != UP} for a, ends in graph.items()}
  rooms = {name: ends for name, ends in room_graph(seen).items() if name not in HIDDEN}
  if missing := sorted(rooms.keys() - LAYOUT.keys()):
    raise ValueError(f'no place in LAYOUT for {", ".join(missing)}')
  reach = {name: _reached(rooms, name) for name in rooms}
  kept = {
    a: {b for b in ends if not any(b in reach[c] for c in ends if c != b)}
    for a, ends in rooms.items()
  }
  found = set()
  for a in kept.keys() - set(METHODS):
    inner = kept[a] & set(METHODS)
    found |= {(a, b) for b in kept[a] - inner}
    found |= {(a, FRAME if len(inner) > 1 else b) for b in inner}
  users = {b: [a for a in METHODS if b in kept[a]] for a in METHODS for b in kept[a]}
  for b, those in users.items():
    if not any(b in reach[c] for c in users if c != b and len(users[c]) > 1):
      found.add((FRAME if len(those) > 1 else those[0], b))
  for a, b in found:
    if not _middle(a)[1] < _middle(b)[1]:
      raise ValueError(f'{a} imports {b}, which stands above or beside it')
  return sorted(found)


def digest(graph):
  """SHA-256 of all that the picture shows: the boxes, the arrows, their corners."""
  shown = [LAYOUT, arrows(graph), sorted(map(str, ROUTES.items())), WIDTH, HEIGHT]
  return hashlib.sha256(json.dumps(shown).encode()).hexdigest()


def drawn(graph, kind):
  """The picture as bytes. kind: 'svg' or 'png'."""
  import matplotlib
  from matplotlib.figure import Figure
  from matplotlib.patches import FancyBboxPatch

  style = {'svg.fonttype': 'none', 'svg.hashsalt': 'sirl', 'font.family': 'DejaVu Sans'}
  with matplotlib.rc_context(style):
    figure = Figure(figsize=(WIDTH / 100, HEIGHT / 100), dpi=100)
    axes = figure.add_axes((0, 0, 1, 1))
    axes.set(xlim=(0, WIDTH), ylim=(HEIGHT, 0))
    axes.axis('off')
    for name, (left, top, width, height, words) in LAYOUT.items():
      outer = name == FRAME
      axes.add_patch(
        FancyBboxPatch(
          (left, top), width, height, boxstyle='round,pad=0,rounding_size=8', linewidth=1.2,
          edgecolor='#9db2d6' if outer else '#33526e', linestyle='--' if outer else '-',
          facecolor=FILL if outer else METHOD if name in METHODS else 'white', zorder=1 if outer else 3,
        )
      )  # fmt: skip
      _label(axes, name, left, top, width, height, words)
    for a, b in arrows(graph):
      corners = ROUTES.get((a, b)) or _down(a, b)
      axes.plot(*zip(*corners), color=LINE, linewidth=1.2, zorder=2, solid_joinstyle='round')
      axes.annotate(
        '', xy=corners[-1], xytext=corners[-2], zorder=2,
        arrowprops={'arrowstyle': '-|>', 'color': LINE, 'linewidth': 1.2, 'shrinkA': 0, 'shrinkB': 0, 'mutation_scale': 11},
      )  # fmt: skip
    file = io.BytesIO()
    marked = {'Description': f'graph {digest(graph)}'}
    nothing = dict.fromkeys(('Date', 'Creator') if kind == 'svg' else ('Software',))
    figure.savefig(file, format=kind, dpi=150, metadata=marked | nothing)
  return file.getvalue()


def _label(axes, name, left, top, width, height, words):
  """The name of a room, and beside or below it what is in it."""
  at = functools.partial(axes.text, zorder=4)
  lines = words.count('\n') + 1
  if name == FRAME:
    at(
      left + 14,
      top + 18,
      'method packages: none imports another',
      color=FAINT,
      fontsize=9.5,
      va='center',
    )
  elif height < 40:
    at(left + 14, top + height / 2, name, color=INK, fontsize=11, weight='bold', va='center')
    at(left + width - 14, top + height / 2, words, color=FAINT, fontsize=9, va='center', ha='right')
  else:
    centre = left + width / 2
    first = top + height / 2 - 6.5 * lines
    at(centre, first, name, color=INK, fontsize=11, weight='bold', ha='center', va='center')
    at(centre, first + 9, words, color=FAINT, fontsize=9, ha='center', va='top', linespacing=1.15)


def _middle(name):
  left, top, width, height, _ = LAYOUT[name]
  return left + width / 2, top + height / 2


def _down(a, b):
  """Corners of the arrow from a to b: straight down where one stands over the other, else from middle to middle."""
  left = max(LAYOUT[a][0], LAYOUT[b][0])
  right = min(LAYOUT[a][0] + LAYOUT[a][2], LAYOUT[b][0] + LAYOUT[b][2])
  ends = (LAYOUT[a][1] + LAYOUT[a][3], LAYOUT[b][1])
  if left < right:
    return [((left + right) / 2, ends[0]), ((left + right) / 2, ends[1])]
  return [(_middle(a)[0], ends[0]), (_middle(b)[0], ends[1])]


if __name__ == '__main__':
  found = module_graph()
  for ending in ('svg', 'png'):
    path = pathlib.Path(__file__).with_suffix(f'.{ending}')
    path.write_bytes(drawn(found, ending))
    print(path)
