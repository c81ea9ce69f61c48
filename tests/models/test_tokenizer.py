"""Codecs restore texts, render prompts as the template says, and refuse unknown characters."""

import json

import numpy as np
import pytest

from sirl.models import tokenizer
from sirl.models.files import gguf
from sirl.tasks import Message, Task, turns

from support import tiny_gguf

# ---------------------------------------------------------------- bytes and characters


@pytest.mark.parametrize('text', ['', 'abc', 'é 漢字\n\t', '\x00 ÿ'])
def test_bytes_codec_gives_any_text_back(text):
  codec = tokenizer.bytes_codec()
  assert codec.decode(codec.encode(text)) == text
  assert codec.render(turns(text)) == codec.encode(text) == list(text.encode())


def test_bytes_codec_drops_special_ids_and_marks_broken_characters():
  codec = tokenizer.bytes_codec()
  assert (codec.pad_id, codec.eos_ids, codec.vocab) == (256, (257,), 258)
  assert codec.decode([256, 104, 105, 257]) == 'hi'
  assert codec.decode(np.array([0xC3, 104])) == '\ufffdh'  # the first half of an é
  with pytest.raises(ValueError, match='id 258 is outside the codec of 258 ids'):
    codec.decode([104, 258])


def test_characters_have_ids_in_order_of_the_alphabet():
  codec = tokenizer.characters('0123456789+=', end_of_prompt='=')
  assert codec.encode('10+9') == [3, 2, 12, 11]  # pad 0, eos 1, '0' is 2
  assert codec.render(turns('1+2')) == codec.render('1+2') == [3, 12, 4, 13]
  assert codec.decode(np.array([0, 3, 2, 1, 0])) == '10'
  assert (codec.pad_id, codec.eos_ids, codec.vocab) == (0, (1,), 14)


SAID = (Message('user', '1+2'), Message('assistant', '3'), Message('user', '0+'))


def test_without_files_a_conversation_is_its_texts_one_after_the_other():
  assert tokenizer.bytes_codec().render(SAID) == list(b'1+2\n3\n0+')
  codec = tokenizer.characters('0123456789+=', end_of_prompt='=')
  assert codec.render(SAID) == [*codec.encode('1+230+'), *codec.encode('=')]  # the end once


def test_characters_name_what_is_not_in_the_alphabet():
  codec = tokenizer.characters('01+')
  for call in (codec.encode, lambda text: codec.render(turns(text))):
    with pytest.raises(ValueError, match=r"character 'x' of '1\+x' is not in the alphabet '01\+'"):
      call('1+x')
  with pytest.raises(ValueError, match="character '='"):
    tokenizer.characters('01+', end_of_prompt='=')
  with pytest.raises(ValueError, match="holds '1' twice"):
    tokenizer.characters('011')
  for wrong in (5, -1):
    with pytest.raises(ValueError, match=f'id {wrong} is outside the codec of 5 ids'):
      codec.decode([wrong])


# ---------------------------------------------------------------- pretrained


@pytest.fixture
def folder(tmp_path):
  file = tiny_gguf.write(tmp_path / 'tiny.gguf', tiny_gguf.llama_weights())
  return gguf.convert(file, tmp_path / 'tiny')


def edit(folder, file, **changes):
  """Changes a JSON file of the folder; None removes a key."""
  value = json.loads((folder / file).read_text()) | changes
  (folder / file).write_text(json.dumps({k: v for k, v in value.items() if v is not None}))


@pytest.mark.parametrize(
  'text',
  ['', 'the  12\n\n1', ' é 漢字\t', '<|im_end|> the', "I 'm , not . clean ?", '\ufeff\u200d'],
)
def test_pretrained_gives_any_text_back(folder, text):
  """Including spelled-out special tokens and blanks before punctuation."""
  codec = tokenizer.pretrained(folder)
  ids = codec.encode(text)
  assert codec.decode(ids) == codec.decode(np.array(ids, np.int32)) == text
  assert not {0, 1, 2} & set(ids)


def test_what_is_neither_a_text_nor_messages_is_refused_by_the_codec():
  for prompt in ([{'role': 'user', 'content': '1+2'}], [['user', '1+2']]):
    with pytest.raises(
      ValueError, match=r'a prompt holds .*; expected a text, or a sequence of tasks'
    ):
      tokenizer.bytes_codec().render(prompt)


