"""How the driver talks to a side: a process that reads and answers lines of JSON.

This file uses only the standard library, because each peer has its own environment.
The driver writes {"case": {...}, "shape": {...}, "lengths": [...] or null, "measure": bool}. For a
new case the side prepares and warms up first. With "measure" false it answers {"ready": true, ...}.
With "measure" true it measures once and answers {"wall": seconds, "cpu": seconds of the process,
...}. The dots are what the case returned, such as "tokens". If a case fails, the side answers
{"error": message} and goes on.
"""

import gc
import json
import os
import queue
import sys
import threading
import time
import traceback

WARM_UPS = 2  # the first compiles; the second does any one-off work that remains


def serve(prepare, versions):
  """Answers until stdin closes.

  Args:
    prepare: (case, shape, lengths) -> run. `lengths` are the tokens of each row's completion, or
      None if they are fixed or not drawn yet. run() does the work once, waits until it is done, and
      returns a dict for the driver.
    versions: {package: version}, for the results.
  """
  answers = os.fdopen(os.dup(1), 'w')
  os.dup2(2, 1)  # libraries may print to stdout; send that to stderr

  def say(answer):
    answers.write(json.dumps(answer) + '\n')
    answers.flush()

  say({'versions': versions})
  current = run = None
  found = {}
  for line in sys.stdin:
    message = json.loads(line)
    try:
      if message['case'] != current:
        current, run = message['case'], None
        gc.collect()  # the previous case may hold gigabytes
        run = prepare(message['case'], message['shape'], message['lengths'])
        for _ in range(WARM_UPS):
          found = run()
      say(measured(run) if message['measure'] else {'ready': True} | found)
    except Exception as error:
      current = None
      traceback.print_exc()
      say({'error': f'{type(error).__name__}: {error}'[:1000]})


def measured(run):
  """The dict of one run, with its wall seconds and the CPU seconds of the whole process."""
  gc.collect()
  cpu, wall = time.process_time(), time.perf_counter()
  found = run()
  return {'wall': time.perf_counter() - wall, 'cpu': time.process_time() - cpu} | found


def cores():
  """Number of cores that this process may use."""
  return len(os.sched_getaffinity(0)) if hasattr(os, 'sched_getaffinity') else os.cpu_count() or 1


class Turns:
  """Advances another library's training loop by one iteration per call.

  loop(pause) runs in its own thread. It calls pause() before the first iteration and after each.
  """

  def __init__(self, loop):
    self._asked, self._done = queue.Queue(), queue.Queue()
    threading.Thread(target=self._follow, args=(loop,), daemon=True).start()
    self._wait()

  def advance(self):
    """Runs one iteration. Raises what the loop raised, or RuntimeError if the loop has ended."""
    self._asked.put(None)
    self._wait()

  def _follow(self, loop):
    try:
      loop(self._pause)
      self._done.put(RuntimeError('the loop has ended'))
    except Exception as error:
      self._done.put(error)

  def _pause(self):
    self._done.put(None)
    self._asked.get()

  def _wait(self):
    error = self._done.get()
    if error is not None:
      raise error
