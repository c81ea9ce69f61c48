"""The plan as a person reads it, and as JSON."""

import dataclasses
import shlex

from sirl.plan.chips import GiB
from sirl.runtime import plural

# Units from the largest: (size, name).
BYTES = ((GiB, 'GiB'), (2**20, 'MiB'), (2**10, 'KiB'))
SECONDS = ((1.0, 's'), (1e-3, 'ms'), (1e-6, 'us'))
COUNTS = ((1e9, ' billion'), (1e6, ' million'), (1e3, ' thousand'), (1, ''))
SENT = ((1e12, 'TB'), (1e9, 'GB'), (1e6, 'MB'), (1e3, 'kB'), (1, 'B'))
SHOWN = 6  # collectives of a program
# What starts the processes of several hosts, by platform. A line of `sirl run` follows.
LAUNCHERS = {
  'tpu': ('launch/pod.sh NAME ZONE --', 'launch/gke.sh NAME {chips} IMAGE CLAIM --'),
  'gpu': ('launch/slurm.sh {hosts} {gpus} --', 'launch/ssh.sh HOST,HOST --'),
}


def table(plan) -> str:
  """The text of a `plan.Plan`: tables, the command, notes."""
  lines = [*_head(plan), '', *_memory(plan), '', *_stages(plan)]
  if plan.verdicts:
    lines += ['', *_compiled(plan)]
  if any(v.collectives for v in plan.verdicts):
    lines += ['', *_collectives(plan)]
  lines += ['', 'to run it:', f'  {command(plan)}']
  if starts := launchers(plan.group):
    what = f'on all {plan.group.hosts} hosts, with one of these before it (launch/README.md):'
    lines += ['', what, *(f'  {start}' for start in starts)]
  if plan.notes:
    lines += ['', *(f'note: {text}' for text in plan.notes)]
  return '\n'.join(lines)


def unit(largest: float, units) -> tuple[float, str]:
  """(size, name) of the unit in which the largest number of a table is at least 1."""
  return next((each for each in units if largest >= each[0]), units[-1])


def quantity(number: float, units) -> str:
  """A number with its unit and three digits."""
  size, name = unit(number, units)
  return f'{number / size:.4g} {name}' if number >= 100 * size else f'{number / size:.3g} {name}'


def _count(number):
  size, name = unit(number, COUNTS)
  return f'{number:,.0f}' if size <= 1e3 else f'{number / size:.3g}{name}'


def _head(plan):
  c, e, mesh = plan.config, plan.estimate, plan.mesh
  chip = plan.group.chip
  axes = ', '.join(f'{axis}={size}' for axis, size in mesh.shape.items())
  rows = plural.counted(e.rows, 'completion')
  return [
    f'{plan.name} on {plan.group.name}: {plural.counted(plan.group.size, "chip")} of '
    f'{chip.memory / GiB:.2f} GiB, mesh {axes}',
    f'{_count(e.parameters)} parameters, {plan.model.architecture.dtype}. A step has '
    f'{c.prompts} x {c.group_size} completions, at most {_count(e.tokens)} tokens. '
    f'A chip decodes {rows} at once, in {e.turns} turns.',
  ]


def _memory(plan):
  e, limit = plan.estimate, plan.group.chip.memory
  size, name = unit(e.peak, BYTES)
  lines = [f'{"memory of a chip (estimate)":<40}{name:>9}']
  for title, part in (('', e.resident), ('sampler: ', e.sampler), ('update: ', e.update)):
    for what, number in part.items():
      if number >= 0.005 * size:
        lines.append(f'  {title + what:<38}{number / size:9.2f}')
  fits = 'fits' if e.peak <= limit else 'does not fit'
  lines.append(f'  {"largest at once":<38}{e.peak / size:9.2f}  of {limit / GiB:.2f} GiB: {fits}')
  return lines


def _stages(plan):
  size, name = unit(plan.estimate.seconds, SECONDS)
  lines = [
    f'{f"time of a stage (estimate, {name})":<30}{"compute":>9}{"memory":>9}{"links":>9}'
    f'{"at least":>10}'
  ]
  for s in plan.estimate.stages:
    parts = ''.join(f'{x / size:>9.2f}' for x in (s.compute_s, s.memory_s, s.interconnect_s))
    lines.append(f'  {s.name:<28}{parts}{s.seconds / size:>10.2f}  {s.bound}')
  lines.append(f'  {"step, without the reward":<55}{plan.estimate.seconds / size:>10.2f}')
  return lines


