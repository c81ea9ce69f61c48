"""Reward functions written for TRL, unchanged."""

import functools
import logging
from collections.abc import Callable

from sirl.rewards import calls, values
from sirl.rewards.adapters import chat
from sirl.rewards.check import accepted, check_keywords
from sirl.rewards.scores import batched
from sirl.runtime import hosts
from sirl.slots import Reward

ANSWER_COLUMNS = ('answer', 'ground_truth', 'solution')  # column names of the answer
FORMS = {
  '(completions, **kwargs)': 'the least',
  '(prompts, completions, completion_ids, answer, **kwargs)': "columns are keys of the tasks' meta",
}
LOGGERS = ('log_extra', 'log_metric')
RESERVED = ('prompts', 'completions', 'completion_ids', 'trainer_state', *LOGGERS)

log = logging.getLogger(__name__)


class TrainerState:
  """What is known here of TRL's `trainer_state`: global_step, the updates done so far."""

  def __init__(self, step: int | None):
    if step is not None:
      self.global_step = step

  def __getattr__(self, name):
    if name.startswith('__'):
      raise AttributeError(name)
    raise AttributeError(
      f'trainer_state.{name} is not known here; a reward sees trainer_state.global_step in a run, '
      'and other numbers by functools.partial'
    )


def from_trl(
  fn: Callable, *, conversational: bool | None = None, run: calls.Executor | None = None
) -> Reward:
  """Reward from a TRL function: fn(prompts=, completions=, completion_ids=, **columns) -> scores.

  fn returns a list, array or tensor of numbers; None or NaN is not judged, as in TRL. It is called
  once a step with all completions of the process, prompt-major, in the calling thread. Coroutine
  functions, also as `__call__` of an object, are awaited. The columns are the keys of the tasks'
  meta (None where a task lacks one), and the answer as `answer`, `ground_truth` and `solution`
  unless meta has that key. A function without **kwargs gets only the arguments that it names.
  `trainer_state` has global_step, the policy's updates so far, and nothing else.

  Values that it passes to log_metric(name, value) and log_extra(column, values) become parts. A
  column without one number per completion is dropped; the part 'extras_dropped' counts these.

  Args:
    conversational: True passes prompts and completions as lists of messages, as TRL does for chat
      data, False as texts. None takes the form of the tasks' prompts, and if fn fails on it the
      other one.
    run: where fn runs, such as `calls.processes(timeout=60)`; see `calls`.
  Raises: ValueError for a function that takes other arguments, and from the Reward when a meta key
    takes the name of an argument; RewardError as in `scores`.
  """
  check_keywords(fn, 'from_trl', ('completions', 'prompts', 'completion_ids'), FORMS)
  name, run = values.name_of(fn), run or calls.threads(1)
  call = functools.partial(_call_async if calls.is_async(fn) else _call, fn)

  def attempt(form, tasks, samples, texts):
    arguments = _arguments(form, tasks, samples, texts)
    try:
      return run(call, [(accepted(fn, arguments, LOGGERS),)])[0]
    except TypeError as error:
      return ValueError(f"{error}; columns are the keys of the tasks' meta")

  in_form = chat.in_form(attempt, conversational, name)

  def score(samples):
    texts = [text for row in samples.texts for text in row]
    tasks = [task for task, row in zip(samples.tasks, samples.texts) for _ in row]
    result = in_form(tasks, samples, texts)
    if isinstance(result, Exception):
      raise result
    scores, logged = result
    judged = [None if values.is_nan(x) else x for x in values.listed(scores, len(texts))]
    return judged, _numeric(logged, len(texts))

  return batched(score, name=name)


def _arguments(form, tasks, samples, texts):
  """The keyword arguments of one call."""
  return {
    'prompts': [chat.messages(task.prompt) if form else task.text for task in tasks],
    'completions': [chat.answered(text) if form else text for text in texts],
    'completion_ids': _completion_ids(samples),
    **_columns(tasks),
    'trainer_state': TrainerState(samples.step),
  }


def _call(fn, arguments):
  """(what fn returned, what it logged)."""
  loggers, logged = _loggers(fn)
  return fn(**arguments, **loggers), logged


async def _call_async(fn, arguments):
  loggers, logged = _loggers(fn)
  return await fn(**arguments, **loggers), logged


def _loggers(fn):
  """The logging functions that fn takes, and the dict they fill: a list, or a single value."""
  logged = {}
  loggers = {
    'log_extra': lambda column, values: logged.__setitem__(column, list(values)),
    'log_metric': lambda name, value: logged.__setitem__(name, value),
  }
  return accepted(fn, loggers, required=False), logged


def _numeric(logged, n):
  """The logged columns that can be parts, and the part 'extras_dropped' if others were dropped."""
  columns = {
    name: value if isinstance(value, list) else [value] * n for name, value in logged.items()
  }
  parts = {
    name: column
    for name, column in columns.items()
    if len(column) == n and all(map(values.is_number, column))
  }
  if dropped := sorted(set(columns) - set(parts)):
    log.debug('dropped columns without one number per completion: %s', dropped)
    parts['extras_dropped'] = [len(dropped)] * n
  return parts


def _columns(tasks):
  names = sorted({name for task in tasks for name in task.meta})
  if taken := [name for name in names if name in RESERVED]:
    raise ValueError(
      f'meta keys {taken} of the tasks are names of arguments of a TRL reward; rename them in meta'
    )
  columns = {name: [task.answer for task in tasks] for name in ANSWER_COLUMNS}
  return columns | {name: [task.meta.get(name) for task in tasks] for name in names}


def _completion_ids(samples):
  """Ids that the policy chose, end token included, one list per text."""
  rollouts = samples.rollouts
  tokens_PGT, action_PGT = hosts.local_rows(rollouts.tokens), hosts.local_rows(rollouts.action)
  return [
    tokens_PGT[p, g][action_PGT[p, g]].tolist()
    for p, row in enumerate(samples.texts)
    for g in range(len(row))
  ]
