"""Evaluators that watch for known failures of a closed loop. They measure; `steering` decides.

  autophagy      the loop trains on its own output: less distinct text, duplicates, a synthetic pool
  feedback       the reward is wrong: its agreement with a verifier where answers exist
  optimization   the policy drifts: entropy, KL, length, truncation and ties within the round
  consensus      a check that needs no answers: the policy's answers to a fixed set of prompts

Metrics are named monitor/... A metric that cannot be measured this round is absent, for example
before the first step or without a task that has an answer.
Never train on what a monitor measures: it would stop measuring.
"""

from collections import Counter
from collections.abc import Sequence

import jax
import numpy as np

from sirl import ranges
from sirl.evaluation.benchmarks import merge
from sirl.ops import keys, stats
from sirl.slots import Ask, Evaluate, Evaluator, Extract, Same, Verify
from sirl.tasks import Task

LAST = ('entropy', 'kl', 'completions/clipped_ratio', 'frac_reward_zero_std')


def standard(verify: Verify | None = None) -> Evaluate:
  """The monitors autophagy and optimization, and with a verifier also feedback."""
  return merge(autophagy(), optimization(), *([feedback(verify)] if verify else []))


def autophagy(ns: Sequence[int] = (1, 2, 4)) -> Evaluate:
  """Diversity of the last step's texts, and the origin of the pool's tasks.

  monitor/distinct_{n}       distinct over all n-grams of words
  monitor/duplicate_share    completions that repeat an earlier one of their group, word for word
  monitor/synthetic_share    tasks of the pool whose origin is 'synthetic'
  A text of fewer than n words counts as one n-gram. Distinct-n falls as texts get longer or more
  numerous, so compare rounds of one run, not different runs.
  Source: distinct-n, Li et al. 2016, arXiv 1510.03055.
  """

  def evaluate(weights, record, context):
    del weights, context
    metrics = {}
    if len(record.pool):
      metrics['monitor/synthetic_share'] = float(
        np.mean([task.origin == 'synthetic' for task in record.pool])
      )
    if record.outcome is None:
      return metrics
    groups = record.outcome.samples.texts
    texts = [text for group in groups for text in group]
    for n in ns:
      grams = [gram for text in texts for gram in _grams(text.split(), n)]
      if grams:
        metrics[f'monitor/distinct_{n}'] = len(set(grams)) / len(grams)
    metrics['monitor/duplicate_share'] = sum(
      len(group) - len(set(group)) for group in groups
    ) / len(texts)
    return metrics

  return evaluate


def feedback(verify: Verify, *, part: str | None = None, threshold: float = 0.5) -> Evaluate:
  """Agreement of the reward with a verifier, on the last step's tasks that have an answer.

  monitor/feedback_agreement   both accept or both reject (reward >= threshold, verify = 1)
  monitor/false_positive       share of wrong completions that the reward accepts
  monitor/false_negative       share of right completions that the reward rejects
  Training improves the policy only while false_positive + false_negative < 1.

  Args: part: the part of the reward to check; None checks the total.
  """
  threshold = ranges.real('threshold', threshold)

  def evaluate(weights, record, context):
    del weights, context
    if record.outcome is None:
      return {}
    samples, rewards = record.outcome.samples, record.outcome.rewards
    if part is not None and part not in rewards.parts:
      raise ValueError(
        f'feedback: no part {part!r} in the reward; it has {", ".join(sorted(rewards.parts))}'
      )
    reward_PG = np.asarray(rewards.total if part is None else rewards.parts[part])
    right_PG = np.full(reward_PG.shape, np.nan)
    for p, (task, texts) in enumerate(zip(samples.tasks, samples.texts)):
      if task.answer is not None:
        verdicts = [verify(task, text) for text in texts]
        right_PG[p] = [np.nan if verdict is None else float(verdict >= 1) for verdict in verdicts]

    known_PG = ~np.isnan(reward_PG) & ~np.isnan(right_PG)
    accepted_PG = reward_PG >= threshold
    wrong_PG = accepted_PG != (right_PG == 1)
    metrics = _rate('monitor/feedback_agreement', np.where(known_PG, ~wrong_PG, np.nan))
    metrics |= _rate(
      'monitor/false_positive', np.where(known_PG & (right_PG == 0), accepted_PG, np.nan)
    )
    metrics |= _rate(
      'monitor/false_negative', np.where(known_PG & (right_PG == 1), ~accepted_PG, np.nan)
    )
    return metrics

  return evaluate


def optimization() -> Evaluate:
  """The state at the end of the round and its extremes, from the metrics of its steps.

  monitor/{entropy, kl, clipped_ratio, frac_reward_zero_std}   of the last step
  monitor/entropy_min, monitor/kl_max                          over the round's steps
  monitor/length_ratio                                         mean length, last step over first
  The round's means are in train/...; these metrics catch a collapse within one round.
  """

  def evaluate(weights, record, context):
    del weights, context
    steps = record.steps
    # A step that kept no completion has no entropy, which is not an entropy of 0.
    column = lambda name: [row[name] for row in steps if not np.isnan(row.get(name, np.nan))]
    metrics = {}
    for name in LAST:
      last = steps[-1].get(name, np.nan) if steps else np.nan
      if not np.isnan(last):
        metrics[f'monitor/{name.rsplit("/")[-1]}'] = float(last)
    if entropy := column('entropy'):
      metrics['monitor/entropy_min'] = float(np.min(entropy))
    if kl := column('kl'):
      metrics['monitor/kl_max'] = float(np.max(kl))
    length = column('completions/mean_length')
    if length and length[0] > 0:
      metrics['monitor/length_ratio'] = float(length[-1] / length[0])
    return metrics

  return evaluate


