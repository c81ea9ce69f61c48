"""Text at the border of the decoder: prompts to padded ids, row keys by task id, completions back to text."""

import jax
import numpy as np

from sirl.ops import keys as addressed
from sirl.runtime import hosts


def encode(codec, prompts, max_prompt, names=None):
  """Left-padded prompts.

  Args: prompts: texts of user turns; names: what to call them in an error, task ids by default the texts.
  Returns: int32 numpy [P, max_prompt], bool numpy [P, max_prompt].
  Raises: ValueError naming the prompt that is empty or too long.
  """
  tokens_PS = np.full((len(prompts), max_prompt), codec.pad_id, np.int32)
  valid_PS = np.zeros((len(prompts), max_prompt), bool)
  for p, prompt in enumerate(prompts):
    ids = codec.render(prompt)
    name = names[p] if names else repr(prompt[:60])
    if len(ids) > max_prompt:
      raise ValueError(
        f'prompt of task {name} has {len(ids)} tokens, max_prompt is {max_prompt}; '
        f'raise max_prompt or leave the task out. It begins: {prompt[:60]!r}'
      )
    if not ids:
      raise ValueError(f'prompt of task {name} encodes to no token; a prompt needs at least one')
    tokens_PS[p, max_prompt - len(ids) :] = ids
    valid_PS[p, max_prompt - len(ids) :] = True
  return tokens_PS, valid_PS


def row_keys(key, ids, group_size):
  """Keys [P, G] addressed by task id and sample index; a task standing twice continues its numbering."""
  first_P = addressed.occurrences(ids) * group_size
  return addressed.rows(key, addressed.text_ids(ids), first_P, group_size)


def texts_of(codec, rollouts):
  """Completions as text, P x G of this process's rows, end tokens and padding left out."""
  tokens, action = hosts.local_rows(jax.device_get((rollouts.tokens, rollouts.action)))
  ends = set(codec.eos_ids)
  return [
    [codec.decode([int(t) for t, a in zip(row, acts) if a and int(t) not in ends]) for row, acts in zip(group, group_acts)]
    for group, group_acts in zip(tokens, action)
  ]


def pad_right(rows, width, pad_id):
  """Ids of different lengths as int32 numpy [B, width] and which entries are filled, bool numpy [B, width]."""
  tokens = np.full((len(rows), width), pad_id, np.int32)
  filled = np.zeros((len(rows), width), bool)
  for i, ids in enumerate(rows):
    tokens[i, : len(ids)] = ids
    filled[i, : len(ids)] = True
  return tokens, filled
