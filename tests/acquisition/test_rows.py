"""Files of rows: parquet as data hubs lay it out, ArrayRecord, and what is damaged or mixed."""

import gzip
import json
import shutil
import warnings

import numpy as np
import pyarrow
import pytest
from pyarrow import parquet

from sirl.acquisition import curated
from sirl.tasks import content_id

ROWS = [
  {'question': 'Six times seven?', 'answer': '6*7=<<6*7=42>>42\n#### 42', 'level': 1},
  {'question': 'Ünïcode \u2028 café?', 'answer': 'So\n#### 1,080', 'level': 2},
  {'question': 'Minus one?', 'answer': '#### -1', 'level': 3},
]


def check_gsm8k(tasks, name):
  assert [task.answer for task in tasks] == ['42', '1080', '-1']
  assert [task.id for task in tasks] == [content_id(name, row['question']) for row in ROWS]
  assert [task.meta for task in tasks] == [{'level': 1}, {'level': 2}, {'level': 3}]


def write_parquet(path, rows):
  parquet.write_table(pyarrow.Table.from_pylist(rows), path)


# ---------------------------------------------------------------- parquet


def test_parquet_file_and_folder_round_trip(tmp_path):
  folder = tmp_path / 'main'
  folder.mkdir()
  write_parquet(tmp_path / 'all.parquet', ROWS)
  write_parquet(folder / 'train-00001-of-00002.parquet', ROWS[2:])
  write_parquet(folder / 'train-00000-of-00002.parquet', ROWS[:2])
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


@pytest.fixture
def hub(tmp_path):
  """A folder as data hubs lay it out: the files of all splits side by side."""
  folder = tmp_path / 'main'
  folder.mkdir()
  write_parquet(folder / 'train-00000-of-00002-0123456789abcdef.parquet', ROWS[:1])
  write_parquet(folder / 'train-00001-of-00002-fedcba9876543210.parquet', ROWS[1:2])
  write_parquet(folder / 'test-00000-of-00001-0123456789abcdef.parquet', ROWS[2:])
  return folder


@pytest.mark.parametrize(
  ('names', 'missing'),
  [
    (['train-00000-of-00002'], 'lacks 1 of 2 shards: train-00001-of-00002.parquet; copy the rest'),
    (['train-00001-of-00002-0123456789abcdef'], 'train-00000-of-00002.parquet;'),
    (['train-1-of-3', 'train-3-of-3'], 'lacks 1 of 3 shards: train-2-of-3.parquet;'),
    (['train-00003-of-00009'], 'lacks 8 of 9 shards: .*, train-00004-of-00009.parquet, ...;'),
    (['train-00000-of-00001', 'train-00000-of-00002'], 'lacks 1 of 2 shards'),
  ],
)
def test_a_folder_without_some_of_its_shards_is_refused_since_half_the_rows_would_be_read(
  tmp_path, names, missing
):
  for name in names:
    write_parquet(tmp_path / f'{name}.parquet', ROWS)
  with pytest.raises(ValueError, match=missing):
    curated.parquet(tmp_path, split='train')


def test_one_shard_that_is_named_itself_is_read_with_a_warning(tmp_path, caplog):
  path = tmp_path / 'train-00000-of-00002.parquet'
  write_parquet(path, ROWS)
  assert len(curated.parquet(path)) == len(ROWS)
  lines = tmp_path / 'train-00001-of-00002.jsonl'
  lines.write_text('{"question": "1+1=", "answer": "2"}\n')
  curated.jsonl(lines)
  assert [record.getMessage() for record in caplog.records] == [
    f'{path} is one of 2 shards, and the others are not read' for path in (path, lines)
  ]


def test_splits_side_by_side_are_refused_until_one_is_named(hub):
  with pytest.raises(
    ValueError, match=r'several splits: test-0.*, train-0.*; name one with split='
  ):
    curated.parquet(hub)
  assert len(curated.parquet(hub, split='train')) == 2
  assert [task.prompt for task in curated.parquet(hub, split='test')] == ['Minus one?']
  with pytest.raises(ValueError, match="holds no file of split 'tes': test-0"):
    curated.parquet(hub, split='tes')


@pytest.mark.parametrize(
  'names', [['0000', '0001'], ['part-0', 'part-1'], ['a_train_0', 'a_train_10']]
)
def test_shards_of_one_split_need_no_name(tmp_path, names):
  for name, row in zip(names, ROWS):
    write_parquet(tmp_path / f'{name}.parquet', [row])
  assert len(curated.parquet(tmp_path)) == 2


@pytest.mark.parametrize('names', [['gsm8k_train_0', 'gsm8k_test_0'], ['train', 'train_sft']])
def test_a_split_is_a_whole_word_of_a_name(tmp_path, names):
  for name, row in zip(names, ROWS):
    write_parquet(tmp_path / f'{name}.parquet', [row])
  assert [t.prompt for t in curated.parquet(tmp_path, split='train')] == [ROWS[0]['question']]


@pytest.mark.parametrize('names', [['train', 'test'], ['gsm-train-0', 'gsm-dev-0'], ['a', 'b']])
def test_files_whose_names_differ_in_words_may_be_splits(tmp_path, names):
  for name, row in zip(names, ROWS):
    write_parquet(tmp_path / f'{name}.parquet', [row])
  with pytest.raises(ValueError, match='holds files of several splits'):
    curated.parquet(tmp_path)


