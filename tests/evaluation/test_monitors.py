"""Monitors by hand, and a self-taught collapse that they catch without an answer."""

import dataclasses
import fractions
import json
import math
import operator

import jax
import numpy as np
import pytest

from sirl.evaluation import monitors, steering
from sirl.ops import stats
from sirl.tasks import Task
from sirl.types import Action, Context, Decision, Outcome, Record, Report, Rewards, Samples

NAN = np.nan
CONTEXT = Context(0, 0.0, jax.random.key(0))
OPEN = [Task(id=f't{i}', prompt=f'{i}+{i}') for i in range(4)]  # no answers anywhere


def record(texts=None, tasks=None, total=None, parts=None, pool=(), steps=()):
  if texts is None:
    return Record(list(pool), None, list(steps))
  tasks = tasks or OPEN[: len(texts)]
  rewards = Rewards(
    np.asarray(total if total is not None else np.zeros((len(texts), len(texts[0])))), parts or {}
  )
  return Record(list(pool), Outcome(Samples(tasks, texts, None), rewards, {}), list(steps))


# ---------------------------------------------------------------- autophagy


def test_distinct_n_by_hand():
  found = monitors.autophagy((1, 2))(None, record([['a b a', 'a b'], ['c', 'a b a']]), CONTEXT)
  # Words a b a a b c a b a: 3 distinct of 9. Pairs ab ba ab (c) ab ba: 3 of 6, the lone c is one
  # gram.
  assert found['monitor/distinct_1'] == pytest.approx(3 / 9)
  assert found['monitor/distinct_2'] == pytest.approx(3 / 6)
  assert found['monitor/duplicate_share'] == 0  # the same text for two tasks is no duplicate


def test_duplicates_are_counted_within_a_group():
  found = monitors.autophagy()(None, record([['x', 'x', 'x', 'y'], ['x', 'y', 'z', 'w']]), CONTEXT)
  assert found['monitor/duplicate_share'] == 2 / 8


def test_the_synthetic_share_of_the_pool_is_known_before_any_step():
  pool = [Task(id='a', prompt='a'), Task(id='b', prompt='b', origin='synthetic')]
  assert monitors.autophagy()(None, record(pool=pool), CONTEXT) == {'monitor/synthetic_share': 0.5}
  assert monitors.autophagy()(None, record(), CONTEXT) == {}


# ---------------------------------------------------------------- feedback


KNOWN = [
  Task(id='a', prompt='1+1', answer='2'),
  Task(id='b', prompt='2+2', answer='4'),
  Task(id='c', prompt='?'),
]
TEXTS = [['2', '2', '3', '3'], ['4', '5', '5', '5'], ['7', '7', '7', '7']]
TOTAL = [[1, 0, 1, 0], [1, 0, 0, NAN], [1, 1, 1, 1]]


def is_right(task, text):
  return float(text == task.answer)


def test_agreement_of_reward_and_verifier_by_hand():
  found = monitors.feedback(is_right)(None, record(TEXTS, KNOWN, TOTAL), CONTEXT)
  # Known and judged: 4 + 3. Disagreements: '2' rejected, '3' accepted.
  assert found['monitor/feedback_agreement'] == pytest.approx(5 / 7)
  assert found['monitor/false_positive'] == pytest.approx(1 / 4)  # of '3' '3' '5' '5'
  assert found['monitor/false_negative'] == pytest.approx(1 / 3)  # of '2' '2' '4'
  assert found['monitor/feedback_agreement_sem'] > 0


def test_a_part_may_be_checked_instead_of_the_total():
  parts = {'correct': np.asarray([[1, 1, 0, 0], [1, 0, 0, 0], [0, 0, 0, 0]], float)}
  found = monitors.feedback(is_right, part='correct')(
    None, record(TEXTS, KNOWN, TOTAL, parts), CONTEXT
  )
  assert found['monitor/feedback_agreement'] == 1
  with pytest.raises(ValueError, match="no part 'right' in the reward; it has correct"):
    monitors.feedback(is_right, part='right')(None, record(TEXTS, KNOWN, TOTAL, parts), CONTEXT)


