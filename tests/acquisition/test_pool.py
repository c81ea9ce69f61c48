"""The pool: append-only, deduplicated, written atomically, read back as it was."""

import dataclasses
import functools
import json
import os

import numpy as np
import pytest

from sirl import tasks as pools
from sirl.tasks import Message, Pool, Task


def tasks(*prompts, name='t', **fields):
  return [Task(id=pools.content_id(name, prompt), prompt=prompt, **fields) for prompt in prompts]


def test_extend_returns_a_new_pool_and_leaves_the_old_one():
  empty = Pool()
  one = empty.extend(tasks('a', 'b'), round=0)
  two = one.extend(tasks('c'), round=1)
  assert (len(empty), len(one), len(two)) == (0, 2, 3)
  assert [task.prompt for task in two] == ['a', 'b', 'c']
  assert two.rounds == [0, 0, 1]


def test_indexing_takes_what_a_selector_returns():
  pool = Pool().extend(tasks('a', 'b', 'c'))
  assert [task.prompt for task in pool[np.asarray([2, 0, 2], np.int32)]] == ['c', 'a', 'c']
  assert pool[np.int32(1)].prompt == pool[1].prompt == 'b'
  assert [task.prompt for task in pool[1:]] == ['b', 'c']
  assert pool[0] in pool
  assert tasks('d')[0] not in pool


def test_duplicates_are_dropped_and_counted_within_and_across_rounds(tmp_path, caplog):
  with caplog.at_level('INFO', 'sirl'):
    pool = Pool(folder=tmp_path).extend(tasks('a', 'b', 'a')).extend(tasks('b', 'c', 'b'))
    pool.in_memory(tasks('a'))  # a view says nothing
  assert [record.getMessage() for record in caplog.records] == [
    'round 0: 1 of 3 acquired tasks repeat a prompt and are dropped',
    'round 1: 2 of 3 acquired tasks repeat a prompt and are dropped',
  ]
  assert [task.prompt for task in pool] == ['a', 'b', 'c']
  assert pool.dropped == 3
  assert Pool.load(tmp_path, rounds=1).dropped == 1
  assert Pool.load(tmp_path, rounds=2).dropped == 3


def test_duplicates_with_another_answer_are_counted_in_a_warning(caplog):
  first, other = tasks('a', answer='1'), tasks('a', answer='2')
  pool = Pool().extend([*first, *other, *first])
  assert ([task.answer for task in pool], pool.dropped) == (['1'], 2)
  pool.extend(tasks('a', answer='3'))
  assert [record.args[1] for record in caplog.records] == [1, 1]
  assert "'1', not '3'" in caplog.text


def test_two_prompts_under_one_id_are_an_error_not_a_duplicate():
  pool = Pool().extend([Task(id='x', prompt='a')])
  with pytest.raises(ValueError, match=r"two tasks share the id 'x': 'a' and 'b'.*content_id"):
    pool.extend([Task(id='x', prompt='b')])


def test_reloading_gives_equal_tasks(tmp_path):
  written = tasks(
    'line\nbreak \u2028 "quote" é 中 \x85\r', 'b', answer='1', role='propose', origin='synthetic', difficulty=0.1,
    meta={'a': [1, 2.5, None, True], 'b': {'c': 'd'}},
  )  # fmt: skip
  pool = Pool(folder=tmp_path / 'pool').extend(written, round=0).extend([], round=1)
  again = Pool.load(tmp_path / 'pool', rounds=2)
  assert again.tasks == pool.tasks == written
  assert again.rounds == pool.rounds
  assert again.manifest() == pool.manifest() == json.loads(json.dumps(pool.manifest()))
  again.verify(pool.manifest())


def test_a_fresh_pool_holds_what_a_resumed_one_would(tmp_path):
  pool = Pool(folder=tmp_path).extend(tasks('a', meta={'pair': (1, 2)}))
  assert pool[0].meta == Pool.load(tmp_path, rounds=1)[0].meta == {'pair': [1, 2]}
  assert Pool().extend(tasks('a', meta={'pair': (1, 2)}))[0].meta == {'pair': [1, 2]}


