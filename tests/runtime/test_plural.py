"""Counts in sentences."""

from sirl.runtime import plural


def test_one_thing_is_singular_and_none_or_several_are_plural():
  said = [plural.counted(n, 'round') for n in (0, 1, 2)]
  assert said == ['0 rounds', '1 round', '2 rounds']