def test_render_follows_the_chat_template(folder):
  codec = tokenizer.pretrained(folder)
  user = [1, *codec.encode('user\n'), *codec.encode('the'), 2, *codec.encode('\n')]
  assistant = [1, *codec.encode('assistant\n')]
  assert codec.render(turns('the')) == codec.render('the') == user + assistant
  system = [1, *codec.encode('system\n'), *codec.encode('12'), 2, *codec.encode('\n')]
  assert tokenizer.pretrained(folder, system='12').render(turns('the')) == system + user + assistant
  assert codec.decode(codec.render(turns('the'))) == 'user\nthe\nassistant\n'


def test_render_puts_every_turn_into_the_template(folder):
  codec, briefed = tokenizer.pretrained(folder), tokenizer.pretrained(folder, system='12')
  turn = lambda role, text: [1, *codec.encode(f'{role}\n{text}'), 2, *codec.encode('\n')]
  marker = [1, *codec.encode('assistant\n')]
  said = (*SAID[:2], Message('user', 'the'))
  rendered = [*turn('user', '1+2'), *turn('assistant', '3'), *turn('user', 'the'), *marker]
  assert codec.render(said) == rendered
  assert briefed.render(said) == turn('system', '12') + rendered
  # A conversation that brings its own system turn keeps it, and has no second.
  own = (Message('system', '34'), *said)
  assert briefed.render(own) == codec.render(own) == turn('system', '34') + rendered


@pytest.mark.parametrize('add_bos', [True, False])
def test_without_template_a_prompt_begins_as_the_tokenizer_says(tmp_path, add_bos):
  table = tiny_gguf.BYTE_LEVEL | {'add_bos_token': add_bos}
  file = tiny_gguf.write(
    tmp_path / 'x.gguf', tiny_gguf.llama_weights(), tokenizer=table, template=None
  )
  codec = tokenizer.pretrained(gguf.convert(file, tmp_path / 'x'))
  assert codec.render(turns('the')) == [1] * add_bos + codec.encode('the')
  assert codec.render(SAID) == [1] * add_bos + codec.encode('1+2\n3\n0+')
  with pytest.raises(ValueError, match=r"no chat template.*system='be brief'"):
    tokenizer.pretrained(tmp_path / 'x', system='be brief')


def test_a_template_that_writes_the_first_token_is_not_given_a_second(tmp_path):
  table = tiny_gguf.BYTE_LEVEL | {'add_bos_token': True}
  template = '{{ bos_token }}{{ messages[0].content }}'
  file = tiny_gguf.write(
    tmp_path / 'x.gguf', tiny_gguf.llama_weights(), tokenizer=table, template=template
  )
  codec = tokenizer.pretrained(gguf.convert(file, tmp_path / 'x'))
  assert codec.render(turns('the')) == [1, *codec.encode('the')]


def test_a_template_that_refuses_system_turns_is_reported_at_once(folder):
  template = (
    "{% if messages[0].role == 'system' %}{{ raise_exception('no system turn') }}{% endif %}"
    '{{ messages[0].content }}'
  )
  edit(folder, 'tokenizer_config.json', chat_template=template)
  tokenizer.pretrained(folder)
  with pytest.raises(ValueError, match=r'template refuses.*no system turn'):
    tokenizer.pretrained(folder, system='be brief')


GEMMA = (
  '{{ bos_token }}{% for m in messages %}<start_of_turn>{{ m.role }}\n{{ m.content }}<end_of_turn>\n'
  '{% endfor %}{% if add_generation_prompt %}<start_of_turn>model\n{% endif %}'
)