def test_uncommitted_rounds_are_ignored_and_then_replaced(tmp_path):
  pool = Pool(folder=tmp_path).extend(tasks('a'), round=0)
  pool.extend(tasks('lost'), round=1).extend(tasks('lost too'), round=2)

  resumed = Pool.load(tmp_path, rounds=1)
  assert [task.prompt for task in resumed] == ['a']
  assert (
    tmp_path / 'round_00002.jsonl'
  ).exists()  # loading, which a report does too, deletes nothing

  again = resumed.extend(tasks('b'), round=1)
  assert sorted(path.name for path in tmp_path.iterdir()) == [
    'round_00000.jsonl',
    'round_00001.jsonl',
  ]
  assert Pool.load(tmp_path, rounds=2).tasks == again.tasks == tasks('a', 'b')


def test_a_kill_while_writing_leaves_the_committed_rounds(tmp_path, monkeypatch):
  pool = Pool(folder=tmp_path).extend(tasks('a'), round=0)

  def killed(descriptor):
    raise KeyboardInterrupt

  with monkeypatch.context() as patch:
    patch.setattr(os, 'fsync', killed)
    with pytest.raises(KeyboardInterrupt):
      pool.extend(tasks('b'), round=1)
  assert sorted(path.name for path in tmp_path.iterdir()) == [
    'round_00000.jsonl',
  ]
  # A kill that cannot be caught leaves a part of the file as well.
  (tmp_path / '.round_00001.jsonl.4711.tmp').write_text('{"round": 1, "ta')
  resumed = Pool.load(tmp_path, rounds=1).extend(tasks('b'), round=1)
  assert sorted(path.name for path in tmp_path.iterdir()) == [
    'round_00000.jsonl',
    'round_00001.jsonl',
  ]
  resumed.verify(pool.extend(tasks('b'), round=1).manifest())


def test_other_files_in_the_folder_are_left_alone(tmp_path):
  (tmp_path / 'notes.txt').write_text('mine')
  Pool(folder=str(tmp_path)).extend(tasks('a'))
  assert (tmp_path / 'notes.txt').read_text() == 'mine'


def test_rounds_follow_each_other():
  pool = Pool().extend([], round=0)
  with pytest.raises(
    ValueError, match=r'round=3, but the pool holds 1 round, so the next is round=1'
  ):
    pool.extend([], round=3)


def test_a_changed_file_does_not_verify(tmp_path):
  manifest = Pool(folder=tmp_path).extend(tasks('abc')).manifest()
  path = tmp_path / 'round_00000.jsonl'
  path.write_text(path.read_text().replace('"abc"', '"abd"'))
  with pytest.raises(
    ValueError, match=r'round_00000.jsonl has changed since the checkpoint: 1 tasks.*new workdir'
  ):
    Pool.load(tmp_path, rounds=1).verify(manifest)
  with pytest.raises(
    ValueError, match=r'the pool holds 0 rounds, the checkpoint was written with 1'
  ):
    Pool.load(tmp_path, rounds=0).verify(manifest)


def damaged(tmp_path, change, *prompts):
  Pool(folder=tmp_path).extend(tasks(*prompts or ('a', 'b')))
  path = tmp_path / 'round_00000.jsonl'
  path.write_bytes(change(path.read_bytes()))
  return Pool.load(tmp_path, rounds=1)


@pytest.mark.parametrize(
  ('change', 'message'),
  [
    (
      lambda data: data[: data.index(b'\n', 80) + 1],
      r'announces 2 tasks of round 0, found 1.*the file was cut',
    ),
    (lambda data: data[:-10], r'round_00000.jsonl, line 3: not a task that the pool wrote'),
    (lambda data: data.replace(b'"prompt"', b'"text"'), r'line 2: .*text'),
    (lambda data: data.partition(b'\n')[2], r'no pool header in its first line'),
    (lambda data: b'', r'no pool header in its first line'),
    (lambda data: b'[]\n', r'no pool header'),
    (
      lambda data: data.replace(b'"round": 0', b'"round": 4'),
      r'of round 4, found 2 where round 0 was expected',
    ),
  ],
)
def test_damaged_files_say_where(tmp_path, change, message):
  with pytest.raises(ValueError, match=message):
    damaged(tmp_path, change)


def test_missing_files_say_which(tmp_path):
  with pytest.raises(
    ValueError, match=r'round_00000.jsonl is missing, but the run was committed up to round 1'
  ):
    Pool.load(tmp_path, rounds=2)
  with pytest.raises(ValueError, match=r'a pool in memory has no rounds to load, got rounds=1'):
    Pool.load(None, rounds=1)
  assert len(Pool.load(None, rounds=0)) == 0


