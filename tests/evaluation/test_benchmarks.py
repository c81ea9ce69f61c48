"""Metrics of benchmarks: exact values from scripted answers, and laws on drawn ones."""

import json
import math
import operator

import jax
import numpy as np
import pytest

from sirl import evaluation
from sirl.evaluation import benchmarks
from sirl.ops import stats
from sirl.slots import Evaluator, Refiner
from sirl.tasks import Task
from sirl.types import Context

TASKS = [Task(id=f't{i}', prompt=f'{i}+{i}', answer=str(2 * i)) for i in range(4)]
CONTEXT = Context(3, 0.0, jax.random.key(0))


def verify(task, text):
  return float(text == task.answer)


def extract(text):
  return text if text.isdigit() else None


def scripted(*groups):
  by_prompt = {task.prompt: group for task, group in zip(TASKS, groups)}
  return lambda weights, prompts, key, n: [by_prompt[prompt][:n] for prompt in prompts]


ASK = scripted(
  ['0', '0', '0', '0'], ['2', '7', '7', '8'], ['?', '4', '4', '5'], ['1', '1', '?', '?']
)


def test_pass_and_majority_by_hand():
  found = benchmarks.sampled(
    'heldout', TASKS, verify, ASK, samples=4, ks=(1, 2, 4), extract=extract, same=operator.eq
  )(None, None, CONTEXT)
  # Right: 4, 1, 2 and 0 of 4. A pair misses c right ones in C(4 - c, 2) of 6 cases: pass@2 = 1,
  # 1/2, 5/6, 0.
  assert found['heldout/pass@1'] == pytest.approx(7 / 16)
  assert found['heldout/pass@2'] == pytest.approx((1 + 1 / 2 + 5 / 6) / 4)
  assert found['heldout/pass@4'] == pytest.approx(3 / 4)
  # Of four votes '0', '7', '4' and '1' win: two of them right.
  assert found['heldout/maj@4'] == pytest.approx(2 / 4)
  assert found['heldout/parsed'] == pytest.approx(13 / 16)
  assert (found['heldout/at_0'], found['heldout/at_1']) == (0.25, 0.25)


def test_maj_counts_values_and_not_spellings():
  ask = scripted(*[['7', '18', '18.0', '7', '$18']] * 4)
  right = lambda task, text: float(text.strip('$').startswith('18'))
  same = lambda a, b: float(a.strip('$')) == float(b.strip('$'))
  found = benchmarks.sampled(
    'heldout', TASKS, right, ask, samples=5, ks=(1, 5), extract=lambda text: text, same=same
  )(None, None, CONTEXT)
  assert found['heldout/maj@5'] == 1.0


def test_each_accuracy_has_its_error_and_interval():
  found = benchmarks.sampled(
    'heldout', TASKS, verify, ASK, samples=4, ks=(1, 4), extract=extract, same=operator.eq
  )(None, None, CONTEXT)
  for name in ('heldout/pass@1', 'heldout/pass@4', 'heldout/maj@4'):
    assert found[name + '_low'] < found[name] < found[name + '_high']
    assert found[name + '_sem'] > 0
  # Of 4 samples of each task 4, 1, 2 and 0 are right.
  scores_PG = [[1, 1, 1, 1], [1, 0, 0, 0], [0, 1, 1, 0], [0, 0, 0, 0]]
  assert found['heldout/pass@1_sem'] == stats.rate(scores_PG).sem
  assert {name: type(value) for name, value in found.items() if type(value) is not float} == {}


def test_a_partly_right_score_does_not_solve():
  half = benchmarks.sampled('x', TASKS, lambda task, text: 0.5, ASK, samples=4, ks=(1,))
  assert half(None, None, CONTEXT)['x/pass@1'] == 0