def test_the_token_that_ends_a_turn_in_the_template_ends_a_completion(tmp_path, caplog):
  """Many chat models name only the end of a document, at which no answer ever ends."""
  special = ['<bos>', '<eos>', '<unk>', '<start_of_turn>', '<end_of_turn>', '<pad>']
  tokens = special + tiny_gguf.TOKENS[len(tiny_gguf.SPECIAL) :]
  table = tiny_gguf.BYTE_LEVEL | {
    'tokens': tokens,
    'token_type': [3] * 6 + [1] * (len(tokens) - 6),
    'bos_token_id': 0, 'eos_token_id': 1, 'unknown_token_id': 2, 'padding_token_id': 5,
  }  # fmt: skip
  weights = tiny_gguf.llama_weights(vocab=len(tokens))
  file = tiny_gguf.write(tmp_path / 'x.gguf', weights, tokenizer=table, template=GEMMA)
  with caplog.at_level('INFO'):
    codec = tokenizer.pretrained(gguf.convert(file, tmp_path / 'x'))
  assert codec.eos_ids == (4, 1)  # demonstrations end with the first
  assert 'ends an answer with <end_of_turn>, which its files do not name' in caplog.text
  assert codec.opened == ''  # <start_of_turn> is a special token, no tag


def test_a_template_that_ends_answers_with_plain_text_is_warned_of(folder, caplog):
  template = '{% for m in messages %}{{ m.role }}: {{ m.content }} (over)\n{% endfor %}'
  edit(folder, 'tokenizer_config.json', chat_template=template)
  assert tokenizer.pretrained(folder).eos_ids == (2,)
  assert "ends an answer with ' (over)\\n', which is no special token" in caplog.text


def test_a_template_that_leaves_out_the_text_of_prompts_is_refused(folder):
  """Every prompt would be the same ids."""
  edit(folder, 'tokenizer_config.json', chat_template='<|im_start|>user<|im_end|>')
  with pytest.raises(ValueError, match="leaves out the user turn 'sirl asks this'"):
    tokenizer.pretrained(folder)
  first_only = '{% for m in messages[:1] %}{{ m.content }}{% endfor %}'
  edit(folder, 'tokenizer_config.json', chat_template=first_only)
  codec = tokenizer.pretrained(folder)
  with pytest.raises(ValueError, match=r"leaves out the user turn '0\+'"):
    codec.render(SAID)
  users = "{% for m in messages if m.role == 'user' %}{{ m.content }}{% endfor %}"
  edit(folder, 'tokenizer_config.json', chat_template=users)
  with pytest.raises(ValueError, match="leaves out the system turn 'be brief'"):
    tokenizer.pretrained(folder, system='be brief')


def test_a_template_that_takes_content_as_parts_gets_parts(folder):
  plain = tokenizer.pretrained(folder).render(SAID)
  parts = "{% for p in m['content'] %}{{ p['text'] }}{% endfor %}"
  template = tiny_gguf.TEMPLATE.replace("{{ m['content'] }}", parts)
  edit(folder, 'tokenizer_config.json', chat_template=template)
  assert tokenizer.pretrained(folder).render(SAID) == plain


DATED = "{{ strftime_now('%d %b %Y %H:%M:%S') }}\n" + tiny_gguf.TEMPLATE


def test_a_template_with_a_clock_writes_the_pinned_date_on_every_day(folder, tmp_path, caplog):
  """Else a run that is resumed the next day has other prompts."""
  edit(folder, 'tokenizer_config.json', chat_template=DATED)
  with caplog.at_level('INFO'):
    codec = tokenizer.pretrained(folder)
  assert codec.decode(codec.render(turns('the'))) == (
    '26 Jul 2024 00:00:00\nuser\nthe\nassistant\n'
  )
  assert 'its chat template writes a date, here always 2024-07-26 (--set date=)' in caplog.text
  other = tokenizer.pretrained(folder, date='2025-01-02')
  assert other.decode(other.render(turns('the'))).startswith('02 Jan 2025 00:00:00\n')
  with pytest.raises(ValueError, match="date='today': expected a day such as 2024-07-26"):
    tokenizer.pretrained(folder, date='today')
  codec.save(tmp_path / 'saved')
  assert 'prompts of this run had 2024-07-26' in caplog.text


def test_a_codec_says_which_tags_the_prompt_has_opened(folder, caplog):
  """A format reward that wants the tag would give nothing to every completion."""
  assert tokenizer.pretrained(folder).opened == tokenizer.bytes_codec().opened == ''
  for written in ('<think>\n', '<answer><think>'):
    start = f"{{{{ '<|im_start|>assistant\\n' + {written!r} }}}}"
    edit(folder, 'tokenizer_config.json', chat_template=tiny_gguf.TEMPLATE + start)
    with caplog.at_level('INFO'):
      assert tokenizer.pretrained(folder).opened == written
    assert f'its chat template begins every answer with {written!r}' in caplog.text