def test_without_answers_or_steps_feedback_measures_nothing():
  assert monitors.feedback(is_right)(None, record([['1']], OPEN[:1], [[1.0]]), CONTEXT) == {}
  assert monitors.feedback(is_right)(None, record(), CONTEXT) == {}


# ---------------------------------------------------------------- optimization


def test_optimization_reads_the_end_and_the_extremes_of_the_round():
  steps = [
    {'entropy': 1.0, 'kl': 0.0, 'completions/mean_length': 4.0, 'completions/clipped_ratio': 0.1},
    {'entropy': 0.1, 'kl': 0.5, 'completions/mean_length': 9.0, 'completions/clipped_ratio': 0.2},
    {'entropy': 0.3, 'kl': 0.4, 'completions/mean_length': 8.0, 'completions/clipped_ratio': 0.3},
  ]
  assert monitors.optimization()(None, record(steps=steps), CONTEXT) == {
    'monitor/entropy': 0.3,
    'monitor/kl': 0.4,
    'monitor/clipped_ratio': 0.3,
    'monitor/entropy_min': 0.1,
    'monitor/kl_max': 0.5,
    'monitor/length_ratio': 2.0,
  }


def test_a_step_that_kept_no_completion_does_not_look_like_a_collapse():
  steps = [{'entropy': 0.5, 'kl': 0.1}, {'entropy': NAN, 'kl': NAN}]
  found = monitors.optimization()(None, record(steps=steps), CONTEXT)
  assert found == {'monitor/entropy_min': 0.5, 'monitor/kl_max': 0.1}
  rule = steering.stop_if_collapsed({'monitor/entropy_min': (0.1, None)})
  assert rule([Report(0, found)]) is None
  only_such = monitors.optimization()(None, record(steps=steps[1:]), CONTEXT)
  assert only_such == {}


def test_an_infinite_kl_of_one_step_is_seen():
  steps = [{'kl': math.inf}, {'kl': 0.1}]
  assert monitors.optimization()(None, record(steps=steps), CONTEXT)['monitor/kl_max'] == math.inf


def test_before_any_step_optimization_measures_nothing():
  assert monitors.optimization()(None, record(), CONTEXT) == {}


def test_standard_is_all_that_can_be_measured():
  steps = [{'entropy': 1.0}]
  found = monitors.standard(is_right)(None, record(TEXTS, KNOWN, TOTAL, steps=steps), CONTEXT)
  assert {'monitor/distinct_1', 'monitor/feedback_agreement', 'monitor/entropy'} <= set(found)
  assert 'monitor/feedback_agreement' not in monitors.standard()(
    None, record(TEXTS, KNOWN, TOTAL), CONTEXT
  )


# ---------------------------------------------------------------- consensus


def scripted(*groups):
  by_prompt = {task.prompt: group for task, group in zip(OPEN, groups)}
  return lambda weights, prompts, key, n: [by_prompt[prompt][:n] for prompt in prompts]


def digits(text):
  return text if text.isdigit() else None


def measure(evaluator, weights, memory=None, context=CONTEXT):
  """The metrics and the memory of a monitor; every memory passes through a file on the way."""
  memory = evaluator.init() if memory is None else memory
  found, memory = evaluator.evaluate(json.loads(json.dumps(memory)), weights, record(), context)
  return found, json.loads(json.dumps(memory))


def watch(*groups):
  evaluator = monitors.consensus(
    OPEN[: len(groups)], scripted(*groups), digits, same=operator.eq, samples=len(groups[0])
  )
  found, _ = measure(evaluator, None)
  return {name.removeprefix('monitor/consensus/'): value for name, value in found.items()}


