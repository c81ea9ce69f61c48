"""Evaluation statistics in numpy float64: estimates, errors, intervals, comparisons, votes.

The unit of independence is the task. The G samples of one task are a cluster: a hundred tasks with
eight samples each carry far less information than eight hundred tasks. Every standard error here
accounts for that.
"""

import math
import statistics
from collections import Counter
from collections.abc import Hashable, Sequence
from typing import NamedTuple

import jax
import numpy as np

LARGEST_VOTE = 1000  # above it, binomial coefficients leave the range of float64


class Difference(NamedTuple):
  """Difference a - b between two scores of the same tasks."""

  mean: float
  sem: float
  low: float
  high: float
  p: float  # share of resamples in which a is not better than b; small means a is better


def generator(key):
  """A numpy Generator seeded by an addressed jax key.

  It serves arrays whose size varies, because numpy does not compile for each size.
  """
  return np.random.default_rng(np.asarray(jax.random.key_data(key)).ravel())


# ---------------------------------------------------------------- several samples per task


def pass_at_k(samples, successes, k):
  """Unbiased probability that one or more of k completions are right; c of n samples are right.

  pass@k = 1 - C(n - c, k) / C(n, k) = 1 - prod_{j < k} (n - c - j) / (n - j). Every factor lies in
  [0, 1]. The plug-in estimate 1 - (1 - c/n)^k is biased low.

  Args: samples: n, int or int array; successes: c, int or int array that broadcasts with n; k: int.
  Returns: float64 of the broadcast shape.
  Raises: ValueError unless 1 <= k <= n and 0 <= c <= n.
  Source: Chen et al. 2021, arXiv 2107.03374, eq. 1.
  """
  n, c = np.broadcast_arrays(np.asarray(samples), np.asarray(successes))
  if k < 1 or np.any(n < k):
    raise ValueError(
      f'pass@{k} of n={_range(n)} samples: k must lie in 1..n; draw more samples or lower k.'
    )
  if np.any(c < 0) or np.any(c > n):
    raise ValueError(f'pass@{k}: successes={_range(c)} must lie between 0 and samples={_range(n)}.')

  none_right = np.ones(n.shape)
  for j in range(k):
    none_right = none_right * np.maximum(n - c - j, 0) / (n - j)
  return 1.0 - none_right


def maj_at_k(answers: Sequence[Hashable | None], scores: Sequence[float], k: int) -> float:
  """Expected score of the majority answer among k of n samples of a task, exact over all subsets.

  Samples without an answer (None) may be drawn but do not vote. A draw without any vote scores 0. A
  tie is broken at random, and its expected score is used. The score of an answer is the mean over
  the samples that gave it.

  Method: for every answer with c samples and every winning number of votes v, a product of
  polynomials counts the ways to fill the other k - v places with answers of at most v votes each.
  It counts separately by the number of answers that tie.

  Args: answers: n of them; scores: n in [0, 1]; k: size of a subset.
  Raises: ValueError unless 1 <= k <= n <= 1000.
  """
  n = len(answers)
  if len(scores) != n:
    raise ValueError(f'maj@{k}: {n} answers but {len(scores)} scores; give one score per answer.')
  if not 1 <= k <= n <= LARGEST_VOTE:
    raise ValueError(f'maj@{k} of n={n} samples: expected 1 <= k <= n <= {LARGEST_VOTE}.')

  counts = Counter(answer for answer in answers if answer is not None)
  blank = n - sum(counts.values())
  expected = 0.0
  for winner, c in counts.items():
    value = statistics.fmean(s for a, s in zip(answers, scores) if a == winner)
    if value == 0.0:
      continue
    others = [count for answer, count in counts.items() if answer != winner]
    for votes in range(1, min(c, k) + 1):
      ways_T = _fillings(others, blank, votes, k - votes)
      expected += (
        value * math.comb(c, votes) * float(np.sum(ways_T / np.arange(1, len(ways_T) + 1)))
      )
  return expected / math.comb(n, k)


