"""Tokens of an expression, and the names of its functions and greek letters."""

import re

from sirl.domains.answers.algebra import Unread

_TOKENS = re.compile(
  r'(?P<space>\s+)'
  r'|(?P<number>(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:\\(?:overline|bar|dot)\s*\{?[0-9]+\}?|[eE][-+]?[0-9]{1,3}(?![0-9.]))?)'
  r'|(?P<command>\\[a-zA-Z]+|\\[{}|])'
  r'|(?P<words>⟦[^⟦⟧]*⟧)'
  r'|(?P<letters>[a-zA-Z]+)'
  r'|(?P<sign>.)'
)
_GREEK = (
  'alpha beta gamma delta epsilon zeta eta theta iota kappa lambda mu nu xi rho sigma tau phi chi '
  'psi omega Gamma Delta Theta Lambda Xi Pi Sigma Phi Psi Omega ell infty pi'
)
GREEK = frozenset(_GREEK.split())
_FUNCTIONS = (
  'sin cos tan cot sec csc arcsin arccos arctan sinh cosh tanh ln log exp gcd lcm max min det floor '
  'ceil abs sqrt'
)
FUNCTIONS = frozenset(_FUNCTIONS.split())


def tokens(text):
  """(kind, text) of each token; a space is a token too. Raises: Unread for an unknown sign."""
  found = []
  for match in _TOKENS.finditer(text):
    kind, part = match.lastgroup, match.group()
    if kind == 'sign' and part not in "+-*/^_(){}[]|!,=<>:;'&":
      raise Unread(f'{part!r} is no sign of an expression')
    found.append((kind, part))
  return found
