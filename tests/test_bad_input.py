"""Errors as a user sees them at the command line: one clear message, exit code 2, nothing lost.

A run that fails midway keeps what it had committed. Once the cause is removed, the same command
continues it, and the result equals that of a run without a failure, bit for bit.
"""

import json
import re
import shutil
import sys
import textwrap

import jax
import pytest

from sirl import cli
from sirl.models import functional, presets, tokenizer
from sirl.models.files import gguf, pretrained
from sirl.reporting import doctor, page

from support import tiny_gguf

pytestmark = pytest.mark.usefixtures('quick_compiles')

TOY = """
  import dataclasses
  import functools
  from support import toy
  from sirl import acquisition, rewards
  from sirl.domains import answers, mathematics

  Config = toy.Config
"""
SOUND = """
  def correct(task, text):
    return float(text == task.answer)

  def build(c):
    return toy.build(c, reward=rewards.per_completion(correct, workers=2))
"""
NUMBERS = ('max_rounds=3', 'checkpoint_every=4')  # 12 steps; checkpoints at the ends of rounds


@pytest.fixture(autouse=True)
def _surroundings(monkeypatch):
  # Compiled programs stay where conftest put them, and a file may be corrected within the same
  # second.
  monkeypatch.setenv('SIRL_CACHE', '')
  monkeypatch.setattr(sys, 'dont_write_bytecode', True)
  # The page of a finished run takes half of its time and has its own tests; `sound` draws one.
  monkeypatch.setattr(page, 'write', lambda workdir: workdir / 'report.html')


@pytest.fixture(scope='module')
def sound(tmp_path_factory):
  """The workdir of a run without a failure."""
  folder = tmp_path_factory.mktemp('sound')
  assert cli.main(command(write(folder, SOUND), folder / 'run')) == 0
  return folder / 'run'


def write(folder, body, *, head=TOY):
  path = folder / 'experiment.py'
  path.write_text(textwrap.dedent(head) + textwrap.dedent(body))
  return path


def command(file, workdir, *numbers):
  words = ['run', str(file), '--workdir', str(workdir)]
  return words + [word for number in (*NUMBERS, *numbers) for word in ('--set', number)]


def refused(capsys, arguments):
  """The single message of a command that must fail."""
  code = cli.main(arguments)
  out, err = capsys.readouterr()
  assert code == 2, err
  assert 'Traceback' not in out + err
  *_, message = parts = err.split('sirl: error: ')
  assert len(parts) == 2, err
  return message


def accepted(capsys, arguments):
  code = cli.main(arguments)
  err = capsys.readouterr().err
  assert code == 0, err


def contents(workdir):
  """{path: bytes} of every file in a workdir."""
  return {
    path.relative_to(workdir): path.read_bytes()
    for path in sorted(workdir.rglob('*'))
    if path.is_file()
  }


def steps(workdir):
  rows = [json.loads(line) for line in (workdir / 'steps.jsonl').read_text().splitlines()]
  return [{name: value for name, value in row.items() if 'time' not in name} for row in rows]


def arrays(workdir):
  """Digests of every array of the newest checkpoint."""
  newest = max((workdir / 'checkpoints').glob('[0-9]*'))
  body = json.loads((newest / 'meta' / 'metadata').read_text())['body']
  return newest.name, {name: leaf['sha256'] for name, leaf in body['leaves'].items()}


def check_same_bits(workdir, sound):
  assert (workdir / 'history.jsonl').read_bytes() == (sound / 'history.jsonl').read_bytes()
  assert steps(workdir) == steps(sound)
  assert arrays(workdir) == arrays(sound)
  for folder in ('samples', 'pool'):
    assert contents(workdir / folder) == contents(sound / folder)


# ---------------------------------------------------------------- before anything runs


def test_a_missing_file(tmp_path, capsys):
  write(tmp_path, SOUND)
  message = refused(capsys, command(tmp_path / 'experimnet.py', tmp_path / 'run'))
  assert (
    message
    == f'no experiment file {tmp_path}/experimnet.py; did you mean {tmp_path}/experiment.py?\n'
  )
  assert not (tmp_path / 'run').exists()


