"""What is measured: model shapes, cases, and the variants in which each side runs a case.

All of it is plain data, which the driver sends to the sides as JSON.
"""

import dataclasses
import itertools

from sirl.models.presets import preset

# Every variant of a side runs in its own process. The fastest variant of a side counts.
VARIANTS = {
  'sirl': {
    'decode': ('plain', 'two devices'),
    'prefill': ('plain',),
    'train': ('whole', 'micro', 'two devices', 'two devices micro'),
    'step': ('whole', 'micro', 'micro refill', 'micro refill sliced'),
    'sampling': ('plain',),
    'refill': ('static', 'refill'),
    'speculate': ('plain', 'prompt lookup'),
    'overhead': ('plain',),
    'memory': ('whole head', 'chunked head', 'few rows'),
    'growth': ('plain',),
    'limit': ('plain',),
  },
  'transformers': {
    'decode': ('dynamic', 'static'),
    'prefill': ('dynamic',),
    'train': ('whole', 'micro'),
  },
  'trl': {'step': ('whole', 'micro', 'whole async', 'micro async')},
  'tunix': {'decode': ('plain',), 'train': ('whole', 'micro'), 'step': ('whole', 'micro')},
}
OURS, PEERS = 'sirl', ('transformers', 'trl', 'tunix')
# A rollout of one token. It is no contender: its time is subtracted to get the time of a turn.
FIRST = 'first token'
GROUPS = ('tiny', 'smol', 'step', 'sampling', 'refill', 'speculate', 'overhead', 'memory', 'growth')


@dataclasses.dataclass(frozen=True, kw_only=True)
class Case:
  """One row of the table. Lengths are in tokens; a case has B = prompts * group_size rows."""

  name: str
  set: str  # one of GROUPS, or 'limit'
  kind: str  # a key of VARIANTS
  shape: str = 'tiny'  # a key of SHAPES
  cores: int = 2  # to which every side is pinned
  by: str = 'wall'  # 'wall' | 'cpu': the seconds that are compared
  prompts: int = 1
  group_size: int = 1
  prompt: int = 64
  new: int = 64
  micro: int = 4  # rows of a micro-batch in the variants called 'micro'
  # 'fixed' | 'lognormal': mean 40 of at most `new`, drawn by our side and used by every side
  lengths: str = 'fixed'
  reward_seconds: float = 0.0  # time that the reward of one completion sleeps
  what: str = ''  # which limit, sampler or growth curve
  layers: int | None = None  # in place of the shape's own
  peers: tuple[str, ...] = PEERS
  # Variants of our side; None for all. Some cases lack the memory to hold all of them at once.
  ours: tuple[str, ...] | None = None


def from_json(fields):
  """The Case of `dataclasses.asdict` after a round trip through JSON."""
  values: dict = {name: tuple(x) if isinstance(x, list) else x for name, x in fields.items()}
  return Case(**values)


def contenders(case):
  """Yields (side, variant) of all that run a case, our side first."""
  for side in (OURS, *case.peers):
    variants = VARIANTS[side].get(case.kind, ())
    if side == OURS:
      variants = (*(case.ours or variants), *((FIRST,) if case.kind == 'decode' else ()))
    for variant in variants:
      if makes_sense(side, variant, case):
        yield side, variant


def makes_sense(side, variant, case):
  """Whether the side can run the case in this variant, and the variant differs from the others."""
  if 'two devices' in variant:
    return case.cores > 1 and case.prompts % 2 == 0
  if 'async' in variant:
    return case.reward_seconds > 0
  if side == 'tunix':  # small shapes only, and its sampler cannot be given lengths
    return case.shape != 'smol' and case.lengths == 'fixed'
  return True


def shape(case):
  """The architecture of a case, as a dict of FIELDS from which every side builds its model."""
  name, changes = SHAPES[case.shape]
  if case.layers is not None:
    changes = {**changes, 'layers': case.layers}
  numbers = dataclasses.asdict(preset(name, **changes))
  return {field: numbers[field] for field in FIELDS}


FIELDS = ('vocab', 'width', 'layers', 'heads', 'kv_heads', 'head_width', 'ffw', 'rope_theta')
SHAPES = {
  'tiny': ('tiny', {}),  # 3.3M
  'words': ('tiny', {'vocab': 6144}),  # 4.8M: tiny with a vocabulary of words
  'smol': ('smollm2-135m', {}),
}


def limits(cores):
  """The cases that measure the machine's limits on this number of cores."""
  names = ('matrix product', 'memory read', 'empty call')
  return [
    Case(name=f'{what}, {_on(cores)}', set='limit', kind='limit', cores=cores, what=what, peers=())
    for what in names
  ]


def _on(cores):
  return 'one core' if cores == 1 else 'two cores'


def _case(set, name, kind, cores=2, **numbers):
  by = numbers.pop('by', 'cpu' if cores == 1 else 'wall')
  return Case(
    name=f'{name}, {_on(cores)}', set=set, kind=kind, shape=numbers.pop('shape', set), cores=cores,
    by=by, **numbers,
  )  # fmt: skip


