"""Where a scoring function runs, and what happens to one that hangs, dies or needs the main thread."""

import asyncio
import concurrent.futures
import functools
import logging
import signal
import threading

import numpy as np
import pytest

from sirl import rewards
from sirl.rewards import calls

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
  with caplog.at_level(logging.INFO, 'sirl'):
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


def test_a_wakeup_fd_that_a_scorer_sets_is_repeated_in_the_main_thread_too():
  def score(task, text):
    try:
      signal.set_wakeup_fd(signal.set_wakeup_fd(-1))
    except ValueError:  # hidden, as libraries do
      return 0.0
    return 1.0

  np.testing.assert_array_equal(
    judged(rewards.per_completion(score), SAMPLES).total, np.ones((2, 2))
  )


@pytest.mark.parametrize('judge', [judged, functools.partial(elsewhere, judged)])
def test_a_scorer_that_asks_for_the_event_loop_of_its_thread_gets_one(judge):
  async def later(text):
    return float(text == '0')

  def score(task, text):
    try:
      return asyncio.get_event_loop().run_until_complete(later(text))
    except RuntimeError:  # hidden: there is no current event loop in thread ...
      return -1.0

  np.testing.assert_array_equal(
    judge(rewards.per_completion(score), SAMPLES).total, [[1, 0], [0, 1]]
  )


def test_a_handler_set_in_a_thread_of_the_scorer_is_said_for_it_can_work_nowhere(
  caplog, monkeypatch
):
  def limited():
    try:
      signal.signal(signal.SIGALRM, signal.SIG_DFL)
    except ValueError:
      return 0.0

  monkeypatch.setattr(calls, '_said', [])
  judged(rewards.per_completion(lambda task, text: elsewhere(limited)), SAMPLES)
  assert caplog.text.count('sets a signal handler in a thread that it starts itself') == 1


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


@pytest.mark.parametrize('run', [calls.threads(), calls.main_thread(), calls.processes(1)])
def test_a_scorer_that_calls_exit_fails_like_any_other_and_ends_nothing(run):
  reward = rewards.per_completion(scorers.exits_on_two, run=run)
  with pytest.raises(
    rewards.RewardError,
    match=r'sys.exit\(1\) was called; raise an error instead \(.*scorers.py, line',
  ):
    judged(reward, SAMPLES)
  np.testing.assert_array_equal(
    judged(rewards.tolerant(reward), SAMPLES).total, [[1, 1], [np.nan, 1]]
  )


def test_a_coroutine_that_calls_exit_fails_like_any_other():
  async def score(task, text):
    return scorers.exits_on_two(task, text)

  with pytest.raises(rewards.RewardError, match=r"on task .*, completion 0: '2'"):
    judged(rewards.per_completion(score), SAMPLES)


def test_the_main_thread_may_be_demanded():
  def where(task, text):
    return float(threading.current_thread() is threading.main_thread())

  async def where_later(task, text):
    return where(task, text)

  for fn in (where, where_later):
    reward = rewards.per_completion(fn, run=calls.main_thread())
    np.testing.assert_array_equal(judged(reward, SAMPLES).total, np.ones((2, 2)))
  with pytest.raises(ValueError, match='asks for the main thread, but with slices= above 1'):
    elsewhere(judged, reward, SAMPLES)


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
