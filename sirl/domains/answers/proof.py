r"""`Prover.equal`: an `equal` that asks math-verify where the exact normal form cannot tell.

sin^2 x + cos^2 x and 1 are equal by an identity that `algebra` does not know. math-verify (the extra
'verify') proves some of them with sympy, which may take for ever, so it runs in a process of its
own that is killed when the time is up.
"""

import atexit
import contextlib
import importlib.util
import json
import logging
import pathlib
import select
import subprocess
import sys
import threading

from sirl.domains.answers import comparison, reading, typography, values

_WORKER = pathlib.Path(__file__).with_name('proof_worker.py')
_START_SECONDS = 60.0


class Prover:
  """Holds the process of math-verify; use it as a context manager, or `close` it.

  timeouts: answers that were rejected because the time was up; asked: pairs that it was asked about.
  """

  def __init__(self, timeout_seconds: float = 5.0):
    """Raises: ModuleNotFoundError without math-verify; ValueError for a timeout that is not above 0."""
    if not timeout_seconds > 0:
      raise ValueError(f'timeout_seconds={timeout_seconds}; expected a number above 0')
    if importlib.util.find_spec('math_verify') is None:
      raise ModuleNotFoundError(
        "Prover needs math-verify; install it with: pip install 'sirl[verify]'"
      )
    self.timeout_seconds = timeout_seconds
    self.asked = self.timeouts = 0
    self._process = None
    self._lock = threading.Lock()
    atexit.register(self.close)

  def equal(self, answer, gold):
    """`answers.equal`, or else what math-verify proves of two expressions; False on a timeout."""
    if comparison.equal(answer, gold):
      return True
    if not _undecided(reading.read(answer), reading.read(gold)):
      return False
    with self._lock:
      return self._ask(typography.plain(answer), typography.plain(gold))

  def close(self):
    """Ends the process."""
    process, self._process = self._process, None
    if process is not None:
      process.kill()
      process.wait()
      for stream in (process.stdin, process.stdout):
        with contextlib.suppress(OSError):
          stream.close()

  def __enter__(self):
    return self

  def __exit__(self, *exception):
    self.close()

  def _ask(self, answer, gold):
    self.asked += 1
    if self._process is None:
      self._process = subprocess.Popen(
        [sys.executable, str(_WORKER)], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL, text=True, bufsize=1,
      )  # fmt: skip
      if self._line(_START_SECONDS) != 'ready':
        self.close()
        raise RuntimeError('the process of math-verify did not start; try: import math_verify')
    try:
      self._process.stdin.write(json.dumps([answer, gold]) + '\n')
      reply = self._line(self.timeout_seconds)
    except OSError:
      reply = None
    if reply in ('true', 'false'):
      return reply == 'true'
    self.timeouts += 1
    logging.getLogger('sirl').warning(
      'math-verify gave no reply on %r and %r within %g s; the answer counts as wrong (%d so far)',
      answer, gold, self.timeout_seconds, self.timeouts,
    )  # fmt: skip
    self.close()
    return False

  def _line(self, seconds):
    """The next line of the process, or None when the time is up or the process has ended."""
    ready, _, _ = select.select([self._process.stdout], [], [], seconds)
    return self._process.stdout.readline().strip() or None if ready else None


def _undecided(a, b):
  """Whether both are expressions, and one has a function or root that the normal form keeps whole.

  Two expressions without one are equal exactly if their normal forms are.
  """
  a, b = (x.item if isinstance(x, values.Named) else x for x in (a, b))
  if not (isinstance(a, values.Quantity) and isinstance(b, values.Quantity)) or a.unit != b.unit:
    return False
  return any(_has_whole_atom(x.value) for x in (a, b))


def _has_whole_atom(value):
  return any(
    isinstance(name, tuple)
    for polynomial in value
    for monomial in polynomial
    for name, _ in monomial
  )
