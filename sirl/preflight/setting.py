"""Tests a setting's tokenizer and answer check on its own tasks."""

import logging
import traceback

from sirl.rewards import gold
from sirl.runtime import worker
from sirl.tasks import turns

log = logging.getLogger(__name__)

TRIED = 8  # number of tasks whose own solution is checked


def check(s):
  """Tests the codec and the check of a `recipe.Setting` on its held-out tasks.

  Logs a warning if the check rejects a task's own solution, or if the limits in tokens together
  exceed the context of the model.
  Raises: ValueError when the codec rejects a prompt or a solution, when one exceeds its limit in
    tokens, or when the check raises.
  """
  domain = s.domain
  longest = {'prompt': (0, ''), 'new': (0, '')}
  for task in s.heldout:
    solution = domain.solution(task)
    try:
      sizes = {'prompt': len(s.codec.render(turns(task.prompt)))}
      if solution is not None:
        sizes['new'] = len(s.codec.encode(solution)) + 1
    except ValueError as error:
      raise ValueError(f'domain {domain.name} does not fit its tokenizer: {error}') from error
    for what, size in sizes.items():
      longest[what] = max(longest[what], (size, task.label))
  limits = s.max_prompt, s.max_new
  for what, most in zip(('prompt', 'new'), limits):
    size, label = longest[what]
    if size > most:
      raise ValueError(
        f'domain {domain.name}: task {label} needs {size} tokens, max_{what} is {most}; '
        f'--set max_{what}={size}, or leave the task out'
      )
  if (context := getattr(s.model.architecture, 'context', None)) and sum(limits) > context:
    log.warning(
      'max_prompt=%d and max_new=%d are %d tokens together, more than the %d of the context of the '
      'model; lower one of them, for what it writes beyond is not to be relied on',
      *limits, sum(limits), context,
    )  # fmt: skip
  answered = [task for task in s.heldout if domain.solution(task) is not None]
  for task in answered[:TRIED]:
    solution = domain.solution(task)
    try:
      with worker.exits_raise():
        right = domain.verify(task, solution)
    except Exception as error:
      line = traceback.extract_tb(error.__traceback__)[-1]
      raise ValueError(
        f'the check of domain {domain.name} raises {type(error).__name__}: {error} '
        f'({line.filename}, line {line.lineno}) on its own solution {solution!r} of '
        f'{task.label}'
      ) from error
    if right != 1:
      log.warning(
        'the check of domain %s gives %s to the solution %r of %s',
        domain.name,
        right,
        solution,
        task.label,
      )


def check_reward(reward, s):
  """Logs a warning if a reward pays the tasks' own solutions less than wrong ones, or no more.

  Returns: what is wrong if the reward raised an exception, not logged, since the trial may raise the
    same one; None otherwise.
  """
  if (said := gold.warning(reward, s.heldout, s.domain.solution)) is None:
    return None
  said = f'domain {s.domain.name}: {said}'
  if gold.FAILS in said:
    return said
  log.warning('%s', said)
  return None
