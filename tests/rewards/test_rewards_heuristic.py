"""Format, length, repetition, vote: exact values."""

import operator
import re
import time

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from sirl import rewards
from sirl.domains import answers
from sirl.rewards import heuristic
from sirl.tasks import Task
from sirl.types import Rollouts, Samples

NAN = np.nan
NOBODY = {'policy': None}  # weights that no reward reads
TASK = Task(id='t', prompt='1+1?')


def make_samples(texts, ids=None, lengths=None):
  p, g = len(texts), len(texts[0])
  lengths_PG = np.ones((p, g), int) if lengths is None else np.asarray(lengths)
  action = np.arange(12) < lengths_PG[..., None]
  arrays = (action * 1, action, action, action * 1.0, np.zeros((p, g), bool))
  tasks = [Task(id=i, prompt=i) for i in ids or [f't{i}' for i in range(p)]]
  return Samples(tasks, texts, Rollouts(*map(jnp.asarray, arrays)))


@pytest.mark.parametrize(
  ('text', 'score'),
  [
    (r'so \boxed{42}.', 1),
    (r'\boxed{\frac{1}{2}}', 1),
    (r'\boxed {7}', 1),
    (r'\boxed{} then \boxed{3}', 1),
    (r'\boxed{ }', 0),
    (r'\boxed{\frac{1}{2}', 0),
    (r'\boxed{\left\{1, 2\right.}', 1),
    (r'\boxed{3\}', 0),
    (r'} \boxed{3}', 1),
    (r'{ \boxed{3', 0),
    ('boxed{3}', 0),
    ('', 0),
  ],
)
def test_boxed_wants_a_closed_box_with_something_in_it(text, score):
  assert heuristic.boxed(TASK, text) == score


def test_matches_wants_the_whole_text():
  number = heuristic.matches(r'-?\d+')
  assert [number(TASK, text) for text in ('42', ' -7\n', '42.', 'x 42', '')] == [1, 1, 0, 0, 0]
  assert heuristic.matches('a.b')(TASK, 'a\nb') == 1  # the dot takes line breaks
  assert heuristic.matches('yes', re.IGNORECASE)(TASK, 'YES') == 1


@pytest.mark.parametrize(
  ('text', 'score'),
  [
    ('<think>hm</think> so <answer>4</answer>', 1),
    ('<think>\nhm\n</think><answer>\n4\n</answer>', 1),
    ('<answer>4</answer><think>hm</think>', 0),
    ('<think>hm</think><answer>4</answer><answer>5</answer>', 0),
    ('<think>hm<answer>4</think></answer>', 0),
    ('<think>hm</think><answer> </answer>', 0),
    ('<think>hm</think><answer>4', 0),
    ('4', 0),
  ],
)
def test_tagged_wants_every_tag_once_and_in_order(text, score):
  assert heuristic.tagged('think', 'answer')(TASK, text) == score


@pytest.mark.parametrize('names', [(), ('think', 'think')])
def test_tagged_names_at_least_one_tag_and_each_once(names):
  with pytest.raises(ValueError, match='at least one tag, and each once'):
    heuristic.tagged(*names)


# What a degenerate policy writes until its limit, 100 kB of each.
REPEATED = [r'\boxed{', r'\boxed{}', r'\boxed{ ', '{', '}', '\\', ' ', '\n', 'a ', 'a', '<think>', '</think>', '<think> ', '<answer></think>', '1,', '1 ']  # fmt: skip


