"""Procedural tasks: addressed, disjoint, fresh each round."""

import os
import subprocess
import sys

import pytest

from sirl import acquisition
from sirl.acquisition import hygiene, procedural
from sirl.domains import mathematics
from sirl.ops import keys
from sirl.tasks import Message, Pool, Task, content_id, prompt_key
from sirl.types import Context

ADD = mathematics.addition()


def context(round=0, difficulty=0.0, seed=0):
  return Context(round, difficulty, keys.at(seed, 'acquire', round))


def prompts(tasks):
  return {prompt_key(task.prompt) for task in tasks}


def letters(rng, index, difficulty):
  """A domain of 26 tasks."""
  prompt = chr(97 + int(rng.integers(26)))
  return Task(
    id=content_id('letters', prompt),
    prompt=prompt,
    answer=prompt,
    difficulty=difficulty,
    meta={'answer': prompt},
  )


def test_fixed_set_depends_on_its_arguments_alone():
  one = procedural.fixed_set(ADD, n=50, seed=3, namespace='heldout')
  assert one == procedural.fixed_set(ADD, n=50, seed=3, namespace='heldout')
  assert one[:20] == procedural.fixed_set(ADD, n=20, seed=3, namespace='heldout')
  assert len(prompts(one)) == 50


def test_fixed_set_is_the_same_in_every_process():
  code = (
    'from sirl.acquisition import procedural; from sirl.domains import mathematics;'
    "print([t.id for t in procedural.fixed_set(mathematics.addition(), n=5, seed=1, namespace='heldout')])"
  )
  env = {**os.environ, 'PYTHONPATH': os.pathsep.join(sys.path), 'PYTHONHASHSEED': '77'}
  run = subprocess.run(
    [sys.executable, '-c', code], capture_output=True, text=True, check=True, env=env
  )
  here = procedural.fixed_set(ADD, n=5, seed=1, namespace='heldout')
  assert run.stdout.strip() == str([task.id for task in here])


@pytest.mark.parametrize('other', [{'seed': 1, 'namespace': 'a'}, {'seed': 0, 'namespace': 'b'}])
def test_adjacent_seeds_and_other_namespaces_overlap_by_chance_only(other):
  """Two draws of 200 from 8100 share 200*200/8100 = 4.9 on average.

  Adjacent integer seeds without mixing would share 199.
  """
  one = prompts(procedural.fixed_set(ADD, n=200, seed=0, namespace='a'))
  two = prompts(procedural.fixed_set(ADD, n=200, **other))
  assert len(one & two) < 17  # 4.9 + 5.5 standard deviations of 2.2


def test_training_and_held_out_tasks_are_disjoint_by_prompt():
  heldout = procedural.fixed_set(ADD, n=2000, seed=0, namespace='heldout')
  anchor = procedural.fixed_set(ADD, n=500, seed=0, namespace='anchor', exclude=heldout)
  assert not prompts(heldout) & prompts(anchor)

  acquire = procedural.procedural(ADD, per_round=1500, exclude=[*heldout, *anchor])
  pool = Pool()
  for round in range(2):
    pool = pool.extend(acquire(None, pool, context(round)), round=round)
  assert len(pool) == 3000
  assert pool.dropped == 0  # each round's tasks are new to the pool
  assert not prompts(pool) & (prompts(heldout) | prompts(anchor))


def test_exclusion_looks_at_prompts_not_at_white_space():
  spaced = [Task(id='s', prompt=' A '), Task(id='t', prompt='b\n')]
  drawn = procedural.fixed_set(letters, n=24, seed=0, namespace='x', exclude=spaced)
  assert prompts(drawn) == set('cdefghijklmnopqrstuvwxyz')


def test_rounds_and_seeds_draw_differently_and_repeatably():
  acquire = procedural.procedural(ADD, per_round=30)
  pool = Pool()
  first = acquire(None, pool, context(0))
  assert first == acquire(None, pool, context(0))
  assert first != acquire(None, pool, context(1))
  assert first != acquire(None, pool, context(0, seed=1))
  assert first != procedural.procedural(ADD, per_round=30, namespace='other')(
    None, pool, context(0)
  )


def test_difficulty_comes_from_the_run():
  acquire = procedural.procedural(ADD, per_round=20)
  hard = acquire(None, Pool(), context(0, difficulty=2.0))
  assert {len(str(task.meta['a'])) for task in hard} == {4}
  assert {task.difficulty for task in hard} == {2.0}
  assert all(
    task.difficulty == 1.0
    for task in procedural.fixed_set(ADD, n=3, seed=0, namespace='x', difficulty=1.0)
  )


def test_without_answers_nothing_in_the_task_tells_them():
  acquire = procedural.procedural(letters, per_round=5, answers=False)
  for task in acquire(None, Pool(), context()):
    assert task.answer is None
    assert task.meta == {}


