r"""Domains of questions in files: GSM8K or another data set from a folder, and a file of your own.

With `data=generated` small questions are written to such a file first. The same reader then reads
them, without a download. The numbers `question`, `answer` and `parse` say how rows are read:

  --set question=problem --set answer=solution --set parse=boxed
"""

import dataclasses
import functools
import pathlib
import tempfile

from sirl import recipe, rewards
from sirl.acquisition import curated, procedural
from sirl.domains import answers, mathematics
from sirl.rewards import heuristic
from sirl.runtime import json_text, plural

SPLITS = ('train', 'test')
GENERATED = 'generated'  # a value of `data`: small questions, written on demand
QUESTION = 'Tom has {a} nuts. He gets {b}. How many?'
INSTRUCTION = '{question}\nReason step by step and put the final answer in \\boxed{{}}.'


def whole_field(text):
  """The text itself; None for one that holds the mark of another way to write answers."""
  return None if '####' in text or '\\boxed' in text else text.strip()


PARSES = {  # values of `parse` -> text of the answer field to answer
  'marked': curated.gsm8k_answer,  # what follows the last ####
  'boxed': answers.boxed,  # what stands in the last \boxed{}
  'plain': whole_field,
}
SAYS = {
  'marked': 'what follows ####',
  'boxed': 'what stands in \\boxed{}',
  'plain': 'the whole field, without #### or a box',
}


def gsm8k(c) -> recipe.Domain:
  """GSM8K, or other questions in its layout, from the folder `data`.

  This is a prepared TFDS version, or a folder with train.jsonl and test.jsonl or with parquet files
  of both splits. The prompt asks for the answer in a box. Without `data` a model from nothing gets
  generated questions.
  """
  if c.data == GENERATED or (not c.data and c.model == 'toy'):
    with tempfile.TemporaryDirectory() as folder:
      write_folder(folder)
      train, test = read_folder(folder)
  else:
    train, test = read_folder(c.data or 'data/gsm8k', **_how(c))
  return _boxed('gsm8k', train, test)