def _fillings(counts, blank, most, places):
  """Ways to fill `places` with answers of at most `most` votes, by number of answers with `most`.

  Returns: float64 [ties + 1].
  """
  ties = places // most
  ways_FT = np.zeros((places + 1, ties + 1))  # F places filled, T tied answers
  for used in range(min(blank, places) + 1):
    ways_FT[used, 0] = math.comb(blank, used)
  for count in counts:
    grown_FT = np.zeros_like(ways_FT)
    for used in range(min(count, most, places) + 1):
      tied = int(used == most)
      grown_FT[used:, tied:] += (
        math.comb(count, used) * ways_FT[: places + 1 - used, : ties + 1 - tied]
      )
    ways_FT = grown_FT
  return ways_FT[places]


def plurality(answers: Sequence[Hashable | None], weights: Sequence[float] | None = None):
  """The winning answer of a vote, or None when nobody voted.

  The largest total weight wins (each vote weighs 1 by default). Ties go to the answer with more
  votes, then to the one seen first. None is an abstention, never an answer.
  """
  weights = [1.0] * len(answers) if weights is None else weights
  total, votes = {}, Counter()
  for answer, weight in zip(answers, weights, strict=True):
    if answer is not None:
      total[answer] = total.get(answer, 0.0) + weight
      votes[answer] += 1
  # max() returns the first of equals, and a dict keeps the order of insertion.
  return max(total, key=lambda answer: (total[answer], votes[answer]), default=None)


# ---------------------------------------------------------------- errors and intervals


def clustered_mean(scores) -> tuple[float, float]:
  """Mean over all scores and its standard error with tasks as clusters.

  With n_p scores of task p: sem^2 = P / (P - 1) * sum_p (sum_p - mean * n_p)^2 / (sum_p n_p)^2. For
  equal n_p this is the standard deviation of the task means over sqrt(P). So it covers both sources
  of noise: which tasks were drawn, and which samples.

  Args: scores: [P] or [P, G]; NaN entries (not judged) are skipped.
  Returns: (mean, sem); the mean is NaN without any score, the sem is NaN with fewer than two tasks.
  """
  scores = np.asarray(scores, np.float64)
  scores_PG = scores.reshape(len(scores), -1)
  judged_PG = ~np.isnan(scores_PG)
  n_P = judged_PG.sum(1)
  sum_P = np.where(judged_PG, scores_PG, 0.0).sum(1)
  total, tasks = n_P.sum(), np.count_nonzero(n_P)
  if total == 0:
    return math.nan, math.nan
  mean = sum_P.sum() / total
  if tasks < 2:
    return float(mean), math.nan
  squares = np.sum(np.square(sum_P - mean * n_P))
  return float(mean), float(math.sqrt(tasks / (tasks - 1) * squares) / total)


def wilson(successes: float, n: float, confidence: float = 0.95) -> tuple[float, float]:
  """Wilson score interval of a proportion.

  n may be an effective sample size, so n and successes need not be whole numbers. Unlike mean +- z
  sem, the interval stays inside [0, 1] and is not empty for 0 or n successes.
  Source: Wilson 1927.
  Raises: ValueError unless 0 <= successes <= n and n > 0.
  """
  if not 0 <= successes <= n or n <= 0:
    raise ValueError(f'wilson: expected 0 <= successes <= n and n > 0, got {successes} of {n}.')
  z = _z(confidence)
  p = successes / n
  center = (p + z * z / (2 * n)) / (1 + z * z / n)
  half = z / (1 + z * z / n) * math.sqrt(p * (1 - p) / n + z * z / (4 * n * n))
  return max(0.0, center - half), min(1.0, center + half)


