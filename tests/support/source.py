"""How long a piece of code is."""

import ast


def code_lines(source, *, imports=True):
  """Lines that hold code: neither blank, nor comment, nor docstring; without imports if asked."""
  lines = source.splitlines()
  left_out = {
    i for i, line in enumerate(lines, 1) if not line.strip() or line.strip().startswith('#')
  }
  for node in ast.walk(ast.parse(source)):
    text = (
      isinstance(node, ast.Expr)
      and isinstance(node.value, ast.Constant)
      and isinstance(node.value.value, str)
    )
    if text or (not imports and isinstance(node, ast.Import | ast.ImportFrom)):
      left_out |= set(range(node.lineno, node.end_lineno + 1))
  return [line for i, line in enumerate(lines, 1) if i not in left_out]
