"""The rewards that TRL ships, and how its trainer calls one: every total equals that of TRL.

The trainer's own method calculates the expected rewards; only its state is made by hand.
"""

import asyncio
import functools
import importlib
import math
import os
import threading
import types

import numpy as np
import pytest

from sirl import rewards
from sirl.rewards import values
from sirl.tasks import Message, Task

from support.texts import judged, samples_of

pytestmark = pytest.mark.all

NAN = math.nan
TEXTS = [
  ['<think>so</think> \\boxed{\\frac{1}{2}}', '\\boxed{0.25}', 'no answer', '<think>a b a b a b'],
  ['\\boxed{3}', '<think>\n3\n</think>\n$x = 3$', '3', ''],
]
TASKS = [
  Task(id='a', prompt='1/4+1/4?', answer='\\frac{1}{2}', meta={'level': 2}),
  Task(id='b', prompt='1+2?', answer='3', meta={'level': 1}),
]
CHATS = [
  Task(id=task.id, prompt=(Message('user', task.text),), answer=task.answer, meta=task.meta)
  for task in TASKS
]


def module(name):
  """A module of TRL, or one that it needs; without the extra 'peers' the test is skipped.

  `make test-all` requires it.
  """
  if os.environ.get('SIRL_REQUIRE_TORCH') != '1':
    pytest.importorskip('trl')
  return importlib.import_module(name)


@pytest.fixture(scope='module')
def loop():
  made = asyncio.new_event_loop()
  thread = threading.Thread(target=made.run_forever, daemon=True)
  thread.start()
  yield made
  made.call_soon_threadsafe(made.stop)
  thread.join()


def columns_of(tasks):
  """(inputs, prompts, completions, completion ids) as TRL's trainer holds them, prompt-major."""
  prompts, completions, inputs = [], [], []
  for task, texts in zip(tasks, TEXTS):
    chat = not isinstance(task.prompt, str)
    for text in texts:
      prompts.append([vars(turn) for turn in task.prompt] if chat else task.prompt)
      completions.append([{'role': 'assistant', 'content': text}] if chat else text)
      answer = dict.fromkeys(('answer', 'solution', 'ground_truth'), task.answer)
      inputs.append({'prompt': prompts[-1], **answer, **task.meta})
  ids = [[1 + 4 * row, 2 + 4 * row] for row in range(len(prompts))]  # as in samples_of
  return inputs, prompts, completions, ids


def of_trainer(loop, fn, tasks, step):
  """Rewards [P, G] of one function from GRPOTrainer._calculate_rewards, and what it logged."""
  trainer = module('trl.trainer.grpo_trainer')
  logged = {}
  state = types.SimpleNamespace(
    accelerator=types.SimpleNamespace(device='cpu', is_main_process=True),
    args=types.SimpleNamespace(report_to=[]),
    reward_funcs=[fn],
    reward_processing_classes=[None],
    reward_func_names=['fn'],
    state=module('transformers').TrainerState(global_step=step),
    _log_completion_extra=logged.__setitem__,
    _log_metric=logged.__setitem__,
    environments=None,
    async_loop=loop,
  )
  found = trainer.GRPOTrainer._calculate_rewards(state, *columns_of(tasks))
  return found.numpy().reshape(2, 4), logged


SHIPPED = {
  'accuracy_reward': lambda package: package.accuracy_reward,
  'reasoning_accuracy_reward': lambda package: package.reasoning_accuracy_reward,
  'think_format_reward': lambda package: package.think_format_reward,
  'cosine_scaled_reward': lambda package: package.get_cosine_scaled_reward(max_len=8),
  'repetition_penalty_reward': lambda package: package.get_repetition_penalty_reward(ngram_size=1),
  'soft_overlong_punishment': lambda package: package.get_soft_overlong_punishment(4, 3),
}


@pytest.mark.parametrize('name', SHIPPED)
def test_rewards_that_trl_ships_give_what_its_trainer_gets(loop, name):
  fn = SHIPPED[name](module('trl.rewards'))
  expected, _ = of_trainer(loop, fn, CHATS, step=0)
  for tasks in (CHATS, TASKS):  # with the second it is found out that the function wants messages
    found = judged(rewards.from_trl(fn), samples_of(TEXTS, tasks))
    np.testing.assert_array_equal(found.total, expected)
    assert next(iter(found.parts)) == module('trl.trainer.utils').get_callable_name(fn)


def lengths(prompts, completions, completion_ids, **kwargs):
  return [float(len(c) + ids[0]) for c, ids in zip(completions, completion_ids)]


def of_columns(completions, level, answer, **kwargs):
  return [x * float(a in c) for c, x, a in zip(completions, level, answer)]


def some(completions, **kwargs):
  return [None if not c else NAN if c == '3' else 1.0 for c in completions]


def tensor(completions, **kwargs):
  return module('torch').tensor([float(len(c)) for c in completions])


def array(completions, **kwargs):
  return np.asarray([len(c) for c in completions], np.float64)


def of_step(completions, trainer_state, **kwargs):
  return [trainer_state.global_step / 8] * len(completions)


def logging(completions, log_metric, log_extra, **kwargs):
  log_metric('longest', max(map(len, completions)))
  log_extra('chars', [len(c) for c in completions])
  return tuple(0.5 for _ in completions)


async def awaited(completions, **kwargs):
  return [float(len(c)) for c in completions]


class Judge:
  async def __call__(self, completions, **kwargs):
    return [float(len(c)) for c in completions]


def scaled(scale, completions, **kwargs):
  return [scale * len(c) for c in completions]


@pytest.mark.parametrize(
  'fn',
  [
    lengths,
    of_columns,
    some,
    tensor,
    array,
    of_step,
    logging,
    awaited,
    Judge(),
    functools.partial(scaled, 0.5),
    functools.partial(awaited),
  ],
  ids=lambda fn: values.name_of(fn),
)
def test_functions_of_every_form_give_what_the_trainer_gets(loop, fn):
  expected, logged = of_trainer(loop, fn, TASKS, step=4)
  found = judged(rewards.from_trl(fn), samples_of(TEXTS, TASKS, step=4))
  np.testing.assert_array_equal(found.total, expected)
  for name, value in logged.items():
    column = np.reshape(value, (2, 4)) if isinstance(value, list) else np.full((2, 4), value)
    np.testing.assert_array_equal(found.parts[name], column)
