"""The pretrained experiment: which replies have the format, and the error without weights."""

import pytest

from experiments import arithmetic, settings, smollm2_addition
from sirl.tasks import Task

TASK = Task(id='t', prompt='What is 12 + 34? Reply with the equation only.', answer='46')


@pytest.mark.parametrize(
  ('text', 'score'),
  [
    ('12 + 34 = 46', 1), (' 12 + 34 = 46\n', 1), ('12 + 34 = 7', 1), ('46', 0), ('34 + 12 = 46', 0), ('12 + 34 = 46.', 0),
    ('12 + 34 equals 46', 0), ('12 + 34 = 46\n12 + 34 = 46', 0), ('12 + 34 = ٤٦', 0), ('', 0),
  ],
)  # fmt: skip
def test_the_format_is_the_sum_that_was_asked_for_and_nothing_else(text, score):
  assert arithmetic.equation(TASK, text) == score


def test_missing_weights_name_the_command_that_fetches_them(monkeypatch):
  monkeypatch.setattr(settings.pathlib.Path, 'exists', lambda path: False)
  with pytest.raises(FileNotFoundError) as error:
    smollm2_addition.build(smollm2_addition.build.configured(smollm2_addition.Config))
  folder = 'weights/smollm2-135m-instruct'
  assert str(error.value) == f'{folder} is missing; run: sirl fetch smollm2-135m-instruct {folder}'
