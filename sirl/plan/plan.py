"""A plan: the estimate of a run on chips, and what their compiler says."""

import dataclasses
import math
from collections.abc import Sequence
from typing import Any

from sirl import config as configs
from sirl.plan import chips, compiling, programs, roofline, topology, verdict
from sirl.plan.chips import GiB, Group
from sirl.runtime import sharding


@dataclasses.dataclass(frozen=True)
class Plan:
  """What `sirl plan` prints."""

  name: str  # of the experiment
  file: str  # as the user named it
  assignments: Sequence[str]  # NAME=VALUE, without the mesh
  group: Group
  mesh: Any  # AbstractMesh
  config: Any
  model: Any
  estimate: roofline.Estimate
  verdicts: Sequence[verdict.Verdict] = ()
  notes: Sequence[str] = ()

  @property
  def compiled_s(self) -> float | None:
    """Seconds of a step as compiled, without the reward; None where a program has no estimate."""
    if not self.verdicts or any(v.compute_s is None for v in self.verdicts):
      return None
    return sum(v.compute_s + v.interconnect_s for v in self.verdicts)


def estimated(p: programs.Programs, group: Group, *, name, file, assignments) -> Plan:
  """The plan without compiling.

  Raises: ValueError when the mesh does not fit the number of chips.
  """
  mesh = topology.abstract_mesh(group, p.config.mesh)
  notes = roofline.misfits(p, mesh)
  # A run refuses what does not divide; its work is the same on one chip.
  flops = roofline.update_flops(p, topology.alone(group) if notes else mesh)
  estimate = roofline.estimate(p, group, mesh, flops, roofline.resident(p, mesh))
  if p.own_generate:
    notes.append("this method generates by itself; the sampler planned here is the evaluation's")
  found = Plan(name, file, assignments, group, mesh, p.config, p.model, estimate)
  if estimate.peak > group.chip.memory:
    larger = 'sampler' if estimate.sampler_bytes >= estimate.update_bytes else 'update'
    over = f'{(estimate.peak - group.chip.memory) / GiB:.2f} GiB too much on a chip by the estimate'
    notes.append(f'{over}; {advice(found, larger)}')
  return dataclasses.replace(
    found,
    notes=(
      *notes,
      *roofline.decoding_in_words(p, group, mesh),
      *roofline.gather_in_words(p, group, mesh),
    ),
  )


def compiled(plan: Plan, names: Sequence[str], seconds: float, said=lambda text: None) -> Plan:
  """The plan with verdicts of compiled programs.

  Args:
    seconds: limit for each program.
    said: called with a line before a program is compiled.
  """
  shape = plan.mesh.shape
  given = [*plan.assignments, *(f'mesh.{axis}={size}' for axis, size in shape.items())]
  found, notes = [], [*plan.notes]
  for name in names:
    said(f'compiling the {name} for {plan.group.name}, at most {seconds:.0f} s')
    request = {'file': plan.file, 'set': given, 'chip': plan.group.name, 'program': name}
    result = compiling.compiled(request, seconds)
    found.append(
      verdict.of(
        name, result, plan.group, beside=_beside(plan, name), turns=plan.estimate.turns,
        blocks=_blocks(plan),
      )
    )  # fmt: skip
    if found[-1].fits is False:
      notes.append(f'the compiled {name} does not fit; {advice(plan, name)}')
    if found[-1].compute_s and found[-1].kernels_s:
      notes.append(
        f'the {name} has kernels for attention, which the compiler does not estimate; compute holds '
        f'{found[-1].kernels_s:.2g} s for them, their operations at the peak of the chip'
      )
  return dataclasses.replace(plan, verdicts=tuple(found), notes=tuple(notes))


def _beside(plan, name):
  """Bytes on a chip beside the arguments of a program: what it does not read of the state."""
  resident = plan.estimate.resident
  return sum(size for part, size in resident.items() if name == 'sampler' and part != 'weights')


def _blocks(plan):
  """How often rows enter the slots, as `refill.decode` does by default."""
  rows = plan.estimate.rows
  shards = math.prod(plan.mesh.shape[axis] for axis in ('data', 'fsdp'))
  own = math.ceil(plan.config.prompts * plan.config.group_size / shards)
  return math.ceil(own / max(1, rows // 8))


def advice(plan: Plan, program: str) -> str:
  """What to set when a program, 'sampler' or 'update', exceeds the memory of a chip."""
  c, chip, shape = plan.config, plan.group.chip, plan.mesh.shape
  resident = sum(plan.estimate.resident.values())
  splits = shape['fsdp'] * shape['tensor']
  if resident * splits > chip.memory * plan.group.size:
    return (
      f'{" and ".join(plan.estimate.resident)} alone take {resident * splits / GiB:.0f} GiB, which '
      f'{plan.group.size} chips of {chip.memory / GiB:.2f} GiB cannot hold; '
      f'take {_larger(plan, resident * splits)}, or a smaller model'
    )
  ways = []
  if shape['data'] > 1 and resident > chip.memory / 4:
    ways.append('--mesh fsdp=-1, which splits weights and optimizer over all chips')
  if program == programs.SAMPLER:
    ways += _smaller_sampler(plan)
  else:
    ways += _smaller_update(c)
  return f'try {", or ".join(ways)}' if ways else 'take more chips, or a smaller model'


def _larger(plan, size):
  """The groups of chips that hold so many bytes, split over all; first of the chip in the plan."""
  kinds = sorted(chips.CHIPS.values(), key=lambda chip: chip != plan.group.chip)
  found = [chips.holding(size, chip) for chip in kinds]
  return ' or '.join(group.name for group in found if group) or 'chips with more memory'


def _smaller_sampler(plan):
  """Settings with which the sampler needs less memory."""
  c, parts = plan.config, plan.estimate.sampler
  if parts['weights for decoding'] > parts['cache of the slots']:
    tensor, heads = plan.mesh.shape['tensor'], plan.model.architecture.kv_heads
    wider = next((n for n in (2 * tensor, 4 * tensor) if heads % n == 0), None)
    if wider and plan.group.size % wider == 0:
      return [f'--mesh tensor={wider},fsdp=-1, which splits the weights while decoding']
    return []
  shards = math.prod(plan.mesh.shape[axis] for axis in ('data', 'fsdp'))
  slots = (getattr(c, 'slots', 0) or c.prompts * c.group_size) // 2
  return [f'--set slots={slots}, which halves the cache'] if slots and slots % shards == 0 else []


def _smaller_update(c):
  """Settings with which the update needs less memory."""
  rows = c.rows or c.group_size
  fewer = [f'--set rows={rows // 2}'] if rows > 1 else []
  return [*fewer, f'--set microbatches={2 * c.microbatches}']


def with_mesh(c, axes: str):
  """The config with the mesh of a text such as 'data=2,fsdp=2,tensor=1'.

  Where no axis is -1, fsdp takes the rest, or data if fsdp is named. Other axes are 1.
  Raises: ValueError as `config.override` does.
  """
  given = [part.strip() for part in axes.split(',') if part.strip()]
  named = {part.partition('=')[0].strip() for part in given}
  free = [axis for axis in ('fsdp', 'data') if axis not in named]
  rest = free[:1] if not any(part.endswith('=-1') for part in given) else []
  fill = [f'mesh.{axis}={-1 if axis in rest else 1}' for axis in sharding.AXES if axis not in named]
  return configs.override(c, [*(f'mesh.{part}' for part in given), *fill])
