"""The plan as a person reads it, and as JSON."""

import dataclasses
import shlex

from sirl.plan.chips import GiB


def table(plan) -> str:
  """The text of a `plan.Plan`."""
  lines = [*_head(plan), '', *_memory(plan), '', *_stages(plan)]
  if plan.verdicts:
    lines += ['', *_compiled(plan)]
  lines += [f'note: {text}' for text in plan.notes]
  return '\n'.join(lines)


def _head(plan):
  c, e, mesh = plan.config, plan.estimate, plan.mesh
  chip = plan.group.chip
  axes = ', '.join(f'{axis}={size}' for axis, size in mesh.shape.items())
  return [
    f'{plan.name} on {plan.group.name}: {plan.group.size} chips of {chip.memory / GiB:.2f} GiB, '
    f'mesh {axes}',
    f'{e.parameters / 1e6:,.0f}M parameters, {plan.model.architecture.dtype}; a step has '
    f'{c.prompts} x {c.group_size} completions, at most {e.tokens / 1e6:.2f}M tokens; '
    f'{e.rows} rows a chip decode at once, {e.turns} turns',
  ]


def _memory(plan):
  e, limit = plan.estimate, plan.group.chip.memory
  lines = ['memory of a chip (estimate)                 GiB']
  for title, part in (('', e.resident), ('sampler: ', e.sampler), ('update: ', e.update)):
    for name, size in part.items():
      if size >= 0.005 * GiB:
        lines.append(f'  {title + name:<38}{size / GiB:9.2f}')
  fits = 'fits' if e.peak <= limit else 'does not fit'
  lines.append(f'  {"largest at once":<38}{e.peak / GiB:9.2f}  of {limit / GiB:.2f}: {fits}')
  return lines


def _stages(plan):
  lines = [
    f'{"stage (lower bound, seconds)":<30}{"compute":>9}{"memory":>9}{"links":>9}{"at least":>10}'
  ]
  for s in plan.estimate.stages:
    lines.append(
      f'  {s.name:<28}{s.compute_s:>9.2f}{s.memory_s:>9.2f}{s.interconnect_s:>9.2f}'
      f'{s.seconds:>10.2f}  {s.bound}'
    )
  lines.append(f'  {"step, without the reward":<55}{plan.estimate.seconds:>10.2f}')
  return lines


def _compiled(plan):
  limit = plan.group.chip.memory
  lines = [
    "compiled (the compiler's own estimates, no measurement)",
    f'  {"program":<10}{"peak GiB":>9}{"compute s":>11}{"links s":>9}{"a turn":>10}  verdict',
  ]
  for v in plan.verdicts:
    peak = '-' if v.peak is None else f'{v.peak / GiB:.2f}'
    compute = '-' if v.compute_s is None else f'{v.compute_s:.1f}'
    turn = '-' if v.turn_s is None else f'{1e3 * v.turn_s:.1f} ms'
    lines.append(
      f'  {v.program:<10}{peak:>9}{compute:>11}{v.interconnect_s:>9.1f}{turn:>10}  '
      f'{_words(v, limit)}'
    )
  for v in plan.verdicts:
    for each in sorted(v.collectives, key=lambda each: -each.bytes)[:6]:
      lines.append(
        f'  {v.program}: {each.count} {each.kind} of {_size(each.bytes)} {_where(each.path)}'
      )
  return lines


def _words(v, limit):
  if v.fits is None:
    return v.why
  if not v.fits:
    over = '' if v.peak is None else f' by {(v.peak - limit) / GiB:.2f} GiB'
    return f'does not fit{over}'
  if v.compute_s is None:
    return 'fits'
  what = 'the links dominate' if v.interconnect_s > v.compute_s else 'compute dominates'
  return f'fits; {what}'


def _where(path):
  """A path of loops in words."""
  loops = [n for n in path if not isinstance(n, str)]
  if not loops:
    return 'once'
  inner = 'every turn of the token loop' if loops[-1] is None else f'in a loop of {loops[-1]}'
  return f'{inner}, {len(loops)} deep' if len(loops) > 1 else inner


def _size(count):
  """Bytes in words."""
  for unit, size in (('GB', 1e9), ('MB', 1e6), ('kB', 1e3)):
    if count >= size:
      return f'{count / size:.2f} {unit}'
  return f'{count:.0f} B'


def as_json(plan) -> dict:
  """All numbers of a plan."""
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
  }


def command(plan) -> str:
  """The line that runs the experiment as planned."""
  numbers = [f'mesh.{axis}={size}' for axis, size in plan.mesh.shape.items()]
  given = [a for a in plan.assignments if not a.startswith('mesh.')]
  words = [word for a in (*given, *numbers) for word in ('--set', a)]
  hosts = ' --distributed' if plan.group.size > 8 else ''
  return f'sirl run {shlex.join([plan.file, *words])}{hosts}'
