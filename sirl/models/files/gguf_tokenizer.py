"""The tokenizer inside a GGUF file as the three JSON files of a Hugging Face folder.

The file only names its pre-tokenizer, the rule that cuts text before merging. A library that does
not know the name would cut text wrongly without an error, so the JSON is written here. Two kinds
are read: byte-level BPE (`gpt2`), and SentencePiece BPE with byte fallback (`llama`: Llama 2,
Gemma).
"""

import collections
import re

INSTEAD = "Use the model's original Hugging Face folder instead"

# tokenizer.ggml.token_type
_NORMAL, _UNKNOWN, _CONTROL, _USER_DEFINED, _UNUSED, _BYTE = range(1, 7)

_BYTE_LEVEL = {
  'type': 'ByteLevel',
  'add_prefix_space': False,
  'trim_offsets': True,
  'use_regex': True,
}


def _cut(regex):
  pieces = {'type': 'Split', 'pattern': {'Regex': regex}, 'behavior': 'Isolated', 'invert': False}
  return {'type': 'Sequence', 'pretokenizers': [pieces, _BYTE_LEVEL | {'use_regex': False}]}


_DIGITS = {'type': 'Digits', 'individual_digits': True}
_WORDS = (
  r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{{L}}\p{{N}}]?\p{{L}}+|\p{{N}}{digits}"
  r'| ?[^\s\p{{L}}\p{{N}}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+'
)
_LLAMA3 = {
  'pre_tokenizer': _cut(_WORDS.format(digits='{1,3}')),
  'ignore_merges': True,
  'add_bos': True,
}

# tokenizer.ggml.pre -> how text is cut before merging. A wrong cut gives ids that the model has
# never seen, so a type that is not listed is an error.
_CUTS = {
  'gpt-2': {'pre_tokenizer': _BYTE_LEVEL},
  'smollm': {'pre_tokenizer': {'type': 'Sequence', 'pretokenizers': [_DIGITS, _BYTE_LEVEL]}},
  'qwen2': {'pre_tokenizer': _cut(_WORDS.format(digits='')), 'normalizer': {'type': 'NFC'}},
  'llama-bpe': _LLAMA3,
  'llama3': _LLAMA3,
  'llama-v3': _LLAMA3,
}


def read(meta, config):
  """Contents of tokenizer.json, tokenizer_config.json and generation_config.json, as dicts.

  Args:
    meta: metadata of the file.
    config: of the model, for vocab_size and max_position_embeddings.
  Raises: ValueError for an unknown kind or pre-tokenizer, which it names, and for damaged tables.
  """
  get = lambda key, default=None: meta.get(f'tokenizer.ggml.{key}', default)
  kind, tokens = get('model'), get('tokens', [])
  if kind not in ('gpt2', 'llama'):
    raise ValueError(
      f'tokenizer.ggml.model={kind!r} is not supported, only gpt2 (byte-level) and llama '
      f'(SentencePiece with byte fallback). {INSTEAD}'
    )
  types = get('token_type', [_NORMAL] * len(tokens))
  special = _special_ids(get, len(tokens))
  _check_tokens(tokens, types, config)

  tokenizer = (_byte_level if kind == 'gpt2' else _sentencepiece)(get, tokens, types)
  add_bos = get('add_bos_token', kind == 'llama' or _cut_of(get).get('add_bos', False))
  add_bos = bool(add_bos and 'bos' in special)
  if add_bos:
    tokenizer['post_processor'] = _bos_first(tokens[special['bos']], special['bos'])

  tokenizer_config = {
    # This class reads tokenizer.json unchanged; classes named after a model rebuild it with their
    # own pre-tokenizer.
    'tokenizer_class': 'PreTrainedTokenizerFast',
    'clean_up_tokenization_spaces': False,
    'model_max_length': config['max_position_embeddings'],
    'add_bos_token': add_bos,
  }
  for name in ('bos', 'eos', 'unk', 'pad'):
    if name in special:
      tokenizer_config[f'{name}_token'] = tokens[special[name]]
  if 'tokenizer.chat_template' in meta:
    tokenizer_config['chat_template'] = meta['tokenizer.chat_template']

  generation_config = {
    f'{name}_token_id': special[name] for name in ('bos', 'pad') if name in special
  }
  ends = [special[name] for name in ('eos', 'eot', 'eom') if name in special]
  if ends:
    generation_config['eos_token_id'] = list(dict.fromkeys(ends))
  return tokenizer, tokenizer_config, generation_config


def _special_ids(get, size):
  keys = {
    'bos': 'bos',
    'eos': 'eos',
    'eot': 'eot',
    'eom': 'eom',
    'unk': 'unknown',
    'pad': 'padding',
  }
  ids = {name: get(f'{key}_token_id') for name, key in keys.items()}
  ids = {name: id_ for name, id_ in ids.items() if id_ is not None}
  for name, id_ in ids.items():
    if not 0 <= id_ < size:
      raise ValueError(
        f'tokenizer.ggml.{keys[name]}_token_id={id_} is not one of {size} tokens; '
        f'the file is damaged'
      )
  return ids