def consensus(
  tasks: Sequence[Task],
  ask: Ask,
  extract: Extract,
  *,
  same: Same,
  name: str = 'consensus',
  samples: int = 8,
  seed: int = 0,
) -> Evaluator:
  """The policy's answers to a fixed set of prompts. Reads prompts and texts, but no true answers.

  Meant for runs whose reward is agreement among their own samples. That reward rises whether the
  policy approaches the truth or a constant reply; these metrics tell the two apart.

  monitor/{name}/answer_concentration   share of the commonest answer over all tasks
  monitor/{name}/answer_entropy         nats, of the distribution of answers over all tasks
  monitor/{name}/majority_ratio         share of a task's winning answer among its samples
  monitor/{name}/vote_margin            that share minus the runner-up's
  monitor/{name}/distinct_answers       different answers among a task's samples
  monitor/{name}/parsed                 samples in which an answer was found
  monitor/{name}/anchor_agreement       tasks that still have the starting weights' winning answer

  A constant reply has concentration 1 and entropy 0. With a small margin, a majority label is a
  coin toss. Round -1 measures anchor_agreement before training, where two draws from the same
  weights differ by chance only. Training should change doubtful majorities and keep clear ones, so
  agreement well below that first value means drift.

  Its memory is {'anchor': winning answers}: the votes of the weights that it sees first. In a run
  that has it from the start, these are the weights before training.
  Args:
    same: whether two answers count as one: `answers.same` for 18, 18.0 and $18, operator.eq for
      equal texts only.
    seed: of the anchor's votes.
  """
  if not tasks:
    raise ValueError(f'{name}: a consensus needs at least one prompt.')
  ranges.whole(f'{name}: samples', samples, 2)
  prompts = [task.prompt for task in tasks]
  address = np.uint32(keys.text_id(f'consensus/{name}'))
  anchor_key = jax.random.fold_in(keys.at(seed, 'anchor'), address)

  def answers_of(weights, key):
    groups = ask(weights, prompts, key, samples)
    found = stats.merged([extract(text) for texts in groups for text in texts], same)
    return [found[p * samples : (p + 1) * samples] for p in range(len(groups))]

  def winners(groups):
    votes = [stats.plurality(group) for group in groups]
    return [None if vote is None else str(vote) for vote in votes]

  def evaluate(memory, weights, record, context):
    del record
    answers = answers_of(weights, jax.random.fold_in(context.key, address))
    anchor = memory['anchor']
    if anchor is None:
      anchor = winners(answers_of(weights, anchor_key))
    agreed = [
      np.nan if then is None else float(vote is not None and same(vote, then))
      for vote, then in zip(winners(answers), anchor)
    ]
    metrics = {
      **_across_tasks(answers),
      **_within_tasks(answers),
      **_rate('anchor_agreement', agreed),
    }
    return {f'monitor/{name}/{metric}': value for metric, value in metrics.items()}, {
      'anchor': anchor
    }

  return Evaluator(lambda: {'anchor': None}, evaluate)


def _across_tasks(answers):
  """Concentration and entropy of the answers over all tasks; each answered task weighs the same."""
  shares = [
    {a: n / sum(votes.values()) for a, n in votes.items()} for votes in _votes(answers) if votes
  ]
  pooled = Counter()
  for share in shares:
    pooled.update(share)
  if not pooled:
    return {}
  commonest = max(pooled, key=pooled.__getitem__)
  p = np.asarray(list(pooled.values())) / len(shares)
  return {
    **_rate('answer_concentration', [share.get(commonest, 0.0) for share in shares]),
    'answer_entropy': max(0.0, float(-np.sum(p * np.log(p)))),
  }


def _within_tasks(answers):
  ranked = [[*sorted(votes.values(), reverse=True), 0, 0] for votes in _votes(answers)]
  sizes = [len(group) for group in answers]
  return {
    **_rate('majority_ratio', [counts[0] / n for counts, n in zip(ranked, sizes)], min(sizes)),
    **_rate(
      'vote_margin', [(counts[0] - counts[1]) / n for counts, n in zip(ranked, sizes)], min(sizes)
    ),
    **_mean('distinct_answers', [float(len(votes)) for votes in _votes(answers)]),
    **_rate('parsed', [[float(answer is not None) for answer in group] for group in answers]),
  }


def _votes(answers):
  return [Counter(answer for answer in group if answer is not None) for group in answers]


def _grams(words, n):
  if len(words) < n:
    return [tuple(words)] if words else []
  return [tuple(words[i : i + n]) for i in range(len(words) - n + 1)]


def _rate(name, scores, per_task=1):
  """{name: share, name_sem: its standard error by `stats.rate`}; empty when there is no score."""
  rate = stats.rate(scores, per_task=per_task)
  return {} if np.isnan(rate.mean) else {name: rate.mean, f'{name}_sem': rate.sem}


def _mean(name, scores):
  """{name: mean, name_sem: standard error with tasks as clusters}, without NaN values.

  Empty when there is no score; without the error for a single task.
  """
  mean, sem = stats.clustered_mean(scores)
  metrics = {name: mean, f'{name}_sem': sem}
  return {metric: value for metric, value in metrics.items() if not np.isnan(value)}
