"""Where a scoring function runs, and what happens to one that hangs, dies or needs the main thread."""

import concurrent.futures
import functools
import logging
import os
import signal
import threading
import time

import numpy as np
import pytest

from sirl import rewards
from sirl.rewards import calls
from sirl.tasks import Task

from support import scorers
from support.texts import judged, samples_of

SAMPLES = samples_of([['0', '1'], ['2', '0']])
RIGHT = [[1, 0], [1, 0]]


def elsewhere(function, *arguments):
  """The function's result in another thread, as with slices= of a run."""
  with concurrent.futures.ThreadPoolExecutor(1) as thread:
    return thread.submit(function, *arguments).result()


# ---------------------------------------------------------------- signals


def test_a_scorer_that_hides_the_error_of_its_alarm_is_not_wrong_in_silence(caplog):
  reward = rewards.from_verl(scorers.alarmed)
  with caplog.at_level(logging.WARNING):
    np.testing.assert_array_equal(judged(reward, SAMPLES).total, RIGHT)
    np.testing.assert_array_equal(judged(reward, SAMPLES).total, RIGHT)
  assert caplog.text.count('sets signal handlers') == 1  # said once


def test_in_another_thread_such_a_scorer_is_an_error_that_names_the_way_out():
  with pytest.raises(
    rewards.RewardError, match=r"'alarmed' sets a signal handler.*run=rewards.calls.processes\(\)"
  ):
    elsewhere(judged, rewards.from_verl(scorers.alarmed), SAMPLES)


def test_a_name_imported_from_signal_is_seen_as_well():
  def score(task, text, set_handler=signal.signal):
    try:
      set_handler(signal.SIGALRM, signal.SIG_DFL)
    except ValueError:
      return 0.0
    return 1.0

  np.testing.assert_array_equal(
    judged(rewards.per_completion(score), SAMPLES).total, np.ones((2, 2))
  )


def test_a_coroutine_that_sets_a_handler_is_an_error():
  async def score(task, text):
    try:
      signal.signal(signal.SIGALRM, signal.SIG_DFL)
    except ValueError:
      return 0.0

  with pytest.raises(
    rewards.RewardError, match='sets a signal handler, which works in the main thread only'
  ):
    judged(rewards.per_completion(score), SAMPLES)


def test_the_main_thread_may_be_demanded():
  def where(task, text):
    return float(threading.current_thread() is threading.main_thread())

  reward = rewards.per_completion(where, run=calls.main_thread())
  np.testing.assert_array_equal(judged(reward, SAMPLES).total, np.ones((2, 2)))
  with pytest.raises(ValueError, match='asks for the main thread, but with slices= above 1'):
    elsewhere(judged, reward, SAMPLES)


# ---------------------------------------------------------------- processes


def test_processes_give_what_threads_give():
  processes = calls.processes(2)
  for fn in (scorers.right, scorers.Length(0.5), scorers.awaited, functools.partial(scorers.right)):
    found = judged(rewards.per_completion(fn, run=processes), SAMPLES)
    expected = judged(rewards.per_completion(fn), SAMPLES)
    np.testing.assert_array_equal(found.total, expected.total)
    assert list(found.parts) == list(expected.parts)


def test_an_alarm_works_in_a_process_whatever_thread_judges():
  reward = rewards.from_verl(scorers.alarmed, run=calls.processes(1))
  np.testing.assert_array_equal(elsewhere(judged, reward, SAMPLES).total, RIGHT)


def test_a_call_that_hangs_is_killed_and_named_and_the_next_ones_run():
  reward = rewards.per_completion(scorers.hangs_on_two, run=calls.processes(1, timeout=3))
  started = time.monotonic()
  with pytest.raises(rewards.RewardError, match=r"TimeoutError: took longer than 3 seconds.*\n.*completion 0: '2'") as caught:  # fmt: skip
    judged(reward, SAMPLES)
  assert time.monotonic() - started < 30  # it would sleep for 60
  np.testing.assert_array_equal(caught.value.rewards.total, [[1, 1], [np.nan, 1]])


def test_a_scorer_that_ends_its_process_is_one_failed_completion():
  reward = rewards.per_completion(scorers.dies_on_two, run=calls.processes(1))
  with pytest.raises(rewards.RewardError, match='its process ended with exit code 7'):
    judged(reward, SAMPLES)
  np.testing.assert_array_equal(
    judged(rewards.tolerant(reward), SAMPLES).total, [[1, 1], [np.nan, 1]]
  )


def test_an_exception_of_a_process_names_the_line_and_keeps_the_traceback():
  with pytest.raises(rewards.RewardError, match=r"KeyError: 'no such key' \(.*scorers.py, line \d+") as caught:  # fmt: skip
    judged(rewards.per_completion(scorers.raises, run=calls.processes(1)), SAMPLES)
  assert 'in raises' in str(caught.value.__cause__.__cause__)


@pytest.mark.parametrize(
  'fn', [lambda task, text: 1.0, functools.partial(lambda n, task, text: n, 1)]
)
def test_what_a_process_cannot_import_is_refused_with_the_reason(fn):
  with pytest.raises(ValueError, match='define the function, .* at the top level of a file'):
    judged(rewards.per_completion(fn, run=calls.processes(1)), SAMPLES)


def test_a_function_of_an_experiment_file_runs_in_a_process(tmp_path):
  # An experiment file is loaded under a name of its own, which no path leads to.
  from sirl import experiment_file

  (tmp_path / 'brief.py').write_text(
    'from sirl.config import Base as Config\n'
    'def brief(task, text):\n  return -len(text)\n'
    'def build(config):\n  raise NotImplementedError\n'
  )
  module = experiment_file.load(tmp_path / 'brief.py')
  found = judged(rewards.per_completion(module.brief, run=calls.processes(1)), SAMPLES)
  np.testing.assert_array_equal(found.total, np.full((2, 2), -1))


def test_a_trl_function_may_log_from_a_process():
  found = judged(rewards.from_trl(scorers.logs, run=calls.processes(1)), SAMPLES)
  np.testing.assert_array_equal(found.total, np.ones((2, 2)))
  assert os.getpid() not in found.parts['process']


@pytest.mark.parametrize(
  ('make', 'said'),
  [
    (lambda: calls.threads(0), 'workers=0'),
    (lambda: calls.processes(0), 'workers=0'),
    (lambda: calls.processes(timeout=0), 'timeout=0'),
    (lambda: rewards.per_completion(scorers.right, workers=0), 'workers=0'),
  ],
)
def test_a_number_of_workers_or_seconds_below_one_is_refused_at_once(make, said):
  with pytest.raises(ValueError, match=said):
    make()


def math_verify_score(data_source, solution_str, ground_truth, extra_info=None):
  """As verl's users wrap Math-Verify, whose time limit is an alarm."""
  from math_verify import parse, verify

  return float(verify(parse(ground_truth), parse(solution_str)))


def test_math_verify_judges_in_the_main_thread_and_in_a_process_the_same():
  tasks = [Task(id='a', prompt='?', answer='$\\frac{1}{2}$')]
  samples = samples_of([['\\boxed{0.5}', '\\boxed{0.25}']], tasks)
  found = judged(rewards.from_verl(math_verify_score), samples)
  np.testing.assert_array_equal(found.total, [[1, 0]])
  elsewhere_too = rewards.from_verl(math_verify_score, run=calls.processes(1))
  np.testing.assert_array_equal(elsewhere(judged, elsewhere_too, samples).total, [[1, 0]])
