"""Estimators against exact sums and enumeration; intervals against their nominal coverage."""

import itertools
import math
from collections import Counter

import jax
import numpy as np
import pytest

from sirl.ops import stats


def binomial(n, p):
  return [math.comb(n, c) * p**c * (1 - p) ** (n - c) for c in range(n + 1)]


@pytest.mark.parametrize('p', [0.0, 0.1, 0.5, 0.93, 1.0])
@pytest.mark.parametrize(('n', 'k'), [(10, 4), (8, 1), (8, 8), (200, 64)])
def test_pass_at_k_is_unbiased(n, k, p):
  expectation = np.dot(binomial(n, p), stats.pass_at_k(n, np.arange(n + 1), k))
  np.testing.assert_allclose(expectation, 1 - (1 - p) ** k, atol=1e-12)


def test_plug_in_pass_at_k_would_be_biased_low():
  plug_in = np.dot(binomial(10, 0.3), 1 - (1 - np.arange(11) / 10) ** 4)
  assert plug_in < 1 - 0.7**4 - 0.01


def test_pass_at_k_by_hand():
  # n=4, c=1, k=2: of the 6 pairs 3 hold the right one. n=4, c=3, k=2: no pair avoids it.
  np.testing.assert_allclose(stats.pass_at_k([4, 4, 4], [1, 3, 0], 2), [0.5, 1.0, 0.0])


def test_pass_at_k_with_thousands_of_samples_stays_a_probability():
  value = stats.pass_at_k(10_000, 3, 5_000)
  # C(9997, 5000) / C(10000, 5000) = 5000*4999*4998 / (10000*9999*9998)
  np.testing.assert_allclose(value, 1 - 5000 * 4999 * 4998 / (10000 * 9999 * 9998), rtol=1e-9)


@pytest.mark.parametrize(('n', 'c', 'k'), [(4, 1, 5), (4, 1, 0), (4, 5, 2), (4, -1, 2)])
def test_pass_at_k_refuses_impossible_counts(n, c, k):
  with pytest.raises(ValueError, match=f'pass@{k}'):
    stats.pass_at_k(n, c, k)


def enumerated_maj(answers, scores, k):
  values = []
  for subset in itertools.combinations(range(len(answers)), k):
    counts = Counter(answers[i] for i in subset if answers[i] is not None)
    best = [a for a in counts if counts[a] == max(counts.values())]
    mean = lambda a: np.mean([s for b, s in zip(answers, scores) if b == a])
    values.append(np.mean([mean(a) for a in best]) if best else 0.0)
  return np.mean(values)


@pytest.mark.parametrize('k', range(1, 9))
def test_maj_at_k_equals_enumeration_of_all_subsets(k):
  generator = np.random.default_rng(k)
  for _ in range(10):
    answers = [None if a == 0 else int(a) for a in generator.integers(0, 4, size=8)]
    scores = [float(a in (1, 3)) for a in answers]
    exact = stats.maj_at_k(answers, scores, k)
    np.testing.assert_allclose(exact, enumerated_maj(answers, scores, k), atol=1e-12)


def test_maj_at_k_averages_the_verdicts_of_one_answer():
  # Both give 'a', one is accepted: a member of the winning class is right half the time.
  assert stats.maj_at_k(['a', 'a'], [1.0, 0.0], 2) == 0.5


def test_maj_at_one_is_the_mean_score():
  np.testing.assert_allclose(stats.maj_at_k(['a', 'b', 'a', None], [1, 0, 1, 0], 1), 0.5)


def test_maj_at_k_of_many_samples_is_quick_and_right():
  # 40 of 64 right, 24 wrong, k=63: whichever one is left out, the right answer wins.
  assert stats.maj_at_k(['r'] * 40 + ['w'] * 24, [1.0] * 40 + [0.0] * 24, 63) == pytest.approx(1.0)
  # All 64 differ, one right: a subset of 32 holds it half the time and then wins one tie in 32.
  value = stats.maj_at_k(list(range(64)), [1.0] + [0.0] * 63, 32)
  np.testing.assert_allclose(value, 0.5 / 32)


