"""Answers of completions: which span is the answer, and whether it is the same value.

  extraction   text -> str or None: exact, final, tagged, last_number, last_integer
  boxes        boxed: what a \\boxed{...} holds
  comparison   equal(answer, gold), same(a, b) for votes
  proof        Prover().equal: an `equal` that asks math-verify in a process that can be killed

docs/answers.md is the definition.
"""

from sirl.domains.answers.boxes import boxed
from sirl.domains.answers.comparison import equal, same
from sirl.domains.answers.extraction import (
  exact,
  final,
  last_integer,
  last_number,
  tagged,
)
from sirl.domains.answers.proof import Prover
from sirl.domains.answers.typography import LIMIT, plain

__all__ = [
  'LIMIT', 'Prover', 'boxed', 'equal', 'exact', 'final', 'last_integer', 'last_number', 'plain', 'same', 'tagged',
]  # fmt: skip
