"""Texts or messages: the two forms in which other libraries pass prompts and completions."""

import logging
from collections.abc import Callable

from sirl.tasks import Message, turns

FORM_ERRORS = (TypeError, AttributeError, KeyError, IndexError)  # what the wrong form raises

log = logging.getLogger(__name__)


def messages(prompt):
  """A prompt as a list of {'role', 'content'}."""
  return [{'role': message.role, 'content': message.content} for message in turns(prompt)]


def answered(text):
  """A completion as such a list."""
  return messages((Message('assistant', text),))


def in_form(attempt: Callable, conversational: bool | None, name: str) -> Callable:
  """fn(tasks, *rest) -> result of attempt(form, tasks, *rest) in the form that the function takes.

  attempt returns an exception if the call failed. With conversational None, the form is that of the
  prompts, and the other one if that raises what the wrong form raises; it is then kept and logged.
  """
  known = [] if conversational is None else [conversational]

  def run(tasks, *rest):
    given = any(not isinstance(task.prompt, str) for task in tasks)
    forms = known or [given, not given]
    results = []
    for form in forms:
      results.append(attempt(form, tasks, *rest))
      failed = isinstance(results[-1], Exception)
      if not failed and not known:
        known.append(form)
        if form != given:
          log.info('reward %s takes conversational=%s; it was found by trying', name, form)
      if not failed or _of_form(results[-1]) is False:
        break
    if len(results) == 2 and isinstance(results[1], Exception):
      results[0].add_note(
        f'conversational={forms[0]} failed so, and conversational={forms[1]} with '
        f'{type(results[1]).__name__}: {results[1]}; give the one that is right'
      )
      return results[0]
    return results[-1]

  return run


def _of_form(error):
  kinds = tuple(kind.__name__ for kind in FORM_ERRORS)
  return isinstance(error, FORM_ERRORS) or str(error).startswith(kinds)  # of another process
