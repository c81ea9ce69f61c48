"""What compiled programs mean for a run: memory, time and interconnect of its stages."""

import dataclasses
from typing import NamedTuple

from sirl.plan import hlo
from sirl.plan.chips import Group


class Moved(NamedTuple):
  """Collectives of one kind in one loop."""

  path: tuple  # of loops, see `hlo`
  kind: str
  count: int  # of one run of the loop's body
  bytes: int  # of their results on a chip, in one run
  runs: int  # of the body, in a step
  sent: float  # bytes that a chip sends in a step


@dataclasses.dataclass(frozen=True)
class Verdict:
  """One compiled program on one chip. Seconds are the compiler's estimates, not measurements."""

  program: str
  fits: bool | None  # None: it was not compiled
  why: str  # why it was not compiled, or ''
  peak: float | None  # bytes on a chip, with what else lies there
  compute_s: float | None  # of a step, None without estimates
  interconnect_s: float
  turn_s: float | None  # of one turn of the token loop; None for the update
  sent: float  # bytes of all collectives of a step that a chip sends
  collectives: tuple  # of Moved, those that send most first
  kernels_s: float = 0.0  # part of compute_s: kernels without an estimate, at the chip's peak


def of(name: str, result: dict, group: Group, *, beside: float, turns: int, blocks: int) -> Verdict:
  """The verdict on a result of `compiling.compiled`.

  Args:
    beside: bytes that lie on the chip besides the program's arguments.
    turns: of the token loop; blocks: how often rows enter. They count loops whose length depends on
      data.
  """
  if 'failed' in result:
    return Verdict(name, None, result['failed'], None, None, 0.0, None, 0.0, ())
  if not result['fits']:
    full = result['full'] and result['full'] + beside
    return Verdict(name, False, '', full, None, 0.0, None, 0.0, ())
  sampler = name == 'sampler'
  found = [hlo.Collective(tuple(path), *rest) for path, *rest in result['collectives']]
  loops = [(tuple(path), seconds) for path, seconds in result['loops']]
  queue = _queue([path for path, _ in loops] + [each.path for each in found])
  runs = lambda path: _runs(path, queue, turns, blocks) if sampler else hlo.times(path)
  sends = lambda each: _sent(each, group.size) * runs(each.path)
  moved = sorted((Moved(*each, runs(each.path), sends(each)) for each in found), key=_by_sent)
  sent, link = sum(each.sent for each in moved), group.interconnect
  turn = [seconds for path, seconds in loops if path and path[-1] is None]
  peak = result['peak'] + beside
  kernels_s = result.get('kernel_flops', 0.0) / group.size / group.chip.flops
  return Verdict(
    program=name,
    fits=peak <= group.chip.memory,
    why='',
    peak=peak,
    compute_s=sum(s * runs(path) for path, s in loops) + kernels_s if loops else None,
    interconnect_s=sent / link if link else 0.0,
    turn_s=max(turn, default=None) if sampler else None,
    sent=sent,
    collectives=tuple(moved),
    kernels_s=kernels_s,
  )


def _by_sent(moved):
  return -moved.sent


def _queue(paths):
  """The loop in which queued rows enter, as a path; None for a decoder without a queue."""
  return next((path[: path.index(None)] for path in paths if None in path[1:]), None)


def _runs(path, queue, turns, blocks):
  """How often a path of the sampler runs.

  The loop of the queue steps by a block, so the constant of its condition does not count its runs.
  The turns are those of all blocks. Behind a queue stands a narrower loop for the slowest rows; all
  completions being equally long, it does not run.
  """
  if None in path:
    first = path.index(None)
    return turns * hlo.times(path[first + 1 :]) if path[:first] == (queue or ()) else 0
  if queue and path[: len(queue)] == queue:
    return blocks * hlo.times(path[len(queue) :])
  return hlo.times(path)


def _sent(collective, devices):
  """Bytes that a chip sends: a result of n bytes takes n (d - 1) / d, a sum twice that."""
  twice = 2 if collective.kind == 'all-reduce' else 1
  return twice * collective.bytes * (devices - 1) / devices
