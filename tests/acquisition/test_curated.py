"""Curated tasks from real files of each kind, which the tests write."""

import gzip
import json
import warnings

import numpy as np
import pytest

from sirl.acquisition import curated
from sirl.tasks import content_id

ROWS = [
  {'question': 'Six times seven?', 'answer': '6*7=<<6*7=42>>42\n#### 42', 'level': 1},
  {'question': 'Ünïcode \u2028 café?', 'answer': 'So\n#### 1,080', 'level': 2},
  {'question': 'Minus one?', 'answer': '#### -1', 'level': 3},
]


def write(path, rows):
  path.write_text(
    '\n'.join(row if isinstance(row, str) else json.dumps(row) for row in rows) + '\n'
  )
  return path


def check_gsm8k(tasks, name):
  assert [task.prompt for task in tasks] == [row['question'] for row in ROWS]
  assert [task.answer for task in tasks] == ['42', '1080', '-1']
  assert [task.id for task in tasks] == [content_id(name, row['question']) for row in ROWS]
  assert {task.origin for task in tasks} == {'curated'}
  assert [task.meta for task in tasks] == [{'level': 1}, {'level': 2}, {'level': 3}]


# ---------------------------------------------------------------- JSON lines


def test_jsonl_round_trip(tmp_path):
  path = write(tmp_path / 'gsm8k.jsonl', [ROWS[0], '', *ROWS[1:]])
  check_gsm8k(curated.jsonl(path, parse=curated.gsm8k_answer, meta=('level',)), 'gsm8k')


def test_jsonl_gzipped_and_with_byte_order_mark(tmp_path):
  data = '\ufeff' + '\n'.join(map(json.dumps, ROWS))
  (tmp_path / 'gsm8k.jsonl.gz').write_bytes(gzip.compress(data.encode()))
  check_gsm8k(
    curated.jsonl(tmp_path / 'gsm8k.jsonl.gz', parse=curated.gsm8k_answer, meta=('level',)), 'gsm8k'
  )


def test_fields_may_be_functions_and_answers_numbers_or_unknown(tmp_path):
  path = write(tmp_path / 'x.jsonl', [{'a': 1, 'b': 2, 'sum': 3}, {'a': 2, 'b': 0.5, 'sum': None}])
  tasks = curated.jsonl(
    path, prompt=lambda row: f'{row["a"]}+{row["b"]}=', answer='sum', name='sums'
  )
  assert [(task.prompt, task.answer) for task in tasks] == [('1+2=', '3'), ('2+0.5=', None)]
  assert tasks[0].id.startswith('sums-')
  assert curated.jsonl(path, prompt='a', answer=None)[0].answer is None


def test_limit_reads_no_further(tmp_path):
  path = write(tmp_path / 'x.jsonl', [*ROWS[:2], 'not json'])
  assert len(curated.jsonl(path, limit=2)) == 2
  with pytest.raises(ValueError, match='limit=0; expected at least 1, or None for all rows'):
    curated.jsonl(path, limit=0)


GOOD = {'question': 'q', 'answer': '#### 1'}


@pytest.mark.parametrize(
  ('row', 'message'),
  [
    ('{"question": "q"', r'x.jsonl, line 2: not JSON in UTF-8'),
    ('[1, 2]', r'x.jsonl, line 2: list \[1, 2\]; expected one JSON object a line'),
    ({'query': 'q'}, r"x.jsonl, line 2: no field 'question'; the row has 'query'"),
    ({'question': 'q'}, r"line 2: no field 'answer'; the row has 'question'"),
    ({'question': ' ', 'answer': '1'}, r'line 2: empty prompt'),
    ({'question': None, 'answer': '1'}, r'line 2: empty prompt'),
    (
      {'question': ['q'], 'answer': '1'},
      r"line 2: prompt is list \['q'\]; expected text or a number",
    ),
    ({'question': 'q', 'answer': True}, r'line 2: answer is bool True'),
    ({'question': 'q', 'answer': 'no mark'}, r"line 2: gsm8k_answer finds no answer in 'no mark'"),
  ],
)
def test_bad_rows_raise_with_file_and_line(tmp_path, row, message):
  path = write(tmp_path / 'x.jsonl', [GOOD, row, GOOD])
  with pytest.raises(ValueError, match=message):
    curated.jsonl(path, parse=curated.gsm8k_answer)


def test_bytes_that_are_no_text_and_functions_that_fail_name_the_line(tmp_path):
  (tmp_path / 'x.jsonl').write_bytes(json.dumps(GOOD).encode() + b'\n{"question": "\xff"}\n')
  with pytest.raises(ValueError, match=r'line 2: not JSON in UTF-8 .*0xff'):
    curated.jsonl(tmp_path / 'x.jsonl')

  def first_choice(row):
    return row['choices'][0]

  with pytest.raises(ValueError, match=r"line 1: first_choice raised KeyError: 'choices'"):
    curated.jsonl(tmp_path / 'x.jsonl', answer=first_choice)


@pytest.mark.parametrize('read', [curated.jsonl, curated.parquet])
def test_missing_file(tmp_path, read):
  with pytest.raises(ValueError, match=r'nowhere.dat does not exist'):
    read(tmp_path / 'nowhere.dat')


def test_empty_file_and_folder(tmp_path):
  (tmp_path / 'x.jsonl').write_text('\n')
  with pytest.raises(ValueError, match=r'x.jsonl holds no rows'):
    curated.jsonl(tmp_path / 'x.jsonl')
  with pytest.raises(ValueError, match=r'is a folder; jsonl reads one file'):
    curated.jsonl(tmp_path)
  with pytest.raises(ValueError, match=r'holds no rows'):
    curated.parquet(tmp_path)