@pytest.mark.parametrize(
  ('answers', 'scores', 'k'), [(['a'], [1.0], 2), (['a'], [1.0, 0.0], 1), ([], [], 1)]
)
def test_maj_at_k_refuses_impossible_sizes(answers, scores, k):
  with pytest.raises(ValueError, match='maj@'):
    stats.maj_at_k(answers, scores, k)


@pytest.mark.parametrize(
  ('answers', 'weights', 'winner'),
  [
    (['a', 'b', 'b'], None, 'b'),
    (['b', 'a', 'a', 'b'], None, 'b'),  # a tie goes to the first seen
    ([None, None, 'a'], None, 'a'),  # abstentions are no answer
    ([None, None], None, None),
    ([], None, None),
    (['a', 'b', 'b'], [3.0, 1.0, 1.0], 'a'),
    (['a', 'b', 'b'], [2.0, 1.0, 1.0], 'b'),  # equal weight: more votes
  ],
)
def test_plurality(answers, weights, winner):
  assert stats.plurality(answers, weights) == winner


def test_merged_answers_count_values_and_not_spellings():
  same = lambda a, b: float(a.strip('$')) == float(b.strip('$'))
  merged = stats.merged(['7', '18', None, '18.0', '$18', '7'], same)
  assert merged == ['7', '18', None, '18', '18', '7']
  assert stats.plurality(merged) == '18'


def test_clustered_sem_by_hand():
  # Task means 1 and 0.5: mean .75, standard deviation sqrt(.125), over sqrt(2): .25.
  mean, sem = stats.clustered_mean([[1, 1], [1, 0]])
  np.testing.assert_allclose([mean, sem], [0.75, 0.25])


def test_samples_of_one_task_count_once_when_they_are_all_alike():
  once = stats.clustered_mean([[1.0], [0.0], [1.0]])
  np.testing.assert_allclose(stats.clustered_mean(np.repeat([[1.0], [0.0], [1.0]], 50, 1)), once)


def test_unjudged_scores_are_left_out_of_the_mean():
  mean, _ = stats.clustered_mean([[1, np.nan], [0, 0], [np.nan, np.nan]])
  np.testing.assert_allclose(mean, 1 / 3)


def test_sem_of_a_single_task_is_unknown_and_the_mean_of_nothing_too():
  assert math.isnan(stats.clustered_mean([[1.0, 0.0]])[1])
  assert all(map(math.isnan, stats.clustered_mean([[np.nan]])))


def test_the_rate_of_one_sample_a_task_is_agresti_and_coull_by_hand():
  # 0 of 10, z^2 = 3.8415: p = 1.9207 / 13.8415 = .13877, half = 1.96 sqrt(p (1 - p) / 13.8415).
  half = 1.959964 * math.sqrt(0.138766 * 0.861234 / 13.841459)
  rate = stats.rate(np.zeros(10))
  assert rate == pytest.approx((0.0, half / 1.959964, 0.0, 0.138766 + half), abs=1e-5)
  # 50 of 100: p = .5, half = 1.96 sqrt(.25 / 103.8415) = .09617.
  rate = stats.rate(np.repeat([0.0, 1.0], 50))
  assert rate[2:] == pytest.approx((0.40383, 0.59617), abs=1e-5)


def test_the_first_success_of_sixteen_tasks_leaves_the_interval_as_wide_as_none():
  scores_PG = np.zeros((16, 8))
  none = stats.rate(scores_PG)
  scores_PG[0, 0] = 1
  one = stats.rate(scores_PG)
  assert (none.low, none.high) == pytest.approx((0.0, 0.227), abs=1e-3)
  assert (one.low, one.high) == pytest.approx((0.0, 0.205), abs=1e-3)


