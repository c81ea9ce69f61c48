"""Runs in groups: runs of a group differ in their seed alone. Also whether runs may be compared."""

import dataclasses
from collections.abc import Mapping, Sequence

from sirl import config as configs
from sirl.runs import metrics
from sirl.runs.reading import Run, finite
from sirl.runtime import plural

FIRST = ('task', 'model')  # of the numbers in a group's name
NUMBERS = 4  # most numbers in a group's name


@dataclasses.dataclass(frozen=True)
class Group:
  """Runs of one experiment with the same numbers, each with a seed of its own."""

  name: str
  runs: Mapping[int | None, Run]  # by seed, ascending; None where config.json is missing


def grouped(runs: Sequence[Run]) -> tuple[list[Group], list[str]]:
  """(groups in the order of their first runs, names of the numbers that differ between groups).

  Raises: ValueError for two runs with the same numbers and the same seed.
  """
  found = {}
  for run in runs:
    members = found.setdefault(_key(run), {})
    seed = run.config.get('seed')
    if seed in members:
      raise ValueError(
        f'{members[seed].workdir} and {run.workdir} are the same experiment with the same numbers '
        f'and seed {seed}; give one of them'
      )
    members[seed] = run
  firsts = [next(iter(members.values())) for members in found.values()]
  differing = _differing([_numbers(run) for run in firsts])
  groups = [
    Group(name, dict(sorted(members.items(), key=lambda item: finite(item[0], -1))))
    for name, members in zip(_names(firsts, differing), found.values(), strict=True)
  ]
  return groups, differing


def _key(run):
  if not run.config:
    return str(run.workdir.resolve())  # nothing is known of it, so that it is like no other
  return run.identity.get('experiment'), tuple(sorted(_numbers(run).items()))


def _numbers(run):
  """{name: value as text} of the config without the seed."""
  return {
    name: ','.join(map(str, value)) if isinstance(value, list) else str(value)
    for name, value in configs.flat(run.config).items()
    if name != 'seed'
  }


def _differing(numbers):
  """Names that are not the same in all groups: task and model, then those that all groups have."""
  names = list(dict.fromkeys(name for each in numbers for name in each))
  names = [name for name in names if len({each.get(name) for each in numbers}) > 1]
  absent = lambda name: any(name not in each for each in numbers)
  return sorted(names, key=lambda name: (name not in FIRST, absent(name)))


def _names(runs, differing):
  """A name for each run: the experiment and as few of the differing numbers as tell all apart."""
  shared = [name for name in differing if all(name in _numbers(run) for run in runs)]
  for chosen in (shared[:NUMBERS], shared, differing):
    names = [_name(run, run.name, chosen) for run in runs]
    if len(set(names)) == len(names):
      return names
  paths = [str(run.identity.get('experiment', run.workdir)) for run in runs]
  return [_name(run, path, differing) for run, path in zip(runs, paths)]


def _name(run, stem, chosen):
  numbers = _numbers(run)
  return ' '.join([stem, *(f'{name}={numbers[name]}' for name in chosen if name in numbers)])


def common_accuracies(runs: Sequence[Run]) -> list[str]:
  """Accuracies that all runs measured on their present weights, those held out first.

  Raises: ValueError where two runs measured different sets of one name, or nothing in common.
  """
  _check_sets(runs)
  measured = [_accuracies(run) for run in runs]
  names = [name for name in measured[0] if all(name in each for each in measured)]
  if not names:
    each = '; '.join(
      f'{run.workdir} measured {", ".join(names) or "none"}' for run, names in zip(runs, measured)
    )
    raise ValueError(
      f'these runs have no accuracy in common: {each}. Compare runs that measure the same sets'
    )
  return sorted(names, key=lambda name: not name.startswith('heldout/'))


def _accuracies(run):
  found = run.final.metrics
  return [name for name in metrics.accuracies(found) if finite(found[name], None) is not None]


def _check_sets(runs):
  """Raises ValueError where two runs measured different tasks under one name."""
  sets = {}  # name -> sha256 -> (how many tasks, workdirs)
  for run in runs:
    for name, about in (run.identity.get('measured') or {}).items():
      _, workdirs = sets.setdefault(name, {}).setdefault(about['sha256'], (about['tasks'], []))
      workdirs.append(str(run.workdir))
  for name, versions in sets.items():
    if len(versions) > 1:
      each = '; '.join(
        f'{plural.counted(tasks, "task")}, sha256 {sha256[:12]}, in {", ".join(workdirs)}'
        for sha256, (tasks, workdirs) in versions.items()
      )
      raise ValueError(
        f'these runs measured different tasks under the name {name}: {each}. Their accuracies '
        'cannot be compared; run them again with the same task, data and number of tasks, or '
        'leave some out'
      )


def changed_files(group: Group) -> bool:
  """Whether the experiment file was changed between the runs of a group."""
  return len({run.identity.get('source_sha256') for run in group.runs.values()} - {None}) > 1
