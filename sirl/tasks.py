"""Tasks, and the append-only pool of tasks that a run owns.

A pool has one JSONL file per round and holds every task once. The first line of a file is a header
such as `{"round": 0, "tasks": 2, "dropped": 1}`; each further line is a task. The file is written
before the round's first step, so a resumed run reads exactly the tasks of the rounds it has begun.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import logging
import pathlib
import re
import unicodedata
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, TypeAlias

from sirl import names, ranges
from sirl.runtime import files, hosts, plural

log = logging.getLogger(__name__)


@dataclasses.dataclass(frozen=True)
class Message:
  """One turn of a conversation."""

  role: str  # 'system' | 'user' | 'assistant'
  content: str


Prompt: TypeAlias = str | tuple[Message, ...]  # a str is a single user turn


@names.by_name(id='tasks.content_id(name, prompt)')
@dataclasses.dataclass(frozen=True, kw_only=True)
class Task:
  """One problem to attempt. Lives on the host only."""

  # Unique within a pool, equal in every process (`content_id`). The task's random keys use it.
  id: str
  prompt: Prompt  # before the chat template
  answer: str | None = None  # ground truth for verifiers; None if unknown
  role: str = 'solve'  # 'solve', 'propose', 'critique', ...; read by rewards.by_role
  origin: str = 'curated'  # 'curated' | 'environment' | 'synthetic'
  difficulty: float = 0.0  # the generator's own scale, 0 easiest
  meta: Mapping[str, Any] = dataclasses.field(default_factory=dict)  # JSON values only
  # Where it was read, such as 'train.jsonl, line 8'; for messages, neither compared nor written.
  place: dataclasses.InitVar[str] = ''

  def __post_init__(self, place):
    """Converts a conversation given as a list to a tuple, so that equal tasks compare equal."""
    object.__setattr__(self, 'place', place)
    object.__setattr__(self, 'difficulty', ranges.real('difficulty', self.difficulty))
    if not isinstance(self.id, str):
      raise ValueError(f'id={self.id!r}: expected a text; tasks.content_id(name, prompt) makes one')
    if not isinstance(self.prompt, str):
      messages = tuple(self.prompt) if isinstance(self.prompt, Sequence) else (self.prompt,)
      if not all(isinstance(message, Message) for message in messages):
        raise ValueError(f'prompt={self.prompt!r}: expected a text, or a sequence of tasks.Message')
      object.__setattr__(self, 'prompt', messages)
    if self.answer is not None and not isinstance(self.answer, str):
      raise ValueError(
        f'answer={self.answer!r} of {self.text[:40]!r}: expected a text or None; write str(answer)'
      )

  @property
  def text(self) -> str:
    """The prompt as one text, for checks, keys and people.

    For a conversation, each line names its speaker.
    """
    return text_of(self.prompt)

  @property
  def family(self) -> str:
    """The name in an id that `content_id` made, such as 'gsm8k'; the origin for another id."""
    named = re.fullmatch(r'(.+)-[0-9a-f]{12}', self.id)
    return named[1] if named else self.origin

  @property
  def label(self) -> str:
    """The beginning of the prompt and the place, for messages."""
    return f'{self.text[:40]!r}' + (f' ({self.place})' if self.place else '')

  @classmethod
  def from_json(cls, row: Mapping[str, Any]) -> Task:
    """Rebuilds a task from `dataclasses.asdict` output read back from JSON."""
    fields = dict(row)
    if not isinstance(fields.get('prompt', ''), str):
      fields['prompt'] = tuple(Message(**message) for message in fields['prompt'])
    return cls(**fields)


def turns(prompt: Prompt) -> tuple[Message, ...]:
  """The prompt as messages. Raises ValueError for what is neither a text nor messages."""
  if isinstance(prompt, str):
    return (Message('user', prompt),)
  if wrong := [message for message in prompt if not isinstance(message, Message)]:
    raise ValueError(
      f'a prompt holds {wrong[0]!r}; expected a text, or a sequence of tasks.Message(role, content)'
    )
  return tuple(prompt)


def text_of(prompt: Prompt) -> str:
  """The prompt as one text: a str as it is, a conversation as lines 'role: content'."""
  if isinstance(prompt, str):
    return prompt
  return '\n'.join(f'{message.role}: {message.content}' for message in prompt)


class Pool(Sequence):
  """Tasks, each with the round that acquired it. Immutable: `extend` returns a new pool.

  Attributes:
    tasks: list of Task [n].
    rounds: list of int [n], the round that acquired each task.
    dropped: number of duplicates rejected, over all rounds.
  """

  def __init__(self, *, folder=None):
    """An empty pool. folder: where to write the files of rounds; None keeps them in memory."""
    self.folder = None if folder is None else pathlib.Path(folder)
    self.tasks: list[Task] = []
    self.rounds: list[int] = []
    self.dropped = 0
    self._index: dict[str, int] = {}  # task id -> row
    self._files: list[dict[str, Any]] = []  # the manifest

  @classmethod
  def load(cls, folder, *, rounds: int) -> Pool:
    """The pool as it was after `rounds` rounds.

    Ignores files of later rounds; the next `extend` replaces them.
    Raises: ValueError for a file that is missing, truncated or not in the format of `extend`.
    """
    pool = cls(folder=folder)
    for round in range(rounds):
      if pool.folder is None:
        raise ValueError(
          f'a pool in memory has no rounds to load, got rounds={rounds}; give their folder'
        )
      path = pool.folder / _file(round)
      if not path.exists():
        raise ValueError(
          f'{path} is missing, but the run was committed up to round {rounds - 1}; restore the file'
        )
      pool._append(path.read_bytes(), round, path)
    return pool

  def extend(self, tasks, *, round: int | None = None) -> Pool:
    """A new pool with the tasks of one round added.

    Writes the round's file atomically before it returns. A task whose id is already known, from
    this round or an earlier one, is dropped and counted. Those with another answer are warned about.

    Args:
      tasks: iterable of Task.
      round: must follow the pool's last round; None means the next.
    Raises: ValueError for another round, two different prompts under one id, or a task that is not
      plain JSON.
    """
    expected = len(self._files)
    if round not in (None, expected):
      raise ValueError(
        f'round={round}, but the pool holds {plural.counted(expected, "round")}, so the next is '
        f'round={expected}'
      )

    fresh, dropped, conflicts = {}, 0, []
    for task in tasks:
      known = self.tasks[self._index[task.id]] if task.id in self._index else fresh.get(task.id)
      if known is None:
        fresh[task.id] = task
      elif known.prompt == task.prompt:
        dropped += 1
        conflicts += [(known, task)] if known.answer != task.answer else []
      else:
        raise ValueError(
          f'two tasks share the id {task.id!r}: {known.prompt!r} and {task.prompt!r}; '
          'make ids with tasks.content_id'
        )

    if conflicts:
      kept, other = conflicts[0]
      log.warning(
        'round %d: %d tasks repeat a prompt with another answer, and the first answer is kept; for '
        'example %s: %r, not %r',
        expected, len(conflicts), kept.label, kept.answer, other.answer,
      )  # fmt: skip

    header = {'round': expected, 'tasks': len(fresh), 'dropped': dropped}
    data = b''.join([_line(header), *(_task_line(task) for task in fresh.values())])
    if self.folder is not None and hosts.is_first():
      files.atomic_write(self.folder / _file(expected), data)
      _remove_after(self.folder, expected)
      if dropped:
        log.info(
          'round %d: %d of %d acquired tasks repeat a prompt and are dropped',
          expected, dropped, len(fresh) + dropped,
        )  # fmt: skip
    pool = self._copy()
    # Parses the written bytes, so that a fresh and a resumed run hold equal tasks.
    pool._append(data, expected, _file(expected))
    return pool

  def __len__(self) -> int:
    return len(self.tasks)

  def __iter__(self) -> Iterator[Task]:
    return iter(self.tasks)

  def __contains__(self, task) -> bool:
    return getattr(task, 'id', task) in self._index

  def __getitem__(self, index):
    """A Task for an int; a list of Tasks for a slice or a sequence of ints.

    A selector's indices are such a sequence.
    """
    if isinstance(index, slice):
      return self.tasks[index]
    if hasattr(index, '__len__'):
      return [self.tasks[int(i)] for i in index]
    return self.tasks[int(index)]

  def manifest(self) -> list[dict[str, Any]]:
    """One {file, count, sha256} per round, as JSON values, for the checkpoint."""
    return [dict(row) for row in self._files]

  def verify(self, manifest) -> None:
    """Raises ValueError unless the pool equals the one that the manifest describes."""
    if len(manifest) != len(self._files):
      raise ValueError(
        f'the pool holds {plural.counted(len(self._files), "round")}, the checkpoint was written '
        f'with {len(manifest)}'
      )
    for have, want in zip(self._files, manifest):
      if have != dict(want):
        raise ValueError(
          f'{want["file"]} has changed since the checkpoint: {have["count"]} tasks, sha256 '
          f'{have["sha256"][:12]}; expected {want["count"]} tasks, sha256 {want["sha256"][:12]}. '
          'Restore the file or use a new workdir.'
        )

  def in_memory(self, tasks) -> Pool:
    """A copy of the pool with tasks added, without writing a file."""
    view = self._copy()
    view.folder = None
    return view.extend(tasks)

  def _copy(self):
    pool = Pool(folder=self.folder)
    pool.tasks, pool.rounds, pool.dropped = [*self.tasks], [*self.rounds], self.dropped
    pool._index, pool._files = {**self._index}, [*self._files]
    return pool

  def _append(self, data, round, source):
    header, tasks = _parse(data, source)
    if header['round'] != round or header['tasks'] != len(tasks):
      raise ValueError(
        f'{source}: its first line announces {header["tasks"]} tasks of round {header["round"]}, '
        f'found {len(tasks)} where round {round} was expected; the file was cut or moved, restore '
        'it'
      )
    for task in tasks:
      self._index[task.id] = len(self.tasks)
      self.tasks.append(task)
      self.rounds.append(round)
    self.dropped += header['dropped']
    digest = hashlib.sha256(data).hexdigest()
    self._files.append({'file': _file(round), 'count': len(tasks), 'sha256': digest})


# ---------------------------------------------------------------- identity of a task


def content_id(name: str, prompt: Prompt) -> str:
  """'name-' and 12 hex digits of the prompt's blake2b hash.

  The same task has the same id in every process.
  """
  said = prompt if isinstance(prompt, str) else json.dumps([[m.role, m.content] for m in prompt])
  try:
    return f'{name}-{hashlib.blake2b(said.encode(), digest_size=6).hexdigest()}'
  except UnicodeEncodeError as error:
    raise ValueError(
      f'the prompt {said[:40]!r} is no text in UTF-8: {error}; correct it'
    ) from error


def prompt_key(prompt: Prompt) -> str:
  """The prompt without case and white space, to compare prompts: '12 + 34 =' gives '12+34='."""
  return ''.join(unicodedata.normalize('NFC', text_of(prompt)).casefold().split())


# ---------------------------------------------------------------- files


def _file(round):
  return f'round_{round:05d}.jsonl'


def _line(row):
  return json.dumps(row, ensure_ascii=False, allow_nan=False).encode() + b'\n'


def _task_line(task):
  try:
    return _line(dataclasses.asdict(task))
  except (TypeError, ValueError) as error:
    raise ValueError(
      f'task {task.id} cannot be written as JSON: {error}; meta holds JSON values only'
    ) from error


def _parse(data, source):
  """(header, tasks) of a round's bytes."""
  rows = []
  for number, line in enumerate(data.splitlines(), start=1):
    try:
      rows.append(json.loads(line) if number == 1 else Task.from_json(json.loads(line)))
    except (KeyError, TypeError, ValueError) as error:
      raise ValueError(
        f'{source}, line {number}: not a task that the pool wrote ({error}); restore the file'
      ) from error
  if not rows or not {'round', 'tasks', 'dropped'} <= set(rows[0]):
    raise ValueError(f'{source}: no pool header in its first line; restore the file')
  return rows[0], rows[1:]


def _remove_after(folder, round):
  """Removes leftovers of an interrupted run: half-written files, and files of later rounds."""
  for path in folder.glob('round_*.jsonl'):
    if (match := re.fullmatch(r'round_(\d{5})\.jsonl', path.name)) and int(match[1]) > round:
      path.unlink()
  for path in files.leftovers(folder):
    path.unlink()
