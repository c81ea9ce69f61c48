"""The sets of tasks of a setting: what it trains on, and disjoint sets on which nothing trains."""

import dataclasses
import logging

from sirl.acquisition import hygiene, once, procedural
from sirl.tasks import turns

log = logging.getLogger('sirl.experiments')


def unseen(c, domain):
  """{name: tasks}: disjoint sets on which nothing trains.

  'heldout' measures accuracy. A domain with a generator also has 'development', which decides when
  the warm start ends, and 'reserve', from which fresh tasks are drawn.
  Raises: ValueError for an empty split, and for a generator with too few tasks.
  """
  if domain.generator is None:
    for name in ('train', 'heldout'):
      if not domain.splits[name]:
        raise ValueError(f'domain {domain.name}: splits[{name!r}] is empty; give it a task')
    return {'heldout': domain.tasks('heldout', c.heldout)}
  sizes = {'heldout': c.heldout, 'development': c.heldout, 'reserve': 2 * c.heldout}
  sets, taken = {}, []
  for name, n in sizes.items():
    sets[name] = domain.tasks(name, n, taken, fewer=True)
    taken = [*taken, *sets[name]]
  found, aside, n = len(taken), 4 * c.heldout, len(taken) // 8 or 1
  if found < aside or not domain.tasks('train', 1, taken, fewer=True):
    fits = f'--set heldout={n} leaves {found - 4 * n}, or ' if found > 4 else ''
    raise ValueError(
      f'domain {domain.name} has {found} distinct tasks at difficulty 0, and none is left to train '
      f'on: heldout={c.heldout} sets {aside} aside, half of them in reserve; {fits}take a larger '
      'domain'
    )
  return sets


def training(c, domain, sets, *, answers):
  """An Acquirer: new tasks every round from a generator, or the whole training split at once."""
  if domain.generator is not None:
    taken = [task for tasks in sets.values() for task in tasks]
    return procedural.procedural(
      domain.generator, per_round=c.acquired, answers=answers, exclude=taken
    )
  train = domain.splits['train']
  if answers and any(task.answer is not None for task in sets['heldout']):
    train = with_answers(train)
  if not answers:
    train = [dataclasses.replace(task, answer=None, meta={}) for task in train]
  # The splits of a folder may overlap. All test questions are excluded from training, also those
  # that this run does not measure.
  return hygiene.exclude(once(train), domain.splits['heldout'])


def with_answers(tasks):
  """The tasks that have an answer. Logs the number of the others."""
  kept = [task for task in tasks if task.answer is not None]
  if len(kept) < len(tasks):
    log.info(
      '%d of %d training tasks have no answer and are left out', len(tasks) - len(kept), len(tasks)
    )
  return kept


def fitting(domain, codec, *, max_prompt, max_new):
  """The domain without the tasks whose question or own solution exceeds its limit in tokens.

  One warning counts them over all splits and names the first.
  Raises: ValueError if no task of a split is left.
  """
  splits, dropped, total = {}, [], 0
  for name, tasks in domain.splits.items():
    sizes = [_tokens(task, domain, codec) for task in tasks]
    over = [size[0] > max_prompt or size[1] > max_new for size in sizes]
    splits[name] = [task for task, long in zip(tasks, over) if not long]
    dropped += [(task, size) for task, size, long in zip(tasks, sizes, over) if long]
    total += len(tasks)
  if dropped:
    numbers = max_prompt, max_new
    needed = [max(limit, *(size[i] for _, size in dropped)) for i, limit in enumerate(numbers)]
    raised = ' '.join(
      f'--set {name}={number}'
      for name, number, limit in zip(('max_prompt', 'max_new'), needed, numbers)
      if number > limit
    )
    said = (
      f'{len(dropped)} of {total} tasks of {domain.name} are left out: their question is longer '
      f'than max_prompt={max_prompt} tokens or their solution than max_new={max_new}; the first is '
      f'{dropped[0][0].label}; {raised} keeps all'
    )
    empty = [name for name, tasks in splits.items() if not tasks]
    if empty:
      raise ValueError(f'no {empty[0]} task fits. {said}')
    log.warning('%s', said)
  return dataclasses.replace(domain, splits=splits)


def _tokens(task, domain, codec):
  """(tokens of the prompt, tokens of the task's own solution with its end token)."""
  solution = domain.solution(task)
  new = 0 if solution is None else len(codec.encode(solution)) + 1
  return len(codec.render(turns(task.prompt))), new
