"""Bytes and seconds of a step by arithmetic: no compiler, no device, worst case.

Every completion is max_new tokens long. A stage takes at least the time of its operations at the
chip's peak, at least the time to read what it must read, and at least the time of its collectives.
Real programs take two to four times as long; the numbers are for comparing meshes and sizes.
"""

import dataclasses
import math

import jax
import numpy as np

from sirl.models import functional
from sirl.plan import programs, work
from sirl.plan.chips import Group
from sirl.runtime import sharding


@dataclasses.dataclass(frozen=True)
class Stage:
  """One stage of a step, on one chip. Seconds overlap at best, so the largest bounds the stage."""

  name: str
  flops: float  # operations
  read: float  # bytes of weights and cache
  sent: float  # bytes over the interconnect
  compute_s: float
  memory_s: float
  interconnect_s: float

  @property
  def seconds(self) -> float:
    """The lower bound of the stage."""
    return max(self.compute_s, self.memory_s, self.interconnect_s)

  @property
  def bound(self) -> str:
    """What bounds the stage: 'compute', 'memory' or 'interconnect'."""
    by = {'compute': self.compute_s, 'memory': self.memory_s, 'interconnect': self.interconnect_s}
    return max(by, key=by.__getitem__)


@dataclasses.dataclass(frozen=True)
class Estimate:
  """What a plan knows without compiling."""

  parameters: int
  tokens: int  # of a step: prompts and completions of all groups
  turns: int  # of the token loop
  rows: int  # completions that a chip decodes at once
  resident: dict  # {what lies on a chip all the time: bytes}
  sampler: dict  # {what the sampler adds: bytes}
  update: dict  # {what the update adds: bytes}
  stages: tuple  # of Stage

  @property
  def seconds(self) -> float:
    """The lower bound of a step, without the reward."""
    return sum(stage.seconds for stage in self.stages)

  @property
  def peak(self) -> float:
    """Bytes on a chip at the larger of the two programs, roughly."""
    working = max(sum(self.sampler.values()), sum(self.update.values()))
    return sum(self.resident.values()) + working


def estimate(p: programs.Programs, group: Group, mesh, update_flops: float) -> Estimate:
  """The estimate of a step on these chips.

  Args:
    mesh: from `topology.abstract_mesh`.
    update_flops: operations of the update on all chips, from `work.flops`.
  """
  c, a = p.config, p.model.architecture
  each = np.dtype(a.dtype).itemsize
  shards, tensor = sharding.row_shards(mesh), mesh.shape['tensor']
  fsdp = mesh.shape['fsdp']
  params = functional.count(a)
  matrices = params - (0 if a.tied else a.vocab * a.width)  # the embedding is looked up
  per_token = 2 * a.layers * a.kv_heads * a.head_width * each / min(tensor, a.kv_heads)
  own_rows = math.ceil(c.prompts * c.group_size / shards)
  slots = getattr(c, 'slots', 0)
  rows = min(math.ceil(slots / shards), own_rows) if slots else own_rows
  turns = math.ceil(own_rows / rows) * c.max_new
  columns = c.max_prompt + c.max_new
  weights = each * params / tensor  # gathered over fsdp for one generation
  prompt_cache = c.prompts / shards * c.max_prompt * per_token

  resident = {
    name: _bytes_on_a_chip(tree) for name, tree in _named(programs.state(p, mesh)).items()
  }
  sampler = {
    'weights for decoding': weights if fsdp > 1 or each < 4 else 0,
    'cache of the slots': rows * columns * per_token,
    'cache of the prompts': prompt_cache if slots else 0,
  }
  pieces = c.minibatches * c.microbatches
  piece_prompts = math.ceil(c.prompts / pieces / shards)
  piece_rows = min(c.rows or math.inf, piece_prompts * c.group_size)
  if c.rows and fsdp > 1:
    piece_rows = math.ceil(c.rows / fsdp)
  update = {
    'gradients': 4 * params / (fsdp * tensor),
    'weights of the pass': each * params / tensor
    if fsdp == 1
    else each * params / a.layers / tensor,
    'activations between layers': piece_rows * columns * a.width * a.layers * each,
    'logits of a chunk': 3 * 4 * piece_rows * min(64, c.max_new) * a.vocab / tensor,
    'prompts and their gradient': piece_prompts * c.max_prompt * per_token * (1 + 4 / each),
  }
  rates = _Rates(group, a.dtype)
  turn_flops = (
    2 * matrices * rows / tensor + 4 * rows * columns * a.layers * a.heads * a.head_width / tensor
  )
  prompt_tokens = c.prompts / shards * c.max_prompt
  # All-reduces of the residual stream over tensor: two a layer and one for the logits.
  reduced = lambda tokens: (
    0 if tensor == 1 else 2 * (2 * a.layers + 1) * tokens * a.width * each * (tensor - 1) / tensor
  )
  gathered = weights * (fsdp - 1) / fsdp
  passes = math.ceil(piece_prompts * c.group_size / (piece_rows or 1)) * pieces * c.epochs
  scattered = 4 * params / tensor * (shards - 1) / shards
  moved = 3 * passes * gathered if fsdp > 1 else 0
  stages = (
    rates.stage('prefill', 2 * matrices * prompt_tokens / tensor, weights, gathered + reduced(prompt_tokens)),
    rates.stage(
      'decode', turns * turn_flops, turns * (each * matrices / tensor + rows * columns * per_token),
      turns * reduced(rows),
    ),
    rates.stage(
      'update', update_flops / group.size, 0.0,
      moved + 2 * scattered * pieces * c.epochs + 4 * reduced(own_rows * columns),
    ),
  )  # fmt: skip
  tokens = c.prompts * c.group_size * columns
  return Estimate(params, tokens, turns, rows, resident, sampler, update, stages)


