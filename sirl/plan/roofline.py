"""Bytes and seconds of a step by arithmetic: no compiler, no device, worst case.

Every completion is max_new tokens long. A stage takes at least the time of its operations at the
chip's peak, at least the time to read what it must read, and at least the time of its collectives.
Real programs take two to four times as long; the numbers are for comparing meshes and sizes.
"""

import dataclasses
import math

import jax
import numpy as np

from sirl import optimization
from sirl.generation.engine import arrangement
from sirl.models import functional
from sirl.ops import logprobs
from sirl.plan import programs, work
from sirl.plan.chips import GiB, Group
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
  def sampler_bytes(self) -> float:
    """Bytes that the sampler adds."""
    return sum(self.sampler.values())

  @property
  def update_bytes(self) -> float:
    """Bytes that the update adds."""
    return sum(self.update.values())

  @property
  def peak(self) -> float:
    """Bytes on a chip at the larger of the two programs, roughly."""
    return sum(self.resident.values()) + max(self.sampler_bytes, self.update_bytes)


@dataclasses.dataclass(frozen=True)
class _Sizes:
  """Numbers of a step on one chip, from which bytes and seconds follow."""

  shards: int  # into which the rows of a batch are split
  fsdp: int
  tensor: int
  each: int  # bytes of a number of the compute dtype
  params: int
  ends: int  # weights of embedding and head
  matrices: int  # weights that multiply every token; the embedding is looked up
  per_token: float  # bytes that a token takes in the cache
  own_rows: int  # completions of a step
  rows: int  # completions that decode at once
  turns: int  # of the token loop
  columns: int  # tokens of a prompt and its completion

  @property
  def weights(self) -> float:
    """Bytes of the weights in the compute dtype, whole over fsdp."""
    return self.each * self.params / self.tensor


def _sizes(p, mesh):
  c, a = p.config, p.model.architecture
  each = np.dtype(a.dtype).itemsize
  shards, tensor = sharding.row_shards(mesh), mesh.shape['tensor']
  params = functional.count(a)
  own_rows = math.ceil(c.prompts * c.group_size / shards)
  kv_heads = a.kv_heads / (1 if a.kv_heads % tensor else tensor)  # heads are never split
  slots = getattr(c, 'slots', 0)
  rows = min(math.ceil(slots / shards), own_rows) if slots else own_rows
  return _Sizes(
    shards=shards, fsdp=mesh.shape['fsdp'], tensor=tensor, each=each, params=params,
    ends=a.vocab * a.width * (1 if a.tied else 2),
    matrices=params - (0 if a.tied else a.vocab * a.width),
    per_token=2 * a.layers * a.head_width * each * kv_heads,
    own_rows=own_rows, rows=rows, turns=math.ceil(own_rows / rows) * c.max_new,
    columns=c.max_prompt + c.max_new,
  )  # fmt: skip


def estimate(p: programs.Programs, group: Group, mesh, update_flops: float, resident) -> Estimate:
  """The estimate of a step on these chips.

  Args:
    mesh: from `topology.abstract_mesh`.
    update_flops: operations of the update on all chips, from `work.flops`.
    resident: from `resident`.
  """
  c, z, d = p.config, _sizes(p, mesh), _sizes(p, programs.sampler_mesh(p, mesh))
  whole = gathers_all(p, mesh)
  sampler = {
    'weights for decoding': d.weights if z.fsdp > 1 or z.each < 4 else 0,
    'cache of the slots': d.rows * d.columns * d.per_token,
    'cache of the prompts': _prompt_tokens(c, d) * d.per_token if getattr(c, 'slots', 0) else 0,
  }
  tokens = c.prompts * c.group_size * z.columns
  return Estimate(
    parameters=z.params, tokens=tokens, turns=d.turns, rows=d.rows, resident=resident,
    sampler=sampler, update=_update_bytes(p, z, whole),
    stages=(*_sampling(p, group, d), _update(p, group, z, update_flops, whole)),
  )  # fmt: skip


def gathers_all(p, mesh) -> bool:
  """Whether the update gathers all weights at once; so without fsdp, where they lie whole."""
  with programs.using(mesh):
    pieces = optimization.Pieces(gather=p.config.gather)
    return mesh.shape['fsdp'] == 1 or pieces.gathers_all(p.learner.params)


def gather_in_words(p, group, mesh) -> list[str]:
  """How often the update gathers weights over fsdp, and why, as one sentence; none without fsdp."""
  if mesh.shape['fsdp'] == 1:
    return []
  often = 'once per minibatch' if gathers_all(p, mesh) else 'layer by layer in every pass'
  if p.config.gather != 'auto':
    return [f'gather={p.config.gather}: the update gathers weights {often}']
  need = 8 * functional.count(p.model.architecture) / mesh.shape['tensor']
  other, sign = ('layer', 'at most') if gathers_all(p, mesh) else ('minibatch', 'more than')
  return [
    f'gather=auto: the update gathers weights {often}, because whole ones with their copy and '
    f'gradient take {need / GiB:.2f} GiB, {sign} a third of the {group.chip.memory / GiB:.2f} GiB '
    f'of a chip; --set gather={other} does otherwise'
  ]


