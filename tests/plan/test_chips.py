"""Words for chips, and the facts behind them."""

import re

import pytest

from sirl.plan import chips
from sirl.runtime import chips as runtime_chips


@pytest.mark.parametrize(
  ('word', 'size', 'hosts'),
  [
    ('v5e:1x1', 1, 1),
    ('v5e:2x2', 4, 1),
    ('v5e:16x16', 256, 64),
    ('V6E:4x4', 16, 4),
    ('v5p:4x4x4', 64, 16),
    ('h100x8', 8, 1),
    ('h200x1', 1, 1),
  ],
)
def test_a_word_names_chips_and_is_their_name(word, size, hosts):
  group = chips.group(word)
  assert (group.size, group.hosts) == (size, hosts)
  assert group.name == word.lower()
  assert chips.group(group.name) == group


@pytest.mark.parametrize(
  ('word', 'says'),
  [
    ('v5r:2x2', "no such chip; did you mean 'v5p'"),
    ('tpu', 'no such chip; there are v5e, v6e, v5p, h100, h200'),
    ('', 'no such chip'),
    ('v5e', 'expected v5e with its shape, such as v5e:2x2'),
    ('v5ex4', 'expected v5e with its shape, such as v5e:2x2'),
    ('h100:2x2', 'expected h100 with its shape, such as h100x8'),
    ('h100x', 'expected h100 with its shape, such as h100x8'),
    ('v5e:2x2x1', 'torus of 2 axes, and the shape has 3; such as v5e:2x2'),
    ('v5p:4x4', 'torus of 3 axes, and the shape has 2; such as v5p:2x2x2'),
    ('v5e:32x32', '32 chips along an axis; an axis of v5e has 1 to 16; such as v5e:2x2'),
    ('v5e:0x2', '0 chips along an axis'),
    ('v5e:3x3', 'a host has 2x2 chips, which must divide the shape; such as v5e:2x2'),
    ('h100x16', '16 chips along an axis; a node of h100 has 1 to 8; such as h100x8'),
  ],
)
def test_a_wrong_word_is_answered_by_one_line_with_a_word_that_works(word, says):
  """v5e:32x32 would abort the process inside the compiler."""
  with pytest.raises(ValueError, match=re.escape(says)) as raised:
    chips.group(word)
  message = str(raised.value)
  assert '\n' not in message
  assert f'--chip {word}: ' in message
  works = re.findall(
    r'v5e:\d+x\d+|v5p:\d+x\d+x\d+|h\d00x\d+', message.removeprefix(f'--chip {word}')
  )
  assert chips.group(works[0]).size > 1


@pytest.mark.parametrize(
  ('word', 'links'),
  [
    ('v5e:1x1', 0),
    ('v5e:2x2', 2),  # one neighbour along each axis
    ('v5e:8x8', 2),  # a chip at a corner, since axes below 16 are no ring
    ('v5e:16x16', 4),
    ('v5p:2x2x1', 2),
    ('v5p:4x4x4', 6),
    ('h100x8', 1),
  ],
)
def test_links_of_a_chip(word, links):
  group = chips.group(word)
  assert group.interconnect == links * group.chip.link


def test_the_memory_of_every_chip_is_known_to_programs_by_its_kind():
  assert {chip.kind for chip in chips.CHIPS.values()} == set(runtime_chips.MEMORY)
  assert all(chip.source.startswith('https://') for chip in chips.CHIPS.values())


def test_the_smallest_group_that_holds_something_has_more_than_it_or_there_is_none():
  v5p, h100 = chips.CHIPS['v5p'], chips.CHIPS['h100']
  assert chips.holding(4 * v5p.memory, v5p).name == 'v5p:2x2x2'
  assert chips.holding(9 * v5p.memory, v5p).name == 'v5p:2x2x4'
  assert chips.holding(7 * h100.memory, h100).name == 'h100x8'
  assert chips.holding(8 * h100.memory, h100) is None