def test_the_interval_holds_the_truth_in_19_of_20_evaluations():
  tasks = [Task(id=str(i), prompt=str(i), answer='1') for i in range(40)]
  truth = 0.4

  def ask(weights, prompts, key, n):
    generator = stats.generator(key)
    p_P = generator.beta(2, 3, size=len(prompts))  # mean .4: tasks differ in difficulty
    return [['1' if generator.random() < p else '0' for _ in range(n)] for p in p_P]

  evaluate = benchmarks.sampled('x', tasks, verify, ask, samples=8, ks=(1,))
  found = [evaluate(None, None, Context(r, 0.0, jax.random.key(r))) for r in range(200)]
  covered = np.mean(
    [metrics['x/pass@1_low'] <= truth <= metrics['x/pass@1_high'] for metrics in found]
  )
  assert 0.91 <= covered <= 0.99  # 200 evaluations: standard error .015


def test_rounds_and_names_draw_different_noise_and_the_same_round_the_same():
  seen = []

  def spy(weights, prompts, key, n):
    seen.append(jax.random.key_data(key).tolist())
    return ASK(weights, prompts, key, n)

  for name, seed in (('a', 0), ('a', 0), ('b', 0), ('a', 1)):
    benchmarks.sampled(name, TASKS, verify, spy, samples=4, ks=(1,))(
      None, None, Context(0, 0.0, jax.random.key(seed))
    )
  assert seen[0] == seen[1]
  assert len({tuple(key) for key in seen}) == 3


def test_show_receives_the_first_tasks_to_read():
  rows = []
  evaluate = benchmarks.sampled(
    'heldout',
    TASKS,
    verify,
    ASK,
    samples=2,
    ks=(1,),
    extract=extract,
    same=operator.eq,
    show=rows.extend,
    shown=2,
  )
  evaluate(None, None, CONTEXT)
  assert rows[1] == {
    'round': 3,
    'benchmark': 'heldout',
    'task': 't1',
    'prompt': '1+1',
    'answer': '2',
    'texts': ['2', '7'],
    'scores': [1.0, 0.0],
    'extracted': ['2', '7'],
  }
  assert len(rows) == 2


def test_greedy_asks_once():
  found = benchmarks.greedy('heldout', TASKS, verify, ASK)(None, None, CONTEXT)
  assert found['heldout/greedy'] == 0.5  # '0' and '2' of '0', '2', '?', '1'
  assert set(found) == {f'heldout/greedy{end}' for end in ('', '_sem', '_low', '_high')}


def test_a_refiner_is_compared_with_plain_on_the_same_tasks():
  refiner = lambda *texts: lambda weights, tasks, key: list(texts)
  evaluate = benchmarks.refined(
    'heldout', TASKS, verify, plain=refiner('0', '9', '9', '6'), vote=refiner('0', '2', '4', '9')
  )
  found = evaluate(None, None, CONTEXT)
  assert (found['heldout/plain'], found['heldout/vote']) == (0.5, 0.75)
  assert (found['heldout/vote_fixed'], found['heldout/vote_broken']) == (0.5, 0.25)
  assert found['heldout/vote_gain'] == 0.25
  # Differences 0, 1, 1, -1 and the imagined 1, -1: mean 1/6, variance 5/6 - 1/36, over 6.
  assert found['heldout/vote_gain_sem'] == pytest.approx(math.sqrt((5 / 6 - 1 / 36) / 6))
  assert found['heldout/vote_gain_low'] <= 0 <= found['heldout/vote_gain_high']
  assert evaluate(None, None, CONTEXT) == found


def test_fresh_tasks_are_made_anew_from_the_context():
  rounds = []

  def make_tasks(context):
    rounds.append((context.round, context.difficulty, jax.random.key_data(context.key).tolist()))
    return TASKS[context.round :]

  evaluate = benchmarks.fresh('fresh', make_tasks, verify, ASK, samples=4, ks=(1,))
  first = evaluate(None, None, Context(0, 1.0, jax.random.key(0)))
  second = evaluate(None, None, Context(2, 1.0, jax.random.key(2)))
  assert first['fresh/pass@1'] == pytest.approx(7 / 16)
  assert second['fresh/pass@1'] == pytest.approx(2 / 8)
  assert rounds[0][:2] == (0, 1.0)
  assert rounds[0][2] != rounds[1][2]


