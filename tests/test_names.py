"""A name that a user misspells or leaves out is told with what there is."""

import dataclasses

import pytest

from sirl import names
from sirl.tasks import Task


@pytest.mark.parametrize(
  ('fields', 'message'),
  [
    ({'id': 't', 'promt': '1+1='}, "Task has no 'promt'; did you mean 'prompt'?"),
    ({'prompt': '1+1='}, r'Task needs id=; tasks\.content_id\(name, prompt\) makes one'),
    ({'id': 't'}, 'Task needs prompt=$'),
    ({'id': 't', 'prompt': '1', 'colour': 'red'}, "Task has no 'colour'; there are id, prompt, "),
  ],
)
def test_a_task_with_a_misspelt_or_missing_field_is_told_which(fields, message):
  with pytest.raises(ValueError, match=message):
    Task(**fields)


def test_fields_without_their_names_are_told_to_have_one():
  with pytest.raises(ValueError, match=r"Task takes its fields by name; write Task\(id='t', ...\)"):
    Task('t', '1+1=')


def test_a_type_error_of_another_origin_stays_as_it_is():
  @names.by_name()
  @dataclasses.dataclass(kw_only=True)
  class Half:
    of: int

    def __post_init__(self):
      self.of /= 2

  with pytest.raises(TypeError, match='unsupported operand'):
    Half(of='4')
  assert Half(of=4).of == 2