def test_a_bare_name_finds_its_experiment(tmp_path, capsys, monkeypatch):
  (tmp_path / 'experiments').mkdir()
  (tmp_path / 'experiments' / 'mine.py').write_text('')
  monkeypatch.chdir(tmp_path)
  message = refused(capsys, command('mine', tmp_path / 'run'))
  assert message.startswith('experiments/mine.py has no Config; ')
  message = refused(capsys, command('mnie', tmp_path / 'run'))
  assert message == 'no experiment file mnie; did you mean experiments/mine.py?\n'


def test_an_experiment_that_builds_on_others_says_where_to_run_it(tmp_path, capsys):
  path = tmp_path / 'even.py'
  path.write_text(
    'raise ModuleNotFoundError("No module named \'experiments\'", name="experiments")'
  )
  message = refused(capsys, command(path, tmp_path / 'run'))
  assert message.endswith('(line 1); run it from the folder that holds experiments/, the clone\n')


def test_an_unknown_name_in_the_config(tmp_path, capsys):
  message = refused(capsys, command(write(tmp_path, SOUND), tmp_path / 'run', 'temprature=0.5'))
  assert message == "--set temprature: Config has no 'temprature'; did you mean 'temperature'?\n"
  assert not (tmp_path / 'run').exists()


def test_an_experiment_without_build(tmp_path, capsys):
  file = write(tmp_path, '')
  message = refused(capsys, command(file, tmp_path / 'run'))
  assert (
    message
    == f'{file} has no build; an experiment file defines build(config) -> sirl.experiment.Experiment\n'
  )
  assert not (tmp_path / 'run').exists()


# ---------------------------------------------------------------- failures in the second round

BROKEN_REWARD = """
  def {kind}:
    {line}
    return {value}

  def build(c):
    return toy.build(c, reward=rewards.{adapter}(correct, workers=2))
"""
ONE = {
  'kind': 'correct(task, text)',
  'value': 'float(text == task.answer)',
  'adapter': 'per_completion',
}
ALL = {
  'kind': 'correct(task, texts)',
  'value': '[float(text == task.answer) for text in texts]',
  'adapter': 'per_group',
}
BROKEN_TASK = """
  def sound(c):
    return toy.build(c, reward=rewards.per_completion({reward}, workers=2))

  def build(c):
    experiment = sound(c)

    def acquire(weights, pool, context):
      tasks = toy.acquire(weights, pool, context)
      return [dataclasses.replace(t, {change}) if t.id == 'toy-6' else t for t in tasks]

    return dataclasses.replace(experiment, acquire=acquisition.acquirer(acquire))
"""
NEEDS_ANSWER = 'functools.partial(mathematics.correct, extract=answers.exact)'
IN_ROUND_1 = {  # toy-6 is a task of the second round
  'reward_raises': (
    BROKEN_REWARD.format(line="if task.id == 'toy-6': raise KeyError('unit')", **ONE),
    [r"^reward 'correct' raised KeyError: 'unit' \(\S+experiment.py, line \d+; --traceback shows the calls\)\n", "on task 'toy-6', completion 0: '", 'Correct the reward, or wrap it in'],
  ),
  'reward_is_nan': (
    BROKEN_REWARD.format(line="if task.id == 'toy-6': return float('nan')", **ONE),
    [r"^reward 'correct' returned nan as the score; return None for \"not judged\", otherwise a finite number\n", "on task 'toy-6'"],
  ),
  'wrong_count_of_rewards': (
    BROKEN_REWARD.format(line="if task.id == 'toy-6': texts = texts[1:]", **ALL),
    [r"^reward 'correct' returned 3 scores for 4 completions; return one score, or None, for each\n", "on task 'toy-6'"],
  ),
  'task_without_answer': (
    BROKEN_TASK.format(change='answer=None', reward=NEEDS_ANSWER),
    [r"^reward 'correct' raised ValueError: task toy-6 has no answer, but mathematics.correct compares with one; ",
     'reward unanswered tasks with majority_vote, keep the answers', r"on task 'toy-6' \(this task has no answer\)"],
  ),
  'prompt_too_long': (
    BROKEN_TASK.format(change="prompt='ab'", reward='toy.correct'),
    [r"^prompt of task toy-6 has 2 tokens, max_prompt is 1; raise max_prompt or leave the task out. It begins: 'ab'"],
  ),
}  # fmt: skip