def test_consensus_by_hand():
  found = watch(['1', '1', '1', '2'], ['3', '3', '?', '?'], ['1', '2', '3', '4'])
  assert found['majority_ratio'] == pytest.approx((3 / 4 + 2 / 4 + 1 / 4) / 3)
  assert found['vote_margin'] == pytest.approx((2 / 4 + 2 / 4 + 0) / 3)
  assert found['distinct_answers'] == pytest.approx((2 + 1 + 4) / 3)
  assert found['parsed'] == pytest.approx(10 / 12)
  # Answers of a task share its weight: 3 has 0, 1, 1/4; it leads 1 with 3/4, 0, 1/4.
  assert found['answer_concentration'] == pytest.approx((0 + 1 + 1 / 4) / 3)
  p = np.asarray([1.0, 0.5, 1.25, 0.25]) / 3
  assert found['answer_entropy'] == pytest.approx(-np.sum(p * np.log(p)))


def test_consensus_counts_values_and_not_spellings():
  ask = scripted(['7', '18', '18.0', '7', '$18'])
  same = lambda a, b: float(a.strip('$')) == float(b.strip('$'))
  evaluator = monitors.consensus(OPEN[:1], ask, lambda text: text, same=same, samples=5)
  found, _ = measure(evaluator, None)
  assert found['monitor/consensus/majority_ratio'] == 3 / 5
  assert found['monitor/consensus/distinct_answers'] == 2


def test_a_constant_reply_shows_as_concentration_without_any_answer():
  constant, diverse = watch(*[['7'] * 4] * 4), watch(*[[str(i)] * 4 for i in range(4)])
  assert (constant['answer_concentration'], constant['answer_entropy']) == (1.0, 0.0)
  assert diverse['answer_concentration'] == 0.25
  assert diverse['answer_entropy'] == pytest.approx(math.log(4))
  # The vote alone cannot tell them apart.
  assert constant['majority_ratio'] == diverse['majority_ratio'] == 1.0


def test_a_policy_that_never_answers_has_no_answers_to_concentrate():
  found = watch(['?', '?'], ['?', '?'])
  assert found['parsed'] == found['majority_ratio'] == 0.0
  assert 'answer_concentration' not in found


AGREEMENT = 'monitor/consensus/anchor_agreement'


def test_anchor_agreement_compares_with_the_weights_it_was_first_asked_about():
  votes = {'start': ['1', '2', '3', '?'], 'now': ['1', '5', '?', '4']}
  ask = lambda weights, prompts, key, n: [[vote] * n for vote in votes[weights]]
  evaluator = monitors.consensus(OPEN, ask, digits, same=operator.eq, samples=2)
  assert evaluator.init() == {'anchor': None}
  found, memory = measure(evaluator, 'start')
  assert found[AGREEMENT] == 1.0
  assert memory == {'anchor': ['1', '2', '3', None]}
  # Of the three prompts that the start answered, one is answered alike; silence is not agreement.
  found, again = measure(evaluator, 'now', memory)
  assert found[AGREEMENT] == pytest.approx(1 / 3)
  assert again == memory
  assert measure(evaluator, 'start', memory)[0][AGREEMENT] == 1.0
  assert measure(evaluator, 'now')[0][AGREEMENT] == 1.0  # a run that starts with these weights


def test_a_start_that_never_answered_is_no_anchor():
  assert 'anchor_agreement' not in watch(['?', '?'], ['?', '?'])
  assert 'anchor_agreement' in watch(['?', '?'], ['?', '1'])


def test_answers_that_json_does_not_know_are_remembered():
  """An answer may be any hashable value, such as a fraction."""
  votes = {'start': ['1/2', '3'], 'now': ['2/4', '4']}
  ask = lambda weights, prompts, key, n: [[vote] * n for vote in votes[weights]]
  evaluator = monitors.consensus(OPEN[:2], ask, fractions.Fraction, same=operator.eq, samples=2)
  _, memory = measure(evaluator, 'start')
  assert memory == {'anchor': ['1/2', '3']}
  assert measure(evaluator, 'now', memory)[0][AGREEMENT] == 0.5