@pytest.mark.parametrize('tasks', [8, 250])
def test_each_further_success_changes_the_interval_by_little(tasks):
  scores_PG = np.zeros((tasks, 8))
  before = stats.rate(scores_PG)
  for p in range(tasks):
    scores_PG[p, p % 8] = 1
    rate = stats.rate(scores_PG)
    assert rate.high >= rate.mean >= rate.low >= 0
    assert 0.8 < rate.sem / before.sem < 1.25
    before = rate


def test_wrong_answers_have_the_interval_of_right_ones_turned_round():
  right_PG = np.random.default_rng(0).random((20, 8)) < 0.1
  few, many = stats.rate(right_PG), stats.rate(~right_PG)
  assert (many.low, many.high) == pytest.approx((1 - few.high, 1 - few.low))


@pytest.mark.parametrize('p', [0.0, 0.003, 0.01, 0.03, 0.1, 0.3, 0.5, 0.8, 0.97, 0.997, 1.0])
def test_a_rate_covers_whether_samples_of_a_task_are_alike_or_independent(p):
  # Exact, by enumeration: 8 tasks of 2 samples are n2 both right, n1 one right, n0 none right.
  intervals = {}
  for n2 in range(9):
    for n1 in range(9 - n2):
      scores_PG = np.zeros((8, 2))
      scores_PG[: n2 + n1, 0] = scores_PG[:n2, 1] = 1
      intervals[n2, n1] = stats.rate(scores_PG)
  for alike in (0.0, 0.2, 0.5, 0.8, 1.0):  # correlation of the two samples of a task
    both, one = p * (p + alike * (1 - p)), 2 * p * (1 - p) * (1 - alike)
    covered = sum(
      math.comb(8, n2)
      * math.comb(8 - n2, n1)
      * both**n2
      * one**n1
      * max(1 - both - one, 0.0) ** (8 - n2 - n1)
      for (n2, n1), rate in intervals.items()
      if rate.low - 1e-12 <= p <= rate.high + 1e-12
    )
    assert covered >= 0.92, alike


@pytest.mark.parametrize('tasks', [16, 100])
@pytest.mark.parametrize('alike', [0.0, 0.2, 0.6, 1.0])
def test_a_rate_of_eight_samples_covers_from_one_end_to_the_other(tasks, alike):
  generator = np.random.default_rng(tasks)
  for p in (0.004, 0.02, 0.1, 0.4, 0.7, 0.95):
    shape, size = 1 / max(alike, 1e-3) - 1, (300, tasks)
    p_P = generator.beta(p * shape, (1 - p) * shape, size) if 0 < alike < 1 else np.full(size, p)
    p_P = (generator.random(size) < p).astype(float) if alike == 1 else p_P
    scores_PG = generator.random((*size, 8)) < p_P[..., None]
    rates = [stats.rate(each_PG) for each_PG in scores_PG]
    covered = np.mean([rate.low <= p <= rate.high for rate in rates])
    assert covered >= 0.91, p  # 300 simulations of .95: standard error .013


def test_independent_samples_narrow_an_interval_and_equal_ones_do_not():
  generator = np.random.default_rng(0)
  scores_PG = generator.random((250, 8)) < 0.5
  width = lambda rate: rate.high - rate.low
  alone = width(stats.rate(scores_PG[:, 0]))
  assert width(stats.rate(scores_PG)) == pytest.approx(alone / math.sqrt(8), rel=0.08)
  alike = width(stats.rate(np.repeat(scores_PG[:, :1], 8, axis=1)))
  assert alike == pytest.approx(alone, rel=1e-3)


def test_a_rate_never_claims_more_than_independent_samples():
  scores_PG = np.tile([1.0, 0.0], (10, 1))  # every task exactly half right: no spread at all
  assert stats.rate(scores_PG) == pytest.approx(stats.rate(scores_PG.ravel()))


