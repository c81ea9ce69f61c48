"""Reads a compiler's optimized program: its loops, its collectives, its estimates of time.

The text is that of `compiled.as_text()`. A path is the loops and branches around an instruction,
outermost first: an int is a loop that runs so often, None a loop whose length depends on data, and
'branch 0' a branch of a conditional.
"""

import collections
import math
import re
from typing import NamedTuple

COLLECTIVES = ('all-reduce', 'all-gather', 'all-to-all', 'collective-permute', 'reduce-scatter')
_KINDS = '|'.join(COLLECTIVES)
_CALLED = re.compile(r' (?:fusion|call|async-start)\(.*?(?:calls|to_apply)=%?([\w.\-]+)')
_END = re.compile(r'\}(, execution_thread=".*")?$')
_ARRAY = re.compile(r'(pred|[a-z]+?(\d+)(?:e\dm\d\w*)?)\[([\d,]*)\]')


class Collective(NamedTuple):
  """Collectives of one kind in one loop, for one run of its body."""

  path: tuple
  kind: str  # one of COLLECTIVES
  count: int
  bytes: int  # of the results on one device


class Module(NamedTuple):
  """A parsed program."""

  computations: dict  # {name: lines}
  entry: str


def parse(text: str) -> Module:
  """The computations of an optimized program."""
  found, entry, lines = {}, None, None
  for line in text.splitlines():
    if lines is None:
      if head := re.match(r'(ENTRY )?%?([\w.\-]+) [^=]*\(.*\{$', line):
        lines = found.setdefault(head[2], [])
        entry = head[2] if head[1] else entry
    elif _END.match(line):
      lines = None
    elif line.startswith(' ') or not lines:
      lines.append(line)
    else:
      lines[-1] += line  # an instruction of a kernel has line breaks in its metadata
  if entry is None:
    raise ValueError('this text has no ENTRY; give the text of compiled.as_text()')
  return Module(found, entry)


def walk(module: Module, name=None, path=(), fused=False):
  """(path, whether it is inside a fusion, line) of every instruction that runs."""
  for line in module.computations[name or module.entry]:
    yield path, fused, line
    if ' while(' in line:
      body, condition = (re.search(rf'{k}=%?([\w.\-]+)', line)[1] for k in ('body', 'condition'))
      yield from walk(module, body, (*path, trips(module, condition)), fused)
    elif ' conditional(' in line:
      for i, branch in enumerate(_branches(line)):
        yield from walk(module, branch, (*path, f'branch {i}'), fused)
    elif called := _CALLED.search(line):
      yield from walk(module, called[1], path, fused or ' call(' not in line)


def _branches(line):
  listed = re.search(r'branch_computations=\{([^}]*)\}', line)
  if listed:
    return re.findall(r'%?([\w.\-]+)', listed[1])
  return re.findall(r'(?:true|false)_computation=%?([\w.\-]+)', line)


def trips(module: Module, condition: str) -> int | None:
  """How often a loop runs: the one constant of its condition. None if that depends on data."""
  lines = [*module.computations[condition]]
  lines += [
    line
    for called in re.findall(r'calls=%?([\w.\-]+)', '\n'.join(lines))
    for line in module.computations[called]
  ]
  numbers = set(re.findall(r'[su]32\[\]\S* constant\((\d+)\)', '\n'.join(lines)))
  depends = any(' reduce(' in line or ' all-reduce(' in line for line in lines)
  return None if len(numbers) != 1 or depends else int(*numbers)


def cycles(module: Module) -> dict:
  """{path: the compiler's estimated cycles of one run of that body}; empty where it gives none."""
  found = collections.Counter()
  for path, fused, line in walk(module):
    if not fused and (estimate := re.search(r'"estimated_cycles":"(\d+)"', line)):
      found[path] += int(estimate[1])
  return dict(found)


def collectives(module: Module) -> list[Collective]:
  """All collectives, by path and kind."""
  totals, seen = collections.defaultdict(lambda: [0, 0]), set()
  for path, _, line in walk(module):
    found = re.search(rf' = (.*?) ({_KINDS})(?:-start)?\(', line)
    if not found:
      continue
    # One asynchronous collective is split over many fusions, which share these two numbers.
    chain, channel = re.search(r'chain_id="\d+"', line), re.search(r'channel_id=\d+', line)
    mark = path, channel and channel[0], chain and chain[0]
    if chain is not None and mark in seen:
      continue
    seen.add(mark)
    sizes = [_bytes(*array) for array in _ARRAY.findall(found[1])]
    totals[path, found[2]][0] += 1
    totals[path, found[2]][1] += max(sizes, default=0) if '-start(' in line else sum(sizes)
  return [Collective(path, kind, *numbers) for (path, kind), numbers in totals.items()]


def _bytes(kind, bits, dims):
  """Bytes of an array such as ('bf16', '16', '4,128')."""
  each = 1 if kind == 'pred' else max(1, int(bits) // 8)
  return each * math.prod(int(n) for n in dims.split(',') if n)


def times(path, turns: int = 1) -> int:
  """How often a path runs, with `turns` for a loop whose length depends on data.

  A branch counts as taken.
  """
  return math.prod(turns if n is None else n for n in path if not isinstance(n, str))


def copies(module: Module, least: int) -> list[tuple]:
  """(path, line) of copies and transposes that write at least `least` bytes.

  One inside a fusion counts if the fusion writes as much; otherwise it is a way of reading.
  """
  found = []
  for path, fused, line in walk(module):
    if fused or result_bytes(line) < least:
      continue
    called = ' fusion(' in line and _CALLED.search(line)
    inside = [each for _, _, each in walk(module, called[1])] if called else [line]
    copied = [
      x for x in inside if re.search(r' (?:copy|transpose)\(', x) and result_bytes(x) >= least
    ]
    found += [(path, each.strip()) for each in copied]
  return found


def result_bytes(line):
  """Bytes of what an instruction makes, on one device."""
  results = re.search(r' = (.*?) [\w\-]+\(', line)
  return sum(_bytes(*array) for array in _ARRAY.findall(results[1])) if results else 0
