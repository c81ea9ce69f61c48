"""The numbers of a run: a frozen dataclass, `--set a.b=v` overrides, a JSON dump and a hash.

Choices of functions (reward, objective) are not config; the experiment's `build` makes them.
"""

import ast
import dataclasses
import hashlib
import inspect
import itertools
import json
import math
import shlex
import sys
import types
import typing
from typing import Annotated

from sirl import names, ranges

# Fields that may differ between a checkpoint and the run that resumes it. They decide when a run
# ends and how often it is saved, not what it computes.
FREE = ('max_rounds', 'checkpoint_every', 'allow_changed_config')
# Words that --set accepts besides Python's literals. Infinities and NaN are parsed only to name
# them in the error message.
WORDS = {
  'true': True,
  'false': False,
  'none': None,
  'nan': math.nan,
  'inf': math.inf,
  '-inf': -math.inf,
}


def _axis(name, value):
  try:
    return -1 if value == -1 else ranges.whole(name, value)
  except ValueError as error:
    raise ValueError(f'{error}, or -1 for all remaining devices') from None


Axis = Annotated[int, _axis]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Mesh:
  """Devices per mesh axis; -1 takes all remaining devices."""

  data: Axis = -1
  fsdp: Axis = 1
  tensor: Axis = 1

  def __post_init__(self):
    """Raises ValueError for a number out of range."""
    ranges.check(self, 'mesh.')


@dataclasses.dataclass(frozen=True, kw_only=True)
class Base:
  """The numbers that every run has. Experiments subclass it and add their own."""

  seed: ranges.Seed = 0
  max_rounds: ranges.Natural = 10  # hard limit; no steering rule can raise it
  steps_per_round: ranges.Count = 10  # GRO steps between two evaluations
  # GRO steps between checkpoints inside a round; the end of a round is always saved.
  checkpoint_every: ranges.Count = 10
  prompts: ranges.Count = 16  # P, tasks per GRO step
  # Nats; the largest sampler-learner log-prob difference allowed in the run's first step.
  max_logp_gap: ranges.NotNegative = 1e-5
  mesh: Mesh = Mesh()
  debug: bool = False  # shrink the run to about a minute on a laptop
  allow_changed_config: bool = False  # resume even if numbers differ from the checkpoint's

  def __post_init__(self):
    """Raises ValueError for a value that the type of its field does not allow."""
    ranges.check(self)


def check_class(kind):
  """Raises ValueError for a subclass of Base that does not have the fields that it states.

  Python ignores a field of a class that is no dataclass, and one without a type, without a word.
  """
  for base in kind.__mro__:
    if not issubclass(base, Base):
      continue
    owner = f'class {base.__qualname__} of {inspect.getfile(base)}'
    stated = inspect.get_annotations(base)
    fields = [name for name, hint in stated.items() if 'ClassVar' not in str(hint)]
    if fields and '__dataclass_params__' not in vars(base):
      raise ValueError(
        f'{owner} states {", ".join(fields)}, but is no dataclass, so Python makes no field of it; '
        'write @dataclasses.dataclass(frozen=True, kw_only=True) above the class'
      )
    for name, value in vars(base).items():
      plain = name.startswith('_') or callable(value) or hasattr(type(value), '__get__')
      if not plain and name not in stated:
        raise ValueError(
          f'{owner}: {name} = {value!r} has no type, so it is no field; write '
          f'{name}: {type(value).__name__} = {value!r}'
        )
  _check_fields(kind, f'class {kind.__qualname__} of {inspect.getfile(kind)}')


def _check_fields(kind, owner):
  """Raises ValueError for a field without a default, or with a type that does not exist."""
  nothing = dataclasses.MISSING
  for field in dataclasses.fields(kind):
    if field.default is nothing and field.default_factory is nothing:
      raise ValueError(
        f'{owner}: {field.name} has no value; write one after =, which --set changes'
      )
  try:
    typing.get_type_hints(kind)
  except NameError as error:
    raise ValueError(f'{owner}: the type of a field does not exist: {error}') from error


def override(config, assignments, owner=''):
  """The config with assignments such as 'kl=0.01' or 'mesh.fsdp=2' applied, left to right.

  Args: owner: whose numbers these are, for the message about an unknown one.
  Raises: ValueError for an assignment without '=', for an unknown name (suggests the nearest one)
    and for a value of another type.
  """
  for assignment in assignments:
    path, equals, text = assignment.partition('=')
    if not equals:
      raise ValueError(f'--set {assignment!r}: expected NAME=VALUE, for example --set seed=1')
    config = _replace(config, path.strip().split('.'), text.strip(), path.strip(), owner)
  return config


def setting(assignments, names):
  """The assignments that set one of the named numbers."""
  return [a for a in assignments if a.partition('=')[0].strip() in names]


def _replace(config, parts, text, path, owner=''):
  fields = [field.name for field in dataclasses.fields(config)]
  name = parts[0]
  names.check([name], fields, f'--set {path}: {owner or type(config).__name__}')
  value = getattr(config, name)
  if len(parts) > 1:
    if not dataclasses.is_dataclass(value):
      raise ValueError(f'--set {path}: {name!r} is a single value, not a group of them')
    return dataclasses.replace(config, **{name: _replace(value, parts[1:], text, path)})
  if dataclasses.is_dataclass(value):
    inner = ', '.join(f'{name}.{field.name}' for field in dataclasses.fields(value))
    raise ValueError(f'--set {path}: {name!r} is a group; set one of {inner}')
  hint = typing.get_type_hints(type(config))[name]
  return dataclasses.replace(config, **{name: _parse(text, hint, path, value)})


