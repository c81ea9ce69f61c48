"""Tries meshes, pieces of the update and slots by arithmetic, and compiles the best few."""

import dataclasses
import itertools

from sirl import config as configs
from sirl.plan import plan, programs, roofline
from sirl.runtime import sharding

COMPILED = 3  # candidates, at most


def best(p: programs.Programs, group, *, name, file, assignments, seconds, said) -> 'plan.Plan':
  """The fastest plan that fits, compiled; the others are told in its notes.

  Args:
    seconds: limit for each compiled program.
    said: called with a line of progress.
  Raises: ValueError if no candidate fits by the estimate.
  """
  flops, about = None, dict(name=name, file=file)
  plans = []
  for numbers in candidates(p, group):
    mesh = numbers['mesh']
    changed = p._replace(config=dataclasses.replace(p.config, **numbers))
    given = [*assignments, *(f'{k}={v}' for k, v in numbers.items() if k != 'mesh')]
    if flops is None:  # the work is the same on every mesh
      flops = roofline.update_flops(p, _one(group))
    found = plan.estimated(changed, group, **about, assignments=given, flops=flops)
    if not found.notes:
      plans.append(found)
    del mesh
  if not plans:
    raise ValueError(
      f'no mesh, rows, microbatches or slots fit on {group.name} by the estimate; take more chips, '
      'or set smaller prompts, max_new or a smaller model'
    )
  plans.sort(key=lambda found: found.estimate.seconds)
  said(f'{len(plans)} candidates fit by the estimate; compiling the best')
  tried = []
  for found in plans[:COMPILED]:
    said(_told(found))
    done = plan.compiled(found, programs.NAMES, seconds, said)
    tried.append(done)
    if all(v.fits for v in done.verdicts):
      break
  chosen = next((t for t in tried if all(v.fits for v in t.verdicts)), tried[0])
  others = [_told(t) for t in tried if t is not chosen] + [_told(t) for t in plans[1:6]]
  return dataclasses.replace(chosen, notes=(*chosen.notes, *dict.fromkeys(others)))


def candidates(p: programs.Programs, group):
  """Numbers to try: dicts of fields of the config."""
  c = p.config
  n = group.size
  sizes = [d for d in range(1, n + 1) if n % d == 0]
  heads = p.model.architecture.kv_heads
  for tensor, fsdp in itertools.product(sizes, sizes):
    if n % (tensor * fsdp) or tensor > heads or heads % tensor:
      continue
    shards = n // tensor
    if c.prompts % shards:
      continue
    mesh = configs.Mesh(data=n // (tensor * fsdp), fsdp=fsdp, tensor=tensor)
    for microbatches in (1, 2, 4):
      if c.prompts % (c.minibatches * microbatches * shards):
        continue
      for rows in sorted({c.rows, *(r for r in (8, 16, 32, 64) if not r % fsdp)}, key=str):
        if rows is not None and rows % fsdp:
          continue
        numbers = {'mesh': mesh, 'microbatches': microbatches, 'rows': rows}
        slots = getattr(c, 'slots', 0)
        for more in {slots, 2 * slots, slots // 2} if slots else {None}:
          yield numbers if more is None else {**numbers, 'slots': more}


def _one(group):
  """A mesh of one chip, on which the work is counted."""
  from sirl.plan import topology

  single = dataclasses.replace(group, shape=(1,) * len(group.shape))
  return topology.abstract_mesh(single, configs.Mesh(data=1))


def _told(found):
  c = found.config
  axes = ','.join(f'{axis}={found.mesh.shape[axis]}' for axis in sharding.AXES)
  slots = f' slots={c.slots}' if getattr(c, 'slots', 0) else ''
  return (
    f'{axes} microbatches={c.microbatches} rows={c.rows}{slots}: at least '
    f'{found.estimate.seconds:.1f} s a step, {found.estimate.peak / 2**30:.1f} GiB'
  )
