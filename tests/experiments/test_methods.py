"""Methods as files: their form, their numbers, what they refuse, domains from outside the clone."""

import ast
import dataclasses
import json
import pathlib
import re
import textwrap

import jax
import numpy as np
import pytest

from experiments import gsm8k_grpo, settings, smollm2_addition
from experiments.methods import grpo, gspo, majority_vote
from sirl import cli, experiment_file, recipe
from sirl.commands import DONE, ERROR
from sirl.generation import texts
from sirl.generation.engine import layout
from sirl.models.files import gguf
from sirl.runs import record
from sirl.tasks import Task
from sirl.types import Samples

from support import tiny_gguf
from support.source import code_lines

pytestmark = pytest.mark.usefixtures('quick_compiles')

ROOT = pathlib.Path(__file__).parent.parent.parent
FILES = [
  path
  for folder in ('methods', 'controls')
  for path in sorted((ROOT / 'experiments' / folder).glob('*.py'))
  if path.stem != '__init__'
]
GRPO, VOTE = 'experiments/methods/grpo.py', 'experiments/methods/majority_vote.py'
SMALL = ('debug=true', 'max_rounds=1', 'steps_per_round=1', 'prompts=4', 'group_size=4', 'heldout=8', 'samples=2')  # fmt: skip
TOY = (*SMALL, 'width=16', 'layers=1', 'warm_rounds=1', 'warm_prompts=4')


# Of a folder whose tokens are hardly more than bytes; float32 and plain decoding compile sooner.
TINY = (*SMALL, 'max_prompt=200', 'dtype=float32', 'slots=0')


@pytest.fixture(autouse=True)
def _cache(monkeypatch):
  """Compiled programs stay where conftest put them."""
  monkeypatch.setenv('SIRL_CACHE', '')


@pytest.fixture(scope='module')
def folder(tmp_path_factory):
  """A Hugging Face folder with weights, a tokenizer and a chat template."""
  path = tmp_path_factory.mktemp('model')
  return gguf.convert(tiny_gguf.write(path / 'tiny.gguf', tiny_gguf.llama_weights()), path / 'tiny')


def command(file, workdir, *numbers):
  words = ['run', str(file), '--workdir', str(workdir)]
  return words + [word for number in numbers for word in ('--set', number)]


def refused(capsys, file, workdir, *numbers):
  """The one line of a command that must fail before it writes anything."""
  assert cli.main(command(file, workdir, *numbers)) == ERROR
  err = capsys.readouterr().err
  *_, message = parts = err.split('sirl: error: ')
  assert len(parts) == 2, err
  assert message.count('\n') == 1, err
  assert not (workdir / 'steps.jsonl').exists()
  return message.removesuffix('\n').removesuffix(' (--traceback shows where this was raised)')


# ---------------------------------------------------------------- the form of a method's file


def test_there_are_methods_and_controls():
  names = {path.parent.name for path in FILES}
  assert names == {'methods', 'controls'}


@pytest.mark.parametrize('path', FILES, ids=lambda path: path.stem)
def test_a_method_is_a_short_file_that_names_its_source(path):
  source = path.read_text()
  said = ast.get_docstring(ast.parse(source))
  first, *rest = said.splitlines()
  assert re.fullmatch(r'[A-Z].*\.', first), first
  assert any(re.match(r'Source: \S', line) for line in rest)
  lines = code_lines(source, imports=False)
  assert len(lines) <= 40, len(lines)

  module = experiment_file.load(path)
  assert issubclass(module.Config, recipe.Config)
  assert isinstance(module.build, recipe.Recipe)


# ---------------------------------------------------------------- where numbers come from


