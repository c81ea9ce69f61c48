"""Seconds of each stage, and who hears which one runs."""

import threading

from sirl.runtime import stopwatch


def test_stages_are_announced_when_they_start_and_summed_when_they_end():
  heard, watch = [], stopwatch.Stopwatch()
  with stopwatch.announced(heard.append):
    for stage in ('select', 'evaluate', 'select'):
      with watch.time(stage):
        assert heard[-1] == stage
    stopwatch.announce('reward')
  assert heard == ['select', 'evaluate', 'select', 'reward']
  seconds = watch.take()
  assert set(seconds) == {'time/select', 'time/evaluate'}
  assert all(value > 0 for value in seconds.values())
  assert watch.take() == {}


def test_nobody_hears_a_stage_outside_the_block_or_in_another_thread():
  heard = []
  with stopwatch.announced(heard.append):
    thread = threading.Thread(target=stopwatch.announce, args=['reward'])
    thread.start()
    thread.join()
  stopwatch.announce('optimize')
  assert heard == []


def test_a_run_within_a_run_tells_its_own_listener():
  outer, inner = [], []
  with stopwatch.announced(outer.append):
    with stopwatch.announced(inner.append):
      stopwatch.announce('generate')
    stopwatch.announce('acquire')
  assert (outer, inner) == (['acquire'], ['generate'])
