"""Scoring functions in processes: the same scores, and what becomes of one that hangs or dies."""

import concurrent.futures
import functools
import os
import pathlib
import signal
import subprocess
import sys
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


@pytest.mark.all
def test_an_interrupt_leaves_no_late_answer_to_the_next_call():
  reward = rewards.per_completion(scorers.sleeps, run=calls.processes(1))
  judged(reward, samples_of([['0']]))  # the process has started

  def interrupt(*_):
    raise KeyboardInterrupt

  before = signal.signal(signal.SIGALRM, interrupt)
  signal.setitimer(signal.ITIMER_REAL, 0.2)
  try:
    with pytest.raises(KeyboardInterrupt):
      judged(reward, samples_of([['0.5']]))
  finally:
    signal.signal(signal.SIGALRM, before)
  time.sleep(0.5)
  np.testing.assert_array_equal(judged(reward, samples_of([['0.1']])).total, [[np.float32(0.1)]])


PARENT = """
from sirl import rewards
from sirl.rewards import calls
from support import scorers, texts
run = calls.processes(1)  # one process for both
pid = texts.judged(rewards.per_completion(scorers.process_id, run=run), texts.samples_of([['']]))
print(int(pid.total[0, 0]), flush=True)
texts.judged(rewards.per_completion(scorers.sleeps, run=run), texts.samples_of([['60']]))
"""


@pytest.mark.all
def test_a_process_ends_with_a_killed_parent_though_its_call_still_runs():
  path = os.pathsep.join([*sys.path])
  parent = subprocess.Popen(
    [sys.executable, '-c', PARENT],
    stdout=subprocess.PIPE,
    text=True,
    env={**os.environ, 'PYTHONPATH': path},
  )
  child = int(parent.stdout.readline())
  time.sleep(0.5)
  parent.kill()
  parent.communicate()
  for _ in range(100):
    if not pathlib.Path('/proc', str(child)).exists():
      return
    time.sleep(0.1)
  raise AssertionError('the process of the reward still runs')


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


def at_a_prompt(task, text):
  return 1.0


def test_a_function_of_a_notebook_is_refused_with_what_to_do(monkeypatch):
  monkeypatch.setattr(at_a_prompt, '__module__', '__main__')
  monkeypatch.setattr(sys.modules['__main__'], 'at_a_prompt', at_a_prompt, raising=False)
  monkeypatch.setattr(sys.modules['__main__'], '__file__', '<stdin>', raising=False)
  with pytest.raises(ValueError, match='defined in a notebook or at a prompt; write it to a file'):
    judged(rewards.per_completion(at_a_prompt, run=calls.processes(1)), SAMPLES)


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


@pytest.mark.all
def test_a_trl_function_may_log_from_a_process():
  found = judged(rewards.from_trl(scorers.logs, run=calls.processes(1)), SAMPLES)
  np.testing.assert_array_equal(found.total, np.ones((2, 2)))
  assert os.getpid() not in found.parts['process']


def math_verify_score(data_source, solution_str, ground_truth, extra_info=None):
  """As verl's users wrap Math-Verify, whose time limit is an alarm."""
  from math_verify import parse, verify

  return float(verify(parse(ground_truth), parse(solution_str)))


@pytest.mark.all
def test_math_verify_judges_in_the_main_thread_and_in_a_process_the_same():
  tasks = [Task(id='a', prompt='?', answer='$\\frac{1}{2}$')]
  samples = samples_of([['\\boxed{0.5}', '\\boxed{0.25}']], tasks)
  found = judged(rewards.from_verl(math_verify_score), samples)
  np.testing.assert_array_equal(found.total, [[1, 0]])
  elsewhere_too = rewards.from_verl(math_verify_score, run=calls.processes(1))
  np.testing.assert_array_equal(elsewhere(judged, elsewhere_too, samples).total, [[1, 0]])