@pytest.mark.parametrize(
  ('text', 'answer'),
  [('a #### 1\nb\n#### 1,234,567 ', '1234567'), ('####-3', '-3'), ('42', None), ('#### ', None)],
)
def test_gsm8k_answer(text, answer):
  assert curated.gsm8k_answer(text) == answer


# ---------------------------------------------------------------- parquet


def test_parquet_file_and_folder_round_trip(tmp_path):
  import pyarrow
  from pyarrow import parquet

  folder = tmp_path / 'main'
  folder.mkdir()
  parquet.write_table(pyarrow.Table.from_pylist(ROWS), tmp_path / 'all.parquet')
  parquet.write_table(pyarrow.Table.from_pylist(ROWS[2:]), folder / 'train-00001-of-00002.parquet')
  parquet.write_table(pyarrow.Table.from_pylist(ROWS[:2]), folder / 'train-00000-of-00002.parquet')
  options = {'parse': curated.gsm8k_answer, 'meta': ('level',)}
  check_gsm8k(curated.parquet(tmp_path / 'all.parquet', **options), 'all')
  check_gsm8k(curated.parquet(folder, **options), 'main')
  with pytest.raises(
    ValueError, match=r"train-00000-of-00002.parquet, row 1: no field 'q'; the row has 'question'"
  ):
    curated.parquet(folder, prompt='q')


def test_a_damaged_parquet_file_is_named(tmp_path):
  (tmp_path / 'x.parquet').write_bytes(b'PAR1 this is not parquet')
  with pytest.raises(ValueError, match=r'x.parquet: not a readable parquet file'):
    curated.parquet(tmp_path / 'x.parquet')


# ---------------------------------------------------------------- TFDS


@pytest.fixture(scope='module')
def prepared(tmp_path_factory):
  """A data set prepared by TFDS itself, ArrayRecord files, without TensorFlow."""
  import tensorflow_datasets as tfds

  with tfds.core.registered.skip_registration():  # readers must find the files, not this class

    class TinyMath(tfds.core.GeneratorBasedBuilder):
      # In a package, TFDS would look for a checksum file with a module that is not installed.
      __module__ = '__main__'
      VERSION = tfds.core.Version('1.0.0')

      def _info(self):
        features = tfds.features.FeaturesDict(
          {
            'question': tfds.features.Text(),
            'answer': tfds.features.Text(),
            'level': tfds.features.Scalar(np.int64),
            'steps': tfds.features.Sequence(tfds.features.Text()),
          }
        )
        return tfds.core.DatasetInfo(builder=self, features=features, disable_shuffling=True)

      def _split_generators(self, manager):
        return {'train': self._generate_examples(ROWS), 'test': self._generate_examples(ROWS[:1])}

      def _generate_examples(self, rows):
        for i, row in enumerate(rows):
          yield i, {**row, 'steps': ['one', 'two']}

  folder = tmp_path_factory.mktemp('tfds')
  with warnings.catch_warnings():
    warnings.simplefilter('ignore')
    TinyMath(data_dir=folder, file_format='array_record').download_and_prepare()
  return folder


def test_tfds_reads_array_record_without_tensorflow(prepared):
  import sys

  folder = prepared / 'tiny_math' / '1.0.0'
  tasks = curated.tfds(folder, 'train', parse=curated.gsm8k_answer, meta=('level',))
  check_gsm8k(tasks, 'tiny_math')
  assert all(type(task.meta['level']) is int for task in tasks)
  assert 'tensorflow' not in sys.modules


def test_tfds_splits_limits_and_nested_fields(prepared):
  folder = prepared / 'tiny_math' / '1.0.0'
  assert len(curated.tfds(folder, 'test')) == 1
  assert [task.prompt for task in curated.tfds(folder, 'train[1:]', limit=1)] == [
    ROWS[1]['question']
  ]
  assert curated.tfds(folder, 'test', meta=('steps',))[0].meta == {'steps': ['one', 'two']}
  with pytest.raises(
    ValueError, match=r"1.0.0 \[test\], row 0: no field 'q'; the row has .*'question'"
  ):
    curated.tfds(folder, 'test', prompt='q')


def test_tfds_by_name(prepared):
  assert len(curated.tfds('tiny_math', 'train', data_dir=prepared)) == 3


def test_tfds_names_what_is_missing(prepared, tmp_path):
  with pytest.raises(ValueError, match=r'no prepared data set .*nothing_here.*dataset_info.json'):
    curated.tfds('nothing_here', 'train', data_dir=prepared)
  with pytest.raises(ValueError, match=r'no prepared data set .*dataset_info.json'):
    curated.tfds(tmp_path, 'train')
  with pytest.raises(ValueError, match=r'\[validation\]: no such split \(splits: .*train.*\)'):
    curated.tfds(prepared / 'tiny_math' / '1.0.0', 'validation')


def test_tfds_refuses_formats_that_are_not_read_whole(prepared, tmp_path):
  import shutil

  folder = tmp_path / 'tiny_math' / '1.0.0'
  shutil.copytree(prepared / 'tiny_math' / '1.0.0', folder)
  info = json.loads((folder / 'dataset_info.json').read_text())
  (folder / 'dataset_info.json').write_text(json.dumps({**info, 'fileFormat': 'parquet'}))
  with pytest.raises(
    ValueError, match=r"is stored as parquet; prepare it with file_format='array_record'"
  ):
    curated.tfds(folder, 'train')
