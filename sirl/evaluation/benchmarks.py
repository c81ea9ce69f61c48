"""Evaluators over sets of tasks: sampled, greedy and refined accuracy, with standard errors.

An evaluator is (weights, record, context) -> {metric: number}. For a set named 'heldout':

  heldout/pass@1     share of tasks solved by one sample
  heldout/pass@8     share solved by at least one of eight samples (unbiased)
  heldout/maj@8      share solved by the majority answer of eight
  heldout/greedy     share solved by the greedily decoded answer
  heldout/vote       share solved by a refiner, here named vote
  heldout/vote_gain  the refiner's gain over 'plain'
  heldout/parsed     share of samples in which an answer was found
  heldout/at_0       share of tasks solved by no sample
  heldout/at_1       share of tasks solved by every sample

Every accuracy comes with _sem, _low and _high: the standard error with tasks as clusters, and the
ends of a 95% interval, by `stats.rate`. Random keys derive from the round's key and the name of the
set.
"""

import math
from collections.abc import Callable, Sequence

import numpy as np

from sirl import ranges
from sirl.ops import keys, stats
from sirl.slots import (
  Ask,
  Evaluate,
  Evaluator,
  Extract,
  Refine,
  Refiner,
  Same,
  Verify,
  check_function,
  check_kind,
)
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
  same: Same | None = None,
  show: Show | None = None,
  shown: int = 8,
) -> Evaluate:
  """Draws `samples` texts of every task and measures pass@k for each k in ks.

  With `extract`, also measures maj@k and the parsed share. A text solves its task when verify gives
  1. A task that verify cannot judge (None) raises: it cannot be part of a benchmark.

  Args:
    extract: text -> answer or None.
    same: needed with extract; whether two answers count as one in maj@k: `answers.same` for 18, 18.0
      and $18, operator.eq for equal texts only.
    show: called with the first `shown` tasks as dicts with the keys round, benchmark, task, prompt,
      answer, texts, scores and, with extract, extracted.
  Raises: ValueError for a set without tasks, for ks outside 1..samples, or for extract without same.
  """
  _check(name, tasks)
  samples = ranges.whole('samples', samples)
  ranges.whole('shown', shown, 0)
  if not ks:
    raise ValueError(f'{name}: ks is empty; expected one k in 1..samples={samples}, or more')
  for i, k in enumerate(ks):
    ranges.whole(f'{name}: ks[{i}]', k, 1, samples)
  if extract is not None and same is None:
    raise ValueError(
      f'{name}: extract= without same=; give same=answers.same, which counts 18 and 18.0 as one '
      'answer, or operator.eq'
    )

  def evaluate(weights, record, context):
    del record
    groups = ask(weights, [task.prompt for task in tasks], _key(context, name), samples)
    scores_PG = _scores(name, tasks, groups, verify)
    answers = None
    if extract:
      answers = [stats.merged([extract(text) for text in texts], same) for texts in groups]
    if show is not None:
      show(_rows(name, context, tasks[:shown], groups, scores_PG, answers))
    return _sampled_metrics(name, scores_PG, ks, answers)

  return evaluate


def fresh(
  name: str, make_tasks: Callable[[Context], Sequence[Task]], verify: Verify, ask: Ask, **options
) -> Evaluate:
  """`sampled` on tasks that make_tasks draws anew each round from a Context.

  The context holds the round, the difficulty and a key that differs from those of training. This
  function does not check that fresh tasks differ from training tasks; the generator must ensure
  that with disjoint seeds. Options as in `sampled`.
  """

  def evaluate(weights, record, context):
    tasks = make_tasks(Context(context.round, context.difficulty, _key(context, name + '/tasks')))
    return sampled(name, tasks, verify, ask, **options)(weights, record, context)

  return evaluate