@pytest.mark.parametrize(
  ('module', 'assignments', 'name', 'value'),
  [
    # the setting over what every recipe has
    (grpo, [], 'lr', 5e-4),
    (grpo, ['task=gsm8k'], 'lr', 1e-4),
    (grpo, ['model=folder'], 'lr', 1e-5),
    (grpo, ['task=gsm8k', 'model=folder'], 'lr', 1e-6),
    (grpo, ['task=gsm8k', 'model=folder'], 'minibatches', 4),
    (grpo, [], 'minibatches', 1),
    # the method over the setting
    (grpo, [], 'clip', 0.2),
    (gspo, [], 'clip', (3e-4, 4e-4)),
    (gspo, [], 'minibatches', 4),
    (grpo, [], 'group_size', 8),
    (majority_vote, [], 'group_size', 32),
    (majority_vote, ['task=gsm8k', 'model=folder'], 'group_size', 32),  # where the setting says 16
    # small numbers of a debug run over both, those of the recipe over those of the setting
    (majority_vote, ['debug=true'], 'group_size', 4),
    (majority_vote, ['debug=true', 'task=gsm8k'], 'group_size', 8),
    (gspo, ['debug=true'], 'minibatches', 4),  # sums have no small number of these
    (gspo, ['debug=true', 'task=gsm8k'], 'minibatches', 2),
    (gsm8k_grpo, [], 'rows', 16),
    (gsm8k_grpo, ['model=toy'], 'rows', None),
    (gsm8k_grpo, ['debug=true'], 'rows', 16),
    (gsm8k_grpo, ['debug=true', 'model=folder'], 'rows', 16),  # where the setting says 4
    # the command line over all, in any order
    (majority_vote, ['group_size=6'], 'group_size', 6),
    (majority_vote, ['debug=true', 'group_size=6'], 'group_size', 6),
    (majority_vote, ['group_size=6', 'debug=true', 'task=gsm8k'], 'group_size', 6),
    # task and model: the file's own, in debug runs the toy, unless the command line says otherwise
    (gsm8k_grpo, [], 'task', 'gsm8k'),
    (smollm2_addition, [], 'model', 'weights/smollm2-135m-instruct'),
    (smollm2_addition, ['debug=true'], 'model', 'toy'),
    (smollm2_addition, ['debug=true', 'model=folder'], 'model', 'folder'),
  ],
)
def test_of_two_numbers_the_later_source_wins(module, assignments, name, value):
  c = module.build.configured(module.Config, assignments)
  assert getattr(c, name) == value
  assert type(c).__name__ == 'Config'  # as messages call it


def test_the_numbers_of_an_experiment_include_those_of_the_method_it_builds_on():
  module = experiment_file.load('experiments/quickstart_majority.py')
  c = experiment_file.configured(module, [])
  assert (c.warm_goal, c.prompts, c.lr) == (0.6, 16, 1e-4)  # its own
  assert (c.group_size, c.kl) == (32, 0.2)  # the method's
  assert (c.steps_per_round, c.width) == (40, 128)  # the setting's


@pytest.mark.parametrize(
  ('file', 'assignments', 'name'),
  [
    (GRPO, ['task=addition', 'model=toy'], 'grpo'),  # what they are anyway
    (GRPO, ['task=chains', 'lr=0.1'], 'grpo-lr=0.1,task=chains'),
    (GRPO, ['task=gsm8k', 'lr=1e-4'], 'grpo-task=gsm8k'),  # what it is for this task
    (GRPO, ['model=other', 'seed=1'], 'grpo-model=other,seed=1'),
    (VOTE, ['debug=true', 'group_size=4'], 'majority_vote-debug=true'),
    (VOTE, ['debug=true', 'group_size=32'], 'majority_vote-debug=true,group_size=32'),
    ('experiments/gsm8k_grpo.py', ['debug=true'], 'gsm8k_grpo-debug=true'),
    ('experiments/gsm8k_grpo.py', ['model=toy'], 'gsm8k_grpo-model=toy'),
  ],
)
def test_a_run_is_named_by_what_differs_from_its_task_and_model(file, assignments, name):
  module, path = experiment_file.load(file), pathlib.Path(file)
  c = experiment_file.configured(module, assignments)
  assert str(experiment_file.workdir(path, module, c, assignments)) == f'runs/{name}'


