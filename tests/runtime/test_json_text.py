"""What is written can be read by any JSON reader, and read back as it was."""

import json
import math

import pytest

from sirl.runtime import json_text


def strictly(text):
  """Reads JSON as jq and browsers do: NaN and Infinity are no words of it."""

  def refuse(word):
    raise ValueError(f'not JSON: {word}')

  return json.loads(text, parse_constant=refuse)


def test_numbers_that_json_does_not_have_are_null_or_words_at_any_depth():
  value = {'loss': math.inf, 'rows': [(-math.inf, 1.5)], 'reward': math.nan, 'said': 'Infinity'}
  written = strictly(json_text.dumps(value))
  assert written == {
    'loss': 'Infinity', 'rows': [['-Infinity', 1.5]], 'reward': None, 'said': 'Infinity',
  }  # fmt: skip


@pytest.mark.parametrize('value', [0.1, 3, -0.0, 1e-300, math.inf, -math.inf])
def test_a_number_is_read_back_as_it_was(value):
  assert json_text.number(strictly(json_text.dumps(value))) == value


def test_what_does_not_exist_is_read_back_as_nan():
  assert math.isnan(json_text.number(strictly(json_text.dumps(math.nan))))


def test_a_config_with_an_infinite_number_is_read_back_as_it_was():
  numbers = {'config': {'highest': math.inf, 'widths': [1, 2], 'task': 'addition', 'kl': None}}
  assert json_text.loads(json_text.dumps(numbers, indent=2)) == numbers


@pytest.mark.parametrize('said', ['zwölf ½', 'half a pair \ud800', '\u2028'])
def test_every_text_can_be_written_to_a_file_and_read_back(tmp_path, said):
  path = tmp_path / 'file'
  path.write_text(json_text.dumps({'said': said}), encoding='utf-8')
  assert strictly(path.read_text(encoding='utf-8')) == {'said': said}


def test_letters_stand_as_they_are():
  assert json_text.dumps({'said': 'zwölf'}) == '{"said": "zwölf"}'
