"""Reading compiled programs, for tests of what they hold and copy."""

import re

COLLECTIVES = ('all-reduce', 'all-gather', 'all-to-all', 'collective-permute', 'reduce-scatter')


def makers(program, shape):
  """Opcodes of the operations within loops that make an array of this shape."""
  return set(re.findall(rf'= \w+\[{shape}\]\S* ([\w\-]+)\(', loops(program)))


def in_loops(program):
  """Opcodes of the collectives within the loops of a compiled program."""
  return {name for name in COLLECTIVES if re.search(rf' {name}(-start)?\(', loops(program))}


def loops(program):
  """The text of every computation that a loop of a compiled program runs."""
  bodies = dict(re.findall(r'^%?([\w.\-]+) [^\n]*\{\n(.*?)^\}', program, re.M | re.S))
  todo, seen = re.findall(r'(?:body|condition)=%?([\w.\-]+)', program), set()
  while todo:
    name = todo.pop()
    if name in bodies and name not in seen:
      seen.add(name)
      todo += re.findall(
        r'(?:calls|to_apply|body|condition|\w+_computation)=%?([\w.\-]+)', bodies[name]
      )
      for several in re.findall(r'branch_computations=\{([^}]*)\}', bodies[name]):
        todo += re.findall(r'[\w.\-]+', several)
  return '\n'.join(bodies[name] for name in seen)