def growth():
  """Cases of one GRO step, each with one of its sizes doubled repeatedly."""
  base = {'prompts': 4, 'group_size': 4, 'prompt': 16, 'new': 32, 'layers': 2}
  sizes = {
    'group_size': (2, 4, 8, 16),
    'prompts': (2, 4, 8, 16),
    'new': (16, 32, 64, 128),
    'layers': (1, 2, 4, 8),
  }
  return [
    _case('growth', f'step, {what.replace("_", " ")} {n}', 'growth', shape='tiny', what=what,
          peers=(), **{**base, what: n})
    for what, ns in sizes.items()
    for n in ns
  ]  # fmt: skip


_ONLY_OURS: dict = {'peers': ()}
# The rollout whose turns draw as the sampling cases do.
SAMPLED = 'decode smol 16x(16+24), one core'
CASES = [
  _case('tiny', 'decode tiny 1x(64+64)', 'decode'),
  _case('tiny', 'decode tiny 16x(64+64)', 'decode', prompts=16),
  _case('tiny', 'decode tiny 64x(64+64)', 'decode', prompts=64),
  _case('tiny', 'decode tiny 8 groups of 8, 64+64', 'decode', prompts=8, group_size=8),
  _case('tiny', 'train tiny 32x(64+64)', 'train', prompts=32),
  _case('tiny', 'train tiny 4 groups of 8, 64+64', 'train', prompts=4, group_size=8),
  _case('tiny', 'train tiny 32x(64+64)', 'train', cores=1, prompts=32),
  _case('smol', 'decode smol 1x(16+32)', 'decode', cores=1, prompt=16, new=32),
  _case('smol', 'decode smol 16x(16+24)', 'decode', cores=1, prompts=16, prompt=16, new=24),
  _case('smol', 'decode smol 64x(16+8)', 'decode', cores=1, prompts=64, prompt=16, new=8),
  _case('smol', 'decode smol 2 groups of 8, 64+16', 'decode', cores=1, prompts=2, group_size=8,
        new=16),
  _case('smol', 'prefill smol 4x128', 'prefill', cores=1, prompts=4, prompt=128, new=0),
  _case('smol', 'train smol 4x(64+64)', 'train', cores=1, prompts=4, micro=2,
        ours=('whole', 'micro')),
  _case('smol', 'prefill smol 4x128', 'prefill', prompts=4, prompt=128, new=0),
  _case('smol', 'train smol 4x(64+64)', 'train', prompts=4, micro=2,
        ours=('micro', 'two devices')),
  _case('step', 'step words 8 groups of 8, 12+32', 'step', cores=1, shape='words', prompts=8,
        group_size=8, prompt=12, new=32, micro=16),
  _case('step', 'step words 8 groups of 8, 12+128 lognormal, 20 ms a reward', 'step', cores=1,
        by='wall', shape='words', prompts=8, group_size=8, prompt=12, new=128, micro=16,
        lengths='lognormal', reward_seconds=0.02),
  *[_case('sampling', f'sampling 16x49152, {what}', 'sampling', cores=1, shape='smol', prompts=16,
          what=what, **_ONLY_OURS) for what in ('plain', 'top-k 50', 'top-p 0.9')],
  _case('refill', 'refill tiny 64 in 16 slots, lognormal', 'refill', cores=1, shape='tiny',
        prompts=64, new=128, lengths='lognormal', **_ONLY_OURS),
  _case('refill', 'refill tiny 64 in 16 slots, equal', 'refill', cores=1, shape='tiny', prompts=64,
        new=40, **_ONLY_OURS),
  _case('speculate', 'speculation smol 1x(16+64), greedy', 'speculate', cores=1, shape='smol',
        prompt=16, new=64, **_ONLY_OURS),
  _case('speculate', 'speculation smol 4x(16+64), greedy', 'speculate', cores=1, shape='smol',
        prompts=4, prompt=16, new=64, **_ONLY_OURS),
  _case('overhead', 'host share of a round, words 8 groups of 8', 'overhead', shape='words',
        prompts=8, group_size=8, prompt=12, new=32, **_ONLY_OURS),
  _case('memory', 'memory of an update, smol 32x(1+255)', 'memory', shape='smol', prompts=32,
        prompt=1, new=255, **_ONLY_OURS),
  *growth(),
]  # fmt: skip


def chosen(sets):
  """The cases of the named sets, grouped by cores and kind.

  Cases of one group share processes. The machine's limits are measured before and after every
  group. The limit is the best of all its measurements, so a busy moment of the machine does not
  lower it.
  Raises: ValueError for an unknown set.
  """
  for name in sets:
    if name not in GROUPS:
      raise ValueError(f'unknown cases {name!r}; expected some of {", ".join(GROUPS)}')
  cases = [case for case in CASES if case.set in sets]
  lots = itertools.groupby(
    sorted(cases, key=lambda case: (case.cores, case.kind)), lambda case: (case.cores, case.kind)
  )
  found = []
  for (cores, _), lot in lots:
    if found and found[-1].cores != cores:
      found += limits(found[-1].cores)
    found += [*limits(cores), *lot]
  return found + (limits(found[-1].cores) if found else [])