def decoding_in_words(p, group, mesh) -> list[str]:
  """How weights lie while decoding, and why, as one sentence; none without fsdp."""
  if mesh.shape['fsdp'] == 1:
    return []
  how = p.config.decode_weights
  with programs.using(mesh):
    need = arrangement.size(p.model, p.learner.params)
  shape = programs.sampler_mesh(p, mesh).shape
  axes = ', '.join(f'{axis}={shape[axis]}' for axis in sharding.AXES)
  whole = shape == mesh.shape
  lie = 'weights decode whole over fsdp' if whole else f'weights decode on the mesh {axes}'
  lie = f'decode_weights={how}: {lie}'
  if how != 'auto':
    return [lie]
  other, sign = ('tensor', 'at most') if 3 * need <= group.chip.memory else ('whole', 'more than')
  return [
    f'{lie}, because whole ones take {need / GiB:.2f} GiB, {sign} a third of the '
    f'{group.chip.memory / GiB:.2f} GiB of a chip; --set decode_weights={other} does otherwise'
  ]


def _prompt_tokens(c, z):
  return c.prompts / z.shards * c.max_prompt


def _piece(c, z):
  """(tasks, completions) that pass through the model at once on a chip."""
  tasks = math.ceil(c.prompts / (c.minibatches * c.microbatches) / z.shards)
  return tasks, min(c.rows or math.inf, tasks * c.group_size)


def _update_bytes(p, z, whole):
  """Bytes that the update adds to what lies on a chip. whole: all weights are gathered at once."""
  c, a = p.config, p.model.architecture
  tasks, rows = _piece(c, z)
  columns = logprobs.columns(rows, c.max_new, a.vocab, z.tensor)
  # Embedding and head are whole in any case; gathered with all others they stay float32.
  layers = z.params - z.ends
  at_once, split = (layers, layers) if whole else (layers / a.layers, layers / z.fsdp)
  each = 4 if whole else z.each
  return {
    'gradients': 4 * (split + z.ends) / z.tensor,
    'weights of the pass': (z.each * at_once + each * z.ends) / z.tensor,
    'activations between layers': rows * z.columns * a.width * a.layers * z.each,
    'logits of a chunk': (4 + z.each) * rows * columns * a.vocab / z.tensor,
    'prompts and their gradient': tasks * c.max_prompt * z.per_token * (1 + 4 / z.each),
  }


def _sampling(p, group, z):
  """The stages before the update."""
  c, a = p.config, p.model.architecture
  attention = 4 * z.rows * z.columns * a.layers * a.heads * a.head_width
  turn_flops = (2 * z.matrices * z.rows + attention) / z.tensor
  turn_read = z.each * z.matrices / z.tensor + z.rows * z.columns * z.per_token
  prompts = _prompt_tokens(c, z)
  sent = _gathered(z) + _reduced(a, z, prompts)
  rates = _Rates(group, a.dtype)
  return (
    rates.stage('prefill', 2 * z.matrices * prompts / z.tensor, z.weights, sent),
    rates.stage(
      'decode', z.turns * turn_flops, z.turns * turn_read, z.turns * _reduced(a, z, z.rows)
    ),
  )


def _update(p, group, z, flops, whole):
  """The update's stage. whole: all weights are gathered at once."""
  c, a = p.config, p.model.architecture
  summed = 4 * z.params / z.tensor * (z.shards - 1) / z.shards
  updates = c.minibatches * c.epochs
  tasks, rows = _piece(c, z)
  # Forward and, for the backward pass, twice more; or once for all pieces.
  gathers = 1 if whole else 3 * c.microbatches * math.ceil(tasks * c.group_size / rows)
  # What is not split by fsdp is summed on every chip, which sends it twice.
  sums = (2 if z.fsdp == 1 else 1) * (1 if whole else gathers / 3)
  sent = updates * (gathers * _gathered(z) + sums * summed)
  sent += 4 * _reduced(a, z, z.own_rows * z.columns)
  return _Rates(group, a.dtype).stage('update', flops / group.size, 0.0, sent)


def _reduced(a, z, tokens):
  """Bytes of all-reduces of the residual stream over tensor: two a layer, one for the logits."""
  return 2 * (2 * a.layers + 1) * tokens * a.width * z.each * (z.tensor - 1) / z.tensor


def _gathered(z):
  """Bytes that a chip receives when all weights are gathered over fsdp."""
  return z.weights * (z.fsdp - 1) / z.fsdp


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


def resident(p: programs.Programs, mesh) -> dict:
  """{what lies on a chip all the time: bytes}."""
  return {name: _bytes_on_a_chip(tree) for name, tree in _named(programs.state(p, mesh)).items()}


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
  shards = sharding.row_shards(mesh)
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
      f'{c.minibatches}, microbatches={c.microbatches}), which {shards} data shards cannot share, so a '
      f'run refuses it; set minibatches * microbatches to {most} or a divisor of it'
    )
  a, tensor = p.model.architecture, mesh.shape['tensor']
  for name, size in (('heads', a.heads), ('kv_heads', a.kv_heads)):
    if size % tensor:
      found.append(
        f'{name}={size} cannot be split over mesh.tensor={tensor}; attention is computed whole on '
        'every chip'
      )
  return found
