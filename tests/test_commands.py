"""Commands on a finished run: sample, evaluate, export, sweeps, and the lists of choices."""

import json
import pathlib
import re
import shlex
import shutil
import subprocess
import sys
import types

import numpy as np
import pytest

from sirl import cli, commands, recipe
from sirl.commands import sweep
from sirl.models import tokenizer
from sirl.models.files import pretrained
from sirl.tasks import Task

from support.read_only import read_only

pytestmark = pytest.mark.usefixtures('quick_compiles')

SMALL = (
  'max_rounds=1',
  'steps_per_round=1',
  'prompts=4',
  'heldout=8',
  'acquired=8',
  'warm_prompts=8',
)


@pytest.fixture(scope='module', autouse=True)
def _cache():
  """Compiled programs stay where conftest put them."""
  with pytest.MonkeyPatch.context() as patch:
    patch.setenv('SIRL_CACHE', '')
    yield


def line(*words, numbers=()):
  return [*words, *(word for number in numbers for word in ('--set', number))]


@pytest.fixture(scope='module')
def finished(tmp_path_factory):
  """A workdir of the smallest run of GRPO on sums."""
  workdir = tmp_path_factory.mktemp('finished') / 'run'
  numbers = ('debug=true', *SMALL)
  assert cli.main(line('run', 'grpo', '--workdir', str(workdir), numbers=numbers)) == commands.DONE
  return workdir


def files_of(workdir):
  """{path: contents} of everything that belongs to the run itself."""
  return {
    path: path.read_bytes()
    for path in workdir.rglob('*')
    if path.is_file() and 'evaluations' not in path.parts
  }


def refused(capsys, *words):
  """The one line that a command is refused with."""
  capsys.readouterr()
  assert cli.main(list(words)) == commands.ERROR
  err = capsys.readouterr().err
  assert err.startswith('sirl: error: ')
  assert err.count('\n') == 1
  return err.removeprefix('sirl: error: ').strip()


# ---------------------------------------------------------------- sample, evaluate, export


def test_sampling_answers_every_prompt_and_changes_nothing(finished, capsys):
  before = files_of(finished)
  capsys.readouterr()
  assert cli.main(['sample', str(finished), '12+34=', '99+99=', '-n', '3']) == commands.DONE
  lines = capsys.readouterr().out.splitlines()
  assert [text.split(' -> ')[0] for text in lines] == ['12+34='] * 3 + ['99+99='] * 3
  again = cli.main(['sample', str(finished), '12+34=', '99+99=', '-n', '3'])
  assert again == commands.DONE
  assert capsys.readouterr().out.splitlines() == lines  # the same seed, the same noise
  assert files_of(finished) == before


def test_a_prompt_that_the_tokenizer_does_not_take_is_said_and_the_next_one_answered(
  finished, capsys
):
  capsys.readouterr()
  assert cli.main(['sample', str(finished), 'what?', '12+34=', '--greedy']) == commands.DONE
  said = capsys.readouterr()
  assert "character 'w'" in said.err
  assert said.out.startswith('12+34= -> ')


def test_weights_are_not_read_by_other_prompts_in_silence(finished, tmp_path, caplog, capsys):
  workdir = tmp_path / 'w'
  shutil.copytree(finished, workdir)
  known = json.loads((workdir / 'config.json').read_text())
  known['prompts']['tokenizer'] = 'f00d'
  (workdir / 'config.json').write_text(json.dumps(known))
  caplog.clear()
  assert cli.main(['sample', str(finished), '12+34=']) == commands.DONE
  assert 'changed since' not in caplog.text
  assert cli.main(['sample', str(workdir), '12+34=']) == commands.DONE
  assert f'changed since {workdir} was last run: tokenizer (f00d -> ' in caplog.text


def test_held_out_tasks_are_shown_with_their_answers(finished, capsys):
  capsys.readouterr()
  assert cli.main(['sample', str(finished), '--heldout', '2', '--greedy']) == commands.DONE
  for text in capsys.readouterr().out.splitlines():
    a, b = map(int, text.split('=')[0].split('+'))
    assert text.endswith(f'(answer {a + b})')


