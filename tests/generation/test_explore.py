"""Tasks to samples: whose weights are read, conversations as prompts, other solutions."""

import dataclasses

import jax
import numpy as np
import pytest

from sirl.generation import demonstrate, explore, greedy, make_ask
from sirl.models import tabular, tokenizer
from sirl.tasks import Message, Task

CODEC = tokenizer.characters('ab')  # pad 0, eos 1, a 2, b 3
SIZES = dict(max_prompt=3, max_new=4)
MODEL = tabular.tabular(CODEC.vocab, 3 + 4)
WEIGHTS = {'policy': MODEL.init(jax.random.key(0)), 'reference': MODEL.init(jax.random.key(1))}
OTHERS = {'policy': WEIGHTS['reference']}
KEY = jax.random.key(2)
TASKS = [Task(id=str(p), prompt='ab'[p % 2]) for p in range(4)]
SAID = (Message('user', 'a'), Message('assistant', 'b'), Message('user', 'a'))  # rendered 'aba'


def asked(weights, make=make_ask, **options):
  return make(MODEL, CODEC, batch=4, **options, **SIZES)(weights, ['a', 'b', 'ab'], KEY, 8)


def explored(weights, tasks=TASKS, **options):
  return explore(MODEL, CODEC, group_size=8, **options, **SIZES)(weights, tasks, KEY)


def test_explore_reads_the_weights_that_it_was_told_to():
  found, own = explored(WEIGHTS, of='reference'), explored(OTHERS)
  assert found.texts == own.texts != explored(WEIGHTS).texts
  np.testing.assert_array_equal(found.rollouts.logp, own.rollouts.logp)


@pytest.mark.parametrize('make', [make_ask, greedy])
def test_ask_reads_the_weights_that_it_was_told_to(make):
  found = asked(WEIGHTS, make, of='reference')
  assert found == asked(OTHERS, make) != asked(WEIGHTS, make)
  assert asked(WEIGHTS, make) == asked({'policy': WEIGHTS['policy']}, make)


def test_a_conversation_is_a_prompt():
  alike = [Task(id='x', prompt=SAID), Task(id='y', prompt='aba')]
  samples = explored(WEIGHTS, alike)
  np.testing.assert_array_equal(samples.rollouts.tokens[:, :, :3], np.full((2, 8, 3), [2, 3, 2]))
  # Noise is addressed by the id and not by the form of the prompt.
  again = explored(WEIGHTS, [dataclasses.replace(task, prompt='aba') for task in alike])
  assert samples.texts == again.texts
  assert samples.conversation(0, 5) == (*SAID, Message('assistant', samples.texts[0][5]))
  assert samples.conversation(1, 0) == (
    Message('user', 'aba'),
    Message('assistant', samples.texts[1][0]),
  )


def test_ask_takes_conversations_and_gives_each_its_own_noise():
  ask = make_ask(MODEL, CODEC, batch=2, **SIZES)
  other = (Message('system', 'a'), *SAID[1:])  # renders alike, and is another prompt
  groups = ask(WEIGHTS, [SAID, other, 'ab'], KEY, 8)
  assert groups[0] != groups[1]
  assert groups == [ask(WEIGHTS, [prompt], KEY, 8)[0] for prompt in (SAID, other, 'ab')]


def test_a_prompt_over_its_limit_is_named_by_its_task():
  long = Task(id='t7', prompt=(*SAID, Message('user', 'a')))
  with pytest.raises(ValueError, match=r"task t7 has 4 tokens, max_prompt is 3.*'user: a\\n"):
    explored(WEIGHTS, [long])


def test_another_solution_than_the_answer_can_be_demonstrated():
  tasks = [Task(id='t', prompt=SAID, answer='a', meta={'worked': 'bba'})]
  samples = demonstrate(CODEC, solution=lambda task: task.meta['worked'], **SIZES)(
    WEIGHTS, tasks, KEY
  )
  assert samples.texts == [['bba']]
  np.testing.assert_array_equal(samples.rollouts.tokens, [[[2, 3, 2, 3, 3, 2, 1]]])
  np.testing.assert_array_equal(samples.rollouts.action, [[[False] * 3 + [True] * 4]])
  assert demonstrate(CODEC, **SIZES)(WEIGHTS, tasks, KEY).texts == [['a']]
  with pytest.raises(ValueError, match='task t has no answer to demonstrate'):
    demonstrate(CODEC, solution=lambda task: None, **SIZES)(WEIGHTS, tasks, KEY)
