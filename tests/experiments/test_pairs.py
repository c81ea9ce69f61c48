"""Every method runs on every task: it builds, takes one GRO step and leaves a whole workdir,
through the command line.

One pair of each method is in the fast tier; the others have the marker `all`.
"""

import json
import math
import pathlib

import jax
import pytest

from experiments import settings
from sirl import cli, experiment_file
from sirl import config as configs
from sirl.commands import DONE
from sirl.models.files import gguf
from sirl.runs import record

from support import tiny_gguf

pytestmark = pytest.mark.usefixtures('quick_compiles')

ROOT = pathlib.Path(__file__).parent.parent.parent
METHODS = [
  str(path.relative_to(ROOT))
  for folder in ('methods', 'controls')
  for path in sorted((ROOT / 'experiments' / folder).glob('*.py'))
  if path.stem != '__init__'
]
IN_FILES = ('gsm8k', 'jsonl')  # tasks that are read; `data=generated` writes them first
# The same for all methods, so that they share compiled programs.
ONE_STEP = ('debug=true', 'max_rounds=1', 'steps_per_round=1', 'prompts=4', 'group_size=4', 'heldout=8', 'samples=2')  # fmt: skip
TOY = (*ONE_STEP, 'width=16', 'layers=1', 'warm_rounds=1', 'warm_prompts=4')


@pytest.fixture(autouse=True)
def _cache(monkeypatch):
  """Compiled programs stay on disk where conftest put them, and not in memory: a process has room
  for some thousands.
  """
  monkeypatch.setenv('SIRL_CACHE', '')
  yield
  jax.clear_caches()


def run(workdir, file, *numbers):
  """Runs a file; its numbers, which are all in config.json."""
  words = [word for number in numbers for word in ('--set', number)]
  assert cli.main(['run', file, '--workdir', str(workdir), *words]) == DONE
  c = experiment_file.configured(experiment_file.load(file), numbers)
  assert json.loads((workdir / 'config.json').read_text())['config'] == configs.dump(c)
  return c


def check_one_step(workdir):
  """One step was taken on numbers; the reports before and after it are there, and the page."""
  [row] = record.read_rows(workdir / 'steps.jsonl')
  assert math.isfinite(row['loss'])
  assert row['updates_skipped'] == 0
  assert row['step_tokens'] > 0
  history = record.read_rows(workdir / 'history.jsonl')
  assert [report['round'] for report in history] == [-1, 0]
  assert all(report['metrics'] for report in history)
  assert (workdir / 'report.html').exists()


def pairs():
  """Each method with each task; two kinds of method on the first task stay in the fast tier."""
  for file in METHODS:
    for i, task in enumerate(settings.TASKS):
      name = f'{pathlib.Path(file).stem}-{task}'
      fast = i == 0 and pathlib.Path(file).stem in ('grpo', 'supervised')
      yield pytest.param(file, task, id=name, marks=[pytest.mark.all] * (not fast))


@pytest.mark.parametrize(('file', 'task'), pairs())
def test_a_method_takes_a_step_on_a_task(file, task, tmp_path):
  data = ['data=generated'] if task in IN_FILES else ['acquired=8']
  c = run(tmp_path, file, f'task={task}', *data, *TOY)
  check_one_step(tmp_path)
  assert (c.task, c.model) == (task, 'toy')
  lines = (tmp_path / 'pool' / 'round_00000.jsonl').read_text().splitlines()
  acquired = [json.loads(line) for line in lines[1:]]
  assert acquired
  if file.endswith('majority_vote.py'):  # nothing of an answer is in reach
    assert all(row['answer'] is None and row['meta'] == {} for row in acquired)
  else:
    assert all(row['answer'] for row in acquired)
  assert len(record.read_rows(tmp_path / 'warm' / 'steps.jsonl')) == 30


# ---------------------------------------------------------------- a pretrained model


BYTES = ('max_prompt=200',)  # tokens of this folder are hardly more than bytes


@pytest.fixture(scope='module')
def folder(tmp_path_factory):
  """A Hugging Face folder with weights, a tokenizer and a chat template."""
  path = tmp_path_factory.mktemp('model')
  return gguf.convert(tiny_gguf.write(path / 'tiny.gguf', tiny_gguf.llama_weights()), path / 'tiny')


@pytest.mark.all
@pytest.mark.parametrize('task', settings.TASKS)
def test_grpo_takes_a_step_from_pretrained_weights(task, folder, tmp_path):
  data = ['data=generated'] if task in IN_FILES else ['acquired=8']
  numbers = [f'task={task}', f'model={folder}', *data, *ONE_STEP, *BYTES]
  c = run(tmp_path, 'experiments/methods/grpo.py', *numbers)
  check_one_step(tmp_path)
  assert (c.task, c.model) == (task, str(folder))
  assert not (tmp_path / 'warm').exists()
