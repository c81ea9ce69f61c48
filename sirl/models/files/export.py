"""Exports a policy: a Hugging Face folder of weights, tokenizer and generation config.

transformers computes the same logits from the folder, and `pretrained.load` with
`tokenizer.pretrained` read it back.
"""

import logging
import os
import pathlib
import tempfile

import jax.numpy as jnp

from sirl.models import tokenizer
from sirl.models.files import pretrained, weights
from sirl.runtime import files

GENERATION_CONFIG = 'generation_config.json'

log = logging.getLogger(__name__)


def export(folder, params, architecture, codec, *, sampler=None, max_new=None):
  """Writes a folder that transformers and this library load, either completely or not at all.

  The files are written into a temporary folder beside it, which is then renamed.

  Args:
    folder: must be missing or empty.
    params: of the policy; merge frozen and trained parts first.
    architecture: of the policy, `model.architecture`.
    codec: the one that the policy was trained with.
    sampler: how the policy draws tokens. None: generation_config.json keeps the settings of the
      codec's own folder, if it has one. A temperature and greedy decoding can be expressed. A
      truncation (top-k, top-p, min-p) cannot and is omitted with a warning.
    max_new: tokens of a completion.
  Returns: the folder as a `pathlib.Path`.
  Raises: ValueError for a folder that is not empty, an architecture of None or without a Hugging
    Face family, params that do not belong to it, and a codec that cannot be saved or does not fit.
  """
  folder = pathlib.Path(folder)
  _check(folder, params, architecture, codec)
  target = folder.resolve()
  beside = next(parent for parent in target.parents if parent.exists())
  with tempfile.TemporaryDirectory(prefix=f'.{target.name}-', dir=beside) as scratch:
    made = pathlib.Path(scratch) / target.name
    made.mkdir()
    codec.save(made)
    ids = _token_ids(codec, made)
    stated = ids | {'eos_token_id': list(codec.eos_ids) or None, 'max_new_tokens': max_new}
    stated = {name: value for name, value in stated.items() if value is not None}
    how = _how_to_draw(sampler, architecture.vocab, made)
    weights.write_json(made / GENERATION_CONFIG, how | stated)
    pretrained.save(made, params, architecture, token_ids=ids)
    _check_saved(made, codec)
    target.parent.mkdir(parents=True, exist_ok=True)
    os.replace(made, target)
  return folder


def _check(folder, params, architecture, codec):
  pretrained.check_arguments(params, architecture)
  if codec.save is None:
    raise ValueError(
      'this codec cannot be exported: its field `save` is None; give it a function that writes '
      'the tokenizer files into a folder, codec._replace(save=...)'
    )
  if codec.vocab > architecture.vocab:
    raise ValueError(
      f'the codec has {codec.vocab} ids and the model {architecture.vocab}; '
      f'export the codec that the policy was trained with'
    )
  check_free(folder)


def check_free(folder):
  """Raises ValueError unless the folder is empty or missing, so no file is overwritten.

  Raises OSError where it cannot be made.
  """
  if folder.is_dir() and any(folder.iterdir()):
    raise ValueError(
      f'{folder} exists and is not empty; name another folder, or remove this one first'
    )
  if folder.exists() and not folder.is_dir():
    raise ValueError(f'{folder} exists and is no folder; name another one')
  files.check_folder(folder, 'folder', 'name another one')


def _token_ids(codec, folder):
  """Special token ids for config.json.

  None is written as null, because transformers would use a default id for a missing entry.
  """
  ends = list(codec.eos_ids)
  return {
    'bos_token_id': tokenizer.load(folder).bos_token_id,
    'eos_token_id': ends[0] if len(ends) == 1 else ends or None,
    'pad_token_id': codec.pad_id,
  }


def _how_to_draw(sampler, vocab, folder):
  """The entries of generation_config.json that say how tokens are drawn."""
  file = folder / GENERATION_CONFIG
  if sampler is None:
    return weights.read_json(file, '') if file.is_file() else {}
  if _is_greedy(sampler, vocab):
    return {'do_sample': False}
  if sampler.support is not None:
    log.warning(
      'the sampler keeps a part of the tokens (top-k, top-p or min-p), which %s cannot say here; '
      'write it there yourself',
      GENERATION_CONFIG,
    )
  # Without top_k and top_p, transformers would keep the 50 most likely tokens.
  return {
    'do_sample': True,
    'temperature': float(sampler.temperature),
    'top_k': 0,
    'top_p': 1.0,
  }


def _is_greedy(sampler, vocab):
  """Whether the sampler keeps a single token even if all tokens are almost equally likely."""
  if sampler.support is None:
    return False
  return int(jnp.sum(sampler.support(jnp.zeros(vocab).at[0].set(1e-6)))) == 1


def _check_saved(folder, codec):
  """Raises ValueError if the saved tokenizer differs from the codec."""
  saved = tokenizer.pretrained(folder)
  for field in ('pad_id', 'vocab'):
    expected, got = getattr(codec, field), getattr(saved, field)
    if expected != got:
      raise ValueError(
        f'the tokenizer that codec.save wrote has {field}={got!r}, but the codec has '
        f'{field}={expected!r}; nothing was exported'
      )
