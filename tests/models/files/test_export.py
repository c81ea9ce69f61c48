"""An exported folder gives the policy's ids, prompts and logits, in transformers and in sirl."""

import json
import logging

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sirl.generation.engine import sampling
from sirl.models import functional, tokenizer
from sirl.models.files import gguf, pretrained
from sirl.models.files.export import export
from sirl.models.presets import preset
from sirl.tasks import Message, turns

from support import tiny_gguf

transformers = pytest.importorskip('transformers')

# Everything that JSON, Jinja and regular expressions escape, the letters of the special tokens, and
# a character beyond the 16-bit ones.
ALPHABET = '0123456789+= \n\r\t\0"\'\\/{}%#<>[]^$.|()*?-_padeosé漢\u0301\u2028😀'
TEXTS = {'characters': st.text(ALPHABET), 'bytes': st.text()}


@pytest.fixture(scope='module')
def codecs():
  return {
    'characters': tokenizer.characters(ALPHABET, end_of_prompt='"}}\\=\n'),
    'bytes': tokenizer.bytes_codec(),
  }


@pytest.fixture(scope='module')
def saved(codecs, tmp_path_factory):
  """Name -> folder that the codec's save has written."""
  folders = {name: tmp_path_factory.mktemp(name) / 'codec' for name in codecs}
  for name, codec in codecs.items():
    codec.save(folders[name])
  return folders


@pytest.fixture(scope='module')
def readers(saved):
  """Name -> (codec, AutoTokenizer, PreTrainedTokenizerFast) of a folder."""
  return {
    name: (
      tokenizer.pretrained(folder),
      transformers.AutoTokenizer.from_pretrained(folder),
      transformers.PreTrainedTokenizerFast.from_pretrained(folder),
    )
    for name, folder in saved.items()
  }


def small(codec):
  """The toy preset in a narrow size, for this codec: (architecture, model, params)."""
  architecture = preset('toy', width=16, layers=2, head_width=4, ffw=8, vocab=codec.vocab + 3)
  model = functional.build(architecture)
  return architecture, model, model.init(jax.random.key(0))


def read(folder, file):
  return json.loads((folder / file).read_text())


# ---------------------------------------------------------------- codecs


@pytest.mark.parametrize('name', TEXTS)
def test_saved_codecs_keep_their_special_ids(name, codecs, readers):
  codec = codecs[name]
  again, auto, fast = readers[name]
  assert (again.pad_id, again.eos_ids, again.vocab) == (codec.pad_id, codec.eos_ids, codec.vocab)
  for reader in (auto, fast):
    assert (reader.pad_token_id, [reader.eos_token_id]) == (codec.pad_id, [*codec.eos_ids])
    assert (reader.bos_token_id, len(reader)) == (None, codec.vocab)
    assert set(reader('0')) == {'input_ids', 'attention_mask'}


@pytest.mark.parametrize('name', TEXTS)
@settings(max_examples=150, deadline=None)
@given(data=st.data())
def test_texts_have_the_same_ids_in_every_reader(name, codecs, readers, data):
  text = data.draw(TEXTS[name]) + data.draw(st.sampled_from(['', '<eos>', '<pad>']))
  ids = codecs[name].encode(text)
  again, *others = readers[name]
  assert again.encode(text) == ids
  assert again.decode(ids) == text
  for reader in others:
    assert reader(text)['input_ids'] == ids
    assert reader.decode(ids) == text


@pytest.mark.parametrize('name', TEXTS)
@settings(max_examples=150, deadline=None)
@given(data=st.data())
def test_ids_decode_to_the_same_text_in_every_reader(name, codecs, readers, data):
  """Including special tokens and, for bytes, ids that are not UTF-8."""
  ids = data.draw(st.lists(st.integers(0, codecs[name].vocab - 1), max_size=12))
  text = codecs[name].decode(ids)
  again, *others = readers[name]
  assert again.decode(ids) == text
  assert [reader.decode(ids, skip_special_tokens=True) for reader in others] == [text, text]