def test_a_rate_of_nothing_is_unknown_and_one_task_says_little():
  assert all(map(math.isnan, stats.rate([[np.nan]])))
  assert stats.rate([[1.0] * 8]) == pytest.approx(stats.rate([1.0]))
  assert stats.rate([1.0]).low < 0.25


@pytest.mark.parametrize(
  'estimate', [stats.rate, lambda scores: stats.paired_difference(scores, [0.0, 0.0])]
)
def test_scores_that_are_no_shares_are_refused(estimate):
  with pytest.raises(ValueError, match=r'0.5..1.5 must lie in \[0, 1\]'):
    estimate([0.5, 1.5])


def test_paired_difference_by_hand():
  difference = stats.paired_difference([1, 1, 1, 0], [0, 1, 0, 0])
  # Differences 1 0 1 0 and the imagined 1 -1: mean 1/3, variance 4/6 - 1/9 = 5/9 over 6.
  sem = math.sqrt(5 / 9 / 6)
  assert difference.mean == 0.5
  assert difference.sem == pytest.approx(sem)
  assert (difference.low, difference.high) == pytest.approx(
    (1 / 3 - 1.959964 * sem, 1 / 3 + 1.959964 * sem)
  )
  assert difference.p == pytest.approx(0.5 * math.erfc(1 / 3 / sem / math.sqrt(2)))


def test_two_methods_that_solve_nothing_differ_by_zero_with_an_interval():
  difference = stats.paired_difference(np.zeros(16), np.zeros(16))
  assert difference.mean == 0
  assert difference.high == -difference.low == pytest.approx(1.959964 * math.sqrt(2) / 18)
  assert difference.p == pytest.approx(0.5)


@pytest.mark.parametrize('wins', [0.0, 0.02, 0.1, 0.4])
@pytest.mark.parametrize('losses', [0.0, 0.05, 0.3])
def test_a_paired_difference_covers_by_exact_enumeration(wins, losses):
  P, covered = 16, 0.0
  for n, m in itertools.product(range(P + 1), repeat=2):
    if n + m <= P:
      a_P = np.repeat([1.0, 0.0, 0.0], [n, m, P - n - m])
      b_P = np.repeat([0.0, 1.0, 0.0], [n, m, P - n - m])
      found = stats.paired_difference(a_P, b_P)
      probability = math.comb(P, n) * math.comb(P - n, m) * wins**n * losses**m
      probability *= (1 - wins - losses) ** (P - n - m)
      covered += probability * (found.low <= wins - losses <= found.high)
  assert covered >= 0.92


def test_paired_p_is_uniform_when_nothing_differs():
  draws = np.random.default_rng(2).random(size=(300, 2, 40)) < 0.5
  p = [stats.paired_difference(a, b).p for a, b in draws]
  assert np.mean(np.asarray(p) < 0.05) == pytest.approx(0.05, abs=0.035)
  assert np.mean(p) == pytest.approx(0.5, abs=0.06)


def test_pairing_beats_what_tasks_share():
  solved_P = np.random.default_rng(3).random(100) < 0.5
  better_P = solved_P.copy()
  better_P[np.flatnonzero(~solved_P)[:10]] = True
  assert stats.paired_difference(better_P, solved_P).low > 0
  apart = [stats.rate(scores_P) for scores_P in (better_P, solved_P)]
  assert apart[0].low < apart[1].high


@pytest.mark.parametrize(('a', 'b'), [([1.0], [1.0, 0.0]), ([], []), ([np.nan], [1.0])])
def test_paired_difference_refuses_what_is_not_paired(a, b):
  with pytest.raises(ValueError, match='paired_difference'):
    stats.paired_difference(a, b)


def test_generator_is_a_function_of_the_key():
  draw = lambda seed: stats.generator(jax.random.key(seed)).random()
  assert draw(1) == draw(1) != draw(2)
