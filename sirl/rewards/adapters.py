"""Adapters that use reward functions written for TRL or verl unchanged."""

import functools
import inspect
import logging
from collections.abc import Callable

import numpy as np

from sirl.rewards.scores import batched, name_of, per_completion
from sirl.runtime import hosts
from sirl.slots import Reward
from sirl.tasks import Message, turns

ANSWER_COLUMNS = ('answer', 'ground_truth', 'solution')  # column names of the answer
RESERVED = ('prompts', 'completions', 'completion_ids', 'trainer_state', 'log_extra', 'log_metric')

log = logging.getLogger(__name__)


def from_trl(fn: Callable, *, conversational: bool = False) -> Reward:
  """Reward from a TRL function: fn(prompts=, completions=, completion_ids=, **columns) -> scores.

  fn returns a list of numbers or None. It is called once a step with all completions of the
  process, prompt-major; async functions are awaited. The columns are the keys of the tasks' meta
  (None where a task lacks one), and the answer as `answer`, `ground_truth` and `solution`. A
  function without **kwargs gets only the arguments that it names. `trainer_state` is None.

  Values that it passes to log_metric(name, value) and log_extra(column, values) become parts. A
  column without one number per completion is dropped; the part 'extras_dropped' counts these.

  Args: conversational: pass prompts and completions as lists of messages, as TRL does for chat
    data.
  Raises: ValueError from the Reward when a meta key takes the name of an argument; RewardError as
    in `scores`.
  """
  call = functools.partial(_trl_call, fn, conversational)
  if inspect.iscoroutinefunction(fn) or inspect.iscoroutinefunction(type(fn).__call__):

    async def run_async(samples):
      arguments, logged, n = call(samples)
      return await fn(**arguments), _numeric(logged, n)

    return batched(run_async, name=name_of(fn))

  def run(samples):
    arguments, logged, n = call(samples)
    return fn(**arguments), _numeric(logged, n)

  return batched(run, name=name_of(fn))


def from_verl(
  compute_score: Callable, *, data_source: str | None = None, **reward_kwargs
) -> Reward:
  """Reward from a verl function compute_score(data_source, solution_str, ground_truth, extra_info).

  It is called for every completion and returns a number, or a dict with 'score' whose other numbers
  become parts. ground_truth is the task's answer, extra_info its meta.

  Args:
    data_source: as in verl's data files; by default the task's meta['data_source'], else its
      origin.
    reward_kwargs: further keyword arguments, as verl passes reward_kwargs of its config.
  """

  def arguments(task, text):
    return {
      'data_source': data_source or task.meta.get('data_source', task.origin),
      'solution_str': text,
      'ground_truth': task.answer,
      'extra_info': dict(task.meta),
      **reward_kwargs,
    }

  if inspect.iscoroutinefunction(compute_score):

    @functools.wraps(compute_score)
    async def score_async(task, text):
      return await compute_score(**arguments(task, text))

    return per_completion(score_async)

  def score(task, text):
    return compute_score(**arguments(task, text))

  score.__name__ = name_of(compute_score)
  return per_completion(score)


def _trl_call(fn, conversational, samples):
  """(keyword arguments of one call, dict that collects logged columns, number of completions)."""
  rows = [(p, g, text) for p, texts in enumerate(samples.texts) for g, text in enumerate(texts)]
  tasks = [samples.tasks[p] for p, _, _ in rows]
  logged = {}

  arguments = {
    'prompts': [_messages(task.prompt) if conversational else task.text for task in tasks],
    'completions': [
      _messages((Message('assistant', text),)) if conversational else text for _, _, text in rows
    ],
    **_columns(tasks),
    'trainer_state': None,
    'log_extra': lambda column, values: logged.__setitem__(column, list(values)),
    'log_metric': lambda name, value: logged.__setitem__(name, [value] * len(rows)),
  }
  wanted = _parameters(fn)
  if wanted is None or 'completion_ids' in wanted:
    arguments['completion_ids'] = _completion_ids(samples.rollouts, rows)
  if wanted is not None:
    arguments = {name: value for name, value in arguments.items() if name in wanted}
  return arguments, logged, len(rows)


def _numeric(logged, n):
  """The logged columns that can be parts, and the part 'extras_dropped' if others were dropped."""
  parts = {
    name: values for name, values in logged.items() if len(values) == n and _all_numbers(values)
  }
  if dropped := sorted(set(logged) - set(parts)):
    log.debug('dropped columns without one number per completion: %s', dropped)
    parts['extras_dropped'] = [len(dropped)] * n
  return parts


def _messages(prompt):
  return [{'role': message.role, 'content': message.content} for message in turns(prompt)]


def _columns(tasks):
  names = sorted({name for task in tasks for name in task.meta})
  if taken := [name for name in names if name in RESERVED]:
    raise ValueError(
      f'meta keys {taken} of the tasks are names of arguments of a TRL reward; rename them in meta'
    )
  columns = {name: [task.answer for task in tasks] for name in ANSWER_COLUMNS}
  return columns | {name: [task.meta.get(name) for task in tasks] for name in names}


def _completion_ids(rollouts, rows):
  """Ids that the policy chose, end token included, one list per row."""
  tokens_PGT, action_PGT = hosts.local_rows(rollouts.tokens), hosts.local_rows(rollouts.action)
  return [tokens_PGT[p, g][action_PGT[p, g]].tolist() for p, g, _ in rows]


def _parameters(fn):
  """Names of the arguments that fn accepts; None if it accepts any."""
  parameters = inspect.signature(fn).parameters.values()
  if any(parameter.kind is parameter.VAR_KEYWORD for parameter in parameters):
    return None
  return {parameter.name for parameter in parameters}


def _all_numbers(values):
  return all(
    value is None or isinstance(value, (bool, int, float, np.number, np.bool_)) for value in values
  )
