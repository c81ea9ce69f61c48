"""The GSM8K experiment reads real folders of both kinds, and its step learns on the toy that stands in for the model."""

import dataclasses
import json
import warnings

import jax
import numpy as np
import pytest

from experiments import gsm8k_grpo, gsm8k_toy
from sirl import loop, rewards
from sirl.ops import keys
from sirl.rewards import heuristic
from sirl.tasks import content_id
from sirl.types import Context

pytestmark = pytest.mark.usefixtures('quick_compiles')

ROWS = [
  {
    'question': 'Ann has 3 pens and buys 4. How many?',
    'answer': 'She has 3+4=<<3+4=7>>7 pens.\n#### 7',
  },
  {
    'question': 'A café sells 1,000 cups and 80. How many?',
    'answer': 'Together 1,080.\n#### 1,080',
  },
  {'question': 'It was 2 degrees and fell by 5. What is it now?', 'answer': '2-5=-3\n#### -3'},
]
SPLITS = {'train': ROWS[:2], 'test': ROWS[2:]}


@pytest.fixture
def json_lines(tmp_path):
  folder = tmp_path / 'json_lines'
  folder.mkdir()
  for split, rows in SPLITS.items():
    (folder / f'{split}.jsonl').write_text(''.join(json.dumps(row) + '\n' for row in rows))
  return folder


@pytest.fixture
def prepared(tmp_path):
  """The same rows, written by TFDS as ArrayRecord."""
  import tensorflow_datasets as tfds

  with tfds.core.registered.skip_registration():

    class Gsm8k(tfds.core.GeneratorBasedBuilder):
      __module__ = '__main__'  # in a package, TFDS would look for a checksum file with a module that is not installed
      VERSION = tfds.core.Version('1.0.0')

      def _info(self):
        features = tfds.features.FeaturesDict(
          {'question': tfds.features.Text(), 'answer': tfds.features.Text()}
        )
        return tfds.core.DatasetInfo(builder=self, features=features, disable_shuffling=True)

      def _split_generators(self, manager):
        return {split: self._generate_examples(rows) for split, rows in SPLITS.items()}

      def _generate_examples(self, rows):
        yield from enumerate(rows)

  with warnings.catch_warnings():
    warnings.simplefilter('ignore')
    Gsm8k(data_dir=tmp_path, file_format='array_record').download_and_prepare()
  return tmp_path / 'gsm8k' / '1.0.0'


def test_array_record_and_json_lines_give_the_same_tasks(prepared, json_lines):
  of_tfds = gsm8k_grpo.load_tasks(gsm8k_grpo.Config(data=str(prepared)))
  of_json = gsm8k_grpo.load_tasks(gsm8k_grpo.Config(data=str(json_lines)))
  assert of_tfds == of_json
  train, test = of_json
  assert [task.answer for task in [*train, *test]] == ['7', '1080', '-3']
  assert [task.id for task in train] == [
    content_id('gsm8k', row['question']) for row in SPLITS['train']
  ]
  for task, row in zip(train, SPLITS['train']):
    assert task.prompt.startswith(row['question'])
    assert '\\boxed{}' in task.prompt


def test_the_reward_reads_what_the_prompt_asks_for(json_lines):
  (task, _), _ = gsm8k_grpo.read_folder(json_lines)
  assert gsm8k_grpo.CORRECT(task, 'She has 3 and 4, so \\boxed{7}.') == 1.0
  assert gsm8k_grpo.CORRECT(task, 'So \\boxed{8}.') == 0.0


@pytest.mark.parametrize(
  ('files', 'message'),
  [
    (
      None,
      r'nowhere does not exist; expected a prepared TFDS version .* or a folder with train.jsonl and test.jsonl',
    ),
    ([], r'nowhere holds nothing; expected .*--set data=FOLDER'),
    (['train.jsonl', 'notes.txt'], r'nowhere holds notes.txt, train.jsonl; expected .*test.jsonl'),
  ],
)
def test_another_folder_is_refused_by_name(tmp_path, files, message):
  folder = tmp_path / 'nowhere'
  if files is not None:
    folder.mkdir()
    for name in files:
      (folder / name).write_text('')
  with pytest.raises(ValueError, match=message):
    gsm8k_grpo.build(gsm8k_grpo.Config(data=str(folder)))


def test_a_row_without_a_final_answer_is_named(json_lines):
  (json_lines / 'test.jsonl').write_text(
    json.dumps({'question': 'q', 'answer': 'about seven'}) + '\n'
  )
  with pytest.raises(ValueError, match=r'test.jsonl, line 1: gsm8k_answer finds no answer'):
    gsm8k_grpo.read_folder(json_lines)


def test_questions_over_the_limit_are_left_out_and_counted(json_lines, caplog):
  train, _ = gsm8k_grpo.read_folder(json_lines)
  codec = gsm8k_toy.tokenizer.bytes_codec()
  limit = len(codec.render(train[0].prompt))
  assert gsm8k_grpo.fitting(train, codec, limit) == train[:1]
  assert f'1 of 2 questions are longer than max_prompt={limit} tokens' in caplog.text
  with pytest.raises(ValueError, match=r'none of 2 prompts has at most max_prompt=5 tokens'):
    gsm8k_grpo.fitting(train, codec, 5)


def test_a_test_question_in_the_training_split_never_enters_the_pool(json_lines):
  """Case and white space aside; the other questions do."""
  leaked = {**ROWS[2], 'question': ROWS[2]['question'].upper().replace(' ', '  ')}
  with (json_lines / 'train.jsonl').open('a') as train:
    train.write(json.dumps(leaked) + '\n')
  config = dataclasses.replace(
    gsm8k_grpo.shrink(gsm8k_grpo.Config()), data=str(json_lines), max_prompt=160
  )
  assert len(gsm8k_grpo.load_tasks(config)[0]) == 3
  acquired = gsm8k_grpo.build(config).acquire(None, [], Context(0, 0.0, keys.at(0, 'acquire')))
  assert [task.answer for task in acquired] == ['7', '1080']


def test_two_debug_steps_update_the_weights():
  config = dataclasses.replace(
    gsm8k_grpo.shrink(gsm8k_grpo.Config()), prompts=4, group_size=4, max_new=4
  )
  # A policy from nothing is never right; a coin in place of the verifier lets some groups disagree.
  coin = rewards.weighted(correct=(1.0, heuristic.random_reward(0.5)))
  experiment = gsm8k_grpo.build(config, reward=coin)
  train, test = gsm8k_grpo.load_tasks(config)
  assert not {task.id for task in train} & {task.id for task in test}

  start = experiment.model.init(keys.at(0, 'init'))
  state = loop.initial_state(experiment, start).train
  for s in range(2):
    state, outcome = experiment.step(state, train[:4], keys.at(0, 'gro', 0, s))
    assert outcome.metrics['sampling/sampling_logp_difference/max'] < config.max_logp_gap
  assert int(state.step) == 2 * config.minibatches
  moved = jax.tree.map(
    lambda a, b: float(np.abs(np.asarray(a) - np.asarray(b)).max()), state.params, start
  )
  assert max(jax.tree.leaves(moved)) > 0