def test_a_resumed_run_goes_on_with_its_anchor():
  def ask(weights, prompts, key, n):
    generator = stats.generator(key)
    return [[str(generator.integers(3)) for _ in range(n)] for _ in prompts]

  build = lambda: monitors.consensus(OPEN, ask, digits, same=operator.eq, samples=4)
  contexts = [Context(r, 0.0, jax.random.key(r)) for r in range(3)]
  first, memory, unbroken = build(), None, []
  for context in contexts:
    found, memory = measure(first, None, memory, context)
    unbroken.append((found, memory))
  assert len({found[AGREEMENT] for found, _ in unbroken}) > 1
  assert measure(build(), None, unbroken[1][1], contexts[2]) == unbroken[2]


def test_the_votes_of_the_anchor_have_noise_of_their_own_seed():
  drawn = []

  def ask(weights, prompts, key, n):
    drawn.append(jax.random.key_data(key).tolist())
    return [['1'] * n for _ in prompts]

  for seed in (0, 0, 1):
    measure(monitors.consensus(OPEN, ask, digits, same=operator.eq, seed=seed), None)
  now, anchor = drawn[::2], drawn[1::2]
  assert len(drawn) == 6
  assert anchor[0] == anchor[1] != anchor[2]
  assert now[0] == now[1] == now[2]
  assert now[0] not in anchor
  evaluator = monitors.consensus(OPEN, ask, digits, same=operator.eq)
  measure(evaluator, None, {'anchor': ['1'] * 4})
  assert drawn[6:] == [now[0]]  # a known anchor is not asked again


@pytest.mark.parametrize(
  ('tasks', 'samples', 'said'), [([], 4, 'at least one prompt'), (OPEN, 1, 'samples=1')]
)
def test_a_consensus_needs_prompts_and_votes(tasks, samples, said):
  with pytest.raises(ValueError, match=said):
    monitors.consensus(tasks, scripted(), digits, same=operator.eq, samples=samples)


# ---------------------------------------------------------------- all of it, on a simulated run


PROMPTS = [Task(id=f'p{i}', prompt=str(i)) for i in range(40)]
TRUTH = [str(100 + i) for i in range(40)]


def simulated(weights, prompts, key, n):
  """An Ask whose answers are right with probability `skill`, '7' with probability `constant`.

  All other answers are unique.
  """
  skill, constant = weights
  generator = stats.generator(key)
  replies = []
  for prompt in prompts:
    u = generator.random(n)
    own = generator.integers(200, 260, size=n)
    right = TRUTH[int(prompt)]
    replies.append(
      ['7' if x < constant else right if x < constant + skill else str(o) for x, o in zip(u, own)]
    )
  return replies


def steered(path):
  """Runs consensus and two rules along a path of weights.

  Returns: the accuracy at each round and the first decision.
  """
  evaluator = monitors.consensus(PROMPTS, simulated, digits, same=operator.eq, samples=16)
  rule = steering.first_of(
    steering.rollback_if('monitor/consensus/answer_concentration', rise=0.15),
    steering.rollback_if('monitor/consensus/anchor_agreement', fall=0.3),
  )
  reports, memory = [], None
  for i, weights in enumerate(path):
    context = Context(i - 1, 0.0, jax.random.key(i))
    found, memory = measure(evaluator, weights, memory, context)
    reports.append(Report(i - 1, found))
    decision = rule(reports)
    if decision is not None:
      return i, decision
    reports[-1] = dataclasses.replace(reports[-1], decision=Decision(Action.CONTINUE, ''))
  return None, None


def test_a_collapse_to_one_answer_is_rolled_back_before_half_the_skill_is_gone():
  path = [(0.5 * (1 - c), c) for c in (0.0, 0.05, 0.1, 0.2, 0.35, 0.6, 0.9, 1.0)]
  i, decision = steered(path)
  assert decision.action is Action.ROLLBACK
  assert path[i][0] > 0.5 * path[0][0]
  # The path begins with round -1, hence the + 1.
  assert path[decision.round + 1][0] > 0.75 * path[0][0]


def test_learning_without_answers_is_left_alone():
  path = [(skill, 0.0) for skill in (0.35, 0.45, 0.6, 0.7, 0.8, 0.9, 0.95)]
  assert steered(path) == (None, None)
