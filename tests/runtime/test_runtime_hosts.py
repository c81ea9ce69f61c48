import threading
import time

import jax.numpy as jnp
import numpy as np
import pytest

from sirl.runtime import hosts


def test_ordered_map_keeps_order_whichever_item_finishes_first():
  def slow_first(i):
    time.sleep(0.05 if i == 0 else 0)
    return i * i

  assert hosts.ordered_map(slow_first, range(6), workers=4) == [0, 1, 4, 9, 16, 25]


def test_ordered_map_raises_the_error_of_the_smallest_index():
  def fail(i):
    if i == 1:
      time.sleep(0.1)  # fails later in time than index 3
    if i in (1, 3):
      raise ValueError(f'item {i}')
    return i

  with pytest.raises(ValueError, match='item 1'):
    hosts.ordered_map(fail, range(5), workers=5)


def test_ordered_map_uses_threads_and_one_worker_uses_none():
  names = hosts.ordered_map(lambda _: threading.current_thread().name, range(3), workers=2)
  assert threading.main_thread().name not in names
  assert set(hosts.ordered_map(lambda _: threading.current_thread().name, range(3))) == {
    'MainThread'
  }


def test_ordered_map_refuses_no_workers():
  with pytest.raises(ValueError, match='workers=0; expected an int of at least 1'):
    hosts.ordered_map(str, [1], workers=0)


def test_one_process_keeps_its_rows():
  rows = np.arange(6.0).reshape(3, 2)
  assert hosts.global_rows(rows) is rows
  np.testing.assert_array_equal(hosts.local_rows(jnp.asarray(rows)), rows)
  np.testing.assert_array_equal(hosts.everywhere(jnp.asarray(rows)), rows)
  assert (hosts.index(), hosts.count(), hosts.is_first()) == (0, 1, True)