@pytest.mark.parametrize('case', IN_ROUND_1)
def test_a_run_that_breaks_off_keeps_its_work_and_goes_on_once_corrected(
  case, sound, tmp_path, capsys
):
  body, words = IN_ROUND_1[case]
  workdir = tmp_path / 'run'
  message = refused(capsys, command(write(tmp_path, body), workdir))
  for pattern in words:
    assert re.search(pattern, message), message

  done = len(steps(workdir))
  assert 4 <= done < 12  # round 0 is through
  assert steps(workdir) == steps(sound)[:done]
  history = (workdir / 'history.jsonl').read_text().splitlines()
  assert len(history) == 1 + done // 4
  assert history == (sound / 'history.jsonl').read_text().splitlines()[: len(history)]
  assert arrays(workdir)[0] == f'{done // 4 * 4:08d}'
  kept = contents(workdir / 'samples')
  assert len(kept) == 2 * (done // 4)
  assert kept.items() <= contents(sound / 'samples').items()

  # The same failure again loses nothing more.
  assert refused(capsys, command(tmp_path / 'experiment.py', workdir)) == message
  assert len(steps(workdir)) == done
  accepted(capsys, command(write(tmp_path, SOUND), workdir))
  check_same_bits(workdir, sound)


def test_work_since_the_last_checkpoint_within_a_round_is_kept_too(sound, tmp_path, capsys):
  body, _ = IN_ROUND_1['reward_raises']
  workdir = tmp_path / 'run'
  message = refused(capsys, command(write(tmp_path, body), workdir, 'checkpoint_every=1'))
  [error] = [finding.evidence for finding in doctor.diagnose(workdir) if 'an error' in finding.what]
  assert message.startswith(error)
  done = len(steps(workdir))
  serial, _ = arrays(workdir)
  assert int(serial) == done
  accepted(capsys, command(write(tmp_path, SOUND), workdir, 'checkpoint_every=1'))
  assert [finding for finding in doctor.diagnose(workdir) if 'an error' in finding.what] == []
  check_same_bits(workdir, sound)


# ---------------------------------------------------------------- a group of one


def test_a_group_of_one_under_a_group_baseline_keeps_the_warm_start(tmp_path, capsys):
  warmed = """
    def build(c):
      return toy.build(c, params=toy.build(toy.Config(max_rounds=1)))
  """
  file, workdir = write(tmp_path, warmed), tmp_path / 'run'
  message = refused(capsys, command(file, workdir, 'group_size=1'))
  assert message == (
    'centered: got a group of 1, needs at least 2 completions per task to have a baseline; '
    'raise group_size, or use advantages.raw\n'
  )
  warm = contents(workdir / 'warm')
  assert len(steps(workdir / 'warm')) == 4

  message = refused(capsys, command(file, workdir))
  assert message.startswith(
    'config differs from the checkpoint in: group_size (1 -> 4). Use a new workdir'
  )
  accepted(capsys, command(file, workdir, 'allow_changed_config=true'))
  assert contents(workdir / 'warm') == warm
  accepted(capsys, command(file, tmp_path / 'other'))
  check_same_bits(workdir, tmp_path / 'other')


# ---------------------------------------------------------------- a checkpoint of something else


def test_a_checkpoint_of_another_config(sound, tmp_path, capsys):
  workdir = shutil.copytree(sound, tmp_path / 'run')
  before = contents(workdir)
  message = refused(capsys, command(write(tmp_path, SOUND), workdir, 'lr=0.1', 'seed=3'))
  assert message == (
    'config differs from the checkpoint in: lr (0.3 -> 0.1), seed (0 -> 3). '
    f'Use a new workdir (now {workdir}), or --set allow_changed_config=true\n'
  )
  assert contents(workdir) == before


def test_a_checkpoint_of_another_optimizer(sound, tmp_path, capsys):
  workdir = shutil.copytree(sound, tmp_path / 'run')
  before = contents(workdir)
  other = (
    SOUND
    + """
  import optax
  sound = build
  def build(c):
    policy = dataclasses.replace(sound(c).policy, optimizer=optax.sgd(c.lr))
    return dataclasses.replace(sound(c), learners={'policy': policy})
  """
  )
  # An edited file from another folder is another experiment, unless the user says otherwise.
  message = refused(capsys, command(write(tmp_path, other), workdir, 'allow_changed_config=true'))
  assert message.startswith(
    'checkpoint 12 was written by another model, optimizer or selector: it holds learners.policy.opt_state'
  )
  assert message.endswith('Use a new workdir\n')
  after = contents(workdir)
  for name in before:
    assert name.name in ('config.json', 'experiment.py') or after[name] == before[name], name
  accepted(capsys, command(write(tmp_path, SOUND), workdir))
  check_same_bits(workdir, sound)


# ---------------------------------------------------------------- weights and tokenizer

PRETRAINED = """
  import dataclasses
  import numpy as np
  from sirl import config, gro, rewards
  from sirl.acquisition import acquirer, once
  from sirl.evaluation import evaluator
  from sirl.generation import explore
  from sirl.models.files import pretrained
  from sirl.models import tokenizer
  from sirl.optimization import advantages, by_group, make_optimize, objectives, transforms
  from sirl.selection import selectors
  from sirl.experiment import Experiment, Learner
  from sirl.tasks import Task

  @dataclasses.dataclass(frozen=True, kw_only=True)
  class Config(config.Base):
    steps_per_round: int = 1
    prompts: int = 2

  def brief(task, text):
    return -float(len(text))

  def build(c):
    model, params, _ = pretrained.load({weights!r})
    codec = tokenizer.pretrained({words!r})
    optimizer = transforms.adamw(1e-3)
    mean = lambda weights, record, context: {{
      'heldout/mean': float(np.mean(weights['policy']['embed']['weight']))}}
    return Experiment(
      config=c, learners={{'policy': Learner(model=model, params=params, optimizer=optimizer)}},
      acquire=acquirer(once([Task(id=str(i), prompt=str(i)) for i in range(2)])), selector=selectors.uniform(),
      step=gro.make_step(
        generate=explore(model, codec, group_size=2, max_prompt=40, max_new=3),
        reward=rewards.per_completion(brief, workers=1),
        optimize=make_optimize(
          model, optimizer, by_group(advantages.centered), objectives.policy_gradient()),
      ),
      evaluate=evaluator(mean),
      steer=lambda reports: None,
    )
"""


@pytest.fixture(scope='module')
def folder(tmp_path_factory):
  """A Hugging Face folder with weights and a tokenizer."""
  path = tmp_path_factory.mktemp('model')
  return gguf.convert(tiny_gguf.write(path / 'tiny.gguf', tiny_gguf.llama_weights()), path / 'tiny')


@pytest.mark.all
def test_a_truncated_safetensors_file(folder, tmp_path, capsys):
  model = shutil.copytree(folder, tmp_path / 'model')
  file = write(tmp_path, PRETRAINED.format(weights=str(model), words=str(folder)), head='')
  workdir = tmp_path / 'run'
  accepted(capsys, command(file, workdir, 'max_rounds=1'))
  before = contents(workdir)

  weights = model / 'model.safetensors'
  whole = weights.read_bytes()
  weights.write_bytes(whole[:-1000])
  message = refused(capsys, command(file, workdir))
  assert (
    message
    == f'{weights} is truncated: {len(whole) - 1000} of {len(whole)} bytes; fetch it again\n'
  )
  assert contents(workdir) == before

  weights.write_bytes(whole)
  accepted(capsys, command(file, workdir))
  accepted(capsys, command(file, tmp_path / 'other'))
  check_same_bits(workdir, tmp_path / 'other')


def test_a_tokenizer_that_does_not_fit_the_weights(folder, tmp_path, capsys):
  ids = tokenizer.pretrained(folder).vocab
  architecture = presets.preset('toy', width=16, layers=1, head_width=4, ffw=8, vocab=ids - 7)
  pretrained.save(
    tmp_path / 'model', functional.build(architecture).init(jax.random.key(0)), architecture
  )
  file = write(
    tmp_path, PRETRAINED.format(weights=str(tmp_path / 'model'), words=str(folder)), head=''
  )
  message = refused(capsys, command(file, tmp_path / 'run'))
  assert f'the tokenizer has ids up to {ids - 1}' in message
  assert f'only {ids - 7} rows in its embedding' in message
  assert 'use the tokenizer that belongs to the weights' in message
