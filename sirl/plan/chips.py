"""Facts about chips, and the words for a group of them: 'v5e:4x4', 'v5p:2x2x2', 'h100x8'."""

import dataclasses
import math
import re

from sirl import names
from sirl.runtime import chips

GiB = chips.GiB


@dataclasses.dataclass(frozen=True, kw_only=True)
class Chip:
  """One accelerator. Rates are the vendor's peaks, dense, for one chip."""

  name: str
  platform: str  # 'tpu' or 'gpu'
  kind: str  # the name that JAX gives the device
  flops: float  # bfloat16 operations a second
  flops_float32: float  # at float32 precision
  bandwidth: float  # bytes a second, of the memory
  link: float  # bytes a second of one link, in one direction
  clock: float  # cycles a second of the compiler's estimates; 0: it makes none
  axes: int  # of the torus; 0: every chip reaches every other of its node at `link`
  wraps: int = 0  # an axis of at least this length is a ring, so it has two links a chip
  hosts: tuple[int, ...] = ()  # chips of one host along each axis
  longest: tuple[int, ...] = ()  # chips along each axis, at most
  source: str = ''

  @property
  def memory(self) -> float:
    """Bytes that a program may use."""
    return chips.MEMORY[self.kind]


# clock: v5e and v5p by their peak rate; that of v6e is set so that a product of 8192 x 8192 matrices
# is estimated at the share of peak that it has on v5e.
# float32 on a TPU: a product at 'highest' precision is six passes of bfloat16.
CHIPS = {
  chip.name: chip
  for chip in (
    Chip(
      name='v5e', platform='tpu', kind='TPU v5 lite', flops=197e12, flops_float32=197e12 / 6,
      bandwidth=819e9, link=50e9, clock=1.5e9, axes=2, wraps=16, hosts=(2, 2),
      longest=(16, 16), source='https://cloud.google.com/tpu/docs/v5e',
    ),
    Chip(
      name='v6e', platform='tpu', kind='TPU v6 lite', flops=918e12, flops_float32=918e12 / 6,
      bandwidth=1638e9, link=100e9, clock=2.18e9, axes=2, wraps=16, hosts=(2, 2),
      longest=(16, 16), source='https://cloud.google.com/tpu/docs/v6e',
    ),
    Chip(
      name='v5p', platform='tpu', kind='TPU v5', flops=459e12, flops_float32=459e12 / 6,
      bandwidth=2765e9, link=100e9, clock=1.75e9, axes=3, wraps=4, hosts=(2, 2, 1),
      longest=(16, 16, 24), source='https://cloud.google.com/tpu/docs/v5p',
    ),
    Chip(
      name='h100', platform='gpu', kind='NVIDIA H100 80GB HBM3', flops=989e12,
      flops_float32=67e12, bandwidth=3352e9, link=450e9, clock=0, axes=0,
      longest=(8,), source='https://www.nvidia.com/en-us/data-center/h100/',
    ),
    Chip(
      name='h200', platform='gpu', kind='NVIDIA H200', flops=989e12, flops_float32=67e12,
      bandwidth=4800e9, link=450e9, clock=0, axes=0, longest=(8,),
      source='https://www.nvidia.com/en-us/data-center/h200/',
    ),
  )
}  # fmt: skip


@dataclasses.dataclass(frozen=True)
class Group:
  """Chips that work together."""

  chip: Chip
  shape: tuple[int, ...]  # chips along each axis of the torus; (n,) for GPUs of one node

  @property
  def size(self) -> int:
    """Number of chips."""
    return math.prod(self.shape)

  @property
  def hosts(self) -> int:
    """Number of machines; every one runs a process."""
    return math.ceil(self.size / math.prod(self.chip.hosts or self.chip.longest))

  @property
  def name(self) -> str:
    """The word that `group` reads."""
    if self.chip.axes == 0:
      return f'{self.chip.name}x{self.size}'
    return f'{self.chip.name}:{"x".join(map(str, self.shape))}'

  @property
  def interconnect(self) -> float:
    """Bytes a second that a chip can send to its neighbours, all links together.

    An axis that is no ring counts one link a chip, that of the chips at its ends.
    """
    if self.chip.axes == 0:
      return self.chip.link
    links = sum(0 if n == 1 else 2 if n >= self.chip.wraps else 1 for n in self.shape)
    return self.chip.link * links


def group(word: str) -> Group:
  """The chips of a word such as 'v5e:4x4' or 'h100x8'.

  Raises: ValueError that shows a word which works, for an unknown chip or a shape that no machine
    has.
  """
  found = re.fullmatch(r'([a-z0-9]+?)(?::(\d+(?:x\d+)*)|x(\d+))', word.strip().lower())
  name = found[1] if found else re.split(r'[:x]', word)[0].lower()
  if name not in CHIPS:
    hint = names.hint(name, CHIPS)
    raise ValueError(f'--chip {word}: no such chip; {hint} (such as v5e:4x4, v5p:2x2x2, h100x8)')
  chip = CHIPS[name]
  right = f'{name}:{"x".join("222"[: chip.axes])}' if chip.axes else f'{name}x8'
  if not found or (found[2] is None) != (chip.axes == 0):
    raise ValueError(f'--chip {word}: expected {name} with its shape, such as {right}')
  shape = tuple(int(n) for n in (found[2] or found[3]).split('x'))
  if message := _misfit(chip, shape):
    raise ValueError(f'--chip {word}: {message}; such as {right}')
  return Group(chip, shape)


def holding(size: float, chip: Chip) -> Group | None:
  """The smallest group of a chip, grown by doubling, whose memory is more than `size` bytes."""
  shape = chip.hosts or (1,)
  while math.prod(shape) * chip.memory <= size:
    axis = max(i for i, n in enumerate(shape) if n == min(shape))
    shape = (*shape[:axis], 2 * shape[axis], *shape[axis + 1 :])
    if _misfit(chip, shape):
      return None
  return Group(chip, shape)


def _misfit(chip, shape):
  """Why no machine has this shape, or None."""
  if len(shape) != max(1, chip.axes):
    return f'{chip.name} is a torus of {chip.axes} axes, and the shape has {len(shape)}'
  for n, most in zip(shape, chip.longest):
    if not 1 <= n <= most:
      where = 'a node' if chip.axes == 0 else 'an axis'
      return f'{n} chips along an axis; {where} of {chip.name} has 1 to {most}'
  if chip.axes and math.prod(shape) > 1 and any(n % own for n, own in zip(shape, chip.hosts)):
    return f'a host has {"x".join(map(str, chip.hosts))} chips, which must divide the shape'
  return None