def jsonl(c) -> recipe.Domain:
  """Questions from a JSONL file of your own (`--set data=FILE`, its fields `--set question=` and
  `--set answer=`, the form of answers `--set parse=`).

  Answers may be numbers. Either every row has an answer or none has one, unless `unanswered` is
  true. The `heldout` tasks with the smallest ids are held out, at most a quarter of all, those with
  an answer first.
  Raises: ValueError without `data`, for fewer than 4 questions, and for a malformed row or one
    without an answer, with its line.
  """
  if not c.data and not c.debug:
    raise ValueError('task=jsonl reads a file of yours; give it with --set data=FILE.jsonl')
  if c.data in ('', GENERATED):
    with tempfile.TemporaryDirectory() as folder:
      write_folder(folder)
      path = pathlib.Path(folder) / 'train.jsonl'
      tasks = curated.jsonl(path, parse=curated.gsm8k_answer, name='jsonl')
  else:
    (tasks,) = read(functools.partial(curated.jsonl, c.data), **_how(c))
  tasks = sorted(tasks, key=lambda task: (task.answer is None, task.id))
  if len(tasks) < 4:
    raise ValueError(
      f'{c.data} holds {plural.counted(len(tasks), "question")}; at least 4 are needed to hold some out'
    )
  n = min(c.heldout, max(1, len(tasks) // 4))
  tasks = [_asked(task) for task in tasks]
  return _boxed('jsonl', tasks[n:], tasks[:n])


def _how(c):
  """The numbers of a config that say how rows are read."""
  names = ('question', 'answer', 'parse', 'unanswered')
  return {name: getattr(c, name) for name in names}


def read(*readers, question='question', answer='answer', parse='auto', unanswered=False, **options):
  """A list of tasks of each reader, each question once: of rows that repeat one, the first.

  Args: readers: functions of `curated` with their source, which warn of such rows.
  """
  fields = {'prompt': question, 'answer': answer or None, 'parse': parser(parse)}
  fields['same'] = answers.same
  found = [reader(**fields, answered=not unanswered, **options) for reader in readers]
  return [_each_once(tasks) for tasks in found]


def _each_once(tasks):
  first = {}
  for task in tasks:
    first.setdefault(task.id, task)
  return [*first.values()]


def parser(kind):
  """The function (text of the answer field) -> answer that `parse` names: a key of PARSES or 'auto'.

  With 'auto' the first answer decides: one with a #### or a box is parsed as 'marked' or 'boxed',
  any other one is the answer itself. All further answers must be alike.
  """
  if kind not in ('auto', *PARSES):
    raise ValueError(f'parse={kind}: expected one of auto, {", ".join(PARSES)}')
  chosen = [] if kind == 'auto' else [kind]

  def parse(text):
    if not chosen:
      marks = {'####': 'marked', '\\boxed': 'boxed'}
      chosen.append(next((name for mark, name in marks.items() if mark in text), 'plain'))
    parse.__name__ = f'parse={chosen[0]} ({SAYS[chosen[0]]}; --set parse= names another form)'
    return PARSES[chosen[0]](text)

  return parse


def _boxed(name, train, test):
  return recipe.Domain(
    name=name,
    splits={'train': train, 'heldout': test},
    extract=answers.final,  # docs/answers.md says which span that is
    correct=mathematics.correct,
    reward=rewards.weighted(
      correct=(1.0, rewards.per_completion(mathematics.correct)),
      format=(0.1, rewards.per_completion(heuristic.boxed)),
    ),
    solution=lambda task: None if task.answer is None else f'\\boxed{{{task.answer}}}',
  )


def _asked(task):
  prompt = INSTRUCTION.format(question=task.prompt)
  return dataclasses.replace(task, prompt=prompt, place=task.place)


def read_folder(folder, **how):
  """(train, test) tasks of a TFDS version's folder, or of one with both splits as JSONL or parquet.

  Args: how: question, answer, parse and unanswered, as in `read`.
  Raises: ValueError if the folder is missing or of another kind, and for a malformed row, with its
    file and line.
  """
  folder = pathlib.Path(folder)
  lines = [folder / f'{split}.jsonl' for split in SPLITS]
  if (folder / 'dataset_info.json').is_file():
    readers = [functools.partial(curated.tfds, folder, split) for split in SPLITS]
  elif all(path.is_file() for path in lines):
    readers = [functools.partial(curated.jsonl, path) for path in lines]
  elif folder.is_dir() and any(folder.glob('*.parquet')):
    readers = [functools.partial(curated.parquet, folder, split=split) for split in SPLITS]
  else:
    found = (
      ', '.join(sorted(path.name for path in folder.iterdir())[:8]) if folder.is_dir() else None
    )
    what = 'does not exist' if found is None else f'holds {found or "nothing"}'
    raise ValueError(
      f'data={folder} {what}; expected a prepared TFDS version (with dataset_info.json, such as '
      'gsm8k/1.0.0) or a folder with train.jsonl and test.jsonl, or with parquet files of both '
      'splits. Give it with --set data=FOLDER'
    )
  splits = read(*readers, name='gsm8k', **how)
  return tuple([_asked(task) for task in tasks] for tasks in splits)


def write_folder(folder):
  """Writes train.jsonl and test.jsonl.

  The questions are sums of one-digit numbers; each answer has a line of reasoning before it.
  """
  generator = mathematics.addition(digits=1, template=QUESTION)
  test = procedural.fixed_set(generator, n=16, seed=0, namespace='heldout')
  train = procedural.fixed_set(generator, n=64, seed=0, namespace='train', exclude=test)
  for split, tasks in (('train', train), ('test', test)):
    rows = [
      {
        'question': task.prompt,
        'answer': f'{task.meta["a"]} + {task.meta["b"]}\n#### {task.answer}',
      }
      for task in tasks
    ]
    (pathlib.Path(folder) / f'{split}.jsonl').write_text(
      ''.join(json_text.dumps(row) + '\n' for row in rows)
    )
