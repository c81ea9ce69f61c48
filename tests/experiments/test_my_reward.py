"""Writing a reward stays short; test_debug_runs runs the experiment."""

import inspect

import pytest

from experiments import my_reward
from sirl.tasks import Task

from support.source import code_lines


def test_the_reward_takes_fewer_than_ten_lines():
  reward = code_lines(inspect.getsource(my_reward), imports=False)
  settled = 'Config, build = quickstart.Config, settings.built(quickstart.method, reward=REWARD)'
  assert settled in reward
  assert len(reward) < 10, '\n'.join(reward)


@pytest.mark.parametrize(
  ('text', 'answer', 'score'),
  [
    ('40', '40', 1.0),
    ('42', '40', 0.5),
    ('140', '40', 2 / 3),
    ('', '40', 0.0),
    ('04', '40', 0.0),
    ('0', '40', 0.5),
  ],
)
def test_digits_are_compared_in_their_place(text, answer, score):
  assert my_reward.digits_right(
    Task(id='t', prompt='20+20=', answer=answer), text
  ) == pytest.approx(score)