def test_evaluating_measures_the_run_s_weights_and_trains_nothing(finished, capsys):
  before = files_of(finished)
  capsys.readouterr()
  assert cli.main(line('evaluate', str(finished), numbers=['heldout=12'])) == commands.DONE
  out = capsys.readouterr().out
  assert out.startswith('addition, 12 held-out tasks, weights after 1 round\n')
  row = json.loads((finished / 'evaluations' / 'heldout=12.json').read_text())
  assert row['config']['heldout'] == 12
  assert row['config']['width'] == 32  # what the run was given stays
  assert 0 <= row['metrics']['heldout/pass@1'] <= 1
  assert files_of(finished) == before


def test_an_evaluation_over_long_values_has_a_short_file_name(finished, capsys):
  numbers = ['heldout=12', f'lr=0.0005{"0" * 300}']  # the names of a file system end at 255 bytes
  assert cli.main(line('evaluate', str(finished), numbers=numbers)) == commands.DONE
  path = pathlib.Path(capsys.readouterr().out.rsplit('written: ', 1)[1].strip())
  assert path.name.startswith('heldout=12,lr=0.000500000000000000-')
  assert path.exists()


@pytest.mark.parametrize(
  ('task', 'lacking'), [('chains', "'-'"), ('gsm8k', r"'T', 'o', 'm', ' ', 'h' and \d+ others")]
)
def test_a_task_with_other_characters_is_refused_with_what_the_alphabet_lacks(
  finished, task, lacking, capsys
):
  message = refused(capsys, *line('evaluate', str(finished), numbers=[f'task={task}']))
  assert re.fullmatch(
    rf"task={task} does not fit the tokenizer of this run: its alphabet '0123456789\+=' lacks "
    rf'{lacking}; train a run on task={task}, or give both tasks one alphabet \(recipe.Domain\) and '
    'train this run again',
    message,
  ), message
  assert not (finished / 'evaluations' / f'task={task}.json').exists()


def test_known_characters_under_other_ids_are_refused_too():
  def setting(alphabet):
    domain = recipe.Domain(name='sums', splits={'train': [], 'heldout': []}, alphabet=alphabet)
    tasks = [Task(id='t', prompt='1+1=')]
    return types.SimpleNamespace(domain=domain, heldout=tasks, codec=tokenizer.characters(alphabet))

  chains, sums = setting('1+-='), setting('1+=')
  config = types.SimpleNamespace(task='addition')
  commands.policy.check_fit(sums, sums, config)
  with pytest.raises(ValueError, match=r"reads '1\+1=' as other ids; train a run on task=addition"):
    commands.policy.check_fit(chains, sums, config)


def test_an_export_holds_the_policy_and_is_never_written_over(finished, tmp_path, capsys):
  folder = tmp_path / 'out'
  assert cli.main(['export', str(finished), str(folder)]) == commands.DONE
  opened = commands.policy.opened(finished)
  _, params, _ = pretrained.load(folder)
  for path, leaf in pretrained.functional.flatten(params).items():
    own = pretrained.functional.flatten(opened.weights['policy'])[path]
    np.testing.assert_array_equal(leaf, own, err_msg=path)
  before = {path.name: path.read_bytes() for path in folder.iterdir()}
  message = refused(capsys, 'export', str(finished), str(folder))
  assert (
    message == f'{folder} exists and is not empty; name another folder, or remove this one first'
  )
  assert {path.name: path.read_bytes() for path in folder.iterdir()} == before


@pytest.mark.parametrize(
  ('command', 'what', 'todo'),
  [
    (['run', 'grpo', '--workdir', '{}'], 'workdir', 'take another --workdir'),
    (['export', '{run}', '{}'], 'folder', 'name another one'),
    (['report', '{run}', '--png', '{}.png'], '--png', 'name another file'),
    (['compare', '{run}', '{run}', '--png', '{}.png'], '--png', 'name another file'),
    (['fetch', 'smollm2-135m-instruct', '{}'], 'folder', 'name another one'),
    (['bench', '--out', '{}'], '--out', 'name another folder'),
  ],
)
def test_a_place_that_cannot_be_written_is_refused_before_the_work(
  finished, tmp_path, command, what, todo, capsys
):
  (tmp_path / 'file').touch()
  place = str(tmp_path / 'file' / 'x')
  words = [word.replace('{run}', str(finished)).replace('{}', place) for word in command]
  assert refused(capsys, *words) == (
    f'{what} {words[-1]} cannot be written: {tmp_path}/file is a file; {todo}'
  )


def test_a_picture_without_a_suffix_is_named_as_it_is_written(finished, tmp_path, capsys):
  assert cli.main(['report', str(finished), '--png', str(tmp_path / 'curves')]) == commands.DONE
  assert capsys.readouterr().out.splitlines()[-1] == str(tmp_path / 'curves.png')
  assert [path.name for path in tmp_path.iterdir()] == ['curves.png']