def with_gap(
  evaluate: Evaluate, *, anchor: str = 'heldout', fresh: str = 'fresh', metric: str = 'pass@1'
) -> Evaluate:
  """Adds {fresh}/gap, the accuracy on `anchor` minus that on `fresh`, and its _sem.

  A gap above 0 shows how far the run has fitted the frozen set. Both sets must come from the same
  distribution, otherwise the gap contains their difference too.
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
  """{name}/greedy: share of tasks solved by greedy decoding. ask_greedy ignores its key."""
  _check(name, tasks)

  def evaluate(weights, record, context):
    del record
    groups = ask_greedy(weights, [task.prompt for task in tasks], _key(context, name), 1)
    return _accuracy(f'{name}/greedy', _scores(name, tasks, groups, verify)[:, 0])

  return evaluate


def refined(
  name: str, tasks: Sequence[Task], verify: Verify, *, plain: Refine, **refiners: Refine
) -> Evaluate:
  """Accuracy of each refiner beside that of plain answers, and the refiner's gain.

  The gain is paired over tasks. For each refiner, also measures the share of tasks that it fixes
  (wrong before, right after) and breaks (right before, wrong after).
  All refiners get the same key: a refiner that first draws what plain draws starts from the same
  text.
  """
  _check(name, tasks)

  def evaluate(weights, record, context):
    del record
    solved = {}
    for label, refine in {'plain': plain, **refiners}.items():
      texts = refine(weights, tasks, _key(context, name))
      if len(texts) != len(tasks):
        raise ValueError(
          f'refiner {label!r} gave {len(texts)} answers, expected one for each of {len(tasks)} '
          'tasks'
        )
      solved[label] = _scores(name, tasks, [[text] for text in texts], verify)[:, 0]

    metrics = {}
    for label, solved_P in solved.items():
      metrics |= _accuracy(f'{name}/{label}', solved_P)
      if label != 'plain':
        metrics |= _gain(f'{name}/{label}', solved_P, solved['plain'])
    return metrics

  return evaluate


def merge(*evaluators: Evaluate) -> Evaluate:
  """Joins several evaluators. Raises ValueError when two give the same metric."""

  def evaluate(weights, record, context):
    metrics = {}
    for each in evaluators:
      metrics = _joined(metrics, each(weights, record, context))
    return metrics

  return evaluate


def evaluator(evaluate: Evaluate | None = None, **remembering: Evaluator) -> Evaluator:
  """Combines a plain Evaluate and named evaluators with memory into one Evaluator.

  Its state is {name: state}.
  Raises: ValueError for a value of another form, and when two give the same metric.
  """
  if evaluate is not None:
    check_function('evaluate', evaluate)
  for name, each in remembering.items():
    check_kind(f'evaluator {name}', each, Evaluator)

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
  """`refined` for one refiner with memory, under the label 'refiner'.

  The refiner's memory after one round is its memory at the start of the next.
  """
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
  parsed = stats.rate([[float(answer is not None) for answer in group] for group in answers])
  return metrics | {f'{name}/parsed': parsed.mean, f'{name}/parsed_sem': parsed.sem}


def _accuracy(name, values_P, per_task=1):
  # Rounding may push an estimate outside [0, 1] by an ulp.
  rate = stats.rate(np.clip(values_P, 0, 1), per_task=per_task)
  return {
    name: rate.mean,
    f'{name}_sem': rate.sem,
    f'{name}_low': rate.low,
    f'{name}_high': rate.high,
  }


def _gain(name, solved_P, plain_P):
  difference = stats.paired_difference(solved_P, plain_P)
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
  """Whether each text solves its task, 1 or 0, float64 [P, G]."""
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
      f'{name}: task {task.id!r} cannot be judged (verify gave None); leave it out, or give it an '
      'answer.'
    )
  if not 0 <= score <= 1:
    raise ValueError(
      f'{name}: verify gave {score} on task {task.id!r}, text {text[:200]!r}; expected a number in '
      '[0, 1].'
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
