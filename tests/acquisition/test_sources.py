"""Combining sources of tasks: in turn, with keys of their own, and with explicit memory."""

import json

import jax
import pytest

from sirl import acquisition
from sirl.ops import keys
from sirl.slots import Acquirer
from sirl.tasks import Pool, Task, content_id
from sirl.types import Context


def tasks(*prompts):
  return [Task(id=content_id('t', prompt), prompt=prompt) for prompt in prompts]


def context(round=0):
  return Context(round, 0.0, keys.at(0, 'acquire', round))


def test_once_brings_its_tasks_in_round_zero_only():
  acquire = acquisition.once(tasks('a', 'b'))
  assert acquire(None, Pool(), context(0)) == tasks('a', 'b')
  assert acquire(None, Pool(), context(1)) == []


def test_chained_sources_see_earlier_finds_and_have_keys_of_their_own(tmp_path):
  seen = []

  def source(weights, pool, context):
    seen.append(([task.prompt for task in pool], jax.random.key_data(context.key).tolist()))
    return tasks(f'{weights}{len(seen)}')

  pool = Pool(folder=tmp_path).extend(tasks('old'), round=0)
  found = acquisition.chain(source, source, source)('p', pool, context(1))
  assert found == tasks('p1', 'p2', 'p3')
  assert [prompts for prompts, _ in seen] == [['old'], ['old', 'p1'], ['old', 'p1', 'p2']]
  assert len({tuple(key) for _, key in seen}) == 3
  assert [path.name for path in tmp_path.iterdir()] == [
    'round_00000.jsonl'
  ]  # looking ahead writes nothing
  assert len(pool) == 1


# ---------------------------------------------------------------- with memory


def bits(key):
  return jax.random.key_data(key).tolist()


def counting(start, seen):
  """A source whose memory counts its calls and whose one task holds the count."""

  def acquire(state, weights, pool, context):
    seen.append(([task.prompt for task in pool], weights, context.round, bits(context.key)))
    return tasks(f'{start} {state["asked"]}'), {'asked': state['asked'] + 1}

  return Acquirer(lambda: {'asked': start}, acquire)


def test_a_plain_function_is_lifted_as_it_is():
  seen = []

  def acquire(weights, pool, context):
    seen.append((weights, pool, context))
    return tasks('a')

  lifted, pool = acquisition.acquirer(acquire), Pool()
  assert lifted.init() == {}
  assert lifted.acquire({}, 'w', pool, context(2)) == (tasks('a'), {})
  ((weights, seen_pool, own),) = seen
  assert (weights, own.round, bits(own.key)) == ('w', 2, bits(context(2).key))  # the round's key
  assert seen_pool is pool


def test_sources_with_memory_keep_it_in_the_open():
  seen = []
  both = acquisition.acquirer(
    acquisition.once(tasks('a')), x=counting(0, seen), y=counting(7, seen)
  )
  assert both.init() == {'x': {'asked': 0}, 'y': {'asked': 7}}
  pool, memory, rounds = Pool().extend(tasks('old')), both.init(), []
  for i in range(3):
    before = json.dumps(memory)
    found, after = both.acquire(memory, 'w', pool, context(i))
    assert json.dumps(memory) == before  # the state passed in is left as it is
    rounds.append(found)
    memory = json.loads(json.dumps(after))
  assert rounds == [tasks('a', '0 0', '7 7'), tasks('0 1', '7 8'), tasks('0 2', '7 9')]
  assert memory == {'x': {'asked': 3}, 'y': {'asked': 10}}
  assert len(pool) == 1
  # A later source sees the tasks of the sources before it, and each has its own key.
  assert [prompts for prompts, *_ in seen[:2]] == [['old', 'a'], ['old', 'a', '0 0']]
  assert {(weights, round) for _, weights, round, _ in seen} == {('w', 0), ('w', 1), ('w', 2)}
  given = [tuple(key) for *_, key in seen] + [tuple(bits(context(i).key)) for i in range(3)]
  assert len(set(given)) == 9


def test_a_resumed_source_goes_on_where_it_was():
  source = lambda: acquisition.acquirer(x=counting(0, []))
  first = source()
  _, memory = first.acquire(first.init(), None, Pool(), context(0))
  memory = json.loads(json.dumps(memory))
  unbroken = first.acquire(memory, None, Pool(), context(1))
  assert source().acquire(memory, None, Pool(), context(1)) == unbroken
  with pytest.raises(KeyError):
    source().acquire({}, None, Pool(), context(1))  # a memory of another acquirer


def test_the_key_of_a_source_depends_on_its_name_and_not_on_its_neighbours():
  alone, beside = [], []
  for acquirer in (
    acquisition.acquirer(y=counting(0, alone)),
    acquisition.acquirer(acquisition.once(tasks('a')), x=counting(0, []), y=counting(0, beside)),
  ):
    acquirer.acquire(acquirer.init(), None, Pool(), context(3))
  assert alone[0][-1] == beside[0][-1]
