"""How a side is talked to: a process that answers JSON lines. Only the standard library, since peers have their own.

The driver writes {"case": {...}, "shape": {...}, "lengths": [...] or null, "measure": bool}. A side that meets a case for the
first time prepares and warms up. It then answers {"ready": true, ...}, or measures once and answers
{"wall": seconds, "cpu": seconds of the process, ...}; the dots are what the case returned, such as "tokens".
A case that broke answers {"error": message}; the side lives on.
"""

import gc
import json
import os
import queue
import sys
import threading
import time
import traceback

WARM_UPS = 2  # the first compiles; the second finds whatever the first left to do


def serve(prepare, versions):
  """Answers until stdin closes.

  Args: prepare: (case, shape, lengths) -> run; `lengths` are the tokens of each row's completion where the case draws them.
    run() does the work once, returns when it is done, and returns a dict of what the driver should know. versions: dict of str, for the record.
  """
  answers = os.fdopen(os.dup(1), 'w')
  os.dup2(2, 1)  # what libraries print is no answer

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
        gc.collect()  # the case before may hold gigabytes
        run = prepare(message['case'], message['shape'], message['lengths'])
        for _ in range(WARM_UPS):
          found = run()
      say(measured(run) if message['measure'] else {'ready': True} | found)
    except Exception as error:
      current = None
      traceback.print_exc()
      say({'error': f'{type(error).__name__}: {error}'[:1000]})


def measured(run):
  """What one run returned, with its wall seconds and the CPU seconds of all threads of this process."""
  gc.collect()
  cpu, wall = time.process_time(), time.perf_counter()
  found = run()
  return {'wall': time.perf_counter() - wall, 'cpu': time.process_time() - cpu} | found


def cores():
  """Cores that this process may use."""
  return len(os.sched_getaffinity(0)) if hasattr(os, 'sched_getaffinity') else os.cpu_count() or 1


class Turns:
  """A training loop that is somebody else's, advanced by one iteration per call.

  loop(pause) runs in a thread of its own and calls pause() wherever an iteration ends, and once before the first.
  """

  def __init__(self, loop):
    self._asked, self._done = queue.Queue(), queue.Queue()
    threading.Thread(target=self._follow, args=(loop,), daemon=True).start()
    self._wait()

  def advance(self):
    """Lets one iteration pass. Raises what the loop raised, or RuntimeError when it has ended."""
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