def test_a_folder_of_folders_names_those_with_files(hub):
  with pytest.raises(ValueError, match=r'holds no \.parquet file; there are some in .*main'):
    curated.parquet(hub.parent)


def test_rows_of_several_splits_in_one_file_are_refused_until_one_is_named(tmp_path):
  rows = [row | {'split': split} for row, split in zip(ROWS, ['train', 'train', 'test'])]
  path = tmp_path / 'all.jsonl'
  path.write_text(''.join(json.dumps(row) + '\n' for row in rows))
  with pytest.raises(
    ValueError, match=r"line 3: rows of several splits are mixed .*'train' and 'te"
  ):
    curated.jsonl(path)
  assert len(curated.jsonl(path, split='train')) == 2
  write_parquet(tmp_path / 'all.parquet', rows)
  with pytest.raises(ValueError, match='row 3: rows of several splits are mixed'):
    curated.parquet(tmp_path / 'all.parquet')
  assert len(curated.parquet(tmp_path / 'all.parquet', split='test')) == 1
  with pytest.raises(ValueError, match="no row of split 'dev'; there are 'train', 'test'"):
    curated.jsonl(path, split='dev')


def test_a_split_that_cannot_be_told_is_refused(tmp_path):
  (tmp_path / 'x.jsonl').write_text(json.dumps(ROWS[0]) + '\n')
  with pytest.raises(ValueError, match=r"line 1: no field 'split', by which rows of split 'train'"):
    curated.jsonl(tmp_path / 'x.jsonl', split='train')
  write_parquet(tmp_path / 'x.parquet', ROWS)
  with pytest.raises(ValueError, match=r"row 1: no field 'split'"):
    curated.parquet(tmp_path / 'x.parquet', split='train')


def test_missing_numbers_and_decimals_of_a_table(tmp_path):
  import decimal

  numbers = [decimal.Decimal('1.50'), None]
  table = pyarrow.table({'question': ['a', 'b'], 'answer': [1.0, np.nan], 'price': numbers})
  parquet.write_table(table, tmp_path / 'x.parquet')
  assert [task.answer for task in curated.parquet(tmp_path / 'x.parquet')] == ['1.0', None]
  tasks = curated.parquet(tmp_path / 'x.parquet', answer='price', meta=('answer',))
  assert [(task.answer, task.meta['answer']) for task in tasks] == [('1.50', 1.0), (None, None)]


# ---------------------------------------------------------------- gzip


def test_a_compressed_file_that_was_cut_or_is_none_is_named(tmp_path):
  lines = '\n'.join(json.dumps(row | {'level': n}) for n in range(99) for row in ROWS).encode()
  data = gzip.compress(lines)
  for bad in (data[: len(data) // 2], lines):
    (tmp_path / 'x.jsonl.gz').write_bytes(bad)
    with pytest.raises(ValueError, match=r'x\.jsonl\.gz is damaged or cut .*copy it again'):
      curated.jsonl(tmp_path / 'x.jsonl.gz')


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
  folder = tmp_path / 'tiny_math' / '1.0.0'
  shutil.copytree(prepared / 'tiny_math' / '1.0.0', folder)
  info = json.loads((folder / 'dataset_info.json').read_text())
  (folder / 'dataset_info.json').write_text(json.dumps({**info, 'fileFormat': 'parquet'}))
  with pytest.raises(
    ValueError, match=r"is stored as parquet; prepare it with file_format='array_record'"
  ):
    curated.tfds(folder, 'train')


def damaged_copy(prepared, tmp_path, change):
  folder = tmp_path / 'tiny_math' / '1.0.0'
  shutil.copytree(prepared / 'tiny_math' / '1.0.0', folder)
  (shard,) = folder.glob('*train.array_record*')
  change(shard, shard.read_bytes())
  return folder


@pytest.mark.parametrize('kept', [0.0, 0.25, 0.5, 0.75])  # half a file ends at the end of a block
def test_a_shard_that_was_cut_is_named(prepared, tmp_path, kept):
  cut = lambda shard, whole: shard.write_bytes(whole[: int(kept * len(whole))])
  folder = damaged_copy(prepared, tmp_path, cut)
  message = r'tiny_math-train\.array_record-00000-of-00001 is damaged, cut or missing: .*expected 3'
  with pytest.raises(ValueError, match=message):
    curated.tfds(folder, 'train')
  assert len(curated.tfds(folder, 'test')) == 1  # of which nothing is damaged


def test_a_missing_shard_and_a_changed_byte_are_named(prepared, tmp_path):
  missing = damaged_copy(prepared, tmp_path / 'missing', lambda shard, whole: shard.unlink())
  with pytest.raises(ValueError, match=r'array_record-00000-of-00001 is damaged, cut or missing'):
    curated.tfds(missing, 'train[:2]')

  def flip(shard, whole):
    place = 100  # in the first row
    shard.write_bytes(whole[:place] + bytes([whole[place] ^ 255]) + whole[place + 1 :])

  flipped = damaged_copy(prepared, tmp_path / 'flipped', flip)
  with pytest.raises(ValueError, match=r'row 0: .*array_record-00000-of-00001 is damaged'):
    curated.tfds(flipped, 'train')