def _parse(text, hint, path, now):
  """Parses the text as the annotated type.

  Error messages show the current value, `now`, as an example.
  """
  union = typing.get_origin(hint) in (typing.Union, types.UnionType)
  options = typing.get_args(hint) if union else (hint,)
  if str in options:
    return None if text.lower() == 'none' and type(None) in options else text
  expected = f'--set {path}={text}: expected {_name(hint)}'
  example = f'; for example {typed(path, now)}'
  try:
    value = WORDS[text.lower()] if text.lower() in WORDS else ast.literal_eval(text)
  except (ValueError, SyntaxError):
    raise ValueError(expected + example) from None
  wrong = []
  for option in options:
    try:
      return _fitted(value, option)
    except ValueError as error:
      wrong.append(str(error))
  raise ValueError(f'{expected}, got {wrong[0]}{example}')


def typed(name, value):
  """'--set NAME=VALUE' as it must be typed: the shell would read brackets and blanks itself."""
  word = str(value).lower() if value is None or isinstance(value, bool) else str(value)
  return shlex.join(['--set', f'{name}={word}'])


def command(*words):
  """'sirl WORDS' as it must be typed, for messages that suggest a command."""
  return shlex.join(['sirl', *map(str, words)])


def _fitted(value, hint):
  """Converts the value to the annotated type. Raises ValueError that names the value's own type."""
  kind, inner = typing.get_origin(hint) or hint, typing.get_args(hint)
  if kind is tuple and isinstance(value, tuple | list):
    inner = inner[:1] * len(value) if inner[1:] == (Ellipsis,) else inner
    if inner and len(value) != len(inner):
      raise ValueError(f'{len(value)} value{"s" * (len(value) != 1)}')
    return tuple(map(_fitted, value, inner)) if inner else tuple(value)
  if kind is float and type(value) in (int, float):
    if not abs(value) <= sys.float_info.max:  # catches NaN and huge ints too
      raise ValueError(
        f'{value}, which is not finite' if type(value) is float else 'a number too large'
      )
    return float(value)
  if kind is type(value) or (value is None and hint is type(None)):
    return value
  raise ValueError(f'{type(value).__name__} {value!r}')


def _name(hint):
  return getattr(hint, '__name__', str(hint)) if not typing.get_args(hint) else str(hint)


def dump(config):
  """The config as nested JSON values; tuples become lists."""
  return json.loads(json.dumps(dataclasses.asdict(config)))


def flat(values, prefix=''):
  """{'mesh': {'data': 1}} -> {'mesh.data': 1}."""
  rows = {}
  for name, value in values.items():
    rows |= (
      flat(value, f'{prefix}{name}.') if isinstance(value, dict) else {f'{prefix}{name}': value}
    )
  return rows


def digest(config):
  """Hex hash of every number that changes what the run computes: all but FREE."""
  fixed = {name: value for name, value in dump(config).items() if name not in FREE}
  return hashlib.sha256(json.dumps(fixed, sort_keys=True).encode()).hexdigest()[:16]


def differences(old, config):
  """'name (old -> new)' for each number that differs from `old`, an earlier `dump`.

  Ignores the fields in FREE.
  """
  before, after = flat(old), flat(dump(config))
  names = sorted(set(before) | set(after))
  absent = 'absent'
  return [
    f'{name} ({before.get(name, absent)} -> {after.get(name, absent)})'
    for name in names
    if name.split('.')[0] not in FREE and before.get(name, absent) != after.get(name, absent)
  ]


def product(**choices):
  """Override lists of a full grid: product(seed=range(2), kl=(0.0, 0.01)) has four lists."""
  return [
    [f'{name}={value}' for name, value in zip(choices, values)]
    for values in itertools.product(*choices.values())
  ]


def paired(**choices):
  """Override lists of choices taken together: paired(seed=(0, 1), kl=(0.0, 0.01)) has two lists.

  Raises: ValueError when the choices differ in length.
  """
  lengths = {name: len(tuple(values)) for name, values in choices.items()}
  if len(set(lengths.values())) > 1:
    raise ValueError(f'paired() needs lists of one length, got {lengths}')
  return [
    [f'{name}={value}' for name, value in zip(choices, values)] for values in zip(*choices.values())
  ]


def on_top(kind, numbers, root):
  """A subclass of two Configs: the fields of `numbers`, and those that `kind` states.

  The values in `kind` take precedence; its methods and its __post_init__ are kept.
  Args: root: a base of both, whose fields `kind` does not state.
  """
  stated = {}
  for base in reversed(kind.__mro__):
    if issubclass(base, root) and base is not root:
      stated |= inspect.get_annotations(base, eval_str=True)
  own = {field.name: field for field in dataclasses.fields(kind)}
  fields = {field.name: field for field in dataclasses.fields(numbers)}
  fields |= {name: own[name] for name in stated}
  hints = typing.get_type_hints(numbers, include_extras=True) | stated
  return dataclasses.make_dataclass(
    'Config',
    [(name, hints[name], _like(field)) for name, field in fields.items()],
    bases=(numbers,) if kind is root else (kind, numbers),
    frozen=True,
    kw_only=True,
  )


def _like(field):
  """A new dataclass field with the same default."""
  if field.default_factory is not dataclasses.MISSING:
    return dataclasses.field(default_factory=field.default_factory)
  return dataclasses.field(default=field.default)