def test_a_sweep_into_a_file_starts_no_run(tmp_path, capsys):
  (tmp_path / 'file').touch()
  words = ['run', 'grpo', '--sweep', 'seed=0,1', '--workdir', str(tmp_path / 'file')]
  assert f'seed=0 cannot be written: {tmp_path}/file is a file; take an' in refused(capsys, *words)
  assert capsys.readouterr().out == ''


@pytest.mark.parametrize('command', ['answer', 'report', 'evaluate'])
def test_a_run_of_others_is_not_written_into(finished, command, capsys):
  words = [command, str(finished), *(['continue'] if command == 'answer' else [])]
  with read_only(finished):
    assert refused(capsys, *words) == (
      f'workdir {finished} cannot be written: it takes no file (Permission denied); '
      'copy it to a place where you may write'
    )


@pytest.mark.parametrize('command', ['sample', 'evaluate', 'export'])
def test_a_workdir_without_a_checkpoint_says_so(finished, tmp_path, command, capsys):
  workdir = tmp_path / 'young'
  workdir.mkdir()
  (workdir / 'config.json').write_bytes((finished / 'config.json').read_bytes())
  words = [command, str(workdir), *([str(tmp_path / 'out')] if command == 'export' else [])]
  assert refused(capsys, *words) == (
    f'{workdir} has no checkpoint yet; let the run finish a round first'
  )


# ---------------------------------------------------------------- sweeps


@pytest.mark.parametrize(
  ('text', 'found'),
  [
    ('seed=0,1,2', ('seed', ['0', '1', '2'])),
    ('clip=(0.2,0.28),(0.1, 0.2)', ('clip', ['(0.2,0.28)', '(0.1, 0.2)'])),
    ('task=addition', ('task', ['addition'])),
  ],
)
def test_commas_separate_values_unless_they_stand_in_brackets(text, found):
  assert sweep.choices(text) == found


def test_a_printed_sweep_is_the_product_and_runs_nothing(tmp_path, capsys):
  capsys.readouterr()
  words = ['run', 'dapo', '--sweep', 'seed=0,1', '--sweep', 'clip=(0.2,0.28),(0.1,0.1)', '--print']
  assert cli.main([*words, '--workdir', str(tmp_path / 's')]) == commands.DONE
  lines = capsys.readouterr().out.splitlines()
  assert len(lines) == 4
  assert lines[1] == (
    "sirl run experiments/methods/dapo.py --set seed=0 --set 'clip=(0.1,0.1)' "
    f'--workdir {tmp_path}/s/seed=0,clip=0.1+0.1'
  )
  assert not (tmp_path / 's').exists()


@pytest.mark.parametrize('where', [[], ['--workdir', 's']])
def test_folders_of_a_sweep_over_long_values_are_short_flat_and_tell_the_runs_apart(where, capsys):
  capsys.readouterr()
  home = '/home/someone/data/gsm8k-2024'
  model = f'{home}/a-rather-long-name-of-a-model-with-many-words'
  words = ['run', 'grpo', '--set', 'task=gsm8k', '--set', f'model={model}', '--print', *where]
  words += ['--sweep', f'data={home}/train,{home}/other', '--sweep', 'seed=0,1']
  assert cli.main(words) == commands.DONE
  lines = [shlex.split(line) for line in capsys.readouterr().out.splitlines()]
  folders = [pathlib.Path(line[-1]) for line in lines]
  assert len(set(folders)) == 4
  assert {folder.parent.name for folder in folders} == {where[-1] if where else 'runs'}
  assert all(len(folder.name) <= 100 for folder in folders)
  for folder, data in zip(folders, ('train', 'train', 'other', 'other')):
    assert f'data={data}' in folder.name or f'_gsm8k-2024_{data}' in folder.name
  assert ['seed=0' in folder.name for folder in folders] == [True, False] * 2


