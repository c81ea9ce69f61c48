"""The history of a run's identity: what was changed on purpose while it ran, and from which step on.

changes.jsonl has one row per change: round and step from which it applies, name, from, to, and the
digest of the numbers after it. A name is a path in config.json, such as config.lr or
modules.my_reward.
"""

import json
import pathlib

from sirl import config as configs
from sirl.runtime import files, json_text

FILE = 'changes.jsonl'


def read(workdir):
  """The rows, oldest first. Raises ValueError naming the line that is not JSON."""
  path = pathlib.Path(workdir) / FILE
  if not path.exists():
    return []
  rows = []
  for number, line in enumerate(path.read_text(encoding='utf-8').splitlines(), 1):
    try:
      rows.append(json_text.loads(line))
    except json.JSONDecodeError as error:
      raise ValueError(f'{path}, line {number} is not JSON ({error}); restore the file') from None
  return rows


def between(old, new):
  """{name: (from, to)} of what differs between two identities; None for what is absent.

  What an earlier version of the library did not record is no difference, nor is a module that only
  one of the two had loaded.
  """
  kept = [name for name in new if name in old and name != 'digest']
  before, after = (configs.flat({name: side[name] for name in kept}) for side in (old, new))
  return {
    name: (before.get(name), after.get(name))
    for name in dict.fromkeys([*before, *after])
    if before.get(name) != after.get(name)
    and name != 'config.allow_changed_config'
    and not (name.startswith('modules.') and None in (before.get(name), after.get(name)))
  }


def add(workdir, found, *, round, step, digest):
  """Appends changes. A row that is there already, after a kill, is not written twice."""
  rows = read(workdir)
  for name, (before, after) in found.items():
    row = {'round': round, 'step': step, 'name': name, 'from': before, 'to': after}
    row['digest'] = digest
    rows += [row] if row not in rows else []
  text = ''.join(json_text.dumps(row) + '\n' for row in rows)
  files.atomic_write(pathlib.Path(workdir) / FILE, text)


def place(workdir, steps_per_round):
  """(round, step) at which a run goes on, by its newest checkpoint; (0, 0) without one."""
  serial = max((int(path.name) for path in saved(workdir)), default=0)
  return divmod(serial, steps_per_round)


def saved(workdir):
  """The run's checkpoints; without any, those of its warm starts lie in other folders."""
  return sorted((pathlib.Path(workdir) / 'checkpoints').glob('[0-9]*'))


def in_words(row):
  """'lr 0.1 -> 0.2 from round 3, step 1', digests cut short."""
  name = row['name'].removeprefix('config.')
  before, after = (_short(row[side]) for side in ('from', 'to'))
  step = f', step {row["step"]}' if row['step'] else ''
  return f'{name} {before} -> {after} from round {row["round"]}{step}'


def _short(value):
  if value is None:
    return 'absent'
  text = str(value)
  return text[:12] if len(text) >= 40 and ' ' not in text and '/' not in text else text
