"""Axes of the pictures."""

import itertools
import types

import pytest
from matplotlib.figure import Figure

from sirl.reporting import drawing, figures
from sirl.runs import reading

from support import synthetic_run


def ticks(draw):
  axes = Figure().subplots()
  draw(axes)
  labels = [label.get_text() for label in axes.get_xticklabels()]
  return [round(tick) for tick in axes.get_xticks()], labels


@pytest.mark.parametrize(
  ('last', 'labels'),
  [
    (11, ['before', '1', '3', '5', '7', '9', '11']),  # the demo's twelve rounds
    (2, ['before', '0', '1', '2']),
    (29, ['before', '4', '9', '14', '19', '24', '29']),
    (12, ['before', '1', '3', '5', '7', '9', '11']),  # 13 has no divisor that would fit
  ],
)
def test_rounds_are_labelled_at_equal_distances_from_before_to_the_last_where_it_can_be(
  last, labels
):
  found, said = ticks(lambda axes: drawing.round_axis(axes, range(-1, last + 1)))
  assert said == labels
  assert len({b - a for a, b in itertools.pairwise(found)}) == 1


@pytest.mark.parametrize(
  ('steps', 'labels'),
  [
    (480, [1, 100, 200, 300, 400, 480]),  # no tick at a step 0 or 500 that does not exist
    (8, [1, 2, 4, 6, 8]),
    (1, [1]),
    (1000, [1, 200, 400, 600, 800, 1000]),
  ],
)
def test_steps_are_labelled_from_the_first_to_the_last(steps, labels):
  run = types.SimpleNamespace(steps=range(steps))
  assert ticks(lambda axes: drawing.step_axis(run, axes))[0] == labels


@pytest.mark.parametrize(
  ('same', 'drawn'), [(True, ['total']), (False, ['total', 'correct', 'format'])]
)
def test_a_part_that_is_the_whole_reward_is_not_drawn_over_it(tmp_path, same, drawn):
  def step(row):
    alone = {k: v for k, v in row.items() if not k.startswith('rewards/')}
    return alone | {'rewards/correct/mean': row['reward']} if same else row

  axes = Figure().subplots()
  figures.reward(reading.read(synthetic_run.write(tmp_path, step=step)), axes)
  assert [line.get_label() for line in axes.lines if line.get_label()[0] != '_'] == drawn