def test_gap_of_anchor_and_fresh():
  anchor = benchmarks.sampled('heldout', TASKS, verify, ASK, samples=4, ks=(1,))
  new = benchmarks.fresh('fresh', lambda context: TASKS[2:], verify, ASK, samples=4, ks=(1,))
  found = benchmarks.with_gap(benchmarks.merge(anchor, new))(None, None, CONTEXT)
  assert found['fresh/gap'] == pytest.approx(7 / 16 - 2 / 8)
  sems = found['heldout/pass@1_sem'], found['fresh/pass@1_sem']
  assert found['fresh/gap_sem'] == pytest.approx(math.hypot(*sems))


def test_a_gap_without_its_fresh_set_says_what_is_missing():
  anchor = benchmarks.sampled('heldout', TASKS, verify, ASK, samples=4, ks=(1,))
  with pytest.raises(ValueError, match='needs fresh/pass@1'):
    benchmarks.with_gap(anchor)(None, None, CONTEXT)


def test_merged_evaluators_may_not_give_one_metric_twice():
  anchor = benchmarks.greedy('heldout', TASKS, verify, ASK)
  with pytest.raises(ValueError, match='heldout/greedy'):
    benchmarks.merge(anchor, anchor)(None, None, CONTEXT)
  assert benchmarks.merge()(None, None, CONTEXT) == {}


def test_an_extractor_must_come_with_what_is_one_answer_since_spellings_would_split_a_value():
  with pytest.raises(ValueError, match='heldout: extract= without same=; give same=answers.same'):
    benchmarks.sampled('heldout', TASKS, verify, ASK, extract=extract)


@pytest.mark.parametrize(
  ('ks', 'message'),
  [
    ((1, 8), r'ks\[1\]=8; expected an int in \[1, 4\]'),
    ((0,), r'ks\[0\]=0; expected an int in \[1, 4\]'),
    ((), 'ks is empty; expected one k in 1..samples=4'),
  ],
)
def test_ks_must_fit_the_samples(ks, message):
  with pytest.raises(ValueError, match=f'x: {message}'):
    benchmarks.sampled('x', TASKS, verify, ASK, samples=4, ks=ks)


def test_an_empty_set_is_no_benchmark():
  with pytest.raises(ValueError, match='at least one task'):
    benchmarks.greedy('x', [], verify, ASK)


@pytest.mark.parametrize(
  ('score', 'said'),
  [(None, 'cannot be judged'), (2.0, r'expected a number in \[0, 1\]'), (math.nan, 'nan')],
)
def test_a_verdict_that_is_none_or_no_share_is_an_error(score, said):
  with pytest.raises(ValueError, match=said):
    benchmarks.greedy('x', TASKS, lambda task, text: score, ASK)(None, None, CONTEXT)


def test_a_refiner_that_loses_an_answer_is_named():
  with pytest.raises(ValueError, match="'vote' gave 1 answers"):
    benchmarks.refined('x', TASKS, verify, plain=lambda *_: ['0'] * 4, vote=lambda *_: ['0'])(
      None, None, CONTEXT
    )


# ---------------------------------------------------------------- with memory


def bits(key):
  return jax.random.key_data(key).tolist()


def counting(name, start=0):
  """An evaluator whose memory counts its measurements."""

  def evaluate(memory, weights, record, context):
    return {f'{name}/count': memory['n']}, {'n': memory['n'] + 1}

  return Evaluator(lambda: {'n': start}, evaluate)


def test_a_plain_evaluator_is_lifted_as_it_is():
  seen = []

  def evaluate(weights, record, context):
    seen.append((weights, record, context.round, bits(context.key)))
    return {'x': 1.0}

  lifted = evaluation.evaluator(evaluate)
  assert lifted.init() == {}
  assert lifted.evaluate({}, 'w', 'r', CONTEXT) == ({'x': 1.0}, {})
  assert seen == [('w', 'r', 3, bits(CONTEXT.key))]  # the round's key
  nothing = evaluation.evaluator()
  assert nothing.evaluate(nothing.init(), 'w', 'r', CONTEXT) == ({}, {})


