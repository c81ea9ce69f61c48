"""Addressed keys: equal addresses always give equal keys, different addresses different keys."""

import itertools

import jax
import numpy as np
import pytest

from sirl.ops import keys


def bits(key):
  return tuple(np.asarray(jax.random.key_data(key)).ravel().tolist())


def test_a_purpose_keeps_its_place_so_that_old_runs_resume_with_their_own_bits():
  # New purposes go at the end. Moving one of these would change every number of every run.
  assert keys.PURPOSES[:11] == (
    'init', 'acquire', 'prepare', 'select', 'gro', 'evaluate', 'refine', 'tasks', 'bootstrap', 'report', 'anchor',
  )  # fmt: skip
  # init is purpose 0, round -1 is counter 0: both folded in with threefry.
  by_hand = jax.random.fold_in(jax.random.fold_in(jax.random.key(7), 0), 0)
  assert bits(keys.at(7, 'init', -1)) == bits(by_hand)


def test_other_addresses_are_other_keys():
  addresses = itertools.product((0, 1), keys.PURPOSES, (-1, 0, 1), (0, 1))
  found = [bits(keys.at(*address)) for address in addresses]
  assert len(set(found)) == len(found)


def test_an_unknown_purpose_is_named():
  with pytest.raises(ValueError, match="unknown purpose 'sample'; expected one of init, acquire"):
    keys.at(0, 'sample')
