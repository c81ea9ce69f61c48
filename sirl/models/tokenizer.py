"""Codecs: they turn text into ids and back, and a conversation into the ids of a prompt.

`bytes_codec` and `characters` need no files and serve models trained from scratch. `pretrained`
wraps the fast tokenizer of a Hugging Face folder or hub name (transformers, without torch). The
`save` of each codec writes the files from which transformers and `pretrained` read the same ids.
"""

import hashlib
import json
import logging
import pathlib
import shutil

from sirl.models import chat
from sirl.models.files.pretrained import TOKENIZER_FILES, locate
from sirl.models.files.weights import read_json, write_json
from sirl.tasks import turns
from sirl.types import Codec

log = logging.getLogger(__name__)

FIRST = 16  # prompts whose ids identify a run
PAD, EOS = '<pad>', '<eos>'  # names of the special tokens in the files that codecs write


def bytes_codec():
  """UTF-8 bytes as ids 0..255, then pad 256 and eos 257.

  A prompt is the bytes of its messages, joined with newlines.
  """
  pad, eos = 256, 257

  def encode(text):
    return list(text.encode('utf-8'))

  def decode(ids):
    _check_ids(ids, eos + 1)
    return bytes(id_ for id_ in ids if id_ < pad).decode('utf-8', errors='replace')

  def render(prompt):
    return encode('\n'.join(message.content for message in turns(prompt)))

  def save(folder):
    from tokenizers import decoders, models, pre_tokenizers

    model = models.BPE(vocab=_byte_letters() | {PAD: pad, EOS: eos}, merges=[])
    cut = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    _write(folder, model, cut, decoders.ByteLevel(), _chat_template(between='\n'))

  about = (('tokenizer', digest('bytes')),)
  return Codec(encode, decode, render, pad, (eos,), eos + 1, save, about)


def absent(vocab):
  """A stand-in for a tokenizer of `vocab` ids that is not here; it says so when it is asked."""

  def refuse(*_):
    raise ValueError('this setting was made without a tokenizer, for a plan; build the run instead')

  return Codec(refuse, refuse, refuse, 0, (1,), vocab)