def _check_tokens(tokens, types, config):
  if len(tokens) != config['vocab_size'] or len(types) != len(tokens):
    raise ValueError(
      f'{len(tokens)} tokens of {len(types)} types do not fit embeddings of '
      f'{config["vocab_size"]} rows; the file is damaged'
    )
  twice, times = collections.Counter(tokens).most_common(1)[0]
  if times > 1:
    raise ValueError(f'the token {twice!r} occurs twice in the vocabulary. {INSTEAD}')


def _byte_level(get, tokens, types):
  cut = _cut_of(get)
  filler = lambda token, type_: type_ == _UNUSED and re.fullmatch(r'\[PAD\d+\]', token)
  vocab = {  # without the placeholder tokens that only pad the embedding
    token: id_ for id_, (token, type_) in enumerate(zip(tokens, types)) if not filler(token, type_)
  }
  merges = [merge.split(' ') for merge in get('merges', [])]
  wrong = next((m for m in merges if len(m) != 2 or not {*m, ''.join(m)} <= vocab.keys()), None)
  if wrong is not None or not merges:
    raise ValueError(
      f'tokenizer.ggml.merges holds {wrong!r}, expected pairs of known tokens. {INSTEAD}'
    )
  return _tokenizer_json(
    vocab,
    merges,
    types,
    normalizer=cut.get('normalizer'),
    pre_tokenizer=cut['pre_tokenizer'],
    decoder=_BYTE_LEVEL,
    ignore_merges=cut.get('ignore_merges', False),
  )


def _cut_of(get):
  name = get('pre')
  if get('model') == 'gpt2' and name not in _CUTS:
    raise ValueError(
      f'tokenizer.ggml.pre={name!r}: how this tokenizer cuts text is not known here '
      f'(known: {", ".join(_CUTS)}), and a guess would give wrong ids. {INSTEAD}'
    )
  return _CUTS.get(name, {})


def _sentencepiece(get, tokens, types):
  """SentencePiece BPE as merges: a pair merges if its concatenation is a piece, best score first.

  Source: the merging of sentencepiece itself. Differs: pieces of equal score rank by id, not by
    position.
  """
  scores = get('scores')
  if scores is None or len(scores) != len(tokens):
    raise ValueError(
      f'tokenizer.ggml.scores has {len(scores or ())} of {len(tokens)} scores. {INSTEAD}'
    )
  # User-defined pieces are matched in raw text before merging; older files escape their spaces.
  tokens = [t.replace('▁', ' ') if type_ == _USER_DEFINED else t for t, type_ in zip(tokens, types)]
  vocab = {token: id_ for id_, token in enumerate(tokens)}
  merging = {token for token, type_ in zip(tokens, types) if type_ == _NORMAL}
  merges = [
    (-scores[vocab[token]], vocab[token], vocab[token[:i]], [token[:i], token[i:]])
    for token in merging
    for i in range(1, len(token))
    if token[:i] in merging and token[i:] in merging
  ]
  merges = [pair for *_, pair in sorted(merges)]
  prefix = get('add_space_prefix', True)
  replace = {'type': 'Replace', 'pattern': {'String': ' '}, 'content': '▁'}
  restore = [
    {'type': 'Replace', 'pattern': {'String': '▁'}, 'content': ' '},
    {'type': 'ByteFallback'},
    {'type': 'Fuse'},
  ]
  strip = {'type': 'Strip', 'content': ' ', 'start': 1, 'stop': 0}
  prepended = {'type': 'Sequence', 'normalizers': [{'type': 'Prepend', 'prepend': '▁'}, replace]}
  return _tokenizer_json(
    vocab,
    merges,
    types,
    normalizer=prepended if prefix else replace,
    pre_tokenizer=None,
    decoder={'type': 'Sequence', 'decoders': [*restore, strip] if prefix else restore},
    unk_token=next((t for t, type_ in zip(tokens, types) if type_ == _UNKNOWN), None),
    fuse_unk=True,
    byte_fallback=_BYTE in types,
  )


def _tokenizer_json(vocab, merges, types, *, normalizer, pre_tokenizer, decoder, **model):
  added = [
    {'id': id_, 'content': token, 'special': types[id_] != _USER_DEFINED}
    | dict.fromkeys(('single_word', 'lstrip', 'rstrip', 'normalized'), False)
    for token, id_ in vocab.items()
    if types[id_] in (_UNKNOWN, _CONTROL, _USER_DEFINED)
  ]
  return {
    'version': '1.0',
    'truncation': None,
    'padding': None,
    'added_tokens': added,
    'normalizer': normalizer,
    'pre_tokenizer': pre_tokenizer,
    'post_processor': None,
    'decoder': decoder,
    'model': {'type': 'BPE', 'vocab': vocab, 'merges': merges} | model,
  }


def _bos_first(token, id_):
  piece = lambda name, type_: {
    name: {'id': token if name == 'SpecialToken' else 'AB'[type_], 'type_id': type_}
  }
  single = [piece('SpecialToken', 0), piece('Sequence', 0)]
  return {
    'type': 'TemplateProcessing',
    'single': single,
    'pair': [*single, piece('SpecialToken', 1), piece('Sequence', 1)],
    'special_tokens': {token: {'id': token, 'ids': [id_], 'tokens': [token]}},
  }
