"""The sets of tasks that a setting takes from a domain."""

import types

import pytest

from experiments import splits
from sirl import recipe
from sirl.tasks import Task, content_id


def numbers(most):
  """A domain of `most` distinct tasks."""

  def generator(rng, index, difficulty):
    prompt = f'{rng.integers(0, most)}='
    return Task(id=content_id('numbers', prompt), prompt=prompt)

  return recipe.Domain(name='numbers', generator=generator)


def unseen(most, heldout):
  return splits.unseen(types.SimpleNamespace(heldout=heldout), numbers(most))


def test_the_sets_of_a_small_domain_are_disjoint_and_leave_tasks_to_train_on():
  sets = unseen(16, 2)
  assert {name: len(tasks) for name, tasks in sets.items()} == {
    'heldout': 2, 'development': 2, 'reserve': 4,
  }  # fmt: skip
  assert len({task.prompt for tasks in sets.values() for task in tasks}) == 8


@pytest.mark.parametrize(
  ('heldout', 'aside'),
  [(16, 64), (4, 16)],  # more than there are; all that there are, so that none is left
)
def test_a_domain_too_small_for_its_sets_is_told_which_heldout_fits(heldout, aside):
  with pytest.raises(ValueError) as raised:  # noqa: PT011
    unseen(16, heldout)
  assert str(raised.value) == (
    'domain numbers has 16 distinct tasks at difficulty 0, and none is left to train on: '
    f'heldout={heldout} sets {aside} aside, half of them in reserve; --set heldout=2 leaves 8, or '
    'take a larger domain'
  )


def test_the_smallest_domain_has_five_tasks():
  assert sum(map(len, unseen(5, 1).values())) == 4
  with pytest.raises(ValueError, match='--set heldout=1 leaves 1, or take a larger domain'):
    unseen(5, 2)
  with pytest.raises(ValueError, match='half of them in reserve; take a larger domain'):
    unseen(4, 1)
