"""Codecs: text to ids and back, and a conversation to the ids of a prompt.

`bytes_codec` and `characters` need no files and serve models trained from scratch; `pretrained` wraps the
fast tokenizer of a Hugging Face folder or hub name (transformers, without torch).
"""

import pathlib

from sirl.models.files.pretrained import locate
from sirl.models.files.weights import read_json
from sirl.tasks import turns
from sirl.types import Codec


def bytes_codec():
  """UTF-8 bytes as ids 0..255, then pad 256 and eos 257; a prompt is the bytes of its turns, a line each."""
  pad, eos = 256, 257

  def encode(text):
    return list(text.encode('utf-8'))

  def decode(ids):
    _check_ids(ids, eos + 1)
    return bytes(id_ for id_ in ids if id_ < pad).decode('utf-8', errors='replace')

  def render(messages):
    return encode('\n'.join(message.content for message in messages))

  return Codec(encode, decode, render, pad_id=pad, eos_ids=(eos,), vocab=eos + 1)


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

  def render(messages):
    return [*encode(''.join(message.content for message in messages)), *end]

  return Codec(encode, decode, render, pad, (eos,), vocab)


def _check_ids(ids, vocab):
  wrong = next((id_ for id_ in ids if not 0 <= id_ < vocab), None)
  if wrong is not None:
    raise ValueError(
      f'id {wrong} is outside the codec of {vocab} ids; do model and codec belong together?'
    )


def pretrained(name, *, system=None):
  """Codec of the tokenizer in a Hugging Face folder, or of a model on the hub.

  `encode` reads text as plain text: a special token spelled out in it stays letters, so decode gives the text
  back. `render` puts the messages into the chat template, and there a special token spelled out counts as one.
  Without a template it is the text of the messages, a line each, after the tokenizer's beginning-of-sequence token,
  if it sets one. The template writes its own such token, so there are never two.

  Where a tokenizer has no padding token, the first end token stands in: masks come from lengths.

  Args:
    name: what `pretrained.load` takes: a folder, a GGUF file, or 'owner/model' as on the hub.
    system: system turn before a conversation that has none; None leaves it to the template, which may have a default.
  Raises: FileNotFoundError for a missing folder; ValueError where there is no tokenizer or end token in it, and
    for a system turn that has no place in the template.
  """
  folder = _folder(name)
  tokenizer = _load(folder)
  eos_ids = _eos_ids(folder, tokenizer)
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
    plain = [int(id_) for id_ in ids]  # numpy's too
    return tokenizer.decode(plain, skip_special_tokens=True, clean_up_tokenization_spaces=False)

  starts = tokenizer('')['input_ids'][:1]
  bos = starts if starts == [tokenizer.bos_token_id] else []

  def render(messages):
    if not tokenizer.chat_template:
      return bos + encode('\n'.join(message.content for message in messages))
    said = [{'role': message.role, 'content': message.content} for message in messages]
    if system is not None and said[0]['role'] != 'system':
      said = [{'role': 'system', 'content': system}, *said]
    return ids(_template(name, tokenizer, said))

  if tokenizer.chat_template:
    render(turns(''))  # a template that refuses the system turn refuses it here
  pad = tokenizer.pad_token_id
  return Codec(encode, decode, render, eos_ids[0] if pad is None else pad, eos_ids, len(tokenizer))


_TOKENIZER_FILES = ('tokenizer.json', 'tokenizer.model', 'vocab.json')


def _folder(name):
  """The folder as it is if it holds a tokenizer; else whatever `pretrained.load` would read weights from."""
  holds_tokenizer = lambda folder: any((folder / file).is_file() for file in _TOKENIZER_FILES)
  folder = pathlib.Path(name)
  if not holds_tokenizer(folder):
    folder = locate(name)
  if not holds_tokenizer(folder):
    raise ValueError(
      f'{folder}: no tokenizer in this folder; expected one of {", ".join(_TOKENIZER_FILES)}'
    )
  return folder


def _load(folder):
  import transformers  # seconds to import: only where it is used

  # A class named in tokenizer_config.json may rebuild the tokenizer with its own pre-tokenizer (GPT2Tokenizer
  # forgets SmolLM2's digit splitting), so tokenizer.json is taken as it is wherever there is one.
  as_it_is = (folder / 'tokenizer.json').is_file()
  loader = transformers.PreTrainedTokenizerFast if as_it_is else transformers.AutoTokenizer
  try:
    return loader.from_pretrained(str(folder))
  except Exception as error:  # tokenizers raises bare Exception for a damaged file
    reason = (str(error).strip() or 'no message').splitlines()[0]
    raise ValueError(
      f'{folder}: its tokenizer cannot be read ({type(error).__name__}: {reason}); fetch its files again'
    ) from error


def _eos_ids(folder, tokenizer):
  """Every id that ends a turn: generation_config.json first, then config.json, then the tokenizer's own."""
  ids = []
  for file in ('generation_config.json', 'config.json'):
    if (folder / file).is_file():
      value = read_json(folder / file, '').get('eos_token_id')
      ids += value if isinstance(value, list) else [value]
  ids.append(tokenizer.eos_token_id)
  return tuple(dict.fromkeys(id_ for id_ in ids if id_ is not None))


def _template(name, tokenizer, turns):
  try:
    return tokenizer.apply_chat_template(turns, add_generation_prompt=True, tokenize=False)
  except Exception as error:  # a template may raise anything
    raise ValueError(f'{name}: the chat template refuses {turns!r} ({error})') from error
