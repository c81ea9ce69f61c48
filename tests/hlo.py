"""Reading compiled programs, for tests of what they hold and copy."""

import re


def makers(program, shape):
  """Operations, as opcodes, that make an array of this shape within the loops of a compiled program."""
  bodies = dict(re.findall(r'^%?([\w.\-]+) [^\n]*\{\n(.*?)^\}', program, re.M | re.S))
  todo, seen = re.findall(r'body=%?([\w.\-]+)', program), set()
  while todo:
    name = todo.pop()
    if name in bodies and name not in seen:
      seen.add(name)
      todo += re.findall(r'(?:calls|to_apply|body)=%?([\w.\-]+)', bodies[name])
  text = '\n'.join(bodies[name] for name in seen)
  return set(re.findall(rf'= \w+\[{shape}\]\S* ([\w\-]+)\(', text))