@pytest.mark.parametrize('name', TEXTS)
@settings(max_examples=75, deadline=None)
@given(data=st.data())
def test_conversations_have_the_same_ids_in_every_reader(name, codecs, readers, data):
  said = data.draw(st.lists(TEXTS[name] | st.just('<eos>'), min_size=1, max_size=3))
  messages = [Message(role, text) for role, text in zip(['system', 'user', 'assistant'], said)]
  ids = codecs[name].render(messages)
  again, *others = readers[name]
  assert again.render(messages) == ids
  plain = [{'role': message.role, 'content': message.content} for message in messages]
  for reader in others:
    given_ids = reader.apply_chat_template(plain, add_generation_prompt=True, return_dict=False)
    assert given_ids == ids


def test_an_exported_prompt_ends_as_the_codec_says(tmp_path):
  codec = tokenizer.characters('0123456789+=', end_of_prompt='=')
  codec.save(tmp_path)
  assert tokenizer.pretrained(tmp_path).render(turns('2+3')) == codec.render(turns('2+3'))
  assert codec.render(turns('2+3')) == [4, 12, 5, 13]


def test_a_saved_alphabet_still_refuses_other_characters(readers):
  with pytest.raises(ValueError, match="the tokenizer cannot encode '1x'"):
    readers['characters'][0].encode('1x')


@pytest.mark.parametrize('alphabet', ['', 'é', '\r\n'])
def test_odd_alphabets_are_saved(alphabet, tmp_path):
  codec = tokenizer.characters(alphabet)
  codec.save(tmp_path)
  again = tokenizer.pretrained(tmp_path)
  assert again.vocab == codec.vocab
  assert again.encode(alphabet) == codec.encode(alphabet)


# ---------------------------------------------------------------- folders


@pytest.mark.parametrize('name', TEXTS)
def test_an_exported_policy_is_the_same_in_transformers_and_read_back(name, codecs, tmp_path):
  torch = pytest.importorskip('torch')
  codec = codecs[name]
  architecture, model, params = small(codec)
  folder = tmp_path / 'a' / 'b'
  sampler = sampling.sampler(temperature=0.7)
  assert export(folder, params, architecture, codec, sampler=sampler, max_new=5) == folder
  assert [path.name for path in tmp_path.iterdir()] == ['a']  # nothing temporary stays

  theirs, report = transformers.AutoModelForCausalLM.from_pretrained(
    folder, attn_implementation='eager', output_loading_info=True
  )
  assert not any(report.values())
  their_tokenizer = transformers.AutoTokenizer.from_pretrained(folder)  # beside a config.json
  assert their_tokenizer('2+3')['input_ids'] == codec.encode('2+3')
  prompt = [{'role': 'user', 'content': '2+3'}]
  ids = their_tokenizer.apply_chat_template(
    prompt, add_generation_prompt=True, return_tensors='pt', return_dict=False
  )
  assert ids.tolist() == [codec.render(turns('2+3'))]
  with torch.no_grad():
    expected = theirs.float()(ids).logits.numpy()
  T = ids.shape[1]
  visible = jnp.tril(jnp.ones((1, T, T), bool))
  tokens = jnp.array(ids.numpy())

  def logits(model, params):
    x_BTD, _ = model.hidden(params, tokens, jnp.arange(T)[None], visible)
    return np.asarray(model.unembed(params, x_BTD))

  assert expected.std() > 0.01
  np.testing.assert_allclose(logits(model, params), expected, atol=1e-5, rtol=0)
  torch.manual_seed(0)
  written = theirs.generate(ids, attention_mask=torch.ones_like(ids))
  assert 1 <= written.shape[1] - T <= 5

  loaded_model, loaded_params, loaded_architecture = pretrained.load(folder)
  assert loaded_architecture == architecture
  jax.tree.map(np.testing.assert_array_equal, loaded_params, params)
  np.testing.assert_array_equal(logits(loaded_model, loaded_params), logits(model, params))
  again = tokenizer.pretrained(folder)
  assert (again.pad_id, again.eos_ids, again.vocab) == (codec.pad_id, codec.eos_ids, codec.vocab)
  assert again.render(turns('2+3')) == codec.render(turns('2+3'))


