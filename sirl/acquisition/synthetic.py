"""Tasks that a model writes, through `Ask`.

`self_instruct` shows the model a few tasks of the pool and asks for one more. It keeps a reply if
it parses, passes the check and is new.
"""

import dataclasses
import logging
import re
from collections import Counter

import jax
import numpy as np

from sirl import ranges
from sirl.acquisition.procedural import rng_of
from sirl.slots import Acquire, Ask
from sirl.tasks import Task, content_id, prompt_key, text_of

TEMPLATE = """Here are examples of questions with their answers.

{examples}

Write one new question of the same kind, different from all of the above, in the same form.
"""

_QUESTION = re.compile(r'^[ \t]*(question|answer)[ \t]*:', re.IGNORECASE | re.MULTILINE)


def question_and_answer(task):
  """The text 'Question: ...', followed by 'Answer: ...' if the answer is known."""
  lines = [f'Question: {task.text}']
  return '\n'.join(lines if task.answer is None else [*lines, f'Answer: {task.answer}'])


def parse_question_and_answer(text):
  """Reads the first question and its answer (or None) from a text in the form above.

  Returns None if there is no question.
  """
  pieces = _QUESTION.split(text)[1:]  # name, contents, name, contents, ...
  named = [(name.lower(), contents.strip()) for name, contents in zip(pieces[::2], pieces[1::2])]
  if not named or named[0][0] != 'question' or not named[0][1]:
    return None
  answered = len(named) > 1 and named[1][0] == 'answer' and named[1][1]
  return {'prompt': named[0][1], 'answer': named[1][1] if answered else None}


def self_instruct(
  ask: Ask,
  *,
  per_round,
  examples=3,
  among=None,
  template=TEMPLATE,
  show=question_and_answer,
  separator='\n\n',
  parse=parse_question_and_answer,
  check=None,
  answers=True,
  name='self_instruct',
) -> Acquire:
  """Asks the policy for `per_round` new tasks a round.

  Drops texts that are malformed, fail the check or repeat a known prompt, and logs the counts.

  Args:
    ask: (weights, prompts, key, n) -> n texts per prompt.
    per_round: number of texts requested per round, and so the most tasks that a round can add.
    examples: tasks of the pool shown in each prompt, drawn anew for each prompt. If the pool has
      fewer, all are shown.
    among: task -> bool, which tasks of the pool may be shown; None allows all.
    template: prompt with the field {examples}; other braces stay as they are. For a model that only
      continues text, use template='{examples}' with a show such as
      lambda task: f'{task.prompt}{task.answer}'.
    show: task -> text of one example.
    separator: text between examples.
    parse: text -> dict of Task fields, or None if malformed. 'prompt' is required; 'answer',
      'difficulty', 'meta' and 'role' are optional.
    check: task -> bool, for example whether its answer is right; None keeps every task that parses.
    answers: False removes the answers that the model wrote.
    name: prefix of the tasks' ids.
  Raises: ValueError when no task of the pool may be shown.

  Source: Wang et al. 2022, arXiv 2212.10560. Differs: one task per request; examples are drawn
  uniformly from the pool, not six written and two generated ones. The ROUGE-L filter is
  `hygiene.dissimilar`.
  """
  if '{examples}' not in template:
    raise ValueError(f'template {template!r} has no field {{examples}} for the tasks to show')
  ranges.whole('per_round', per_round)
  ranges.whole('examples', examples)

  def acquire(weights, pool, context):
    candidates = [task for task in pool if among is None or among(task)]
    if not candidates:
      which = f'none of whose {len(pool)} pass among' if len(pool) else 'which is empty'
      raise ValueError(
        f'self_instruct shows tasks of the pool, {which}; chain(once(seed_tasks), '
        'self_instruct(...))'
      )
    key_examples, key_ask = jax.random.split(context.key)
    address = np.asarray(jax.random.key_data(key_examples)).tobytes().hex()
    shown = [_sample(candidates, examples, rng_of(name, address, i)) for i in range(per_round)]
    prompts = [template.replace('{examples}', separator.join(map(show, tasks))) for tasks in shown]
    texts = ask(weights, prompts, key_ask, 1)

    kept, outcomes = [], Counter()
    seen = {prompt_key(task.prompt) for task in pool}
    for (text,), tasks in zip(texts, shown, strict=True):
      task = _task(parse, text, name, context, tasks)
      outcome = _outcome(task, check, seen)
      outcomes[outcome] += 1
      if task is not None and outcome == 'kept':
        seen.add(prompt_key(task.prompt))
        kept.append(task if answers else dataclasses.replace(task, answer=None))
    _log(name, context, len(texts), outcomes)
    return kept

  return acquire


def _sample(tasks, n, rng):
  """Up to n distinct tasks."""
  return [tasks[row] for row in rng.permutation(len(tasks))[:n]]


def _task(parse, text, name, context, shown):
  """The task that a text describes, or None. An exception from parse gets the text as a note."""
  try:
    fields = parse(text)
  except Exception as error:
    error.add_note(f'{name}: while parsing the completion {text!r}')
    raise
  if fields is None or not text_of(fields['prompt']).strip():
    return None
  meta = {
    **fields.get('meta', {}),
    'acquired_in_round': context.round,
    'examples': [task.id for task in shown],
  }
  identity = {'id': content_id(name, fields['prompt']), 'origin': 'synthetic', 'meta': meta}
  return Task(**{**fields, **identity})


def _outcome(task, check, seen):
  if task is None:
    return 'malformed'
  if prompt_key(task.prompt) in seen:
    return 'duplicate'
  if check is not None and not check(task):
    return 'failed check'
  return 'kept'


def _log(name, context, asked, outcomes):
  level = logging.INFO if outcomes['kept'] else logging.WARNING
  logging.getLogger(__name__).log(
    level,
    '%s in round %d: asked %d, parsed %d, kept %d (malformed %d, duplicate %d, failed check %d)',
    name, context.round, asked, asked - outcomes['malformed'], outcomes['kept'],
    outcomes['malformed'], outcomes['duplicate'], outcomes['failed check'],
  )  # fmt: skip