def test_the_identity_of_prompts_says_what_differs(folder, tmp_path):
  tasks = [Task(id=str(i), prompt=f'{i}+1') for i in range(20)]
  identity = lambda **how: tokenizer.identity(tokenizer.pretrained(folder, **how), tasks)

  def changed(before, now):
    return [name for name in {**before, **now} if before.get(name) != now.get(name)]

  first = identity()
  assert list(first) == ['tokenizer', 'chat template', 'ids of the first prompts']
  assert identity() == first
  assert tokenizer.identity(tokenizer.pretrained(folder.parent / 'tiny.gguf'), tasks) == first
  ids = 'ids of the first prompts'
  assert changed(first, identity(system='be brief')) == ['chat template', ids]
  assert changed(first, tokenizer.identity(tokenizer.pretrained(folder), tasks[1:])) == [ids]
  edit(folder, 'tokenizer_config.json', chat_template=DATED)
  dated = identity()
  assert set(changed(first, dated)) == {'chat template', 'date in the prompts', ids}
  assert changed(dated, identity(date='2025-01-02')) == ['date in the prompts', ids]
  vocabulary = json.loads((folder / 'tokenizer.json').read_text())
  vocabulary['model']['merges'].pop()
  (folder / 'tokenizer.json').write_text(json.dumps(vocabulary))
  assert 'tokenizer' in changed(dated, identity())
  one, other = (tokenizer.characters(alphabet) for alphabet in ('0123456789+', '+0123456789'))
  assert changed(tokenizer.identity(one, tasks), tokenizer.identity(other, tasks)) == [
    'tokenizer',
    ids,
  ]


def test_end_tokens_are_gathered_from_all_files(folder):
  edit(folder, 'generation_config.json', eos_token_id=[2, 7])
  edit(folder, 'config.json', eos_token_id=0)
  assert tokenizer.pretrained(folder).eos_ids == (2, 7, 0)
  edit(folder, 'tokenizer_config.json', pad_token=None, eos_token=None)
  edit(folder, 'generation_config.json', eos_token_id=None)
  codec = tokenizer.pretrained(folder)
  assert codec.eos_ids == (2, 0)  # the template ends an answer with 2, whatever the files say
  edit(folder, 'tokenizer_config.json', chat_template=None)
  codec = tokenizer.pretrained(folder)
  assert (codec.eos_ids, codec.pad_id) == ((0,), 0)  # no padding token: the first end token
  edit(folder, 'config.json', eos_token_id=None)
  with pytest.raises(ValueError, match='names an end token'):
    tokenizer.pretrained(folder)


def test_a_class_name_in_the_config_does_not_change_how_digits_are_cut(folder):
  """SmolLM2's folder names GPT2Tokenizer, which transformers 5 rebuilds without digit splitting."""
  ids = tokenizer.pretrained(folder).encode('\n\n12')
  edit(folder, 'tokenizer_config.json', tokenizer_class='GPT2Tokenizer')
  assert tokenizer.pretrained(folder).encode('\n\n12') == ids
  assert [tiny_gguf.TOKENS[id_] for id_ in ids] == ['ĊĊ', '1', '2']


def test_a_gguf_file_serves_as_well_as_its_folder(folder):
  file = folder.parent / 'tiny.gguf'
  assert tokenizer.pretrained(file).render(turns('the')) == tokenizer.pretrained(folder).render(
    turns('the')
  )


def test_what_is_no_tokenizer_is_one_clear_error(folder, tmp_path):
  with pytest.raises(FileNotFoundError, match='nowhere'):
    tokenizer.pretrained(tmp_path / 'nowhere')
  (folder / 'tokenizer.json').write_text('{"version": "1.0", "model"')
  with pytest.raises(ValueError, match='its tokenizer cannot be read'):
    tokenizer.pretrained(folder)
  (folder / 'tokenizer.json').unlink()
  with pytest.raises(
    ValueError, match=r'no tokenizer in this folder; expected one of tokenizer\.json'
  ):
    tokenizer.pretrained(folder)