def _compiled(plan):
  limit, verdicts = plan.group.chip.memory, plan.verdicts
  size, name = unit(max(v.peak or 0 for v in verdicts), BYTES)
  longest = max(max(v.compute_s or 0, v.interconnect_s) for v in verdicts)
  second, seconds = unit(longest, SECONDS)
  lines = [
    "compiled (the compiler's own estimates, not measured on a chip)",
    f'  {"program":<10}{"peak " + name:>9}{"compute " + seconds:>12}{"links " + seconds:>10}'
    f'{"a turn":>10}  verdict',
  ]
  shown = lambda number, of: '-' if number is None else f'{number / of:.2f}'
  for v in verdicts:
    turn = '-' if v.turn_s is None else quantity(v.turn_s, SECONDS)
    links = v.interconnect_s if v.fits else None
    lines.append(
      f'  {v.program:<10}{shown(v.peak, size):>9}{shown(v.compute_s, second):>12}'
      f'{shown(links, second):>10}{turn:>10}  {_words(v, limit)}'
    )
  return lines


def _words(v, limit):
  if v.fits is None:
    return v.why
  if not v.fits:
    over = '' if v.peak is None else f': {quantity(v.peak - limit, BYTES)} too much'
    return f'does not fit{over}'
  if v.compute_s is None:
    return 'fits'
  what = 'the links take longer' if v.interconnect_s > v.compute_s else 'compute takes longer'
  return f'fits; {what}' if v.interconnect_s else 'fits; no collectives'


def _collectives(plan):
  """One line for each kind of collective in each loop, those that send most first."""
  lines = [f'{"collectives":<13}{"a chip sends in a step":<24}by']
  for v in plan.verdicts:
    for each in v.collectives[:SHOWN]:
      what = plural.counted(each.count, each.kind)
      total = ', together' if each.count > 1 else ' of'
      lines.append(
        f'  {v.program:<11}{quantity(each.sent, SENT):<24}{what}{total} '
        f'{quantity(each.bytes, SENT)}, {_where(each)}'
      )
    if rest := v.collectives[SHOWN:]:
      sent = quantity(sum(each.sent for each in rest), SENT)
      lines.append(f'  {v.program:<11}{sent:<24}the others')
  return lines


def _where(moved):
  """Where a collective stands, in words."""
  loops = [n for n in moved.path if not isinstance(n, str)]
  if not loops:
    return 'once'
  times = plural.counted(moved.runs, 'time')
  if loops[-1] is None:
    return f'in every turn of the token loop ({times} a step)'
  inside = (
    f'in a loop of {loops[-1]}' if len(loops) == 1 else f'in a loop of {loops[-1]} inside a loop'
  )
  return f'{inside} ({times} a step)'


def as_json(plan) -> dict:
  """All numbers of a plan. Bytes, seconds, operations; no units are scaled."""
  e = plan.estimate
  return {
    'name': plan.name,
    'chip': plan.group.name,
    'mesh': dict(plan.mesh.shape),
    'estimate': {
      **{k: v for k, v in dataclasses.asdict(e).items() if k != 'stages'},
      'peak': e.peak,
      'seconds': e.seconds,
      'stages': [
        {**dataclasses.asdict(s), 'seconds': s.seconds, 'bound': s.bound} for s in e.stages
      ],
    },
    'compiled': [
      {**dataclasses.asdict(v), 'collectives': [each._asdict() for each in v.collectives]}
      for v in plan.verdicts
    ],
    'notes': list(plan.notes),
    'command': command(plan),
    'launchers': launchers(plan.group),
  }


def command(plan) -> str:
  """The line that runs the experiment as planned."""
  numbers = [f'mesh.{axis}={size}' for axis, size in plan.mesh.shape.items()]
  given = [a for a in plan.assignments if not a.startswith('mesh.')]
  words = [word for a in (*given, *numbers) for word in ('--set', a)]
  hosts = ' --distributed' if plan.group.hosts > 1 else ''
  return f'sirl run {shlex.join([plan.file, *words])}{hosts}'


def launchers(group) -> list[str]:
  """What stands before the command to start it on every host of `chips.Group`; [] for one host."""
  if group.hosts == 1:
    return []
  about = {'chips': group.name, 'hosts': group.hosts, 'gpus': group.size // group.hosts}
  return [start.format(**about) for start in LAUNCHERS[group.chip.platform]]