def characters(alphabet, *, end_of_prompt=''):
  """A vocabulary of single characters: pad 0, eos 1, then the alphabet from 2 on.

  Args:
    alphabet: str without repetitions.
    end_of_prompt: text that follows every prompt, made of characters of the alphabet; '=' turns
      '2+3' into '2+3='.
  Raises: ValueError for a repeated character, and from encode and render for a character
    outside the alphabet.
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
        f'character {unknown!r} of {text!r} is not in the alphabet {alphabet!r}; '
        f'add it there or change the text'
      )
    return [ids_of[character] for character in text]

  def decode(ids):
    _check_ids(ids, first + len(alphabet))
    return ''.join(alphabet[id_ - first] for id_ in ids if id_ >= first)

  end = encode(end_of_prompt)
  vocab = first + len(alphabet)

  def render(prompt):
    return [*encode(''.join(message.content for message in turns(prompt))), *end]

  def save(folder):
    import tokenizers
    from tokenizers import decoders, models, pre_tokenizers

    # This model has no unknown token, so it refuses other characters, as `encode` does.
    model = models.WordLevel(vocab={PAD: pad, EOS: eos} | ids_of)
    cut = pre_tokenizers.Split(tokenizers.Regex(r'[\s\S]'), behavior='isolated')
    _write(folder, model, cut, decoders.Fuse(), _chat_template(end=end_of_prompt))

  about = (('tokenizer', digest('characters', alphabet, end_of_prompt)),)
  return Codec(encode, decode, render, pad, (eos,), vocab, save, about)


def _check_ids(ids, vocab):
  wrong = next((id_ for id_ in ids if not 0 <= id_ < vocab), None)
  if wrong is not None:
    raise ValueError(
      f'id {wrong} is outside the codec of {vocab} ids; do model and codec belong together?'
    )


def pretrained(name, *, system=None, date=chat.DATE):
  """Codec of the tokenizer in a Hugging Face folder, or of a model on the hub.

  `encode` reads text as plain text: a special token spelled out in it stays letters, so decode
  gives the text back. `render` applies the chat template. There a special token spelled out becomes
  the special token, unless the tokenizer sets split_special_tokens. Without a template, `render`
  joins the messages with newlines and puts the tokenizer's beginning-of-sequence token before them,
  if it has one. A template writes that token itself, so a prompt never begins with two.

  The end tokens are those that the model's files name. The token with which the template ends an
  answer comes first; demonstrations end with it. A tokenizer without a padding token pads with its
  first end token. This is safe, because masks come from lengths.

  `save` copies the tokenizer's files. With `system` it also writes that turn into the chat
  template, so the copy renders the same prompts without the argument. A template with a clock keeps
  the clock.

  Args:
    name: what `files.pretrained.load` takes: a folder, a GGUF file, or a hub name 'owner/model'.
    system: system turn before a conversation that has none; None leaves it to the template, which
      may have a default.
    date: 'YYYY-MM-DD', the day that a template with a clock writes, on whatever day it runs.
  Raises: FileNotFoundError for a missing folder; ValueError where there is no tokenizer or end
    token in it, for a system turn that has no place in the template, and for a template that leaves
    out the texts of prompts.
  """
  folder = _folder(name)
  tokenizer = load(folder)
  if system is not None and not tokenizer.chat_template:
    raise ValueError(
      f'{name}: the tokenizer has no chat template, so there is no place for system={system!r}'
    )
  text = None
  if tokenizer.chat_template:
    text = chat.conversation(name, tokenizer, system=system, date=date)
  dated = text is not None and chat.writes_date(text)
  if dated:
    log.info('%s: its chat template writes a date, here always %s (--set date=)', name, date)
  eos_ids = _eos_ids(folder, tokenizer)
  if text is not None:
    ends = chat.end_of_turn(name, tokenizer, text, eos_ids)
    eos_ids = tuple(dict.fromkeys([ends, *eos_ids] if ends is not None else eos_ids))
  if not eos_ids:
    raise ValueError(
      f'{name}: neither tokenizer nor generation_config.json names an end token (eos_token)'
    )

  def ids(text, **how):
    try:
      return tokenizer(text, add_special_tokens=False, **how)['input_ids']
    except Exception as error:  # tokenizers raises bare Exception for a character it cannot write
      raise ValueError(f'{name}: the tokenizer cannot encode {text!r} ({error})') from error

  def encode(text):
    return ids(text, split_special_tokens=True)

  def decode(ids):
    plain = [int(id_) for id_ in ids]  # numpy integers become int
    return tokenizer.decode(plain, skip_special_tokens=True, clean_up_tokenization_spaces=False)

  starts = tokenizer('')['input_ids'][:1]
  bos = starts if starts == [tokenizer.bos_token_id] else []

  def render(prompt):
    messages = turns(prompt)
    if text is None:
      return bos + encode('\n'.join(message.content for message in messages))
    return ids(text(messages))

  def save(to):
    to = pathlib.Path(to)
    to.mkdir(parents=True, exist_ok=True)
    for file in TOKENIZER_FILES:
      if (folder / file).is_file():
        shutil.copyfile(folder / file, to / file)
    if system is not None:
      template = _with_system(tokenizer.get_chat_template(), system)
      (to / 'chat_template.jinja').write_text(template, encoding='utf-8')
    if dated:
      log.warning(
        '%s: its chat template writes the day on which it runs; prompts of this run had %s',
        to,
        date,
      )

  pad = eos_ids[0] if tokenizer.pad_token_id is None else tokenizer.pad_token_id
  files = [(folder / file).read_bytes() for file in _VOCABULARY if (folder / file).is_file()]
  about = [('tokenizer', digest(*files, repr((bos, eos_ids, pad, tokenizer.split_special_tokens))))]
  if text is not None:
    about += [('chat template', digest(tokenizer.get_chat_template(), repr(system)))]
  about += [('date in the prompts', date)] * dated
  opened = '' if text is None else chat.opened(tokenizer, text)
  if opened:
    log.info(
      '%s: its chat template begins every answer with %r, which completions then lack; tell a reward '
      'of format by rewards.opened(codec.opened, reward)', name, opened,
    )  # fmt: skip
  return Codec(encode, decode, render, pad, eos_ids, len(tokenizer), save, tuple(about), opened)


def digest(*contents):
  """Hash of texts or bytes, in hex."""
  hashed = [hashlib.sha256(c if isinstance(c, bytes) else c.encode()).digest() for c in contents]
  return hashlib.sha256(b''.join(hashed)).hexdigest()[:16]


def identity(codec, tasks):
  """{name: digest} of all that makes the ids of prompts: the codec, and the ids of some prompts.

  Two runs with equal digests read equal prompts. A difference names what differs.
  """
  first = [[int(id_) for id_ in codec.render(turns(task.prompt))] for task in tasks[:FIRST]]
  return {**dict(codec.about), 'ids of the first prompts': digest(json.dumps(first))}


_TOKENIZER_FILES = ('tokenizer.json', 'tokenizer.model', 'vocab.json')
_VOCABULARY = (*_TOKENIZER_FILES, 'merges.txt', 'added_tokens.json')


def _folder(name):
  """The folder itself if it holds a tokenizer, else the folder that `locate` finds for the name."""
  holds_tokenizer = lambda folder: any((folder / file).is_file() for file in _TOKENIZER_FILES)
  folder = pathlib.Path(name)
  if not holds_tokenizer(folder):
    folder = locate(name)
  if not holds_tokenizer(folder):
    raise ValueError(
      f'{folder}: no tokenizer in this folder; expected one of {", ".join(_TOKENIZER_FILES)}'
    )
  return folder


def load(folder):
  """The tokenizer of a folder, as transformers reads it. Raises ValueError for a damaged one."""
  import transformers  # slow to import, so not at the top of the file

  # A class named in tokenizer_config.json may rebuild the tokenizer with its own pre-tokenizer
  # (GPT2Tokenizer does not split digits as SmolLM2 does). So tokenizer.json is read unchanged if
  # there is one.
  as_it_is = (folder / 'tokenizer.json').is_file()
  loader = transformers.PreTrainedTokenizerFast if as_it_is else transformers.AutoTokenizer
  try:
    return loader.from_pretrained(str(folder))
  except Exception as error:  # tokenizers raises bare Exception for a damaged file
    reason = (str(error).strip() or 'no message').splitlines()[0]
    raise ValueError(
      f'{folder}: its tokenizer cannot be read ({type(error).__name__}: {reason}); '
      f'fetch its files again'
    ) from error


def _eos_ids(folder, tokenizer):
  """Every id that ends a turn, from generation_config.json, config.json and the tokenizer."""
  ids = []
  for file in ('generation_config.json', 'config.json'):
    if (folder / file).is_file():
      value = read_json(folder / file, '').get('eos_token_id')
      ids += value if isinstance(value, list) else [value]
  ids.append(tokenizer.eos_token_id)
  return tuple(dict.fromkeys(id_ for id_ in ids if id_ is not None))


# ---------------------------------------------------------------- writing tokenizer files


def _write(folder, model, pre_tokenizer, decoder, template):
  """Writes tokenizer.json and tokenizer_config.json, with the special tokens PAD and EOS."""
  import tokenizers

  tokenizer = tokenizers.Tokenizer(model)
  tokenizer.pre_tokenizer = pre_tokenizer
  tokenizer.decoder = decoder
  tokenizer.add_special_tokens([PAD, EOS])
  folder = pathlib.Path(folder)
  folder.mkdir(parents=True, exist_ok=True)
  tokenizer.save(str(folder / 'tokenizer.json'))
  config = {
    'tokenizer_class': 'PreTrainedTokenizerFast',  # reads tokenizer.json unchanged
    'pad_token': PAD,
    'eos_token': EOS,
    'split_special_tokens': True,  # '<eos>' in a text is five characters, as in our codecs
    'clean_up_tokenization_spaces': False,
    'padding_side': 'left',
    'model_input_names': ['input_ids', 'attention_mask'],  # a decoder takes no token_type_ids
    'chat_template': template,
  }
  write_json(folder / 'tokenizer_config.json', config)


def _byte_letters():
  """{letter: byte} of ByteLevel, which writes every byte as one printable letter.

  A byte that is printable in Latin-1 is its own letter; the others are letters from 256 on.
  """
  from tokenizers import pre_tokenizers

  letters = set(pre_tokenizers.ByteLevel.alphabet())
  later = iter(range(256, 512))
  return {chr(byte if chr(byte) in letters else next(later)): byte for byte in range(256)}


def _chat_template(*, between='', end=''):
  """Jinja template of the contents of all messages, with a text between them and one at the end."""
  content = '{{ message.content }}'
  if between:
    content = f'{{% if not loop.first %}}{{{{ {_literal(between)} }}}}{{% endif %}}{content}'
  template = f'{{% for message in messages %}}{content}{{% endfor %}}'
  if end:
    template += f'{{% if add_generation_prompt %}}{{{{ {_literal(end)} }}}}{{% endif %}}'
  return template


def _with_system(template, system):
  """The Jinja template with a system turn put before a conversation that has none."""
  turn = f"[{{'role': 'system', 'content': {_literal(system)}}}]"
  return (
    f"{{% if messages[0].role != 'system' %}}{{% set messages = {turn} + messages %}}{{% endif %}}"
    f'\n{template}'  # transformers drops the newline after a block
  )


def _literal(text):
  """The text as a string literal of Jinja, which reads the escapes of JSON."""
  return json.dumps(text, ensure_ascii=False)