@pytest.mark.parametrize(
  'score',
  [
    heuristic.boxed,
    heuristic.tagged('think', 'answer'),
    heuristic.matches(r'\s*<think>[^<]*</think>\s*<answer>[^<]*</answer>\s*'),
    heuristic.repetition(3),
    lambda task, text: heuristic.majority_vote(first_number, same=operator.eq)(task, [text] * 2),
  ],
  ids=['boxed', 'tagged', 'matches', 'repetition', 'majority_vote'],
)
@pytest.mark.parametrize(
  'frame', ['{}', '<think>{}', r'\boxed{{{}', '{}</think><answer>4</answer>']
)
def test_every_scorer_is_linear_in_what_a_degenerate_policy_writes(score, frame):
  for unit in REPEATED:
    text = frame.format(unit * (100_000 // len(unit)))
    started = time.perf_counter()
    score(TASK, text)
    # A few milliseconds each; a scorer of quadratic time would take minutes.
    assert time.perf_counter() - started < 2, repr(text[:40])


def test_length_counts_the_tokens_that_the_policy_chose():
  samples = make_samples([['', '', '']], lengths=[[0, 5, 12]])
  found = rewards.on_device(heuristic.length)(NOBODY, samples, jax.random.key(0))
  np.testing.assert_array_equal(found.total, [[0, 5, 12]])
  assert list(found.parts) == ['length']


def test_soft_overlong_falls_in_a_line_and_is_continuous_at_both_ends():
  samples = make_samples([[''] * 13], lengths=[range(13)])
  reward = rewards.on_device(heuristic.soft_overlong(longest=10, buffer=4))
  found = reward(NOBODY, samples, jax.random.key(0)).total
  # 0 up to 6 tokens, then (6 - n) / 4, and -1 from 10 on.
  np.testing.assert_allclose(found, [[0, 0, 0, 0, 0, 0, 0, -0.25, -0.5, -0.75, -1, -1, -1]])


@pytest.mark.parametrize(('longest', 'buffer'), [(4, 5), (4, 0)])
def test_soft_overlong_refuses_a_buffer_that_does_not_fit(longest, buffer):
  with pytest.raises(ValueError, match=f'buffer={buffer}'):
    heuristic.soft_overlong(longest, buffer)


def test_repetition_is_the_share_of_repeated_n_grams():
  # 'a b a b a' has the pairs ab ba ab ba: 2 of 4 distinct.
  assert heuristic.repetition(2)(TASK, 'a b a b a') == -0.5
  assert heuristic.repetition(2, penalty=4.0)(TASK, 'a b a b a') == -2.0
  assert heuristic.repetition(3)(TASK, 'a b c d e') == 0
  assert heuristic.repetition(3)(TASK, 'a b') == 0


def first_number(text):
  found = re.search(r'\d+', text)
  return found and found.group()


def vote(texts, **kwargs):
  reward = rewards.per_group(heuristic.majority_vote(first_number, same=operator.eq, **kwargs))
  return reward(NOBODY, make_samples([texts]), jax.random.key(0))


def test_majority_vote_rewards_the_most_frequent_answer():
  found = vote(['it is 4', '5', '4', 'no idea'])
  np.testing.assert_array_equal(found.total, [[1, 0, 1, 0]])
  np.testing.assert_array_equal(found.parts['majority_ratio'], [[0.5] * 4])
  np.testing.assert_array_equal(found.parts['parsed'], [[1, 1, 1, 0]])
  assert set(found.parts) == {'vote', 'majority_ratio', 'parsed'}


def test_three_spellings_of_a_value_win_against_two_of_another():
  texts = ['7', '18', '18.0', '7', '$18']
  fn = heuristic.majority_vote(answers.final, same=answers.same)
  found = rewards.per_group(fn)(NOBODY, make_samples([texts]), jax.random.key(0))
  np.testing.assert_array_equal(found.total, [[0, 1, 1, 0, 1]])


def test_a_vote_must_be_told_what_is_one_answer_since_spellings_would_split_a_value():
  with pytest.raises(TypeError, match="'same'"):
    heuristic.majority_vote(answers.final)  # ty: ignore[missing-argument]


def test_texts_without_an_answer_never_win():
  np.testing.assert_array_equal(vote(['?', '?', '?', '7']).total, [[0, 0, 0, 1]])


def test_a_tie_goes_to_the_answer_seen_first():
  np.testing.assert_array_equal(vote(['5', '4', '4', '5']).total, [[1, 0, 0, 1]])


def test_a_group_that_never_answers_is_judged_zero():
  found = vote(['?', 'hm'])
  np.testing.assert_array_equal(found.total, [[0, 0]])
  np.testing.assert_array_equal(found.parts['majority_ratio'], [[0, 0]])


def test_more_samples_vote_than_are_trained_on():
  found = vote(['5', '4', '4', '4'], train=2)
  np.testing.assert_array_equal(found.total, [[0, 1, NAN, NAN]])
  np.testing.assert_array_equal(found.parts['parsed'], [[1, 1, 1, 1]])


@pytest.mark.parametrize('train', [0, 3])
def test_train_must_fit_the_group(train):
  with pytest.raises(ValueError, match=f'train={train}'):
    vote(['1', '2'], train=train)


def test_the_error_of_a_wrong_label_is_its_share_and_that_of_the_right_answer():
  # Label 7 (4 of 10) is wrong, the right answer is 4 (3 of 10); the other wrong answers are rightly
  # paid 0.
  answers = ['7'] * 4 + ['4'] * 3 + ['1', '2', '?']
  voted = vote(answers).total[0]
  deserved = np.asarray([answer == '4' for answer in answers])
  assert np.mean(voted != deserved) == pytest.approx(0.4 + 0.3)


def test_the_label_being_right_makes_no_reward_error():
  answers = ['4'] * 4 + ['7'] * 3 + ['1', '2', '?']
  np.testing.assert_array_equal(vote(answers).total[0], [answer == '4' for answer in answers])


def test_random_reward_has_its_probability_whatever_the_texts():
  draw = heuristic.random_reward(0.25)
  found = draw(NOBODY, make_samples([['a'] * 100] * 40), jax.random.key(1)).total
  assert set(np.unique(found)) == {0.0, 1.0}
  assert found.mean() == pytest.approx(0.25, abs=4 * np.sqrt(0.25 * 0.75 / 4000))
  again = draw(NOBODY, make_samples([['b'] * 100] * 40), jax.random.key(1)).total
  np.testing.assert_array_equal(found, again)


def test_random_reward_follows_its_task_wherever_it_stands():
  draw = heuristic.random_reward()
  rows = ['x'] * 32
  there = draw(NOBODY, make_samples([rows, rows], ['a', 'b']), jax.random.key(2)).total
  back = draw(NOBODY, make_samples([rows, rows], ['b', 'a']), jax.random.key(2)).total
  np.testing.assert_array_equal(there, back[::-1])
  twice = draw(NOBODY, make_samples([rows, rows], ['a', 'a']), jax.random.key(2)).total
  np.testing.assert_array_equal(twice[0], there[0])
  assert np.any(twice[0] != twice[1])  # the second group of a task continues its sample numbers


def test_random_reward_wants_a_probability():
  with pytest.raises(ValueError, match='p=2'):
    heuristic.random_reward(2)
