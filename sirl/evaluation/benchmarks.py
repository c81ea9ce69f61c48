"""Evaluators over sets of tasks: sampled, greedy and refined accuracy, each with its error and interval.

An evaluator is (weights, record, context) -> {metric: number}. The metrics of a set named 'heldout':

  heldout/pass@1, heldout/pass@8   share of tasks solved by one sample, by at least one of eight (unbiased)
  heldout/maj@8                    share solved by the majority answer of eight
  heldout/greedy                   share solved by the most likely answer
  heldout/vote, heldout/vote_gain  share solved by a refiner, and what it gains over 'plain'
  heldout/parsed                   share of samples in which an answer was found
  heldout/at_0, heldout/at_1       share of tasks solved by no sample, by every sample

Every accuracy comes with _sem, _low and _high: the standard error with tasks as clusters, and a 95% interval.
Randomness is addressed by the round's key and the name of the set.
"""

import math
from collections.abc import Callable, Sequence

import numpy as np

from sirl.ops import keys, stats
from sirl.slots import Ask, Evaluate, Evaluator, Extract, Refine, Refiner, Verify
from sirl.tasks import Task
from sirl.types import Context

Show = Callable[[list[dict]], None]


def sampled(
  name: str,
  tasks: Sequence[Task],
  verify: Verify,
  ask: Ask,
  *,
  samples: int = 8,
  ks: Sequence[int] = (1, 8),
  extract: Extract | None = None,
  show: Show | None = None,
  shown: int = 8,
) -> Evaluate:
  """Draws `samples` texts of every task: pass@k for each of ks and, with `extract`, maj@k and the parsed share.

  A text solves its task when verify gives 1. A task that verify cannot judge (None) is an error: such a task cannot
  be a benchmark.

  Args: extract: text -> normalised answer or None; show: called with the first `shown` tasks as dicts with keys
    round, benchmark, task, prompt, answer, texts, scores and, with extract, extracted.
  Raises: ValueError here for a set without tasks or ks outside 1..samples.
  """
  _check(name, tasks)
  if not ks or min(ks) < 1 or max(ks) > samples:
    raise ValueError(
      f'{name}: ks={tuple(ks)} must lie in 1..samples={samples}; draw more samples or lower k.'
    )

  def evaluate(weights, record, context):
    del record
    groups = ask(weights, [task.prompt for task in tasks], _key(context, name), samples)
    scores_PG = _scores(name, tasks, groups, verify)
    answers = [[extract(text) for text in texts] for texts in groups] if extract else None
    if show is not None:
      show(_rows(name, context, tasks[:shown], groups, scores_PG, answers))
    return _sampled_metrics(name, scores_PG, ks, answers)

  return evaluate


def fresh(
  name: str, make_tasks: Callable[[Context], Sequence[Task]], verify: Verify, ask: Ask, **options
) -> Evaluate:
  """`sampled` on tasks made anew each round from the context: its key, round and difficulty.

  The key that make_tasks sees differs from those of training. That no fresh task is a training task is the
  generator's promise (disjoint seeds), not checked here. Options as in `sampled`.
  """

  def evaluate(weights, record, context):
    tasks = make_tasks(Context(context.round, context.difficulty, _key(context, name + '/tasks')))
    return sampled(name, tasks, verify, ask, **options)(weights, record, context)

  return evaluate


def with_gap(
  evaluate: Evaluate, *, anchor: str = 'heldout', fresh: str = 'fresh', metric: str = 'pass@1'
) -> Evaluate:
  """Adds {fresh}/gap = anchor - fresh accuracy, and its _sem: what the frozen set has gained by being looked at.

  Both sets must be drawn from the same distribution, or the gap holds their difference too.
  """

  def evaluated(weights, record, context):
    metrics = evaluate(weights, record, context)
    names = [f'{anchor}/{metric}', f'{fresh}/{metric}']
    if missing := [name for name in names if name not in metrics]:
      raise ValueError(
        f'with_gap needs {", ".join(missing)}; the evaluator gives {", ".join(sorted(metrics))}'
      )
    a, b = (metrics[name] for name in names)
    sem = math.hypot(*(metrics[name + '_sem'] for name in names))
    return _joined(metrics, {f'{fresh}/gap': a - b, f'{fresh}/gap_sem': sem})

  return evaluated


def greedy(name: str, tasks: Sequence[Task], verify: Verify, ask_greedy: Ask) -> Evaluate:
  """{name}/greedy: share of tasks solved by the most likely answer. ask_greedy ignores its key."""
  _check(name, tasks)

  def evaluate(weights, record, context):
    del record
    groups = ask_greedy(weights, [task.prompt for task in tasks], _key(context, name), 1)
    return _accuracy(f'{name}/greedy', _scores(name, tasks, groups, verify)[:, 0])

  return evaluate


def refined(
  name: str, tasks: Sequence[Task], verify: Verify, *, plain: Refine, **refiners: Refine
) -> Evaluate:
  """Accuracy of refiners beside plain answers, and what each gains: paired over tasks, with a bootstrap interval.

  For each refiner also the share of tasks it fixes (wrong before, right after) and breaks (right before). All
  refiners get the same key, so that those that draw first what plain draws are compared on it.
  """
  _check(name, tasks)

  def evaluate(weights, record, context):
    del record
    solved = {}
    for label, refine in {'plain': plain, **refiners}.items():
      texts = refine(weights, tasks, _key(context, name))
      if len(texts) != len(tasks):
        raise ValueError(
          f'refiner {label!r} gave {len(texts)} answers, expected one for each of {len(tasks)} tasks'
        )
      solved[label] = _scores(name, tasks, [[text] for text in texts], verify)[:, 0]

    metrics = {}
    for label, solved_P in solved.items():
      metrics |= _accuracy(f'{name}/{label}', solved_P)
      if label != 'plain':
        generator = stats.generator(_key(context, f'{name}/{label}'))
        metrics |= _gain(f'{name}/{label}', solved_P, solved['plain'], generator)
    return metrics

  return evaluate


