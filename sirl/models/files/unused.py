"""Which tensors of a checkpoint may stay unread.

A tensor that is not used is an error, with three exceptions: the second copy of a tied embedding,
the rotary tables of old exports, and a value head that was not asked for. A copy or table that
differs from what is computed is refused.
"""

import logging

import numpy as np

from sirl.models import rope

log = logging.getLogger(__name__)

EMBED, HEAD = 'model.embed_tokens.weight', 'lm_head.weight'
ROWS = 4096  # compared at a time


def may_be_left_out(name, tensors, architecture, folder):
  """Whether the tensor `name`, which no parameter reads, may be left out.

  Raises: ValueError for a copy or table with other numbers than the model computes with.
  """
  if name.startswith('value_head.') and not architecture.value_head:
    log.info('the checkpoint has %s, which is left out; load it with value_head=True', name)
    return True
  if name == HEAD and architecture.tied and EMBED in tensors:
    if not equal(tensors[HEAD], tensors[EMBED]):
      raise ValueError(
        f'{folder}: {HEAD} differs from {EMBED}, but config.json says tie_word_embeddings=true; '
        f'write false there to use the head, or remove the tensor to use the embedding'
      )
    return True
  if name.endswith('rotary_emb.inv_freq'):
    if not is_rotary_table(tensors[name], architecture):
      raise ValueError(
        f'{folder}: {name} holds other rotary frequencies than config.json; '
        f'correct rope_theta or the rope scaling there, or remove the tensor'
      )
    return True
  return False


def equal(a, b):
  """Whether two matrices hold the same numbers."""
  return a.shape == b.shape and all(
    np.array_equal(a[i : i + ROWS], b[i : i + ROWS]) for i in range(0, len(a), ROWS)
  )


def is_rotary_table(table, a):
  """Whether the table is that of the architecture, stretched or not, up to half precision."""
  thetas = [(a.rope_theta, None), (a.rope_theta, a.rope_scaling), (a.rope_local_theta, None)]
  tables = [rope.stretched(theta, a.head_width, scaling)[0] for theta, scaling in thetas if theta]
  numbers = np.asarray(table, np.float64)
  return any(
    numbers.shape == known.shape and np.allclose(numbers, known, rtol=0.01, atol=1e-7)
    for known in tables
  )
