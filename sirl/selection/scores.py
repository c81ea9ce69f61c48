"""Scores of tasks: `(weights, tasks) -> float32 numpy [n]`, NaN where a task cannot be scored.

A score that needs the model receives the model's part as a function, so this file knows no model. `selectors.by_score`
turns a score into a selector.
"""

import numpy as np

MAX_NATS = 80.0  # per token; e^80 is still a float32


def perplexity(logp):
  """exp(-mean log-probability per token) of each task, clipped at e^80.

  Args: logp: (weights, tasks) -> [n], mean log-probability per token in nats of whatever text of the task is judged (its
  prompt, its answer after its prompt).
  """

  def score(weights, tasks):
    nats = -np.asarray(logp(weights, tasks), np.float64)
    return np.exp(np.minimum(nats, MAX_NATS)).astype(np.float32)

  return score


def learnability(rate):
  """p (1 - p) of each task's success rate: the variance of its outcome, 0 where there is nothing to learn from.

  Args: rate: (weights, tasks) -> [n] success rates in [0, 1].
  """

  def score(weights, tasks):
    p = np.asarray(rate(weights, tasks), np.float32)
    return p * (1 - p)

  return score


def difficulty(weights, tasks):
  """The generator's own scale, `Task.difficulty`."""
  del weights
  return np.asarray([task.difficulty for task in tasks], np.float32)
