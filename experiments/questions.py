r"""Domains of questions in files: GSM8K from a folder on disk, and a JSONL file of your own.

With `data=generated` small questions are written to such a file first. The same reader then reads
them, without a download.
"""

import dataclasses
import json
import pathlib
import tempfile

from sirl import recipe, rewards
from sirl.acquisition import curated, procedural
from sirl.domains import answers, mathematics
from sirl.rewards import heuristic

GENERATED = 'generated'  # a value of `data`: small questions, written on demand
QUESTION = 'Tom has {a} nuts. He gets {b}. How many?'
INSTRUCTION = '{question}\nReason step by step and put the final answer in \\boxed{{}}.'


def gsm8k(c) -> recipe.Domain:
  """GSM8K from `data`: a prepared TFDS version, or a folder with train.jsonl and test.jsonl.

  The prompt asks for the answer in a box. Without `data` a model from nothing gets generated
  questions.
  """
  if c.data == GENERATED or (not c.data and c.model == 'toy'):
    with tempfile.TemporaryDirectory() as folder:
      write_folder(folder)
      train, test = read_folder(folder)
  else:
    train, test = read_folder(c.data or 'data/gsm8k')
  return _boxed('gsm8k', train, test)


def jsonl(c) -> recipe.Domain:
  """Questions from a JSONL file of your own (`--set data=FILE`).

  Its rows have the fields question and answer; an answer may be null. Other field names: `--set
  question=... --set answer=...`. The `heldout` tasks with the smallest ids are held out, at most a
  quarter of all.
  Raises: ValueError without `data`, or for fewer than 4 questions.
  """
  if not c.data and not c.debug:
    raise ValueError('task=jsonl reads a file of yours; give it with --set data=FILE.jsonl')
  if c.data in ('', GENERATED):
    with tempfile.TemporaryDirectory() as folder:
      write_folder(folder)
      path = pathlib.Path(folder) / 'train.jsonl'
      tasks = curated.jsonl(path, parse=curated.gsm8k_answer, name='jsonl')
  else:
    tasks = curated.jsonl(c.data, prompt=c.question, answer=c.answer)
  unique = {task.id: task for task in tasks}.values()
  tasks = sorted(unique, key=lambda task: (task.answer is None, task.id))  # answered ones first
  if len(tasks) < 4:
    raise ValueError(
      f'{c.data} holds {len(tasks)} questions; at least 4 are needed to hold some out'
    )
  n = min(c.heldout, max(1, len(tasks) // 4))
  tasks = [_asked(task) for task in tasks]
  return _boxed('jsonl', tasks[n:], tasks[:n])


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
  return dataclasses.replace(task, prompt=INSTRUCTION.format(question=task.prompt))


def read_folder(folder):
  """(train, test) tasks of a TFDS version's folder, or of a folder with train.jsonl and test.jsonl.

  Raises: ValueError if the folder is missing or of neither kind, and for a malformed row, with its
    file and line.
  """
  folder = pathlib.Path(folder)
  rows = {'parse': curated.gsm8k_answer, 'name': 'gsm8k'}
  if (folder / 'dataset_info.json').is_file():
    splits = [curated.tfds(folder, split, **rows) for split in ('train', 'test')]
  elif all((folder / f'{split}.jsonl').is_file() for split in ('train', 'test')):
    splits = [curated.jsonl(folder / f'{split}.jsonl', **rows) for split in ('train', 'test')]
  else:
    found = (
      ', '.join(sorted(path.name for path in folder.iterdir())[:8]) if folder.is_dir() else None
    )
    what = 'does not exist' if found is None else f'holds {found or "nothing"}'
    raise ValueError(
      f'data={folder} {what}; expected a prepared TFDS version (with dataset_info.json, such as '
      'gsm8k/1.0.0) or a folder with train.jsonl and test.jsonl. Give it with --set data=FOLDER'
    )
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
      ''.join(json.dumps(row) + '\n' for row in rows)
    )
