"""Counts in sentences: a message about one round does not say '1 rounds'."""


def counted(n: int, noun: str) -> str:
  """'1 round', '2 rounds', '0 rounds' for the noun 'round'."""
  return f'{n} {noun}{"" if n == 1 else "s"}'