@pytest.mark.parametrize('module', [grpo, gspo, majority_vote, gsm8k_grpo])
@pytest.mark.parametrize('model', ['toy', 'folder'])
@pytest.mark.parametrize('task', settings.TASKS)
def test_the_numbers_of_a_run_are_those_of_method_and_setting(module, task, model):
  """A run has all numbers of both, and test_pairs finds them in config.json."""
  c = module.build.configured(module.Config, [f'task={task}', f'model={model}'])
  setting, _ = settings.numbers(c)
  assert (c.task, c.model) == (task, model)
  names = lambda kind: {field.name for field in dataclasses.fields(kind)}
  assert names(c) == names(module.Config) | names(setting)
  assert isinstance(c, setting)


# ---------------------------------------------------------------- what is refused


@pytest.mark.parametrize(
  ('number', 'message'),
  [
    ('task=adition', "task=adition: no such task; did you mean 'addition'?"),
    ('task=poetry', 'task=poetry: no such task; there are addition, chains, gsm8k, jsonl'),
    ('model=toyy', "model=toyy: no such model; did you mean 'toy'?"),
    ('model=weights/tiny', 'weights/tiny is missing; run: sirl fetch tiny weights/tiny'),
    (
      'clop=0.1',
      "--set clop: Config (task=addition, model=toy) has no 'clop'; did you mean 'clip'?",
    ),
    # `data` is of tasks in files, not of sums
    ('data=x', "--set data: Config (task=addition, model=toy) has no 'data'; there are "),
  ],
)
def test_a_misspelt_choice_is_one_line(number, message, tmp_path, capsys):
  assert refused(capsys, GRPO, tmp_path / 'run', number).startswith(message)
  assert not (tmp_path / 'run').exists()


@pytest.mark.parametrize(
  ('domain', 'choice'),
  [(None, 'task=adition'), (None, 'model=toyy'), (settings.TASKS['addition'], 'model=toyy')],
)
def test_what_chooses_the_numbers_is_checked_before_their_names(domain, choice):
  # A pretrained model has no warm_rounds: the message must not be about that.
  build = settings.built(grpo.method, domain=domain)
  with pytest.raises(ValueError, match=f'{choice}: no such .*; did you mean'):
    build.configured(grpo.Config, ['warm_rounds=0', choice])


def test_an_unknown_number_is_told_with_the_choices_that_made_the_numbers():
  build = settings.built(grpo.method)
  with pytest.raises(ValueError, match=r"Config \(task=addition, model=some/folder\) has no 'warm_rounds'"):  # fmt: skip
    build.configured(grpo.Config, ['model=some/folder', 'warm_rounds=0'])


@pytest.fixture
def unanswered(tmp_path):
  """A JSONL file of questions without answers."""
  path = tmp_path / 'open.jsonl'
  rows = [{'question': f'Is {n} a good number?', 'answer': None} for n in range(12)]
  path.write_text(''.join(json.dumps(row) + '\n' for row in rows))
  return path


@pytest.mark.parametrize('file', [GRPO, VOTE])
def test_a_model_from_nothing_needs_answers_to_learn_from_first(file, unanswered, tmp_path, capsys):
  message = refused(capsys, file, tmp_path / 'run', 'task=jsonl', f'data={unanswered}', *TOY)
  assert message == (
    'model=toy learns from demonstrations first, but no task of jsonl has an answer; take a pretrained model, '
    'and a method without answers such as majority_vote'
  )


def test_a_method_that_reads_answers_refuses_tasks_without(unanswered, folder, tmp_path, capsys):
  numbers = ('task=jsonl', f'data={unanswered}', f'model={folder}', *TINY)
  message = refused(capsys, GRPO, tmp_path / 'run', *numbers)
  assert message == (
    'this method reads answers, but tasks of jsonl have none; take a method without answers, such as '
    'experiments/methods/majority_vote.py, or give the tasks answers'
  )