@pytest.mark.parametrize(
  ('swept', 'message'),
  [
    ('lrr=1,2', "--set lrr: Config (task=addition, model=toy) has no 'lrr'; did you mean 'lr'?"),
    ('lr=fast', '--set lr=fast: expected float; for example --set lr=0.0005'),
    ('lr=1e-4,', "--sweep 'lr=1e-4,': expected NAME=VALUE,VALUE, for example --sweep seed=0,1,2"),
    ('lr', "--sweep 'lr': expected NAME=VALUE,VALUE, for example --sweep seed=0,1,2"),
  ],
)
def test_a_sweep_over_no_number_of_the_config_runs_nothing(tmp_path, swept, message, capsys):
  words = ['run', 'grpo', '--sweep', 'seed=0,1', '--sweep', swept, '--workdir', str(tmp_path / 's')]
  assert refused(capsys, *words) == message
  assert not (tmp_path / 's').exists()


# ---------------------------------------------------------------- what there is


def test_methods_and_tasks_are_listed_with_what_they_are(capsys):
  assert cli.main(['methods']) == commands.DONE
  listed = capsys.readouterr().out
  assert 'arXiv 2503.14476, experiments/methods/dapo.py' in listed
  assert 'experiments/controls/random_reward.py' in listed
  assert cli.main(['tasks']) == commands.DONE
  listed = capsys.readouterr().out
  for name in ('addition', 'chains', 'gsm8k', 'jsonl'):
    assert f'\n{name}\n' in f'\n{listed}'
  assert 'always zero: 0.000' in listed  # no sum of two-digit numbers is 0


@pytest.mark.parametrize(
  ('words', 'message'),
  [
    (['run', 'gprpo'], 'no experiment file gprpo; did you mean experiments/methods/grpo.py?'),
    (
      line('run', 'grpo', numbers=['task=additon']),
      "task=additon: no such task; did you mean 'addition'?",
    ),
    (line('run', 'grpo', numbers=['model=toi']), "model=toi: no such model; did you mean 'toy'?"),
    (
      line('run', 'grpo', numbers=['model=weights/smollm2']),
      'weights/smollm2 is missing; run: sirl fetch smollm2 weights/smollm2',
    ),
  ],
)
def test_an_unknown_method_task_or_model_names_the_nearest(words, message, capsys):
  assert refused(capsys, *words) == message


def test_the_numbers_of_an_experiment_are_printed_as_they_are_typed(capsys):
  assert cli.main(['run', 'dapo', '--set', 'task=chains', '--numbers']) == commands.DONE
  printed = capsys.readouterr().out
  assert "--set 'clip=[0.2, 0.28]'" in printed
  again = shlex.split(printed)
  assert cli.main(['run', 'dapo', *again, '--numbers']) == commands.DONE
  assert capsys.readouterr().out == printed


def test_another_experiment_in_the_workdir_of_a_run_is_refused(finished, capsys):
  before = files_of(finished)
  numbers = ('debug=true', *SMALL)
  message = refused(capsys, *line('run', 'rloo', '--workdir', str(finished), numbers=numbers))
  assert message.startswith(f'{finished} holds a run of experiments/methods/grpo.py, not of ')
  assert files_of(finished) == before


def test_a_printed_line_without_a_sweep_runs_nothing(tmp_path, capsys):
  capsys.readouterr()
  words = ['run', 'grpo', '--print', '--workdir', str(tmp_path / 'w')]
  assert cli.main(words) == commands.DONE
  assert capsys.readouterr().out.startswith('sirl run experiments/methods/grpo.py --workdir ')
  assert not (tmp_path / 'w').exists()


@pytest.mark.parametrize(
  ('words', 'message'),
  [
    (['--sweep', 'seed=0,0'], '--sweep seed=0,0: a value stands there twice'),
    (['--sweep', 'seed=0', '--sweep', 'seed=1'], '--sweep names seed, seed: give the values of each number in one --sweep'),
  ],
)  # fmt: skip
def test_sweeps_that_cannot_be_meant_are_refused(tmp_path, words, message, capsys):
  assert refused(capsys, 'run', 'grpo', *words, '--workdir', str(tmp_path / 's')) == message


def test_a_folder_that_is_no_run_is_named(tmp_path, capsys):
  assert refused(capsys, 'sample', str(tmp_path)) == (
    f'{tmp_path} is no run: it has no config.json; give the --workdir of a run'
  )


def test_a_sweep_is_no_part_of_a_pod(tmp_path):
  words = ['run', 'grpo', '--sweep', 'seed=0,1', '--distributed', '--workdir', str(tmp_path / 's')]
  done = subprocess.run(
    [sys.executable, '-m', 'sirl', *words], capture_output=True, text=True, check=False
  )
  assert done.returncode == commands.ERROR
  assert '--sweep starts every run by itself' in done.stderr
  assert not (tmp_path / 's').exists()