def test_special_ids_and_generation_config_are_those_of_codec_and_sampler(codecs, tmp_path):
  codec = codecs['bytes']
  architecture, _, params = small(codec)
  sampler = sampling.sampler(temperature=0.7)
  export(tmp_path / 'x', params, architecture, codec, sampler=sampler, max_new=5)
  config = read(tmp_path / 'x', 'config.json')
  ids = {key: config[key] for key in pretrained.TOKEN_IDS}
  assert ids == {'bos_token_id': None, 'eos_token_id': 257, 'pad_token_id': 256}
  loaded = transformers.AutoConfig.from_pretrained(tmp_path / 'x')
  assert (loaded.bos_token_id, loaded.eos_token_id, loaded.pad_token_id) == (None, 257, 256)
  generation = transformers.GenerationConfig.from_pretrained(tmp_path / 'x')
  generation.validate(strict=True)
  assert generation.eos_token_id == [257]
  assert generation.pad_token_id == 256
  assert (generation.do_sample, generation.temperature) == (True, 0.7)
  assert (generation.top_k, generation.top_p) == (0, 1.0)  # else transformers keeps 50 tokens
  assert generation.max_new_tokens == 5


def test_a_greedy_sampler_is_written_as_no_sampling(codecs, tmp_path, caplog):
  codec = codecs['characters']
  architecture, _, params = small(codec)
  for index, sampler in enumerate([sampling.greedy(), sampling.sampler(top_k=1)]):
    folder = export(tmp_path / str(index), params, architecture, codec, sampler=sampler)
    assert read(folder, 'generation_config.json') == {
      'do_sample': False,
      'eos_token_id': [1],
      'pad_token_id': 0,
    }
    transformers.GenerationConfig.from_pretrained(folder).validate(strict=True)
  assert not caplog.records


def test_a_truncation_is_left_out_with_a_warning(codecs, tmp_path, caplog):
  codec = codecs['characters']
  architecture, _, params = small(codec)
  with caplog.at_level(logging.WARNING):
    sampler = sampling.sampler(temperature=0.5, top_p=0.9)
    folder = export(tmp_path / 'x', params, architecture, codec, sampler=sampler)
  assert 'generation_config.json cannot say' in caplog.text
  assert read(folder, 'generation_config.json')['temperature'] == 0.5


def test_without_a_sampler_nothing_is_said_about_sampling(codecs, tmp_path):
  codec = codecs['characters']._replace(eos_ids=(1, 5))
  architecture, _, params = small(codec)
  folder = export(tmp_path / 'x', params, architecture, codec)
  assert read(folder, 'generation_config.json') == {'eos_token_id': [1, 5], 'pad_token_id': 0}
  assert read(folder, 'config.json')['eos_token_id'] == [1, 5]
  assert tokenizer.pretrained(folder).eos_ids == (1, 5)


def test_an_existing_empty_folder_and_a_link_to_one_are_filled(codecs, tmp_path):
  codec = codecs['characters']
  architecture, _, params = small(codec)
  (tmp_path / 'x').mkdir()
  (tmp_path / 'link').symlink_to(tmp_path / 'x')
  export(tmp_path / 'link', params, architecture, codec)
  assert (tmp_path / 'link').is_symlink()
  pretrained.load(tmp_path / 'x')
  (tmp_path / 'plain').mkdir()
  assert (tmp_path / 'x').stat().st_mode == (tmp_path / 'plain').stat().st_mode


# ---------------------------------------------------------------- a pretrained codec


@pytest.fixture
def source(tmp_path):
  file = tiny_gguf.write(tmp_path / 'tiny.gguf', tiny_gguf.llama_weights())
  folder = gguf.convert(file, tmp_path / 'tiny')
  generation = read(folder, 'generation_config.json') | {'top_p': 0.8, 'eos_token_id': [2, 7]}
  (folder / 'generation_config.json').write_text(json.dumps(generation))
  return folder


