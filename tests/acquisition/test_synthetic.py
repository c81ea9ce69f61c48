"""Self-instruct with scripted and recording Asks: examples shown, texts kept, counts."""

import logging

import pytest

from sirl import acquisition
from sirl.acquisition import synthetic
from sirl.ops import keys
from sirl.tasks import Pool, Task, content_id
from sirl.types import Context

SEEDS = [Task(id=f's{i}', prompt=f'{i}+1=', answer=str(i + 1)) for i in range(6)]


def context(round=0):
  return Context(round, 0.0, keys.at(0, 'acquire', round))


def pool_of(tasks=SEEDS):
  return Pool().extend(tasks)


class Script:
  """An Ask that returns the given texts in turn and records its prompts."""

  def __init__(self, *texts):
    self.texts, self.prompts, self.calls = texts, [], []

  def __call__(self, weights, prompts, key, n):
    self.prompts += prompts
    self.calls.append((weights, key, n))
    return [[self.texts[i % len(self.texts)]] * n for i in range(len(prompts))]


def test_new_tasks_carry_their_provenance():
  ask = Script('Question: 7+8=\nAnswer: 15', 'Question: What is 2+2?')
  found = synthetic.self_instruct(ask, per_round=2)('weights', pool_of(), context(3))
  assert [(task.prompt, task.answer) for task in found] == [('7+8=', '15'), ('What is 2+2?', None)]
  assert [task.id for task in found] == [content_id('self_instruct', task.prompt) for task in found]
  assert {task.origin for task in found} == {'synthetic'}
  assert found[0].meta['acquired_in_round'] == 3
  assert set(found[0].meta['examples']) <= {task.id for task in SEEDS}
  assert pool_of().extend(found)[-2:] == found
  assert [(weights, n) for weights, _, n in ask.calls] == [('weights', 1)]


def test_examples_are_distinct_tasks_drawn_anew_for_each_prompt():
  ask = Script('')
  synthetic.self_instruct(
    ask, per_round=20, template='{examples}', show=lambda t: t.prompt, separator='|'
  )(None, pool_of(), context())
  shown = [prompt.split('|') for prompt in ask.prompts]
  assert all(len(set(examples)) == 3 for examples in shown)
  assert {prompt for examples in shown for prompt in examples} == {task.prompt for task in SEEDS}
  assert len(set(map(tuple, shown))) > 10  # 120 ordered triples


def test_examples_are_addressed_by_the_key():
  asks = [Script('') for _ in range(3)]
  for ask, round in zip(asks, (0, 0, 1)):
    synthetic.self_instruct(ask, per_round=4)(None, pool_of(), context(round))
  assert asks[0].prompts == asks[1].prompts != asks[2].prompts


def test_only_tasks_that_pass_are_shown():
  ask = Script('')
  even = lambda task: int(task.answer) % 2 == 0
  synthetic.self_instruct(
    ask, per_round=20, among=even, template='{examples}', show=lambda t: t.prompt, separator='|'
  )(None, pool_of(), context())
  shown = {prompt for text in ask.prompts for prompt in text.split('|')}
  assert shown == {'1+1=', '3+1=', '5+1='}
  none = synthetic.self_instruct(ask, per_round=1, among=lambda task: False)
  with pytest.raises(ValueError, match='none of whose 6 pass among'):
    none(None, pool_of(), context())


def test_small_pools_show_all_they_have():
  ask = Script('')
  synthetic.self_instruct(ask, per_round=1, examples=5)(None, pool_of(SEEDS[:2]), context())
  assert ask.prompts[0].count('Question:') == 2


def test_rejections_are_counted_by_reason(caplog):
  ask = Script(
    'Question: 7+8=\nAnswer: 15',
    'no form at all',
    'Question: 3 + 1 =\nAnswer: 4',  # in the pool already, but for white space
    'Question: 9+9=\nAnswer: 17',
    'Question: 7+8=\nAnswer: 15',  # said twice
    'Question:   \nAnswer: 1',
  )
  right = lambda task: eval(task.prompt.rstrip('=')) == int(task.answer)
  with caplog.at_level(logging.INFO):
    found = synthetic.self_instruct(ask, per_round=6, check=right)(None, pool_of(), context(2))
  assert [task.prompt for task in found] == ['7+8=']
  assert (
    'self_instruct in round 2: asked 6, parsed 4, kept 1 (malformed 2, duplicate 2, failed check 1)'
    in caplog.text
  )
  assert caplog.records[-1].levelname == 'INFO'


