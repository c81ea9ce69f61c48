"""Text around the decoder: prompts to padded ids, completions to text, noise addresses of rows."""

import collections.abc
import functools

import numpy as np

from sirl.ops import keys as addressed
from sirl.runtime import hosts
from sirl.tasks import text_of, turns


def check_fit(model, codec):
  """Raises ValueError if the codec has ids for which the model's embedding has no row.

  The embedding may have more rows than the codec has ids.
  """
  largest = max(codec.vocab - 1, codec.pad_id, *codec.eos_ids)
  if largest >= model.vocab:
    raise ValueError(
      f'the tokenizer has ids up to {largest} but the model only {model.vocab} rows in its '
      f'embedding; use the tokenizer that belongs to the weights, or an architecture with '
      f'vocab={largest + 1}'
    )


def encode(codec, prompts, max_prompt, names=None, widths=()):
  """Left-padded prompts.

  Args:
    prompts: texts or conversations.
    names: names for error messages, such as task ids; None: the beginning of the text.
    widths: numbers of columns below max_prompt; the smallest that holds the longest prompt is used.
  Returns: int32 numpy [P, S] and bool numpy [P, S], where S is max_prompt or one of the widths.
  Raises: ValueError that names the prompt, if it is empty or too long.
  """
  tokens_PS = np.full((len(prompts), max_prompt), codec.pad_id, np.int32)
  valid_PS = np.zeros((len(prompts), max_prompt), bool)
  longest = 0
  for p, prompt in enumerate(prompts):
    ids = codec.render(turns(prompt))
    longest = max(longest, len(ids))
    text = text_of(prompt)
    name = names[p] if names else repr(text[:60])
    if len(ids) > max_prompt:
      raise ValueError(
        f'prompt of task {name} has {len(ids)} tokens, max_prompt is {max_prompt}; '
        f'raise max_prompt or leave the task out. It begins: {text[:60]!r}'
      )
    if not ids:
      raise ValueError(f'prompt of task {name} encodes to no token; a prompt needs at least one')
    tokens_PS[p, max_prompt - len(ids) :] = ids
    valid_PS[p, max_prompt - len(ids) :] = True
  width = min((width for width in widths if longest <= width <= max_prompt), default=max_prompt)
  return tokens_PS[:, max_prompt - width :], valid_PS[:, max_prompt - width :]


def address(ids, group_size):
  """Noise address of each row: (uint32 numpy [P] of the ids, int32 numpy [P] first sample index).

  An id that occurs twice in a batch continues its sample numbering, so its two groups differ.
  """
  return addressed.text_ids(ids), addressed.occurrences(ids) * np.int32(group_size)


def completions(codec, tokens_PGT, action_PGT):
  """P x G texts from numpy arrays, without end tokens and padding."""
  ends = np.asarray(codec.eos_ids)
  shown_PGT = action_PGT & ~np.isin(tokens_PGT, ends)
  return [
    [codec.decode(row[shown].tolist()) for row, shown in zip(*group)]
    for group in zip(tokens_PGT, shown_PGT)
  ]


class Completions(collections.abc.Sequence):
  """Completions of this process, a list of G texts per task, fetched and decoded on first read.

  Creating the object does not wait for the device. The thread that computes the rewards of one
  slice reads it while the device generates the next.
  """

  def __init__(self, codec, rollouts):
    self.codec, self.rollouts = codec, rollouts

  @functools.cached_property
  def read(self):
    rollouts = self.rollouts
    arrays = hosts.local_rows(rollouts.tokens), hosts.local_rows(rollouts.action)
    return completions(self.codec, *arrays)

  def __getitem__(self, index):
    return self.read[index]

  def __len__(self):
    return len(self.read)

  def __eq__(self, other):
    return self.read == list(other)

  def __repr__(self):
    return repr(self.read)


def endings(codec, tasks, solutions, max_new):
  """Known completions: the ids of each text and its end token, padded by `pad_right`.

  Raises: ValueError that names the task whose text is longer than max_new tokens.
  """
  rows = [[*codec.encode(text), codec.eos_ids[0]] for text in solutions]
  for task, text, ids in zip(tasks, solutions, rows):
    if len(ids) > max_new:
      raise ValueError(
        f'answer of task {task.id} has {len(ids)} tokens with its end token, max_new is {max_new}; '
        f'raise max_new or leave the task out. It begins: {text[:60]!r}'
      )
  return pad_right(rows, max_new, codec.pad_id)


def pad_right(rows, width, pad_id):
  """Right-padded ids, int32 numpy [B, width], and a bool mask of that shape, False in padding."""
  tokens = np.full((len(rows), width), pad_id, np.int32)
  filled = np.zeros((len(rows), width), bool)
  for i, ids in enumerate(rows):
    tokens[i, : len(ids)] = ids
    filled[i, : len(ids)] = True
  return tokens, filled
