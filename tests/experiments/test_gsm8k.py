"""The GSM8K experiment reads both kinds of folder, and its step learns on a toy model."""

import dataclasses
import json
import warnings

import jax
import numpy as np
import pytest

from experiments import gsm8k_grpo, questions, splits
from sirl import gro, rewards
from sirl.models import tokenizer
from sirl.ops import keys
from sirl.rewards import heuristic
from sirl.tasks import Pool, content_id, turns
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
      # In a package, TFDS would look for a checksum file with a module that is not installed.
      __module__ = '__main__'
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


def configured(**numbers):
  """The numbers of a debug run, some of them replaced."""
  assignments = [f'{name}={value}' for name, value in numbers.items()]
  return gsm8k_grpo.build.configured(gsm8k_grpo.Config, ['debug=true', *assignments])


def test_array_record_and_json_lines_give_the_same_tasks(prepared, json_lines):
  of_tfds = questions.gsm8k(configured(data=prepared)).splits
  of_json = questions.gsm8k(configured(data=json_lines)).splits
  assert of_tfds == of_json
  train, test = of_json['train'], of_json['heldout']
  assert [task.answer for task in [*train, *test]] == ['7', '1080', '-3']
  assert [task.id for task in train] == [
    content_id('gsm8k', row['question']) for row in SPLITS['train']
  ]
  for task, row in zip(train, SPLITS['train']):
    assert task.prompt.startswith(row['question'])
    assert '\\boxed{}' in task.prompt


def test_the_reward_reads_what_the_prompt_asks_for(json_lines):
  domain = questions.gsm8k(configured(data=json_lines))
  task, _ = domain.splits['train']
  assert domain.verify(task, 'She has 3 and 4, so \\boxed{7}.') == 1.0
  assert domain.verify(task, 'So \\boxed{8}.') == 0.0


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
    gsm8k_grpo.build(configured(data=folder))


def test_a_row_without_a_final_answer_is_named(json_lines):
  (json_lines / 'test.jsonl').write_text(
    json.dumps({'question': 'q', 'answer': 'about seven'}) + '\n'
  )
  with pytest.raises(ValueError, match=r'test.jsonl, line 1: parse=marked .* finds no answer'):
    questions.read_folder(json_lines)


def test_tasks_over_a_limit_are_left_out_and_counted_once(json_lines, caplog):
  domain = questions.gsm8k(configured(data=json_lines))
  codec = tokenizer.bytes_codec()
  sizes = {task.id: len(codec.render(turns(task.prompt))) for task in domain.tasks('train', 2)}
  limit = min(sizes.values())
  short = next(task for task in domain.splits['train'] if sizes[task.id] == limit)
  heldout = [dataclasses.replace(short, id=f'{n}', answer=n) for n in ('7', '7' * 10)]
  domain = dataclasses.replace(domain, splits=domain.splits | {'heldout': heldout})
  kept = splits.fitting(domain, codec, max_prompt=limit, max_new=len('\\boxed{7}') + 1)
  assert kept.splits == {'train': [short], 'heldout': heldout[:1]}
  (record,) = caplog.records
  assert record.getMessage().startswith(
    '2 of 4 tasks of gsm8k are left out: their question is long'
  )
  assert (
    f'train.jsonl, line 2); --set max_prompt={max(sizes.values())} --set max_new=19 keeps all'
    in caplog.text
  )


def test_limits_that_no_task_keeps_are_refused_with_those_that_do(json_lines):
  domain = questions.gsm8k(configured(data=json_lines))
  with pytest.raises(
    ValueError, match=r'no train task fits. 3 of 3 tasks .* --set max_new=13 keeps'
  ):
    splits.fitting(domain, tokenizer.bytes_codec(), max_prompt=500, max_new=2)


def test_a_test_question_in_the_training_split_never_enters_the_pool(json_lines):
  """This ignores case and white space, and holds for questions that the run does not measure.

  The other questions do enter.
  """
  leaked = {**ROWS[2], 'question': ROWS[2]['question'].upper().replace(' ', '  ')}
  with (json_lines / 'train.jsonl').open('a') as train:
    train.write(json.dumps(leaked) + '\n')
  first = {'question': 'How many legs has a cat?', 'answer': '#### 4'}
  rows = (json_lines / 'test.jsonl').read_text()
  (json_lines / 'test.jsonl').write_text(json.dumps(first) + '\n' + rows)
  config = configured(data=json_lines, max_prompt=160, max_new=16, heldout=1)
  assert len(questions.gsm8k(config).splits['train']) == 3
  acquire = gsm8k_grpo.build(config).acquire
  context = Context(0, 0.0, keys.at(0, 'acquire'))
  acquired, _ = acquire.acquire(acquire.init(), None, Pool(), context)
  assert [task.answer for task in acquired] == ['7', '1080']


@pytest.mark.all
def test_two_debug_steps_update_the_weights():
  config = configured(prompts=4, group_size=4)
  # A policy from nothing is never right; a coin in place of the verifier lets some groups disagree.
  coin = rewards.weighted(correct=(1.0, heuristic.random_reward(0.5)))
  experiment = dataclasses.replace(gsm8k_grpo.build, changes={'reward': coin})(config)
  splits = questions.gsm8k(config).splits
  train, test = splits['train'], splits['heldout']
  assert not {task.id for task in train} & {task.id for task in test}

  policy = experiment.policy
  start = policy.model.init(keys.at(0, 'init'))
  learners = {'policy': gro.start(dataclasses.replace(policy, params=start))}
  for s in range(2):
    learners, outcome = experiment.step(learners, train[:4], keys.at(0, 'gro', 0, s))
    assert outcome.metrics['sampling/sampling_logp_difference/max'] < config.max_logp_gap
  state = learners['policy']
  assert int(state.step) == 2 * config.minibatches
  moved = jax.tree.map(
    lambda a, b: float(np.abs(np.asarray(a) - np.asarray(b)).max()), state.params, start
  )
  assert max(jax.tree.leaves(moved)) > 0