def merge(*evaluators: Evaluate) -> Evaluate:
  """One evaluator of several. Raises: ValueError when two give the same metric."""

  def evaluate(weights, record, context):
    metrics = {}
    for each in evaluators:
      metrics = _joined(metrics, each(weights, record, context))
    return metrics

  return evaluate


def evaluator(evaluate: Evaluate | None = None, **remembering: Evaluator) -> Evaluator:
  """A plain function, and evaluators with memory under names, as one Evaluator; its state is {name: state}.

  Raises: ValueError when two give the same metric.
  """

  def init():
    return {name: each.init() for name, each in remembering.items()}

  def evaluated(memory, weights, record, context):
    metrics = {} if evaluate is None else evaluate(weights, record, context)
    memory = dict(memory)
    for name, each in remembering.items():
      more, memory[name] = each.evaluate(memory[name], weights, record, context)
      metrics = _joined(metrics, more)
    return metrics, memory

  return Evaluator(init, evaluated)


def remembered(
  name: str, tasks: Sequence[Task], verify: Verify, *, plain: Refine, refiner: Refiner
) -> Evaluator:
  """`refined` of one refiner with memory, under the label 'refiner': what it learns in one round it keeps for the next."""
  _check(name, tasks)

  def evaluate(memory, weights, record, context):
    kept = []

    def refine(weights, tasks, key):
      texts, after = refiner.refine(memory, weights, tasks, key)
      kept.append(after)
      return texts

    metrics = refined(name, tasks, verify, plain=plain, refiner=refine)(weights, record, context)
    return metrics, kept[-1]

  return Evaluator(refiner.init, evaluate)


# ---------------------------------------------------------------- metrics


def _sampled_metrics(name, scores_PG, ks, answers):
  samples = scores_PG.shape[1]
  right_P = scores_PG.sum(1)
  metrics = {}
  for k in ks:
    passed_P = stats.pass_at_k(samples, right_P.astype(int), k)
    metrics |= _accuracy(f'{name}/pass@{k}', passed_P, per_task=samples // k)
  metrics |= {
    f'{name}/at_0': float(np.mean(right_P == 0)),
    f'{name}/at_1': float(np.mean(right_P == samples)),
  }
  if answers is None:
    return metrics

  for k in ks:
    if k > 1:
      voted_P = [stats.maj_at_k(group, scores_G, k) for group, scores_G in zip(answers, scores_PG)]
      metrics |= _accuracy(f'{name}/maj@{k}', voted_P, per_task=samples // k)
  parsed = stats.clustered_mean(
    [[float(answer is not None) for answer in group] for group in answers]
  )
  return metrics | dict(zip((f'{name}/parsed', f'{name}/parsed_sem'), parsed))


def _accuracy(name, values_P, per_task=1):
  mean, sem = stats.clustered_mean(values_P)
  # Sums of k factors may leave [0, 1] by an ulp.
  low, high = stats.proportion_interval(np.clip(values_P, 0, 1), per_task=per_task)
  return {name: mean, f'{name}_sem': sem, f'{name}_low': low, f'{name}_high': high}


def _gain(name, solved_P, plain_P, generator):
  difference = stats.paired_difference(solved_P, plain_P, generator)
  return {
    f'{name}_gain': difference.mean,
    f'{name}_gain_sem': difference.sem,
    f'{name}_gain_low': difference.low,
    f'{name}_gain_high': difference.high,
    f'{name}_gain_p': difference.p,
    f'{name}_fixed': float(np.mean(solved_P > plain_P)),
    f'{name}_broken': float(np.mean(solved_P < plain_P)),
  }


def _scores(name, tasks, groups, verify):
  """Solved (1) or not (0) of every text, float64 [P, G]."""
  if len(groups) != len(tasks):
    raise ValueError(f'{name}: ask gave answers to {len(groups)} of {len(tasks)} prompts')
  return np.asarray(
    [
      [_solved(name, task, text, verify(task, text)) for text in texts]
      for task, texts in zip(tasks, groups)
    ]
  )


def _solved(name, task, text, score):
  if score is None:
    raise ValueError(
      f'{name}: task {task.id!r} cannot be judged (verify gave None); leave it out, or give it an answer.'
    )
  if not 0 <= score <= 1:
    raise ValueError(
      f'{name}: verify gave {score} on task {task.id!r}, text {text[:200]!r}; expected a number in [0, 1].'
    )
  return float(score >= 1)


def _rows(name, context, tasks, groups, scores_PG, answers):
  rows = []
  for p, task in enumerate(tasks):
    row = {
      'round': context.round,
      'benchmark': name,
      'task': task.id,
      'prompt': task.text,
      'answer': task.answer,
    }
    row |= {'texts': list(groups[p]), 'scores': scores_PG[p].tolist()}
    rows.append(row if answers is None else {**row, 'extracted': list(answers[p])})
  return rows


def _joined(metrics, more):
  if both := sorted(set(metrics) & set(more)):
    raise ValueError(
      f'two evaluators give {", ".join(both)}; give their task sets different names.'
    )
  return {**metrics, **more}


def _key(context, name):
  return keys.named(context.key, 'evaluate/' + name)


def _check(name, tasks):
  if not tasks:
    raise ValueError(f'{name}: a benchmark needs at least one task.')
