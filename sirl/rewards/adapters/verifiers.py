"""Reward functions written for environments of verifiers, unchanged."""

from collections.abc import Callable

from sirl.rewards import calls, values
from sirl.rewards.adapters import chat
from sirl.rewards.check import accepted, arguments_of, check_keywords
from sirl.rewards.scores import batched
from sirl.slots import Reward
from sirl.tasks import turns

FORMS = {
  '(completion, answer, prompt, info, task, state)': 'any of these, with completion or state',
  '(completions, answers, prompts, infos, tasks, states)': 'the same of a whole group',
}
MARKS = ('completion', 'completions', 'state', 'states')


def from_verifiers(
  fn: Callable,
  *,
  conversational: bool | None = None,
  workers: int = 32,
  run: calls.Executor | None = None,
  **others,
) -> Reward:
  """Reward from a verifiers function, whose argument names say what it gets.

  Known are prompt, completion, answer, info (the task's meta), task (its family, the name in
  its id) and state, a dict of these. The plural names get lists, one entry for each completion of a task, and the function
  returns as many scores. Coroutine functions are awaited.

  Args:
    conversational: whether prompt and completion are lists of messages; None finds it out, as in
      `from_trl`.
    workers, run: as in `from_verl`.
    others: further keyword arguments, such as parser.
  Raises: ValueError for a function that takes other arguments, such as the `trace` of verifiers 1.
  """
  check_keywords(fn, 'from_verifiers', MARKS, FORMS)
  known = {'prompt': [], 'completion': [], 'answer': None, 'info': {}, 'task': '', 'state': {}}
  plural = {*_plural([known])} & {*(arguments_of(fn) or ())}
  try:
    accepted(fn, {**(_plural([known]) if plural else known), **others})
  except TypeError as error:
    raise ValueError(f'rewards.from_verifiers: {error}') from error
  run, name = run or calls.threads(workers), values.name_of(fn)

  def attempt(form, tasks, groups):
    """All scores, prompt-major, or the first exception."""
    rows = [[_row(form, task, text) for text in texts] for task, texts in zip(tasks, groups)]
    given = [_plural(row) for row in rows if row] if plural else [x for row in rows for x in row]
    results = run(fn, [accepted(fn, {**arguments, **others}) for arguments in given])
    if plural:
      results = [
        score
        for result, row in zip(results, filter(None, rows))
        for score in values.listed(result, len(row))
      ]
    failed = [result for result in results if isinstance(result, Exception)]
    return failed[0] if results and len(failed) == len(results) else results

  in_form = chat.in_form(attempt, conversational, name)

  def score(samples):
    results = in_form(samples.tasks, samples.texts)
    if isinstance(results, Exception):
      raise results
    return results, {}

  return batched(score, name=name)


def _row(form, task, text):
  row = {
    'prompt': chat.messages(turns(task.prompt)) if form else task.text,
    'completion': chat.answered(text) if form else text,
    'answer': task.answer,
    'info': dict(task.meta),
    'task': task.family,
  }
  return {**row, 'state': dict(row)}


def _plural(rows):
  return {f'{name}s': [row[name] for row in rows] for name in rows[0]}
