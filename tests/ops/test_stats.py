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


def test_wilson_by_hand():
  # 0 of 10 at 95%: high = z^2 / (n + z^2) = 3.8415 / 13.8415.
  np.testing.assert_allclose(stats.wilson(0, 10), (0.0, 3.841459 / 13.841459), atol=1e-6)
  # 50 of 100: .5 +- z / (1 + z^2/n) * sqrt(.25/n + z^2 / 4n^2) = (.4038, .5962).
  np.testing.assert_allclose(stats.wilson(50, 100), (0.40383, 0.59617), atol=1e-5)


def test_wilson_refuses_more_successes_than_trials():
  with pytest.raises(ValueError, match='3 of 2'):
    stats.wilson(3, 2)


@pytest.mark.parametrize('p', [0.05, 0.3, 0.9])
def test_wilson_covers_a_proportion(p):
  n, probabilities = 60, binomial(60, p)
  covered = [low <= p <= high for low, high in (stats.wilson(c, n) for c in range(n + 1))]
  # Exact coverage over all counts; Wilson's stays within a few points of 95% for these p.
  assert 0.92 <= np.dot(probabilities, covered) <= 0.985


@pytest.mark.parametrize(('a', 'b'), [(1.0, 1.0), (0.2, 0.8), (8.0, 2.0)])
def test_proportion_interval_covers_when_tasks_differ_in_difficulty(a, b):
  generator = np.random.default_rng(0)
  p_P = generator.beta(a, b, size=(800, 50))
  scores_PG = generator.random((800, 50, 8)) < p_P[..., None]
  intervals = [stats.proportion_interval(row_PG) for row_PG in scores_PG]
  covered = np.mean([low <= a / (a + b) <= high for low, high in intervals])
  assert 0.93 <= covered <= 0.975  # 800 simulations: standard error .008

  # The interval that takes all 400 samples for independent covers too rarely here.
  naive = [stats.wilson(row_PG.sum(), row_PG.size) for row_PG in scores_PG]
  assert np.mean([low <= a / (a + b) <= high for low, high in naive]) < covered - 0.02


def test_proportion_interval_at_the_ends_rests_on_the_number_of_tasks():
  assert stats.proportion_interval(np.ones((20, 8))) == stats.wilson(20, 20)
  assert stats.proportion_interval(np.zeros(20)) == stats.wilson(0, 20)


def test_proportion_interval_never_claims_more_than_independent_samples():
  scores_PG = np.tile([1.0, 0.0], (10, 1))  # every task exactly half right: the sem is 0
  assert stats.proportion_interval(scores_PG) == stats.wilson(10, 20)


def test_proportion_interval_refuses_scores_that_are_no_shares():
  with pytest.raises(ValueError, match=r'must lie in \[0, 1\]'):
    stats.proportion_interval([0.5, 1.5])


def test_bootstrap_interval_covers_a_mean():
  generator = np.random.default_rng(1)
  rows = generator.gamma(4.0, size=(400, 60))
  intervals = [stats.bootstrap_interval(row, generator, resamples=500) for row in rows]
  covered = np.mean([low <= 4.0 <= high for low, high in intervals])
  assert 0.91 <= covered <= 0.975  # the percentile bootstrap is a little short at n=60


def test_same_seed_same_bootstrap():
  run = lambda seed: stats.bootstrap_interval([0, 1, 1, 0, 1.0], np.random.default_rng(seed))
  assert run(3) == run(3)


def test_paired_difference_by_hand():
  difference = stats.paired_difference([1, 1, 1, 0], [0, 1, 0, 0], np.random.default_rng(0))
  # Differences 1, 0, 1, 0: mean .5, sem sqrt(1/3)/2.
  np.testing.assert_allclose([difference.mean, difference.sem], [0.5, math.sqrt(1 / 3) / 2])
  # A resample of 4 has mean <= 0 exactly when it draws only zeros: (1/2)^4.
  assert difference.p == pytest.approx(1 / 16, abs=0.01)
  assert (difference.low, difference.high) == (0.0, 1.0)


def test_paired_p_is_uniform_when_nothing_differs():
  generator = np.random.default_rng(2)
  draws = generator.normal(size=(300, 2, 40))
  p = [stats.paired_difference(a, b, generator, resamples=300).p for a, b in draws]
  assert np.mean(np.asarray(p) < 0.05) == pytest.approx(0.05, abs=0.035)
  assert np.mean(p) == pytest.approx(0.5, abs=0.06)


def test_pairing_beats_what_tasks_share():
  generator = np.random.default_rng(3)
  task_P = generator.normal(size=100) * 10
  difference = stats.paired_difference(task_P + 0.5, task_P, generator)
  assert difference.low > 0


@pytest.mark.parametrize(('a', 'b'), [([1.0], [1.0, 2.0]), ([], []), ([np.nan], [1.0])])
def test_paired_difference_refuses_what_is_not_paired(a, b):
  with pytest.raises(ValueError, match='paired_difference'):
    stats.paired_difference(a, b, np.random.default_rng(0))


def test_generator_is_a_function_of_the_key():
  draw = lambda seed: stats.generator(jax.random.key(seed)).random()
  assert draw(1) == draw(1) != draw(2)