def test_a_round_that_keeps_nothing_warns(caplog):
  assert synthetic.self_instruct(Script('hm'), per_round=3)(None, pool_of(), context()) == []
  assert caplog.records[-1].levelname == 'WARNING'
  assert 'asked 3, parsed 0, kept 0 (malformed 3' in caplog.text


def test_answers_can_be_withheld():
  ask = Script('Question: 7+8=\nAnswer: 15')
  (task,) = synthetic.self_instruct(ask, per_round=1, answers=False)(None, pool_of(), context())
  assert (task.prompt, task.answer) == ('7+8=', None)


def test_a_character_model_is_asked_in_its_own_language():
  """A model that only continues 'a+b=c;' text needs no instruction in words."""
  ask = Script('4+4=8;', '1+;')

  def parse(text):
    left, equals, right = text.removesuffix(';').partition('=')
    return {'prompt': left + '=', 'answer': right, 'difficulty': 1.0} if equals else None

  acquire = synthetic.self_instruct(
    ask,
    per_round=2,
    examples=2,
    template='{examples}',
    show=lambda t: f'{t.prompt}{t.answer};',
    separator='',
    parse=parse,
  )
  (task,) = acquire(None, pool_of(SEEDS[:2]), context())
  assert (task.prompt, task.answer, task.difficulty) == ('4+4=', '8', 1.0)
  assert set(ask.prompts) <= {'0+1=1;1+1=2;', '1+1=2;0+1=1;'}


def test_other_braces_of_a_template_stay():
  ask = Script('')
  synthetic.self_instruct(
    ask, per_round=1, template=r'\boxed{x} {examples} {"json": 1}', show=lambda t: '{t}'
  )(None, pool_of(), context())
  assert ask.prompts == [r'\boxed{x} ' + '\n\n'.join(['{t}'] * 3) + ' {"json": 1}']


@pytest.mark.parametrize(
  ('text', 'fields'),
  [
    ('Question: a\nAnswer: b', {'prompt': 'a', 'answer': 'b'}),
    (
      'Sure!\n question : two\nlines\nANSWER: b\n\nQuestion: next\nAnswer: c',
      {'prompt': 'two\nlines', 'answer': 'b'},
    ),
    ('Question: is the answer: 3?', {'prompt': 'is the answer: 3?', 'answer': None}),
    ('Question: a\nAnswer:', {'prompt': 'a', 'answer': None}),
    ('Question: a\nQuestion: b\nAnswer: c', {'prompt': 'a', 'answer': None}),
    ('Answer: b\nQuestion: a', None),
    ('Question:\nAnswer: b', None),
    ('', None),
  ],
)
def test_the_default_form(text, fields):
  assert synthetic.parse_question_and_answer(text) == fields


def test_what_is_shown_parses_back():
  for task in (*SEEDS, Task(id='x', prompt='open question')):
    fields = synthetic.parse_question_and_answer(synthetic.question_and_answer(task))
    assert fields == {'prompt': task.prompt, 'answer': task.answer}


def test_a_parser_that_crashes_shows_the_text():
  with pytest.raises(ZeroDivisionError) as caught:
    synthetic.self_instruct(Script('odd'), per_round=1, parse=lambda text: 1 / 0)(
      None, pool_of(), context()
    )
  assert "while parsing the completion 'odd'" in caught.value.__notes__[0]


def test_bad_arguments_and_an_empty_pool_say_what_to_do():
  with pytest.raises(ValueError, match=r"template 'no field' has no field \{examples\}"):
    synthetic.self_instruct(Script(''), per_round=1, template='no field')
  with pytest.raises(ValueError, match=r'per_round=0; expected an int of at least 1'):
    synthetic.self_instruct(Script(''), per_round=0)
  acquire = synthetic.self_instruct(Script('Question: q'), per_round=1)
  with pytest.raises(ValueError, match=r'pool, which is empty; chain\(once'):
    acquire(None, Pool(), context())
  seeded = acquisition.chain(acquisition.once(SEEDS), acquire)
  assert len(seeded(None, Pool(), context())) == 7
