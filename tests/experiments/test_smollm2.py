"""The pretrained experiment: what its reward counts as a number, and what it says without weights."""

import pytest

from experiments import smollm2_addition
from sirl.types import Task

TASK = Task(id='t', prompt='What is 12 + 34?', answer='46')


@pytest.mark.parametrize(
  ('text', 'bare'),
  [('46', 1), (' 46\n', 1), ('7', 1), ('It is 46', 0), ('46.', 0), ('', 0), ('٤٦', 0), ('４６', 0)],
)
def test_a_bare_number_is_written_in_ascii_digits(text, bare):
  assert smollm2_addition.BARE(TASK, text) == bare


def test_missing_weights_name_the_command_that_fetches_them(monkeypatch):
  monkeypatch.setattr(smollm2_addition.pathlib.Path, 'exists', lambda path: False)
  with pytest.raises(FileNotFoundError) as error:
    smollm2_addition.build(smollm2_addition.Config())
  folder = 'weights/smollm2-135m-instruct'
  assert str(error.value) == f'{folder} is missing; run: sirl fetch smollm2-135m-instruct {folder}'
