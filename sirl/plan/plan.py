"""A plan: the estimate of a run on chips, and what their compiler says."""

import dataclasses
import math
from collections.abc import Sequence
from typing import Any

from sirl import config as configs
from sirl.plan import compiling, programs, roofline, topology, verdict
from sirl.plan.chips import GiB, Group


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


def estimated(p: programs.Programs, group: Group, *, name, file, assignments, flops=None) -> Plan:
  """The plan without compiling.

  Args:
    flops: of the update, from `roofline.update_flops`; None traces it on this mesh.
  Raises: ValueError when the mesh does not fit the number of chips.
  """
  mesh = topology.abstract_mesh(group, p.config.mesh)
  misfits = roofline.misfits(p, mesh)
  flops = roofline.update_flops(p, mesh) if flops is None else flops
  estimate = roofline.estimate(p, group, mesh, flops)
  notes = [*misfits]
  if p.own_generate:
    notes.append("this method generates by itself; the sampler planned here is the evaluation's")
  if estimate.peak > group.chip.memory:
    notes += advice(p, group, mesh, estimate)
  return Plan(name, file, assignments, group, mesh, p.config, p.model, estimate, notes=tuple(notes))


def compiled(plan: Plan, names: Sequence[str], seconds: float, said=lambda text: None) -> Plan:
  """The plan with verdicts of compiled programs.

  Args:
    seconds: limit for each program.
    said: called with a line before a program is compiled.
  """
  shape = plan.mesh.shape
  given = [*plan.assignments, *(f'mesh.{axis}={size}' for axis, size in shape.items())]
  found = []
  for name in names:
    said(f'compiling the {name} for {plan.group.name}; this takes minutes, at most {seconds:.0f} s')
    request = {'file': plan.file, 'set': given, 'chip': plan.group.name, 'program': name}
    result = compiling.compiled(request, seconds)
    found.append(
      verdict.of(
        name, result, plan.group, beside=_beside(plan, name), turns=plan.estimate.turns,
        blocks=_blocks(plan),
      )
    )  # fmt: skip
  return dataclasses.replace(plan, verdicts=tuple(found))


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


def advice(p, group: Group, mesh, estimate) -> list[str]:
  """What to set when the estimate exceeds the memory of a chip."""
  c = p.config
  over = (estimate.peak - group.chip.memory) / GiB
  ways = []
  sampler, update = sum(estimate.sampler.values()), sum(estimate.update.values())
  if sum(estimate.resident.values()) > group.chip.memory / 2 and mesh.shape['data'] > 1:
    ways.append('mesh.data=1 with mesh.fsdp=-1, which splits weights and optimizer')
  if sampler >= update:
    slots = getattr(c, 'slots', 0) or c.prompts * c.group_size
    ways.append(f'slots={max(1, slots // 2)}, which halves the cache')
  else:
    if c.rows is None or c.rows > 1:
      ways.append(f'rows={max(1, (c.rows or c.group_size) // 2)}')
    ways.append(f'microbatches={2 * c.microbatches}')
  return [f'{over:.2f} GiB too much on a chip by the estimate; try {", or ".join(ways)}']


def with_mesh(c, axes: str):
  """The config with the mesh of a text such as 'data=2,fsdp=2,tensor=1'.

  Axes that are not named are 1, or take the rest if none is -1.
  Raises: ValueError as `config.override` does.
  """
  given = [part.strip() for part in axes.split(',') if part.strip()]
  named = {part.partition('=')[0].strip() for part in given}
  free = [axis for axis in ('fsdp', 'data', 'tensor') if axis not in named]
  rest = free[:1] if not any(part.endswith('=-1') for part in given) else []
  fill = [f'mesh.{axis}={-1 if axis in rest else 1}' for axis in free]
  return configs.override(c, [*(f'mesh.{part}' for part in given), *fill])