@pytest.mark.parametrize('meta', [{'x': np.float32(1)}, {'x': float('nan')}, {'x': {1, 2}}])
def test_tasks_that_are_not_json_are_refused_before_anything_is_written(tmp_path, meta):
  with pytest.raises(
    ValueError, match=r'task t-.* cannot be written as JSON: .*meta holds JSON values only'
  ):
    Pool(folder=tmp_path).extend(tasks('a', meta=meta))
  assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize('name', ['gsm8k', 'math-500', 'a-0123456789ab'])
def test_a_task_knows_the_name_that_its_id_was_made_of(name):
  named = Task(id=pools.content_id(name, 'q'), prompt='q', origin='environment')
  assert named.family == name
  assert dataclasses.replace(named, id='17').family == 'environment'


def test_content_id_is_stable():
  # printf 'What is 6*7?' | b2sum -l 48
  assert pools.content_id('gsm8k', 'What is 6*7?') == 'gsm8k-485b684cef5e'


def test_half_a_surrogate_pair_in_a_prompt_is_named():
  with pytest.raises(
    ValueError, match=r"the prompt 'emoji .ud83d' is no text in UTF-8: .*surrogates"
  ):
    pools.content_id('t', 'emoji \ud83d')


def test_prompt_key_ignores_case_and_white_space_only():
  assert pools.prompt_key('12 + 34 =\n') == pools.prompt_key('12+34=')
  assert pools.prompt_key('Caf\u00e9') == pools.prompt_key('CAFE\u0301')  # composed and decomposed
  assert pools.prompt_key('12-34=') != pools.prompt_key('12+34=')
  assert pools.prompt_key('x²') != pools.prompt_key('x2')


SAID = (Message('system', 'Be brief.'), Message('user', 'é "1"\n+1='), Message('assistant', '2'))


def test_conversations_go_through_files_and_back(tmp_path):
  written = tasks(SAID, SAID[1:], 'plain', answer='2', meta={'turns': 3})
  pool = Pool(folder=tmp_path).extend(written)
  again = Pool.load(tmp_path, rounds=1)
  assert again.tasks == pool.tasks == written
  assert all(type(message) is Message for message in again[0].prompt)
  assert hash(again[0].prompt) == hash(SAID)  # a tuple, as it was
  again.verify(pool.manifest())
  assert again.extend(tasks(SAID)).dropped == 1
  with pytest.raises(ValueError, match=r'two tasks share the id'):
    again.extend([dataclasses.replace(written[0], prompt=SAID[1:])])


@pytest.mark.parametrize('prompt', ['plain', SAID], ids=['text', 'conversation'])
def test_a_task_comes_back_from_json(prompt):
  task = Task(id='t', prompt=prompt, answer='2', role='critique', difficulty=0.5, meta={'k': [1]})
  assert Task.from_json(json.loads(json.dumps(dataclasses.asdict(task)))) == task


def test_a_damaged_conversation_says_where(tmp_path):
  change = lambda data: data.replace(b'"content"', b'"text"')
  with pytest.raises(ValueError, match=r'round_00000.jsonl, line 2: not a task .*text'):
    damaged(tmp_path, change, SAID)


def test_who_speaks_and_how_often_is_part_of_a_conversations_identity():
  assert tasks(SAID)[0].text == 'system: Be brief.\nuser: é "1"\n+1=\nassistant: 2'
  others = [
    SAID[1:],
    SAID[::-1],
    (Message('user', 'Be brief.'), *SAID[1:]),
    (*SAID, Message('user', 'again')),
    SAID[1].content,
    'Be brief.\n' + SAID[1].content,
  ]
  for identity in (functools.partial(pools.content_id, 't'), pools.prompt_key):
    assert identity(SAID) not in {identity(other) for other in others}
    assert len({identity(other) for other in others}) == len(others)
  spaced = (*SAID[:2], Message('assistant', ' 2\n'))
  assert pools.prompt_key(spaced) == pools.prompt_key(SAID)
  assert pools.content_id('t', spaced) != pools.content_id('t', SAID)


def test_a_text_is_one_turn_of_the_user():
  assert pools.turns('1+1=') == (Message('user', '1+1='),)
  assert pools.turns(SAID) == SAID
  assert Task(id='t', prompt='1+1=').text == '1+1='


def test_tasks_are_never_changed_by_the_pool():
  task = tasks('a', meta={'k': 1})[0]
  copy = dataclasses.replace(task)
  Pool().extend([task])
  assert task == copy
