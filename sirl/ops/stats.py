"""Evaluation statistics in numpy float64: estimates, errors, intervals, comparisons, votes.

The unit of independence is the task. The G samples of one task are a cluster: a hundred tasks with
eight samples each carry far less information than eight hundred tasks. Every standard error here
accounts for that.

`rate` is the one rule for the error and the interval of a share, `paired_difference` for the
difference of two shares on the same tasks. Neither is ever empty: none of sixteen tasks solved does
not show that nothing can be solved.
"""

import math
import statistics
from collections import Counter
from collections.abc import Hashable, Sequence
from typing import NamedTuple

import jax
import numpy as np

from sirl import ranges

LARGEST_VOTE = 1000  # above it, binomial coefficients leave the range of float64


# Of `rate`: p (1 - p) summed over two imagined tasks, whose samples are all alike.
ALIKE = 0.5


class Rate(NamedTuple):
  """A share of successes with its error; NaN everywhere where nothing was counted."""

  mean: float
  sem: float  # half the width of the interval before it is cut to [0, 1], over z
  low: float
  high: float


class Difference(NamedTuple):
  """Difference a - b between two shares of the same tasks."""

  mean: float
  sem: float
  low: float
  high: float
  p: float  # one-sided, of the hypothesis that a is not better; small means a is better


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
  k = ranges.whole('k', k, None, None)
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


def merged(answers: Sequence, same) -> list:
  """The answers, each replaced by the first of them that is the same: '18.0' by an earlier '18'.

  Votes then count values, not spellings. None stays None.
  Args: same: (answer, answer) -> bool, such as `domains.answers.same`.
  """
  firsts = {}  # answer -> the first that is the same
  for answer in answers:
    if answer is not None and answer not in firsts:
      known = dict.fromkeys(firsts.values())
      firsts[answer] = next((first for first in known if same(answer, first)), answer)
  return [None if answer is None else firsts[answer] for answer in answers]


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


def rate(scores, *, per_task: int = 1, confidence: float = 0.95) -> Rate:
  """The mean of clustered scores in [0, 1], with the error and interval of a share.

  n is the effective number of samples: P (1 / s) where s is the share of the variance m (1 - m) of
  one sample that the mean of a task still has. s lies between 1 / per_task (samples of a task are
  independent) and 1 (they are all alike). Few successes say little about s, so its estimate is
  drawn towards 1 by two imagined tasks whose samples are all alike:
  s = (P V + 1/2) / (P m (1 - m) + 1/2), with V the variance of the task means.
  The interval is that of Agresti and Coull at n: with p = (n m + z^2 / 2) / (n + z^2), it is
  p +- z sqrt(p (1 - p) / (n + z^2)), cut to [0, 1]. So 0 of n, 1 of n and n of n have one rule, and
  the interval covers the truth in 92 % of draws or more at any rate and any s, from 8 tasks on.
  Source: Agresti and Coull 1998. Differs: n is an effective number.

  Args: scores: [P] or [P, G], NaN is not judged; per_task: number of samples behind each row, at
    least G for [P, G].
  Raises: ValueError for a score outside [0, 1].
  """
  scores = np.asarray(scores, np.float64)
  mean, sem = clustered_mean(scores)
  if math.isnan(mean):
    return Rate(math.nan, math.nan, math.nan, math.nan)
  _check_shares(scores, 'rate')
  tasks = int(np.sum(~np.all(np.isnan(scores.reshape(len(scores), -1)), axis=1)))
  width = max(per_task, scores.size // len(scores))
  left = 1.0
  if tasks > 1:
    left = ((tasks * sem) ** 2 + ALIKE) / (tasks * mean * (1 - mean) + ALIKE)
  n = tasks / min(max(left, 1 / width), 1.0)

  z = _z(confidence)
  center = (n * mean + z * z / 2) / (n + z * z)
  sem = math.sqrt(center * (1 - center) / (n + z * z))
  return Rate(mean, sem, max(0.0, center - z * sem), min(1.0, center + z * sem))


def paired_difference(a_P, b_P, *, confidence: float = 0.95) -> Difference:
  """Mean of a - b over the same tasks, with the error and interval of a difference of shares.

  Two imagined tasks join the P real ones, one that only a solves and one that only b solves. So two
  methods that agree on every task still have an interval. With d the mean and v the variance of the
  P + 2 differences, it is d +- z sqrt(v / (P + 2)); p is that of d in the same normal distribution.
  Source: Bonett and Price 2012, J. Educ. Behav. Stat. 37(4).

  Args: a_P, b_P: one score in [0, 1] per task, in the same order.
  """
  a_P, b_P = _values(a_P, 'paired_difference'), _values(b_P, 'paired_difference')
  if a_P.shape != b_P.shape:
    raise ValueError(
      f'paired_difference: {a_P.size} and {b_P.size} values; pair the same tasks in the same order.'
    )
  difference_P = a_P - b_P
  imagined = np.append(difference_P, [1.0, -1.0])
  center, z = float(imagined.mean()), _z(confidence)
  sem = float(imagined.std()) / math.sqrt(imagined.size)
  return Difference(
    mean=float(difference_P.mean()),
    sem=sem,
    low=max(-1.0, center - z * sem),
    high=min(1.0, center + z * sem),
    p=statistics.NormalDist().cdf(-center / sem),
  )


def _values(values_P, who):
  values_P = np.asarray(values_P, np.float64)
  if values_P.ndim != 1 or values_P.size == 0 or not np.all(np.isfinite(values_P)):
    raise ValueError(
      f'{who}: expected one finite value per task, '
      f'got shape {values_P.shape} of {_range(values_P)}.'
    )
  _check_shares(values_P, who)
  return values_P


def _check_shares(scores, who):
  if np.nanmin(scores) < 0 or np.nanmax(scores) > 1:
    raise ValueError(f'{who}: scores={_range(scores)} must lie in [0, 1] for an error of a share.')


def _z(confidence):
  ranges.real('confidence', confidence, above=0, below=1)
  return statistics.NormalDist().inv_cdf(0.5 + confidence / 2)


def _range(x):
  x = np.asarray(x)
  if x.size == 0:
    return 'nothing'
  return f'{x.min()}' if x.min() == x.max() else f'{x.min()}..{x.max()}'
