"""Numbers of a run: a frozen dataclass per experiment, `--set a.b=v` overrides, a dump and a hash.

Choices (which reward, which objective) are not here; they are Python in the experiment's `build`.
"""

import ast
import dataclasses
import difflib
import hashlib
import itertools
import json
import math
import sys
import types
import typing

# These may differ between a checkpoint and the run that resumes it: they change when a run ends
# or how often it is saved, not what it computes.
FREE = ('max_rounds', 'checkpoint_every', 'allow_changed_config')
# What --set takes besides Python's literals; the infinite ones only to be refused by their name.
WORDS = {
  'true': True,
  'false': False,
  'none': None,
  'nan': math.nan,
  'inf': math.inf,
  '-inf': -math.inf,
}


@dataclasses.dataclass(frozen=True, kw_only=True)
class Mesh:
  """Devices per axis; -1 takes what is left."""

  data: int = -1
  fsdp: int = 1
  tensor: int = 1


@dataclasses.dataclass(frozen=True, kw_only=True)
class Base:
  """What every run has. Experiments subclass it and add their own numbers."""

  seed: int = 0
  max_rounds: int = 10  # hard limit that no rule can move
  steps_per_round: int = 10  # GRO steps between two evaluations
  checkpoint_every: int = (
    10  # GRO steps between checkpoints inside a round; each round end is saved anyway
  )
  prompts: int = 16  # P, tasks per GRO step
  max_logp_gap: float = (
    1e-5  # nats; largest sampler-learner difference allowed in a run's first step
  )
  mesh: Mesh = Mesh()
  debug: bool = False  # shrink to about a minute on a laptop
  allow_changed_config: bool = False  # resume although numbers differ from the checkpoint's

  def __post_init__(self):
    """Raises ValueError for a number that no run can have."""
    least = {'max_rounds': 0, 'steps_per_round': 1, 'checkpoint_every': 1, 'prompts': 1}
    for name, low in least.items():
      if getattr(self, name) < low:
        raise ValueError(f'{name}={getattr(self, name)}; expected at least {low}')
    if not self.max_logp_gap >= 0:  # nor NaN
      raise ValueError(
        f'max_logp_gap={self.max_logp_gap}; expected at least 0 nats, such as the default, {Base.max_logp_gap}, '
        'or more for a lower compute precision'
      )


def override(config, assignments):
  """The config with assignments such as 'kl=0.01' or 'mesh.fsdp=2' applied, left to right.

  Raises: ValueError for an assignment without '=', an unknown name (with the nearest one), a value of another type.
  """
  for assignment in assignments:
    path, equals, text = assignment.partition('=')
    if not equals:
      raise ValueError(f'--set {assignment!r}: expected NAME=VALUE, for example --set seed=1')
    config = _replace(config, path.strip().split('.'), text.strip(), path.strip())
  return config


def _replace(config, names, text, path):
  fields = {field.name: field for field in dataclasses.fields(config)}
  name = names[0]
  if name not in fields:
    near = difflib.get_close_matches(name, fields, n=1)
    hint = f'did you mean {near[0]!r}?' if near else f'known names: {", ".join(fields)}.'
    raise ValueError(f'--set {path}: {type(config).__name__} has no {name!r}; {hint}')
  value = getattr(config, name)
  if len(names) > 1:
    if not dataclasses.is_dataclass(value):
      raise ValueError(f'--set {path}: {name!r} is a single value, not a group of them')
    return dataclasses.replace(config, **{name: _replace(value, names[1:], text, path)})
  if dataclasses.is_dataclass(value):
    inner = ', '.join(f'{name}.{field.name}' for field in dataclasses.fields(value))
    raise ValueError(f'--set {path}: {name!r} is a group; set one of {inner}')
  hint = typing.get_type_hints(type(config))[name]
  return dataclasses.replace(config, **{name: _parse(text, hint, path, value)})


def _parse(text, hint, path, now):
  """The text as a value of the annotated type; messages give `now`, the value so far, as an example."""
  options = typing.get_args(hint) if isinstance(hint, types.UnionType) else (hint,)
  if str in options:
    return None if text.lower() == 'none' and type(None) in options else text
  expected = f'--set {path}={text}: expected {_name(hint)}'
  word = str(now).lower() if now is None or isinstance(now, bool) else str(now).replace(' ', '')
  example = f'; for example --set {path}={word}'
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


def _fitted(value, hint):
  """The value as one of the annotated type. Raises ValueError that says what it is instead."""
  kind, inner = typing.get_origin(hint) or hint, typing.get_args(hint)
  if kind is tuple and isinstance(value, tuple | list):
    inner = inner[:1] * len(value) if inner[1:] == (Ellipsis,) else inner
    if inner and len(value) != len(inner):
      raise ValueError(f'{len(value)} value{"s" * (len(value) != 1)}')
    return tuple(map(_fitted, value, inner)) if inner else tuple(value)
  if kind is float and type(value) in (int, float):
    if not abs(value) <= sys.float_info.max:  # nor NaN; an int may be too large as well
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
  """The config as JSON values, nested as the dataclasses are; tuples become lists."""
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
  """Hex hash of every number that changes what the run computes."""
  fixed = {name: value for name, value in dump(config).items() if name not in FREE}
  return hashlib.sha256(json.dumps(fixed, sort_keys=True).encode()).hexdigest()[:16]


def differences(old, config):
  """'name (old -> new)' for each field that is not FREE and differs from `old`, an earlier `dump`."""
  before, after = flat(old), flat(dump(config))
  names = sorted(set(before) | set(after))
  absent = 'absent'
  return [
    f'{name} ({before.get(name, absent)} -> {after.get(name, absent)})'
    for name in names
    if name.split('.')[0] not in FREE and before.get(name, absent) != after.get(name, absent)
  ]


def product(**choices):
  """Override lists of a full grid: product(seed=range(2), kl=(0.0, 0.01)) has four."""
  return [
    [f'{name}={value}' for name, value in zip(choices, values)]
    for values in itertools.product(*choices.values())
  ]


def paired(**choices):
  """Override lists of aligned choices: paired(seed=(0, 1), kl=(0.0, 0.01)) has two.

  Raises: ValueError when the lists differ in length.
  """
  lengths = {name: len(tuple(values)) for name, values in choices.items()}
  if len(set(lengths.values())) > 1:
    raise ValueError(f'paired() needs lists of one length, got {lengths}')
  return [
    [f'{name}={value}' for name, value in zip(choices, values)] for values in zip(*choices.values())
  ]
