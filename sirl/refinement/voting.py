"""Refiners that draw several answers and keep one: (weights, tasks, key) -> one text per task.

  first              no refinement, the baseline of the others
  self_consistency   the most frequent answer
  best_of_n          the highest verifier score
  weighted_vote      the answer with the largest sum of verifier scores

Each returns a full text that was drawn, not an extracted answer. The earlier draw wins a tie; the
key fixes the order of draws.
"""

import math
from collections.abc import Sequence

from sirl import ranges
from sirl.ops import stats
from sirl.slots import Ask, Extract, Refine, Same, Verify
from sirl.tasks import Task


def first(ask: Ask) -> Refine:
  """One answer, without refinement."""

  def refine(weights, tasks, key):
    return [texts[0] for texts in _drawn(ask, weights, tasks, key, 1)]

  return refine


def self_consistency(ask: Ask, n: int, extract: Extract, same: Same) -> Refine:
  """The first of n texts that gives the most frequent answer.

  Texts without an answer do not vote. If no text has one, returns the first text.

  Args: same: whether two answers count as one: `answers.same` for 18, 18.0 and $18, operator.eq for
    equal texts only.
  Source: Wang et al. 2022, arXiv 2203.11171; the paper draws 40 at temperature 0.7.
  """
  _check(n)

  def refine(weights, tasks, key):
    chosen = []
    for texts in _drawn(ask, weights, tasks, key, n):
      answers = stats.merged([extract(text) for text in texts], same)
      winner = stats.plurality(answers)
      chosen.append(texts[0] if winner is None else texts[answers.index(winner)])
    return chosen

  return refine


def best_of_n(ask: Ask, n: int, verifier: Verify) -> Refine:
  """The one of n texts that the verifier scores highest.

  Returns the first of equally scored texts, and the first text if the verifier judges none. A
  larger n over-optimises an imperfect verifier; weighted_vote is safer then.
  """
  _check(n)

  def refine(weights, tasks, key):
    chosen = []
    for task, texts in zip(tasks, _drawn(ask, weights, tasks, key, n)):
      scores = [_score(verifier, task, text) for text in texts]
      judged = {i: score for i, score in enumerate(scores) if score is not None}
      chosen.append(texts[max(judged, key=judged.__getitem__, default=0)])
    return chosen

  return refine


def weighted_vote(ask: Ask, n: int, extract: Extract, verifier: Verify, same: Same) -> Refine:
  """Finds the answer with the largest sum of scores, and returns its highest-scored text.

  A text without an answer or a score does not vote. If no text votes, returns the first text.
  Raises: ValueError when refining, for a negative score, because scores are weights.
  Source: Li et al. 2022, arXiv 2206.02336 (voting verifier).
  """
  _check(n)

  def refine(weights, tasks, key):
    chosen = []
    for task, texts in zip(tasks, _drawn(ask, weights, tasks, key, n)):
      scores = [_score(verifier, task, text) for text in texts]
      if any(score is not None and score < 0 for score in scores):
        raise ValueError(
          f'weighted_vote: scores {scores} of task {task.id!r} must not be negative; shift them or '
          'use best_of_n.'
        )
      answers = [None if score is None else extract(text) for text, score in zip(texts, scores)]
      answers = stats.merged(answers, same)
      winner = stats.plurality(answers, [score or 0.0 for score in scores])
      members = {
        i: score
        for i, (answer, score) in enumerate(zip(answers, scores))
        if winner is not None and answer == winner and score is not None
      }
      chosen.append(texts[max(members, key=members.__getitem__, default=0)])
    return chosen

  return refine


def _drawn(ask: Ask, weights, tasks: Sequence[Task], key, n: int) -> list[list[str]]:
  groups = ask(weights, [task.prompt for task in tasks], key, n)
  if len(groups) != len(tasks) or any(len(texts) != n for texts in groups):
    raise ValueError(
      f'ask gave {[len(texts) for texts in groups]} texts, expected {n} for each of {len(tasks)} '
      'prompts'
    )
  return groups


def _score(verifier, task, text):
  score = verifier(task, text)
  if score is not None and not math.isfinite(score):
    raise ValueError(
      f'the verifier gave {score} on task {task.id!r}, text {text[:200]!r}; return None when it '
      'cannot tell.'
    )
  return score


def _check(n):
  ranges.whole('n', n)