def test_a_pretrained_policy_keeps_its_tokenizer_and_special_ids(source, tmp_path):
  _, params, architecture = pretrained.load(source)
  codec = tokenizer.pretrained(source)
  folder = export(tmp_path / 'out', params, architecture, codec)
  for file in ('tokenizer.json', 'tokenizer_config.json'):
    assert (folder / file).read_bytes() == (source / file).read_bytes()
  config = read(folder, 'config.json')
  ids = [config[key] for key in ('bos_token_id', 'eos_token_id', 'pad_token_id')]
  assert ids == [1, [2, 7], 2]
  generation = read(folder, 'generation_config.json')
  assert (generation['top_p'], generation['eos_token_id']) == (0.8, [2, 7])
  again = tokenizer.pretrained(folder)
  assert again.render(turns('the 12')) == codec.render(turns('the 12'))
  assert again[3:6] == codec[3:6]
  _, loaded, _ = pretrained.load(folder)
  jax.tree.map(np.testing.assert_array_equal, loaded, params)

  again = export(tmp_path / 'drawn', params, architecture, codec, sampler=sampling.sampler())
  generation = read(again, 'generation_config.json')
  assert (generation['top_p'], generation['top_k']) == (1.0, 0)  # the sampler's, not the source's


@pytest.mark.parametrize('system', ['be brief', 'say "é"\n\\{{ x }}'])
def test_the_system_turn_of_a_codec_is_exported_with_it(system, source, tmp_path):
  codec = tokenizer.pretrained(source, system=system)
  codec.save(tmp_path / 'saved')
  again = tokenizer.pretrained(tmp_path / 'saved')
  told = (Message('system', 'I'), Message('user', 'the'))
  for messages in (turns('the'), told, (*turns('a'), Message('assistant', 'b'), *turns('c'))):
    assert again.render(messages) == codec.render(messages)
  assert again.render(turns('the')) != tokenizer.pretrained(source).render(turns('the'))


# ---------------------------------------------------------------- refusals


def test_a_folder_that_is_not_empty_stays_as_it_is(codecs, tmp_path):
  architecture, _, params = small(codecs['characters'])
  (tmp_path / 'x').mkdir()
  (tmp_path / 'x' / 'notes').write_text('mine')
  with pytest.raises(ValueError, match='x exists and is not empty; name another folder') as caught:
    export(tmp_path / 'x', params, architecture, codecs['characters'])
  assert '\n' not in str(caught.value)
  assert [path.name for path in (tmp_path / 'x').iterdir()] == ['notes']
  with pytest.raises(ValueError, match='notes exists and is no folder'):
    export(tmp_path / 'x' / 'notes', params, architecture, codecs['characters'])
  assert [path.name for path in tmp_path.iterdir()] == ['x']


def test_what_cannot_be_exported_is_refused_and_leaves_nothing(codecs, tmp_path):
  codec = codecs['characters']
  architecture, model, params = small(codec)

  def refused(message, architecture=architecture, params=params, codec=codec):
    with pytest.raises(ValueError, match=message):
      export(tmp_path / 'new' / 'x', params, architecture, codec)
    assert list(tmp_path.iterdir()) == []

  def broken(folder):
    (folder / 'tokenizer.json').write_text('half of it')
    raise ValueError('disk full')

  refused('this model cannot be exported', architecture=None)
  refused('architecture is a Model, expected an Architecture', architecture=model)
  refused('params are a Model', params=model)
  refused('params and architecture are swapped', architecture=params, params=architecture)
  refused('this codec cannot be exported', codec=codec._replace(save=None))
  refused('the codec has 258 ids and the model', codec=codecs['bytes'])
  refused('disk full', codec=codec._replace(save=broken))
  refused(r'wrote has pad_id=0, but the codec has pad_id=3', codec=codec._replace(pad_id=3))
  refused('tensor .* is missing', params={'layers': params['layers']})
  refused('no Hugging Face family', architecture=preset('toy', vocab=99, embed_scale=3.0))


def test_save_takes_what_load_returns_in_its_order_and_refuses_another(codecs, tmp_path):
  architecture, _, params = small(codecs['characters'])
  with pytest.raises(ValueError, match='are swapped.*of load, params before architecture'):
    pretrained.save(tmp_path / 'x', architecture, params)
  with pytest.raises(ValueError, match='this model cannot be exported'):
    pretrained.save(tmp_path / 'x', params, None)
  assert list(tmp_path.iterdir()) == []
