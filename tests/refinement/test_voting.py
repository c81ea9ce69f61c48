"""Which of the drawn texts a refiner returns."""

import operator

import jax
import numpy as np
import pytest

from sirl.refinement import voting
from sirl.tasks import Task

TASKS = [Task(id='a', prompt='1+1?'), Task(id='b', prompt='2+2?')]
KEY = jax.random.key(0)


def scripted(**draws):
  """An Ask that draws from a list; the weights shift its start, so they matter."""
  by_prompt = {'1+1?': draws['a'], '2+2?': draws['b']}
  return lambda weights, prompts, key, n: [
    by_prompt[prompt][weights : weights + n] for prompt in prompts
  ]


def extract(text):
  number = text.split()[-1]
  return number if number.isdigit() else None


ASK = scripted(a=['so 3', 'no', 'is 2', 'it 2'], b=['hm', 'what', 'no', 'why'])


def test_first_takes_what_comes_and_reads_the_weights():
  assert voting.first(ASK)(0, TASKS, KEY) == ['so 3', 'hm']
  assert voting.first(ASK)(2, TASKS, KEY) == ['is 2', 'no']


def test_self_consistency_returns_a_text_of_the_most_frequent_answer():
  # Two say 2, one says 3, one does not answer; nobody answers b.
  assert voting.self_consistency(ASK, 4, extract, operator.eq)(0, TASKS, KEY) == ['is 2', 'hm']


def test_votes_count_values_and_not_spellings():
  ask = scripted(a=['7', '18', '18.0', '7', '$18'], b=['x'] * 5)
  number = lambda text: text if text != 'x' else None
  same = lambda a, b: float(a.strip('$')) == float(b.strip('$'))
  assert voting.self_consistency(ask, 5, number, same)(0, TASKS, KEY) == ['18', 'x']
  scores = {'7': 0.5, '18': 0.4, '18.0': 0.4, '$18': 0.4}
  weighted = voting.weighted_vote(ask, 5, number, lambda task, text: scores.get(text), same)
  assert weighted(0, TASKS, KEY) == ['18', 'x']


def test_a_tied_vote_goes_to_the_answer_drawn_first():
  assert voting.self_consistency(ASK, 3, extract, operator.eq)(0, TASKS, KEY)[0] == 'so 3'


def test_best_of_n_returns_the_highest_score_and_the_first_of_equals():
  scores = {'so 3': 0.1, 'no': None, 'is 2': 0.7, 'it 2': 0.7}
  refine = voting.best_of_n(ASK, 4, lambda task, text: scores.get(text))
  assert refine(0, TASKS, KEY) == ['is 2', 'hm']


def test_best_of_n_takes_a_negative_score_over_none():
  refine = voting.best_of_n(ASK, 2, lambda task, text: -1.0 if text == 'no' else None)
  assert refine(0, TASKS[:1], KEY) == ['no']


@pytest.mark.parametrize(
  ('scores', 'chosen'),
  [
    ([0.9, 0.0, 0.4, 0.3], 'so 3'),  # one sure text outweighs two doubtful ones: .9 > .7
    ([0.5, 0.9, 0.2, 0.4], 'it 2'),  # .6 > .5; the better member of the winning answer is returned
    ([0.5, 0.9, 0.25, 0.25], 'is 2'),  # equal weight: more votes
    ([None, None, None, None], 'so 3'),
    ([None, 0.9, 0.0, 0.0], 'is 2'),  # weight 0 still names an answer
  ],
)
def test_weighted_vote_sums_the_scores_of_an_answer(scores, chosen):
  table = dict(zip(['so 3', 'no', 'is 2', 'it 2'], scores))
  refine = voting.weighted_vote(ASK, 4, extract, lambda task, text: table.get(text), operator.eq)
  assert refine(0, TASKS[:1], KEY) == [chosen]


def test_equal_scores_make_a_weighted_vote_a_plain_one():
  generator = np.random.default_rng(0)
  for _ in range(50):
    draws = [f'x {a}' if a else 'none' for a in generator.integers(0, 4, size=7)]
    ask = scripted(a=draws, b=draws)
    weighted = voting.weighted_vote(ask, 7, extract, lambda task, text: 1.0, operator.eq)(
      0, TASKS, KEY
    )
    assert weighted == voting.self_consistency(ask, 7, extract, operator.eq)(0, TASKS, KEY)


def test_a_majority_of_right_answers_beats_a_single_draw():
  # Three of five right on every task, the wrong ones scattered.
  draws = ['x 9', 'x 2', 'x 2', 'x 7', 'x 2']
  ask = scripted(a=draws, b=draws)
  assert voting.self_consistency(ask, 5, extract, operator.eq)(0, TASKS, KEY) == ['x 2', 'x 2']


def test_no_tasks_no_answers():
  assert voting.self_consistency(ASK, 4, extract, operator.eq)(0, [], KEY) == []


@pytest.mark.parametrize('score', [float('nan'), float('inf')])
def test_a_verifier_that_gives_no_number_is_named(score):
  with pytest.raises(ValueError, match="task 'a'.*return None"):
    voting.best_of_n(ASK, 2, lambda task, text: score)(0, TASKS, KEY)


def test_a_negative_weight_is_refused():
  with pytest.raises(ValueError, match='must not be negative'):
    voting.weighted_vote(ASK, 2, extract, lambda task, text: -0.5, operator.eq)(0, TASKS, KEY)


def test_too_few_texts_are_noticed():
  with pytest.raises(ValueError, match='expected 6 for each of 2 prompts'):
    voting.self_consistency(ASK, 6, extract, operator.eq)(0, TASKS, KEY)


def test_n_is_positive():
  with pytest.raises(ValueError, match='n=0'):
    voting.best_of_n(ASK, 0, lambda task, text: 1.0)