def proportion_interval(
  scores, *, per_task: int = 1, confidence: float = 0.95
) -> tuple[float, float]:
  """Wilson interval of a mean of clustered scores in [0, 1], at the effective sample size.

  n_eff = mean (1 - mean) / sem^2, clipped to the range from P (the samples of a task are all alike)
  to P * per_task (all samples are independent). If every score is 0 or every score is 1, the sem is
  uninformative and n_eff = P.

  Args: scores: [P] or [P, G]; per_task: number of samples behind each row, at least G for [P, G].
  Returns: (low, high); NaN without any score.
  Raises: ValueError for a score outside [0, 1].
  """
  scores = np.asarray(scores, np.float64)
  mean, sem = clustered_mean(scores)
  if math.isnan(mean):
    return math.nan, math.nan
  if np.nanmin(scores) < 0 or np.nanmax(scores) > 1:
    raise ValueError(f'scores={_range(scores)} must lie in [0, 1] for an interval of a proportion.')
  judged_P = ~np.all(np.isnan(scores.reshape(len(scores), -1)), axis=1)
  tasks = np.count_nonzero(judged_P)
  width = max(per_task, scores.size // len(scores))
  spread = mean * (1 - mean)
  if spread <= 0 or math.isnan(sem):
    n = tasks
  else:
    n = tasks * width if sem == 0 else min(max(spread / sem**2, tasks), tasks * width)
  return wilson(mean * float(n), float(n), confidence)


def bootstrap_interval(
  values_P,
  generator: np.random.Generator,
  *,
  statistic=lambda values_RP: values_RP.mean(1),
  resamples: int = 10_000,
  confidence: float = 0.95,
) -> tuple[float, float]:
  """Percentile bootstrap over tasks.

  Args: values_P: one value per task; generator: seeded by the caller; statistic: [R, P] -> [R].
  Returns: (low, high), both equal to the value itself when all tasks agree.
  """
  values_P = _values(values_P, 'bootstrap_interval')
  estimates_R = _resample(values_P, generator, statistic, resamples)
  tail = (1 - confidence) / 2
  low, high = np.quantile(estimates_R, [tail, 1 - tail])
  return float(low), float(high)


def paired_difference(
  a_P,
  b_P,
  generator: np.random.Generator,
  *,
  resamples: int = 10_000,
  confidence: float = 0.95,
) -> Difference:
  """Mean of a - b over the same tasks, a bootstrap interval over tasks and a one-sided p-value.

  p = (1 + #{resampled difference <= 0}) / (1 + resamples), for the hypothesis that a is not better.
  Args: a_P, b_P: one value per task, in the same order.
  """
  a_P, b_P = _values(a_P, 'paired_difference'), _values(b_P, 'paired_difference')
  if a_P.shape != b_P.shape:
    raise ValueError(
      f'paired_difference: {a_P.size} and {b_P.size} values; pair the same tasks in the same order.'
    )
  difference_P = a_P - b_P
  mean, sem = clustered_mean(difference_P)
  estimates_R = _resample(difference_P, generator, lambda values_RP: values_RP.mean(1), resamples)
  tail = (1 - confidence) / 2
  low, high = np.quantile(estimates_R, [tail, 1 - tail])
  p = (1 + np.count_nonzero(estimates_R <= 0)) / (1 + resamples)
  return Difference(mean, sem, float(low), float(high), float(p))


def _resample(values_P, generator, statistic, resamples, chunk=1_000):
  """Statistic of `resamples` draws of P tasks with replacement, float64 [resamples]."""
  parts = []
  for start in range(0, resamples, chunk):
    shape = (min(chunk, resamples - start), values_P.size)
    parts.append(statistic(values_P[generator.integers(values_P.size, size=shape)]))
  return np.concatenate(parts)


def _values(values_P, who):
  values_P = np.asarray(values_P, np.float64)
  if values_P.ndim != 1 or values_P.size == 0 or not np.all(np.isfinite(values_P)):
    raise ValueError(
      f'{who}: expected one finite value per task, '
      f'got shape {values_P.shape} of {_range(values_P)}.'
    )
  return values_P


def _z(confidence):
  if not 0 < confidence < 1:
    raise ValueError(f'confidence={confidence} must lie strictly between 0 and 1; 0.95 is usual.')
  return statistics.NormalDist().inv_cdf(0.5 + confidence / 2)


def _range(x):
  x = np.asarray(x)
  if x.size == 0:
    return 'nothing'
  return f'{x.min()}' if x.min() == x.max() else f'{x.min()}..{x.max()}'
