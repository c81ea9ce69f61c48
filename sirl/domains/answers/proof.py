r"""`Prover.equal`: an `equal` that asks math-verify where the exact normal form cannot tell.

|2x| and 2|x| are equal, and neither `algebra` nor `identities` knows it. math-verify (the extra
'verify') proves some of such pairs with sympy, which may take for ever, so it runs in a process that is
killed when the time is up.
"""

import importlib.util
import logging
import threading

from sirl.domains.answers import algebra, comparison, reading, sympy_proof, typography, values
from sirl.runtime.processes import processes


class Prover:
  """Holds the process of math-verify.

  asked: pairs that it was asked about; timeouts: those that were rejected because the time was up;
  failed: those on which it raised an error, rejected too.
  """

  def __init__(self, timeout_seconds: float = 5.0):
    """Raises: ModuleNotFoundError without math-verify; ValueError for a timeout that is not above 0."""
    if importlib.util.find_spec('math_verify') is None:
      raise ModuleNotFoundError(
        "Prover needs math-verify; install the extra 'verify': pip install '.[verify]'"
      )
    self.timeout_seconds = timeout_seconds
    self.asked = self.timeouts = self.failed = 0
    self._run = processes(1, timeout=timeout_seconds)
    self._lock = threading.Lock()

  def equal(self, answer, gold):
    """`answers.equal`, or else what math-verify proves of two expressions; False on a timeout."""
    if comparison.equal(answer, gold):
      return True
    if not _undecided(reading.read(answer), reading.read(gold)):
      return False
    pair = typography.plain(answer), typography.plain(gold)
    with self._lock:
      self.asked += 1
      (found,) = self._run(sympy_proof.proves, [pair])
      if isinstance(found, Exception):
        self.timeouts += isinstance(found, TimeoutError)
        self.failed += not isinstance(found, TimeoutError)
        logging.getLogger('sirl').warning(
          'math-verify on %r and %r: %s; the answer counts as wrong (%d so far)',
          *pair, found, self.timeouts + self.failed,
        )  # fmt: skip
        return False
    return found


def _undecided(a, b):
  """Whether both are expressions, and one has a function or root that the normal form keeps whole.

  Two expressions without one are equal exactly if their normal forms are.
  """
  a, b = (x.item if isinstance(x, values.Named) else x for x in (a, b))
  if not (isinstance(a, values.Quantity) and isinstance(b, values.Quantity)) or a.unit != b.unit:
    return False
  return any(algebra.has_whole_atom(x.value) for x in (a, b))