@pytest.mark.all
def test_a_method_without_answers_runs_on_tasks_without(unanswered, folder, tmp_path, capsys):
  numbers = ('task=jsonl', f'data={unanswered}', f'model={folder}', *TINY)
  code = cli.main(command(VOTE, tmp_path / 'run', *numbers))
  assert code == DONE, capsys.readouterr().err
  assert len(record.read_rows(tmp_path / 'run' / 'steps.jsonl')) == 1
  for report in record.read_rows(tmp_path / 'run' / 'history.jsonl'):
    assert 'monitor/consensus/anchor_agreement' in report['metrics']
    assert not any(name.startswith('heldout/') for name in report['metrics'])


def test_a_domain_has_one_source_of_tasks():
  task = Task(id='t', prompt='1+1=', answer='2')
  splits = {'train': [task], 'heldout': [task]}
  for sources in ({}, {'generator': lambda rng, index, difficulty: task, 'splits': splits}):
    with pytest.raises(
      ValueError, match='domain mine: expected generator= or splits=, exactly one of them'
    ):
      recipe.Domain(name='mine', **sources)
  assert recipe.Domain(name='mine', splits=splits).tasks('train', 5) == [task]
  with pytest.raises(ValueError, match="domain mine has no tasks 'reserve'; it has train, heldout"):
    recipe.Domain(name='mine', splits=splits).tasks('reserve', 5)


# ---------------------------------------------------------------- domains from outside the clone

OWN = """
  import dataclasses
  from experiments import settings
  from experiments.methods import grpo
  from sirl import recipe
  from sirl.tasks import Task, content_id

  @dataclasses.dataclass(frozen=True, kw_only=True)
  class Config(grpo.Config):
    max_prompt: int = 3
    max_new: int = 3
    letters: int = 2

  def task(text):
    return Task(id=content_id('mirror', text), prompt=text + '=', answer=text[::-1])

  def drawn(c):
    def generator(rng, index, difficulty):
      return task(''.join(rng.choice(list('abcdefgh'), c.letters)))
    return recipe.Domain(name='mirror', generator=generator, alphabet='abcdefgh=')

  def listed(c):
    words = [a + b for a in 'abcdefgh' for b in 'abcdefgh']
    splits = {'train': [task(w) for w in words[16:]], 'heldout': [task(w) for w in words[:16]]}
    return recipe.Domain(name='mirror', splits=splits, alphabet='abcdefgh=')
"""


@pytest.mark.parametrize('source', ['drawn', 'listed'])
@pytest.mark.all
def test_a_file_outside_the_clone_brings_its_own_domain(source, tmp_path, capsys):
  file = tmp_path / 'mirror.py'
  file.write_text(
    textwrap.dedent(OWN) + f'\nbuild = settings.built(grpo.method, domain={source})\n'
  )
  numbers = ('acquired=8', 'warm_tasks=16', *TOY) if source == 'drawn' else TOY
  code = cli.main(command(file, tmp_path / 'run', *numbers))
  assert code == DONE, capsys.readouterr().err
  [row] = record.read_rows(tmp_path / 'run' / 'steps.jsonl')
  assert 0 <= row['rewards/correct/mean'] <= 1
  _, *tasks = record.read_rows(tmp_path / 'run' / 'pool' / 'round_00000.jsonl')
  assert len(tasks) == (8 if source == 'drawn' else 48)
  assert all(task['prompt'] == task['answer'][::-1] + '=' for task in tasks)
  kept = json.loads((tmp_path / 'run' / 'config.json').read_text())['config']
  assert (kept['letters'], kept['max_prompt'], kept['clip']) == (2, 3, 0.2)


# ---------------------------------------------------------------- numbers and what they mean