@dataclasses.dataclass(frozen=True)
class _Rates:
  group: Group
  dtype: str

  def stage(self, name, flops, read, sent):
    chip = self.group.chip
    peak = chip.flops if self.dtype == 'bfloat16' else chip.flops_float32
    link = self.group.interconnect
    return Stage(
      name, flops, read, sent, flops / peak, read / chip.bandwidth, sent / link if link else 0.0
    )


def update_flops(p: programs.Programs, mesh) -> float:
  """Operations of the update on all chips."""
  with programs.using(mesh):
    return work.flops(programs.traced_update(p, mesh))


def _named(state):
  """The parts of a TrainState by the names that people use."""
  parts = {'weights': (state.params, state.frozen), 'optimizer': state.opt_state, **state.others}
  return {name: tree for name, tree in parts.items() if jax.tree.leaves(tree)}


def _bytes_on_a_chip(tree):
  return sum(
    math.prod(x.sharding.shard_shape(x.shape)) * x.dtype.itemsize for x in jax.tree.leaves(tree)
  )


# ---------------------------------------------------------------- what does not divide


def misfits(p: programs.Programs, mesh) -> list[str]:
  """Numbers that do not divide over the mesh, one sentence each, with what to set."""
  c = p.config
  shards, fsdp = sharding.row_shards(mesh), mesh.shape['fsdp']
  found = []
  if c.prompts % shards:
    found.append(
      f'prompts={c.prompts} cannot be split over {shards} data shards; set a multiple of {shards}'
    )
  pieces = c.minibatches * c.microbatches
  if not c.prompts % pieces and c.prompts // pieces % shards and not c.prompts % shards:
    most = max(n for n in range(1, c.prompts // shards + 1) if not c.prompts % (n * shards))
    found.append(
      f'a piece of the update has {c.prompts // pieces} of prompts={c.prompts} (minibatches='
      f'{c.minibatches}, microbatches={c.microbatches}), which {shards} data shards cannot share; '
      f'every shard would compute all of it. Set minibatches * microbatches to {most} or a divisor '
      'of it'
    )
  if c.rows and c.rows % fsdp:
    found.append(
      f'rows={c.rows} is no multiple of mesh.fsdp={fsdp}, so every chip would compute all rows; '
      f'set rows={math.ceil(c.rows / fsdp) * fsdp}'
    )
  a, tensor = p.model.architecture, mesh.shape['tensor']
  for name, size in (('heads', a.heads), ('kv_heads', a.kv_heads)):
    if size % tensor:
      found.append(
        f'{name}={size} cannot be split over mesh.tensor={tensor}; attention is computed whole on '
        'every chip'
      )
  return found
