"""A workdir read back, and the line that is fitted to its reports."""

import pytest

from sirl.runtime import runs
from sirl.types import Report


def test_a_slope_and_its_interval_by_hand():
  # y = 0, 1, 2, 4 at x = 0..3: slope 1.3, residuals .2, -.1, -.4, .3, sum of squares .3, variance .15 over spread 5
  value, half = runs.slope([Report(i, {'y': y}) for i, y in enumerate((0.0, 1.0, 2.0, 4.0))], 'y')
  assert value == pytest.approx(1.3)
  assert half == pytest.approx(4.30 * (0.15 / 5) ** 0.5)
