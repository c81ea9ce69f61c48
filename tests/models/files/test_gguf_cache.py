"""A conversion is used again for the same file only, and made where something can be written."""

import json
import os

import numpy as np
import pytest

from sirl.models import tokenizer
from sirl.models.files import gguf_cache, origin, pretrained

from support import tiny_gguf
from support.read_only import read_only


@pytest.fixture(autouse=True)
def no_cache(monkeypatch):
  monkeypatch.setenv('SIRL_CACHE', '')


@pytest.fixture
def file(tmp_path):
  (tmp_path / 'models').mkdir()
  return tiny_gguf.write(tmp_path / 'models' / 'tiny.gguf', tiny_gguf.llama_weights())


def embedding(file):
  return np.asarray(pretrained.load(file)[1]['embed']['weight'])


def written(folder):
  return (folder / 'config.json').stat().st_mtime_ns


def test_a_file_is_converted_once_into_the_folder_of_its_name(file):
  _, params, architecture = pretrained.load(file)
  assert (architecture.layers, architecture.rope_theta) == (2, 5000.0)
  expected = tiny_gguf.llama_weights()['model.layers.1.self_attn.q_proj.weight']
  np.testing.assert_array_equal(params['layers']['1']['attention']['q']['weight'], expected)
  assert sorted(path.name for path in file.parent.iterdir()) == ['tiny', 'tiny.gguf']
  first = written(file.parent / 'tiny')
  pretrained.load(file)
  pretrained.load(file.parent / 'tiny')
  assert written(file.parent / 'tiny') == first


@pytest.mark.parametrize('keep_time', [False, True])
def test_other_weights_under_the_same_name_are_converted_again(file, keep_time):
  before = file.stat()
  embedding(file)
  longer = {'tokenizer.ggml.x': 'y'} if keep_time else {}  # the same time, another size
  tiny_gguf.write(file, tiny_gguf.llama_weights(1), numbers=tiny_gguf.LLAMA | longer)
  if keep_time:
    os.utime(file, ns=(before.st_atime_ns, before.st_mtime_ns))
  expected = tiny_gguf.llama_weights(1)['model.embed_tokens.weight']
  np.testing.assert_array_equal(embedding(file), expected)
  assert sorted(path.name for path in file.parent.iterdir()) == ['tiny', 'tiny.gguf']


def test_another_tokenizer_under_the_same_name_is_converted_again(file):
  assert tokenizer.pretrained(file).encode('12')[0] != tiny_gguf.TOKENS.index('12')
  other = tiny_gguf.BYTE_LEVEL | {'pre': 'gpt-2'}  # does not cut digits
  tiny_gguf.write(file, tiny_gguf.llama_weights(), tokenizer=other)
  assert tokenizer.pretrained(file).encode('12') == [tiny_gguf.TOKENS.index('12')]


def test_a_copied_or_touched_file_is_not_converted_again(file):
  first = written(gguf_cache.converted(file))
  os.utime(file, ns=(1, 1))
  assert written(gguf_cache.converted(file)) == first


def test_the_result_of_other_code_is_converted_again(file):
  folder = gguf_cache.converted(file)
  record = json.loads((folder / origin.RECORD).read_text())
  (folder / origin.RECORD).write_text(json.dumps(record | {'code': 'older'}))
  (folder / 'config.json').write_text('{}')
  gguf_cache.converted(file)
  assert json.loads((folder / origin.RECORD).read_text()) == record
  assert json.loads((folder / 'config.json').read_text())['model_type'] == 'llama'


def test_an_interrupted_conversion_is_made_again(file):
  folder = gguf_cache.converted(file)
  (folder / origin.RECORD).write_text('{}')
  (folder / 'tokenizer.json').unlink()
  gguf_cache.converted(file)
  assert (folder / 'tokenizer.json').is_file()


def test_a_folder_of_the_same_name_with_another_origin_is_refused(file):
  (file.parent / 'tiny').mkdir()
  (file.parent / 'tiny' / 'config.json').write_text('{}')
  with pytest.raises(ValueError, match=r'has no converted_from\.json; load that folder itself, or'):
    pretrained.locate(file)
  file.with_name('other.gguf').write_bytes(b'')
  with pytest.raises(FileNotFoundError, match=r'2 \.gguf files; name one'):
    pretrained.locate(file.parent)


def test_a_file_in_a_read_only_folder_is_converted_into_the_cache(
  file, tmp_path, monkeypatch, caplog
):
  monkeypatch.setenv('SIRL_CACHE', str(tmp_path / 'cache'))
  with read_only(file.parent):
    folder = gguf_cache.converted(file)
    assert gguf_cache.converted(file) == folder
  assert folder.parent == tmp_path / 'cache' / 'gguf'
  assert caplog.text.count('cannot be written') == 1
  tiny_gguf.write(file, tiny_gguf.llama_weights(1))
  with read_only(file.parent):
    expected = tiny_gguf.llama_weights(1)['model.embed_tokens.weight']
    np.testing.assert_array_equal(embedding(file), expected)


def test_without_a_cache_a_read_only_folder_says_what_to_do(file):
  with (
    read_only(file.parent),
    pytest.raises(PermissionError, match=r'convert it elsewhere.*SIRL_C'),
  ):
    gguf_cache.converted(file)
