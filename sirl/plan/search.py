"""Tries meshes, pieces of the update and slots by arithmetic, and compiles the best few.

Only numbers are tried that change speed and memory but not the result.
"""

import dataclasses
import itertools
import math

from sirl import config as configs
from sirl.plan import plan, programs, report, roofline, topology
from sirl.runtime import plural, sharding

COMPILED = 3  # candidates, at most
TOLD = 5  # candidates that are told beside the chosen one


def best(p: programs.Programs, group, *, name, file, assignments, seconds, said) -> 'plan.Plan':
  """The fastest plan that fits, compiled; others are told in its notes.

  Args:
    assignments: NAME=VALUE of the user; the search leaves these numbers alone.
    seconds: limit for each compiled program.
    said: called with a line of progress.
  Raises: ValueError if no candidate fits by the estimate.
  """
  fixed = {given.partition('=')[0].partition('.')[0] for given in assignments}
  fitting = ranked(p, group, fixed)
  said(f'{plural.counted(len(fitting), "candidate")} fit by the estimate')
  first = {each.numbers['mesh']: each for each in reversed(fitting)}  # the best of every mesh
  fitting = [each for each in fitting if each is first[each.numbers['mesh']]]
  tried = []
  for candidate in fitting[:COMPILED]:
    changed = [f'{k}={v}' for k, v in candidate.pieces().items() if getattr(p.config, k) != v]
    given = (*assignments, *changed)
    found = plan.estimated(candidate.put_on(p), group, name=name, file=file, assignments=given)
    said(candidate.told())
    tried.append(plan.compiled(found, programs.NAMES, seconds, said))
  chosen = min(tried, key=_order)
  told = [_told(done, each) for done, each in zip(tried, fitting) if done is not chosen]
  rest = fitting[COMPILED : COMPILED + TOLD]
  told += [f'also fits by the estimate: {each.told()}' for each in rest]
  return dataclasses.replace(chosen, notes=(*chosen.notes, *told))


def _order(done):
  """Plans that fit come first, and of those the fastest as compiled; then the estimate decides."""
  bad = sum(not v.fits for v in done.verdicts)
  return bad, done.compiled_s or 0.0, done.estimate.seconds


def _told(done, candidate):
  """What became of a candidate that was compiled and not chosen."""
  if all(v.fits for v in done.verdicts):
    time = report.quantity(done.compiled_s or done.estimate.seconds, report.SECONDS)
    return f'compiled too, {time} a step: {candidate.told()}'
  return f'compiled too, but it does not fit or was not finished: {candidate.told()}'


@dataclasses.dataclass(frozen=True)
class Candidate:
  """Numbers of a config, and what they cost by the estimate."""

  numbers: dict
  estimate: roofline.Estimate

  def put_on(self, p):
    """The programs with these numbers."""
    return p._replace(config=dataclasses.replace(p.config, **self.numbers))

  def pieces(self):
    """The numbers beside the mesh."""
    return {name: value for name, value in self.numbers.items() if name != 'mesh'}

  def told(self):
    """One line for a person."""
    mesh, e = self.numbers['mesh'], self.estimate
    axes = ','.join(f'{axis}={getattr(mesh, axis)}' for axis in sharding.AXES)
    rest = ' '.join(f'{name}={value}' for name, value in self.pieces().items())
    return (
      f'{axes} {rest}: at least {report.quantity(e.seconds, report.SECONDS)} a step, '
      f'{report.quantity(e.peak, report.BYTES)}'
    )


def ranked(p: programs.Programs, group, fixed=()) -> list[Candidate]:
  """The candidates that fit by the estimate, fastest first; of equals, the nearest to p's config.

  Args: fixed: fields of the config that stay as they are.
  Raises: ValueError if none fits.
  """
  flops = roofline.update_flops(p, topology.alone(group))
  found, least = [], math.inf
  for numbers in meshes(p, group, fixed):
    mesh = topology.abstract_mesh(group, numbers)
    resident = roofline.resident(p, mesh)
    for pieces in pieces_of(p.config, sharding.row_shards(mesh), fixed):
      candidate = Candidate({'mesh': numbers, **pieces}, None)
      changed = candidate.put_on(p)
      if roofline.misfits(changed, mesh):
        continue
      estimate = roofline.estimate(changed, group, mesh, flops, resident)
      least = min(least, estimate.peak)
      if estimate.peak <= group.chip.memory:
        found.append(dataclasses.replace(candidate, estimate=estimate))
  if not found:
    raise ValueError(_nothing(group, least))
  changes = lambda each: sum(getattr(p.config, k) != v for k, v in each.pieces().items())
  rank = lambda each: (float(f'{each.estimate.seconds:.3g}'), changes(each), each.estimate.peak)
  return sorted(found, key=rank)


def _nothing(group, least):
  """Why no candidate is left."""
  if least == math.inf:
    return f'no mesh of {group.name} divides prompts, minibatches and heads; set more prompts'
  needed, has = (report.quantity(size, report.BYTES) for size in (least, group.chip.memory))
  return (
    f'nothing fits on {group.name}: every mesh needs at least {needed} a chip, and a chip has '
    f'{has}; take more chips, or a smaller model'
  )


def meshes(p: programs.Programs, group, fixed=()):
  """Meshes to try: config.Mesh over all chips."""
  if 'mesh' in fixed:
    shape = sharding.mesh_shape(p.config.mesh, group.size)
    yield configs.Mesh(**dict(zip(sharding.AXES, shape)))
    return
  sizes = [n for n in range(1, group.size + 1) if group.size % n == 0]
  for tensor, fsdp in itertools.product(sizes, sizes):
    if group.size % (tensor * fsdp) == 0:
      yield configs.Mesh(data=group.size // (tensor * fsdp), fsdp=fsdp, tensor=tensor)


def pieces_of(c, shards, fixed=()):
  """Pieces of the update and slots to try on so many row shards: dicts of fields of the config."""
  choices = {'microbatches': (1, 2, 4), 'rows': (4, 8, 16, 32)}
  if c.rows is None:  # an objective that compares completions of a group needs this
    choices['rows'] = (None,)
  # More slots are not tried: completions of full length make them look better than they are.
  if slots := getattr(c, 'slots', 0):
    choices['slots'] = (slots, slots // 2)
  for name, tried in choices.items():
    own = getattr(c, name)
    choices[name] = (own,) if name in fixed else tuple(dict.fromkeys((own, *tried)))
  for values in itertools.product(*choices.values()):
    numbers = dict(zip(choices, values))
    most = c.prompts * c.group_size
    if not slots or (numbers['slots'] % shards == 0 and 0 < numbers['slots'] <= most):
      yield numbers
