"""Codecs: text to ids and back, and a user's turn to the ids of a prompt.

`bytes_codec` and `characters` need no files and serve models trained from scratch; `pretrained` wraps the
fast tokenizer of a Hugging Face folder or hub name (transformers, without torch).
"""

import json
import pathlib

from sirl.types import Codec


def bytes_codec():
  """UTF-8 bytes as ids 0..255, then pad 256 and eos 257; a prompt is its bytes."""
  pad, eos = 256, 257

  def encode(text):
    return list(text.encode('utf-8'))

  def decode(ids):
    _check_ids(ids, eos + 1)
    return bytes(id_ for id_ in ids if id_ < pad).decode('utf-8', errors='replace')

  return Codec(encode, decode, encode, pad_id=pad, eos_ids=(eos,), vocab=eos + 1)


def characters(alphabet, *, end_of_prompt=''):
  """A vocabulary of single characters: pad 0, eos 1, then the alphabet from 2 on.

  Args:
    alphabet: str without repetitions.
    end_of_prompt: what follows every prompt ('=' turns '2+3' into '2+3='); its characters are in the alphabet.
  Raises: ValueError for a repeated character, and from encode and render for one outside the alphabet.
  """
  pad, eos, first = 0, 1, 2
  ids_of = {character: first + index for index, character in enumerate(alphabet)}
  if len(ids_of) != len(alphabet):
    repeated = next(c for c in alphabet if alphabet.count(c) > 1)
    raise ValueError(f'alphabet {alphabet!r} holds {repeated!r} twice; give each character once')

  def encode(text):
    unknown = next((character for character in text if character not in ids_of), None)
    if unknown is not None:
      raise ValueError(
        f'character {unknown!r} of {text!r} is not in the alphabet {alphabet!r}; add it there or change the text'
      )
    return [ids_of[character] for character in text]

  def decode(ids):
    _check_ids(ids, first + len(alphabet))
    return ''.join(alphabet[id_ - first] for id_ in ids if id_ >= first)

  end = encode(end_of_prompt)
  vocab = first + len(alphabet)
  return Codec(encode, decode, lambda text: encode(text) + end, pad, (eos,), vocab)


def _check_ids(ids, vocab):
  wrong = next((id_ for id_ in ids if not 0 <= id_ < vocab), None)
  if wrong is not None:
    raise ValueError(
      f'id {wrong} is outside the codec of {vocab} ids; do model and codec belong together?'
    )


def pretrained(name, *, system=None):
  """Codec of the tokenizer in a Hugging Face folder, or of a model on the hub.

  `encode` reads text as plain text: a special token spelled out in it stays letters, so decode gives the text
  back. `render` puts the text into the chat template as one user turn, and there a special token spelled out
  counts as one; without a template it is the text after the tokenizer's beginning-of-sequence token, if it
  sets one. The template writes its own such token, so there are never two.

  Where a tokenizer has no padding token, the first end token stands in: masks come from lengths.

  Args:
    name: a folder, or 'owner/model' as on the hub.
    system: system turn before the user's; None leaves it to the template, which may have a default.
  Raises: ValueError where there is no tokenizer, no end token, or a system turn without a place in the template.
  """
  tokenizer = _load(str(name))
  eos_ids = _eos_ids(str(name), tokenizer)
  if not eos_ids:
    raise ValueError(
      f'{name}: neither tokenizer nor generation_config.json names an end token (eos_token)'
    )
  if system is not None and not tokenizer.chat_template:
    raise ValueError(
      f'{name}: the tokenizer has no chat template, so there is no place for system={system!r}'
    )

  def ids(text, **how):
    return tokenizer(text, add_special_tokens=False, **how)['input_ids']

  def encode(text):
    return ids(text, split_special_tokens=True)

  def decode(ids):
    return tokenizer.decode(list(ids), skip_special_tokens=True, clean_up_tokenization_spaces=False)

  starts = tokenizer('')['input_ids'][:1]
  bos = starts if starts == [tokenizer.bos_token_id] else []

  def render(text):
    if not tokenizer.chat_template:
      return bos + encode(text)
    turns = [] if system is None else [{'role': 'system', 'content': system}]
    turns.append({'role': 'user', 'content': text})
    return ids(_template(name, tokenizer, turns))

  if tokenizer.chat_template:
    render('')  # a template that refuses the system turn refuses it here
  pad = tokenizer.pad_token_id
  return Codec(encode, decode, render, eos_ids[0] if pad is None else pad, eos_ids, len(tokenizer))


def _load(name):
  import transformers  # seconds to import: only where it is used

  folder = pathlib.Path(name)
  if folder.is_dir() and not any((folder / file).is_file() for file in _TOKENIZER_FILES):
    raise ValueError(
      f'{name}: no tokenizer in this folder; expected one of {", ".join(_TOKENIZER_FILES)}'
    )
  if not folder.is_dir() and not _hub_name(name):
    raise ValueError(
      f'{name}: no such folder; expected a Hugging Face folder, or a hub name "owner/model"'
    )
  try:
    tokenizer_json = _file(name, 'tokenizer.json')
    # A class named in tokenizer_config.json may rebuild the tokenizer with its own pre-tokenizer (GPT2Tokenizer
    # forgets SmolLM2's digit splitting), so tokenizer.json is taken as it is wherever there is one.
    if tokenizer_json:
      return transformers.PreTrainedTokenizerFast.from_pretrained(name)
    return transformers.AutoTokenizer.from_pretrained(name)
  except Exception as error:  # whatever the tokenizer's files or the hub client raise
    reason = str(error).strip().splitlines()
    what = (
      'its tokenizer cannot be read'
      if folder.is_dir()
      else 'no such folder, and nothing on the hub'
    )
    raise ValueError(
      f'{name}: {what} ({type(error).__name__}: {reason[0] if reason else "no message"}); '
      'expected a folder with tokenizer.json, or a hub name that can be reached'
    ) from error


_TOKENIZER_FILES = ('tokenizer.json', 'tokenizer.model', 'vocab.json')


def _hub_name(name):
  """Whether 'owner/model' or 'model' may name a hub model; under an existing folder it names a missing one."""
  parts = name.split('/')
  return (
    len(parts) <= 2
    and all(part and part[0].isalnum() for part in parts)
    and not (len(parts) == 2 and pathlib.Path(parts[0]).is_dir())
  )


def _file(name, file, *, reachable=True):
  """Path of a file of the folder or hub model, None where it has no such file.

  With reachable=False a hub that cannot be reached counts as having no such file beyond those kept locally.
  """
  from transformers.utils import cached_file

  found = cached_file(
    name,
    file,
    _raise_exceptions_for_missing_entries=False,
    _raise_exceptions_for_connection_errors=reachable,
  )
  return found and pathlib.Path(found)


def _eos_ids(name, tokenizer):
  """Every id that ends a turn: generation_config.json first, then config.json, then the tokenizer's own."""
  ids = []
  for file in ('generation_config.json', 'config.json'):
    path = _file(name, file, reachable=False)
    value = json.loads(path.read_text(encoding='utf-8')).get('eos_token_id') if path else None
    ids += value if isinstance(value, list) else [value]
  ids.append(tokenizer.eos_token_id)
  return tuple(dict.fromkeys(id_ for id_ in ids if id_ is not None))


def _template(name, tokenizer, turns):
  try:
    return tokenizer.apply_chat_template(turns, add_generation_prompt=True, tokenize=False)
  except (
    Exception
  ) as error:  # templates raise what their authors like, jinja2's errors among others
    raise ValueError(f'{name}: the chat template refuses {turns!r} ({error})') from error
