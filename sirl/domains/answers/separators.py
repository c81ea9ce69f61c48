"""Parts of a text between signs that stand in no brackets."""

import re

from sirl.domains.answers.algebra import Unread


def split(text, sign):
  """The parts of a text between the signs that stand in no brackets. Half-open intervals count as brackets."""
  parts, depth, start = [], 0, 0
  for match in re.finditer(
    rf'\\begin\{{|\\end\{{|\\[{{}}]|\\[a-zA-Z]+|[()\[\]{{}}⟦⟧]|{re.escape(sign)}', text
  ):
    token = match.group()
    if token == sign and depth == 0:
      parts.append(text[start : match.start()])
      start = match.end()
    elif token in ('(', '[', '{', '\\{', '\\begin{', '\\langle', '⟦'):
      depth += 1 + (token == '\\begin{')
    elif token in (')', ']', '}', '\\}', '\\rangle', '⟧'):
      depth -= 1
  if depth != 0:
    raise Unread('brackets that do not close')
  return [*parts, text[start:]]


def check_parts(parts):
  """A comma may group or separate: '1,000,2' has the part 000, which no list would have."""
  for part in parts:
    if not part.strip() or re.match(r'\s*0[0-9]', part):
      raise Unread(f'a list with the part {part!r}')