def test_evaluators_with_memory_keep_it_in_the_open():
  make = lambda: evaluation.evaluator(
    benchmarks.greedy('heldout', TASKS, verify, ASK), a=counting('a'), b=counting('b', 7)
  )
  both = make()
  memory, found = both.init(), []
  assert memory == {'a': {'n': 0}, 'b': {'n': 7}}
  for _ in range(3):
    before = json.dumps(memory)
    metrics, after = make().evaluate(memory, None, None, CONTEXT)  # as a resumed run would
    assert json.dumps(memory) == before  # the state passed in is left as it is
    memory = json.loads(json.dumps(after))
    found.append((metrics['heldout/greedy'], metrics['a/count'], metrics['b/count']))
  assert found == [(0.5, 0, 7), (0.5, 1, 8), (0.5, 2, 9)]
  assert memory == {'a': {'n': 3}, 'b': {'n': 10}}


def test_one_metric_has_one_evaluator_with_memory_or_without():
  for lifted in (
    evaluation.evaluator(a=counting('x'), b=counting('x')),
    evaluation.evaluator(lambda *_: {'x/count': 0.0}, a=counting('x')),
  ):
    with pytest.raises(ValueError, match='two evaluators give x/count'):
      lifted.evaluate(lifted.init(), None, None, CONTEXT)


def notebook():
  """A refiner that answers only what it has seen before, and notes what it sees."""

  def refine(memory, weights, tasks, key):
    known = memory['seen']
    texts = [str(2 * int(weights) * i) if task.id in known else '?' for i, task in enumerate(tasks)]
    return texts, {'seen': sorted({*known, *(task.id for task in tasks[: 2 + len(known)])})}

  return Refiner(lambda: {'seen': []}, refine)


def test_what_a_refiner_learns_in_one_round_it_has_in_the_next():
  plain = lambda weights, tasks, key: ['0', '9', '9', '9']
  make = lambda: benchmarks.remembered('heldout', TASKS, verify, plain=plain, refiner=notebook())
  memory, found = make().init(), []
  assert memory == {'seen': []}
  for _ in range(3):
    before = json.dumps(memory)
    metrics, after = make().evaluate(memory, 1, None, CONTEXT)
    assert json.dumps(memory) == before
    memory = json.loads(json.dumps(after))
    found.append(metrics)
  assert [metrics['heldout/refiner'] for metrics in found] == [0.0, 0.5, 1.0]
  assert [metrics['heldout/refiner_gain'] for metrics in found] == [-0.25, 0.25, 0.75]
  assert {metrics['heldout/plain'] for metrics in found} == {0.25}
  assert memory == {'seen': ['t0', 't1', 't2', 't3']}
  metrics, _ = make().evaluate(memory, 3, None, CONTEXT)  # other weights, other texts
  assert metrics['heldout/refiner'] == 0.25


def test_a_refiner_with_memory_is_measured_as_one_without():
  """Both use the key of `refined`, so both see the same draws."""
  keys = []

  def refine(weights, tasks, key):
    keys.append(bits(key))
    return ['0', '2', '9', '6']

  plain = lambda weights, tasks, key: ['0', '9', '9', '9']
  refiner = Refiner(lambda: None, lambda memory, *rest: (refine(*rest), memory))
  evaluator = benchmarks.remembered('x', TASKS, verify, plain=plain, refiner=refiner)
  found, _ = evaluator.evaluate(evaluator.init(), None, None, CONTEXT)
  without = benchmarks.refined('x', TASKS, verify, plain=plain, refiner=refine)
  assert found == without(None, None, CONTEXT)
  assert keys[0] == keys[1]


def test_a_gap_between_two_sets_of_which_nothing_is_solved_has_an_error():
  nothing = scripted(*[['?'] * 4] * 4)
  fresh = benchmarks.fresh('fresh', lambda context: TASKS, verify, nothing, samples=4, ks=(1,))
  heldout = benchmarks.sampled('heldout', TASKS, verify, nothing, samples=4, ks=(1,))
  found = benchmarks.with_gap(benchmarks.merge(heldout, fresh))(None, None, CONTEXT)
  assert found['fresh/gap'] == 0
  assert found['fresh/gap_sem'] == pytest.approx(math.sqrt(2) * stats.rate(np.zeros(4)).sem)
