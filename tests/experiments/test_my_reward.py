"""Writing a reward stays as short as it is said to be; test_debug_runs runs the experiment."""

import ast
import inspect

import pytest

from experiments import my_reward
from sirl.tasks import Task


def code_lines(source):
  """Lines that hold code: neither blank, nor comment, nor docstring."""
  lines = source.splitlines()
  prose = {i for i, line in enumerate(lines, 1) if not line.strip() or line.strip().startswith('#')}
  for node in ast.walk(ast.parse(source)):
    if (
      isinstance(node, ast.Expr)
      and isinstance(node.value, ast.Constant)
      and isinstance(node.value.value, str)
    ):
      prose |= set(range(node.lineno, node.end_lineno + 1))
  return [line for i, line in enumerate(lines, 1) if i not in prose]


def test_the_reward_takes_fewer_than_ten_lines():
  whole = code_lines(inspect.getsource(my_reward))
  settled = 'Config, build = quickstart.Config, settings.built(quickstart.method, reward=REWARD)'
  reward = [line for line in whole if not line.startswith(('import', 'from'))]
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