def test_schedules_count_steps_however_many_updates_a_step_makes():
  """GSPO makes 4 updates a step: after half of the steps the learning rate is half, as for GRPO."""
  rates = {}
  for module in (grpo, gspo):
    c = dataclasses.replace(
      module.build.configured(module.Config, ['debug=true']), warmup=0, lr_steps=10
    )
    optimizer = settings.make_setting(c, settings.TASKS[c.task](c)).optimizer
    params = {'w': np.zeros(2, np.float32)}
    state = optimizer.init(params)
    for _ in range(5 * c.epochs * c.minibatches + 1):
      _, state = optimizer.update(params, state, params)
    rates[module] = float(state.hyperparams['learning_rate'])
  assert rates[grpo] == pytest.approx(5e-4 / 2)
  assert rates[gspo] == pytest.approx(rates[grpo])


def test_a_config_keeps_its_own_methods_and_checks():
  @dataclasses.dataclass(frozen=True, kw_only=True)
  class Config(recipe.Config):
    clip: float = 0.2

    def __post_init__(self):
      super().__post_init__()
      if self.clip <= 0:
        raise ValueError(f'clip={self.clip}; expected more than 0')

    @property
    def double(self):
      return 2 * self.clip

  build = settings.built(grpo.method)
  c = build.configured(Config, ['clip=0.3'])
  assert (c.double, c.prompts) == (0.6, 64)
  with pytest.raises(ValueError, match='clip=-1.0; expected more than 0'):
    build.configured(Config, ['clip=-1'])


def test_training_tasks_without_an_answer_are_left_out_and_counted(tmp_path, caplog):
  rows = [{'question': f'{i}?', 'answer': None if i % 4 == 0 else str(i)} for i in range(16)]
  path = tmp_path / 'some.jsonl'
  path.write_text(''.join(json.dumps(row) + '\n' for row in rows))
  build = settings.built(grpo.method)
  numbers = ['task=jsonl', f'data={path}', 'debug=true']
  with pytest.raises(
    ValueError, match=r'line 1: no answer.* or allow it with --set unanswered=true'
  ):
    build.setting(build.configured(grpo.Config, numbers))
  s = build.setting(build.configured(grpo.Config, [*numbers, 'unanswered=true']))
  assert all(task.answer is not None for task in s.heldout)
  assert '4 of 12 training tasks have no answer and are left out' in caplog.text


@pytest.mark.parametrize('name', ['quickstart_curriculum', 'quickstart_self_instruct'])
def test_an_experiment_made_for_one_task_refuses_another(name, tmp_path, capsys):
  file = ROOT / 'experiments' / f'{name}.py'
  message = refused(capsys, file, tmp_path / 'run', 'task=chains', 'debug=true')
  assert message.startswith('task=chains, model=toy: this experiment is made for task=addition')


def test_dapo_optimizes_the_setting_s_reward_and_half_a_penalty():
  from experiments.methods import dapo

  c = dapo.build.configured(dapo.Config, ['debug=true', 'task=gsm8k'])
  s = dapo.build.setting(c)
  samples = samples_of(s, ['\\boxed{7}', 'no box'])
  found = dapo.method(c, s).reward({'policy': None}, samples, jax.random.key(0))
  assert {'correct', 'format', 'overlong'} <= set(found.parts)
  expected = found.parts['correct'] + 0.1 * found.parts['format'] + 0.5 * found.parts['overlong']
  np.testing.assert_allclose(found.total, expected, rtol=1e-6)


def samples_of(s, replies):
  """Samples of one held-out task with these replies."""
  task = s.heldout[0]
  rows = [layout.given(*texts.encode(s.codec, [task.prompt], s.max_prompt), *texts.endings(s.codec, [task], [reply], s.max_new)) for reply in replies]  # fmt: skip
  rollouts = jax.tree.map(lambda *x: np.concatenate(x, axis=1), *rows)
  return Samples([task], [replies], rollouts)