def test_a_used_up_domain_gives_what_is_left_and_warns(caplog):
  acquire = procedural.procedural(letters, per_round=20)
  pool = Pool()
  pool = pool.extend(acquire(None, pool, context(0)))
  assert not caplog.records
  pool = pool.extend(acquire(None, pool, context(1)))
  assert len(pool) == 26
  assert 'round 1: 6 of 20 tasks acquired' in caplog.text
  assert acquire(None, pool, context(2)) == []


def test_a_domain_too_small_for_a_fixed_set_is_an_error():
  with pytest.raises(
    ValueError,
    match=r"'x' needs n=27 tasks, but \d+ draws at difficulty 0 gave 25 distinct ones besides the 1 that are excluded; ask for n=25, or take a larger domain",
  ):
    procedural.fixed_set(letters, n=27, seed=0, namespace='x', exclude=[Task(id='a', prompt='a')])
  every = procedural.fixed_set(letters, n=26, seed=0, namespace='x')
  with pytest.raises(ValueError, match='gave 0 distinct ones besides the 26 .*; exclude fewer, or'):
    procedural.fixed_set(letters, n=1, seed=0, namespace='y', exclude=every)


@pytest.mark.parametrize('bad', [0, -1])
def test_counts_are_positive(bad):
  with pytest.raises(ValueError, match=f'per_round={bad}; expected an int of at least 1'):
    procedural.procedural(ADD, per_round=bad)
  with pytest.raises(ValueError, match=f'n={bad}; expected an int of at least 1'):
    procedural.fixed_set(ADD, n=bad, seed=0, namespace='x')


# ---------------------------------------------------------------- hygiene


def test_held_out_tasks_never_enter_and_are_counted(caplog):
  found = [
    Task(id=f'{i}', prompt=prompt) for i, prompt in enumerate(['12+34=', '12 + 35 =', '1+1='])
  ]
  heldout = [Task(id='h', prompt='12 + 34 ='), Task(id='i', prompt='12+35=')]
  kept = hygiene.exclude(acquisition.once(found), heldout)(None, Pool(), context())
  assert [task.prompt for task in kept] == ['1+1=']
  assert 'round 0: dropped 2 of 3 tasks that are held-out tasks' in caplog.text


def test_shared_words_catch_a_held_out_prompt_inside_another():
  heldout = [Task(id='h', prompt='Ann has three red apples and Bob eats one of them')]
  leaking = Task(id='a', prompt='Hello! ann HAS three red apples today')
  clean = Task(id='b', prompt='Ann has three green apples')
  source = acquisition.once([leaking, clean])
  pool = Pool()
  assert hygiene.exclude(source, heldout)(None, pool, context()) == [leaking, clean]
  assert hygiene.exclude(source, heldout, shared_words=5)(None, pool, context()) == [clean]
  assert hygiene.exclude(source, heldout, shared_words=3)(None, pool, context()) == []
  with pytest.raises(ValueError, match='shared_words=0'):
    hygiene.exclude(source, heldout, shared_words=0)


def test_rouge_l_by_hand():
  # common subsequence "the cat mat": 3 words of 6 and of 4, so 2 * 3 / (6 + 4)
  assert hygiene.rouge_l('the cat sat on the mat', 'The dog cat mat') == pytest.approx(0.6)
  assert hygiene.rouge_l('a b c', 'a b c') == 1.0
  assert hygiene.rouge_l('a b', 'c d') == 0.0
  assert hygiene.rouge_l('', 'a') == 0.0


def test_a_held_out_conversation_is_known_by_its_turns():
  said = (Message('user', 'One plus one?'), Message('assistant', '2'), Message('user', 'Plus one?'))
  spaced = (*said[:2], Message('user', ' plus  ONE? '))
  other = (said[0], Message('assistant', '3'), said[2])
  found = [Task(id=f't{i}', prompt=prompt) for i, prompt in enumerate((spaced, other, said[2:]))]
  heldout = [Task(id='h', prompt=said)]
  kept = hygiene.exclude(acquisition.once(found), heldout)(None, Pool(), context())
  assert kept == found[1:]
  # Eight of nine words are the second's too; the last has three: 2 * 3 / (9 + 3).
  assert hygiene.dissimilar(acquisition.once(found))(None, Pool(), context()) == found[::2]


def test_dissimilar_compares_with_the_pool_and_within_the_round(caplog):
  pool = Pool().extend([Task(id='p', prompt='how many legs has a spider')])
  found = [
    Task(id='a', prompt='how many legs has a beetle'),  # 5 of 6 words: .83
    Task(id='b', prompt='name the capital of France'),
    Task(id='c', prompt='name the capital of Spain'),  # .8 with b
  ]
  source = acquisition.once(found)
  assert hygiene.dissimilar(source)(None, pool, context()) == [found[1]]
  assert 'dropped 2 of 3 tasks that overlap with others by 0.7 or more' in caplog.text
  assert hygiene.dissimilar(source, max_overlap=0.9)(None, pool, context()) == found
  with pytest.raises(ValueError, match=r'max_overlap=0; expected a number in \(0, 1\]'):
    hygiene.dissimilar(source, max_overlap=0)
