"""Scores of tasks: `(weights, tasks) -> float32 numpy [n]`, NaN for a task without a score.

A score that needs the model takes a function that runs it, so this file does not depend on models.
`selectors.by_score` makes a selector from a score.
"""

import numpy as np

MAX_NATS = 80.0  # per token; e^80 still fits in a float32


def perplexity(logp):
  """exp(-mean log-probability per token) of each task, clipped at e^80.

  Args: logp: (weights, tasks) -> [n], mean log-probability per token in nats of a text of the task,
    such as its prompt, or its answer after its prompt.
  """

  def score(weights, tasks):
    nats = -np.asarray(logp(weights, tasks), np.float64)
    return np.exp(np.minimum(nats, MAX_NATS)).astype(np.float32)

  return score


def learnability(rate):
  """p (1 - p) of each task's success rate p: the variance of its outcome.

  It is 0 for tasks that are always or never solved.

  Args: rate: (weights, tasks) -> [n] success rates in [0, 1].
  """

  def score(weights, tasks):
    p = np.asarray(rate(weights, tasks), np.float32)
    return p * (1 - p)

  return score


def difficulty(weights, tasks):
  """`Task.difficulty`, on the scale of the task's generator."""
  del weights
  return np.asarray([task.difficulty for task in tasks], np.float32)
