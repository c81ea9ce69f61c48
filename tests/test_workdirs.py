"""A workdir belongs to one run: what would not go on as it began is refused, said or written down."""

import json
import os
import resource
import signal
import subprocess
import sys

import numpy as np
import pytest

from sirl import cli, commands, config
from sirl.models.files import gguf, weights
from sirl.reporting import doctor, page
from sirl.runs import changes, identity, lock, reading, sources
from sirl.runtime import files

from support import synthetic_run, tiny_experiment, tiny_gguf

pytestmark = pytest.mark.usefixtures('quick_compiles')


@pytest.fixture(autouse=True)
def _surroundings(monkeypatch):
  monkeypatch.setenv('SIRL_CACHE', '')
  monkeypatch.setattr(sys, 'path', [*sys.path])
  monkeypatch.setattr(sys, 'dont_write_bytecode', True)


@pytest.fixture
def experiment(tmp_path):
  return tiny_experiment.write(tmp_path / 'mine' / 'tiny.py')


def run(file, workdir, *numbers):
  words = [word for number in numbers for word in ('--set', number)]
  return cli.main(['run', str(file), '--workdir', str(workdir), *words])


def names(workdir):
  return [row['name'] for row in changes.read(workdir)]


def contents(workdir):
  return {path: path.read_bytes() for path in workdir.rglob('*') if path.is_file()}


# ---------------------------------------------------------------- code


REWARDED = """
  import own_rewards
  rewarded = step

  def step(learners, tasks, key):
    learners, outcome = rewarded(learners, tasks, key)
    return learners, dataclasses.replace(outcome, metrics={**outcome.metrics, 'reward': own_rewards.WORTH})

  def build(c, plain=build):
    return dataclasses.replace(plain(c), step=step)
"""


def test_a_module_beside_the_file_is_imported_and_its_change_is_said_and_kept(
  tmp_path, capsys, caplog
):
  """A resumed run would go on with another reward, unseen."""
  file = tiny_experiment.write(tmp_path / 'mine' / 'tiny.py', REWARDED)
  (tmp_path / 'mine' / 'own_rewards.py').write_text(
    'import worth\nWORTH = worth.ONE\ndef later():\n  import not_yet\n'
  )
  (tmp_path / 'mine' / 'not_yet.py').touch()
  worth = tmp_path / 'mine' / 'worth.py'
  worth.write_text('ONE = 1.0\n')
  assert run(file, tmp_path / 'w', 'max_rounds=1') == 0, capsys.readouterr().err
  assert list(json.loads((tmp_path / 'w' / 'config.json').read_text())['modules']) == [
    'not_yet',  # imported in a function
    'own_rewards',
    'worth',  # imported by it
  ]
  worth.write_text('ONE = 2.0\n')
  for name in ('own_rewards', 'worth'):  # as in a new process
    del sys.modules[name]
  caplog.clear()
  assert run(file, tmp_path / 'w', 'max_rounds=2') == 0, capsys.readouterr().err
  assert 'worth changed since this workdir was last run; the choices made there apply' in (
    caplog.text
  )
  [_, row] = changes.read(tmp_path / 'w')
  assert (row['round'], row['step'], row['name']) == (1, 0, 'modules.worth')
  assert len(row['from']) == len(row['to']) == 64
  copies = tmp_path / 'w' / 'modules'
  assert (copies / 'worth.py').read_text() == 'ONE = 2.0\n'
  assert (copies / f'worth_{row["from"][:12]}.py').read_text() == 'ONE = 1.0\n'
  assert (copies / 'own_rewards.py').exists()
  for name in ('own_rewards', 'worth'):
    del sys.modules[name]


def test_the_modules_of_an_experiment_are_neither_the_library_nor_installed_packages():
  from experiments.methods import grpo

  found = sources.imported(grpo.__file__)
  assert {'experiments.settings', 'experiments.defaults', 'experiments.arithmetic'} <= set(found)
  assert all(name.split('.')[0] == 'experiments' for name in found)


def test_the_revision_of_the_library_stands_beside_that_of_the_experiment(
  tmp_path, experiment, capsys
):
  """An experiment in a repository of its own hid it."""
  git = ['git', '-C', str(experiment.parent), '-c', 'user.name=a', '-c', 'user.email=a@b']
  for words in (['init', '-q'], ['add', '.'], ['commit', '-q', '-m', 'mine']):
    subprocess.run([*git, *words], check=True)
  assert run(experiment, tmp_path / 'w', 'max_rounds=0') == 0, capsys.readouterr().err
  known = identity.read(tmp_path / 'w')
  assert known['git_revision'] == sources.git_revision(experiment.parent) is not None
  assert known['library'] == sources.library()
  assert known['library']['revision'] != known['git_revision']


# ---------------------------------------------------------------- another experiment, other numbers


WARNS = """
  import logging

  def build(c, plain=build):
    logging.getLogger('sirl').warning('the reward pays a wrong answer %.1f', 1.0)
    return plain(c)
"""


def test_the_doctor_repeats_what_the_build_warned_of_once_also_after_a_resume(tmp_path, capsys):
  file = tiny_experiment.write(tmp_path / 'mine' / 'tiny.py', WARNS)
  for rounds in (1, 2):
    assert run(file, tmp_path / 'w', f'max_rounds={rounds}') == 0, capsys.readouterr().err
  said = [(f.severity, f.evidence) for f in doctor.diagnose(tmp_path / 'w')]
  assert said.count(('warning', 'the reward pays a wrong answer 1.0')) == 1


def test_the_doctor_repeats_the_warnings_of_the_newest_start_only_since_others_may_contradict_it(
  tmp_path, capsys
):
  file = tiny_experiment.write(
    tmp_path / 'mine' / 'tiny.py', WARNS.replace('1.0)', 'c.max_rounds)')
  )
  for rounds in (1, 2, 3):
    assert run(file, tmp_path / 'w', f'max_rounds={rounds}') == 0, capsys.readouterr().err
  said = [f.evidence for f in doctor.diagnose(tmp_path / 'w') if 'wrong answer' in f.evidence]
  assert said == ['the reward pays a wrong answer 3.0']


def test_a_debug_run_is_said_to_be_one_below_its_table(tmp_path, experiment, capsys):
  assert run(experiment, tmp_path / 'w', 'debug=true') == 0, capsys.readouterr().err
  assert 'this is a debug run: its numbers are too small' in capsys.readouterr().out


def test_a_finished_run_keeps_its_identity_and_says_what_changed_when_nothing_is_computed(
  tmp_path, experiment, capsys, caplog
):
  assert run(experiment, tmp_path / 'w') == 0, capsys.readouterr().err
  before = contents(tmp_path / 'w')
  experiment.write_text(experiment.read_text() + '# edited\n')
  assert run(experiment, tmp_path / 'w') == 0
  assert 'nothing was computed' in capsys.readouterr().out
  assert f'changed since {tmp_path}/w was last run: {experiment}' in caplog.text
  assert contents(tmp_path / 'w') == before


def test_an_experiment_of_the_same_name_from_another_folder_is_refused(
  tmp_path, experiment, capsys
):
  assert run(experiment, tmp_path / 'w', 'max_rounds=1') == 0, capsys.readouterr().err
  before = contents(tmp_path / 'w')
  other = tiny_experiment.write(tmp_path / 'other' / 'tiny.py', '# another one')
  assert run(other, tmp_path / 'w') == commands.ERROR
  assert f'w holds a run of {experiment}, not of {other}' in capsys.readouterr().err
  assert contents(tmp_path / 'w') == before
  moved = tiny_experiment.write(tmp_path / 'moved' / 'tiny.py')  # the same contents
  assert run(moved, tmp_path / 'w') == 0, capsys.readouterr().err


WARM = """
  cold = build

  def build(c):
    return dataclasses.replace(
      cold(c), learners={'policy': dataclasses.replace(cold(c).policy, params=cold(c))}, step=broken)

  def broken(learners, tasks, key):
    raise ValueError('no step')
"""


def test_the_workdir_of_a_warm_start_is_refused_to_another_experiment(tmp_path, capsys):
  """Its own checkpoints do not exist yet, those of the warm start do."""
  file = tiny_experiment.write(tmp_path / 'mine' / 'warmed.py', WARM)
  assert run(file, tmp_path / 'w') == commands.ERROR
  for path in (tmp_path / 'w' / 'checkpoints').iterdir():  # killed before the baseline
    os.rename(path, tmp_path / path.name)
  other = tiny_experiment.write(tmp_path / 'mine' / 'tiny.py')
  capsys.readouterr()
  assert run(other, tmp_path / 'w') == commands.ERROR
  assert f'w holds a run of {file}, not of {other}' in capsys.readouterr().err


SHARED = """
  cold = build

  def build(c):
    first = dataclasses.replace(cold(c), config=dataclasses.replace(c, max_rounds=1))
    return dataclasses.replace(
      cold(c), learners={'policy': dataclasses.replace(cold(c).policy, params=first)})
"""


def test_variants_of_a_run_share_its_warm_start_if_their_numbers_agree(tmp_path, capsys):
  file = tiny_experiment.write(tmp_path / 'mine' / 'warmed.py', SHARED)
  assert run(file, tmp_path / 'a', 'max_rounds=1') == 0, capsys.readouterr().err
  began = (tmp_path / 'a' / 'warm' / 'steps.jsonl').read_bytes()
  words = ['run', str(file), '--workdir', str(tmp_path / 'b'), '--warm', str(tmp_path / 'a')]
  assert cli.main([*words, '--set', 'max_rounds=2']) == 0, capsys.readouterr().err
  assert (tmp_path / 'b' / 'warm' / 'steps.jsonl').read_bytes() == began  # not trained again
  words[3] = str(tmp_path / 'c')
  assert cli.main([*words, '--set', 'learning_rate=0.3']) == commands.ERROR
  assert 'learning_rate' in capsys.readouterr().err
  words[-1] = str(tmp_path / 'mine')
  words[3] = str(tmp_path / 'd')
  assert cli.main(words) == commands.ERROR
  assert 'it holds no warm start' in capsys.readouterr().err


def test_every_change_of_a_run_is_kept_and_shown(tmp_path, experiment, capsys):
  workdir = tmp_path / 'w'
  assert run(experiment, workdir, 'max_rounds=1') == 0, capsys.readouterr().err
  first = experiment.read_text()
  experiment.write_text(first + '# edited\n')
  new = ('learning_rate=0.3', 'allow_changed_config=true')
  assert run(experiment, workdir, *new, 'max_rounds=2') == 0, capsys.readouterr().err
  assert names(workdir) == ['config.max_rounds', 'config.learning_rate', 'source_sha256']
  row = changes.read(workdir)[1]
  digest = identity.read(workdir)['digest']
  assert row == {
    'round': 1, 'step': 0, 'name': 'config.learning_rate', 'from': 0.1, 'to': 0.3, 'digest': digest,
  }  # fmt: skip
  [kept] = workdir.glob('experiment_*.py')
  assert kept.read_text() == first
  assert run(experiment, workdir, *new, 'max_rounds=3') == 0
  assert names(workdir)[3:] == ['config.max_rounds']

  said = 'learning_rate 0.1 -> 0.3 from round 1'
  assert said in doctor.render(doctor.diagnose(workdir))
  assert said.replace('>', '&gt;') in page.write(workdir).read_text()


# ---------------------------------------------------------------- prompts


PROMPTED = """
  from sirl.models import tokenizer
  from sirl.models.files import pretrained

  def build(c, plain=build):
    tasks = [Task(id=line, prompt=line, answer='2') for line in open(c.data + '/tasks.txt')]
    codec = tokenizer.pretrained(c.data)
    policy = plain(c).policy
    model = policy.model._replace(architecture=pretrained.read_architecture(c.data))
    return dataclasses.replace(
      plain(c), measured={'heldout': tasks}, prompts=tokenizer.identity(codec, tasks),
      learners={'policy': dataclasses.replace(policy, model=model)})
"""


def test_a_run_whose_prompts_would_differ_is_not_resumed(tmp_path, capsys):
  """The numbers are equal: a template, a file of tasks or a model's config was replaced."""
  model = tmp_path / 'model'
  gguf.convert(tiny_gguf.write(tmp_path / 'x.gguf', tiny_gguf.llama_weights()), model)
  (model / 'tasks.txt').write_text('one\ntwo\n')
  file, workdir = tiny_experiment.write(tmp_path / 'mine' / 'tiny.py', PROMPTED), tmp_path / 'w'
  go = lambda *numbers: run(file, workdir, f'data={model}', *numbers)
  assert go('max_rounds=1') == 0, capsys.readouterr().err
  before = contents(workdir)

  def refused():
    capsys.readouterr()
    assert go('max_rounds=2') == commands.ERROR
    assert contents(workdir) == before
    said = capsys.readouterr().err
    assert said.count('\n') == 1
    assert 'Restore the tasks, the model and its tokenizer, or use a new workdir' in said
    return said

  config_file = model / 'tokenizer_config.json'
  whole = config_file.read_text()
  config_file.write_text(whole.replace('assistant', 'helper'))
  said = refused()
  assert 'it differs from the checkpoint in: chat template (' in said
  assert ', ids of the first prompts (' in said
  assert 'tokenizer (' not in said
  config_file.write_text(whole)
  shape = (model / 'config.json').read_text()
  (model / 'config.json').write_text(shape.replace('5000.0', '500000.0'))
  assert 'in: the model policy.rope_theta (5000.0 -> 500000.0). ' in refused()
  (model / 'config.json').write_text(shape)
  (model / 'tasks.txt').write_text('one\nthree\n')
  assert 'the measured tasks heldout.sha256 (' in refused()

  assert go('max_rounds=2', 'allow_changed_config=true') == 0, capsys.readouterr().err
  assert 'prompts.ids of the first prompts' in names(workdir)


TRAINED = """
  from sirl.acquisition import acquirer, curated, once

  def build(c, plain=build):
    tasks = curated.jsonl(c.data)
    return dataclasses.replace(
      plain(c), acquire=acquirer(once(tasks)), training={'train': tasks})
"""


@pytest.mark.parametrize('changed', ['other answer', 'more rows', 'other order'])
def test_training_tasks_that_changed_are_said_since_the_saved_ones_are_trained_on(
  tmp_path, capsys, caplog, changed
):
  rows = [f'{{"question": "{n}+1=", "answer": "{n + 1}"}}\n' for n in range(4)]
  data, workdir = tmp_path / 'rows.jsonl', tmp_path / 'w'
  data.write_text(''.join(rows))
  file = tiny_experiment.write(tmp_path / 'mine' / 'tiny.py', TRAINED)
  go = lambda rounds: run(file, workdir, f'data={data}', f'max_rounds={rounds}')
  assert go(1) == 0, capsys.readouterr().err
  pool = (workdir / 'pool' / 'round_00000.jsonl').read_bytes()
  assert go(2) == 0
  assert 'training tasks' not in caplog.text
  edit = {
    'other answer': [rows[0].replace('"1"', '"999"'), *rows[1:]],
    'more rows': [*rows, rows[0].replace('0+', '7+')],
    'other order': rows[::-1],
  }
  data.write_text(''.join(edit[changed]))
  assert go(3) == 0
  n = 4 + (changed == 'more rows')
  assert f"the training tasks 'train' are not those that this run began with (4 then, {n} now" in (
    caplog.text
  )
  assert 'The run goes on with the tasks that it has saved in its pool/' in caplog.text
  assert 'training.train.sha256' in names(workdir)
  assert (workdir / 'pool' / 'round_00000.jsonl').read_bytes() == pool


# ---------------------------------------------------------------- one process at a time


def held_elsewhere(workdir):
  """A process that holds the workdir and does nothing."""
  code = (
    'import sys, time; from sirl.runs import lock\n'
    'with lock.held(sys.argv[1]): print("held", flush=True); time.sleep(600)'
  )
  process = subprocess.Popen(
    [sys.executable, '-c', code, str(workdir)], stdout=subprocess.PIPE, text=True
  )
  assert process.stdout.readline() == 'held\n'
  return process


def test_a_second_process_is_refused_and_a_killed_one_blocks_nobody(tmp_path, experiment, capsys):
  first = held_elsewhere(tmp_path / 'w')
  try:
    assert run(experiment, tmp_path / 'w') == commands.ERROR
    err = capsys.readouterr().err
    assert f'{tmp_path}/w is in use by process {first.pid} on ' in err
    assert f'sirl doctor {tmp_path}/w' in err
    assert err.count('\n') == 1
  finally:
    first.send_signal(signal.SIGKILL)
    first.wait()
  assert str(first.pid) in (tmp_path / 'w' / lock.FILE).read_text()  # it had no time to tidy up
  assert run(experiment, tmp_path / 'w') == 0, capsys.readouterr().err
  assert (tmp_path / 'w' / lock.FILE).read_text() == ''


def test_a_killed_run_is_not_called_alive_and_asking_frees_no_lock(tmp_path):
  workdir = synthetic_run.write(tmp_path, config={'max_rounds': 20})
  said = lambda: [finding.what for finding in doctor.diagnose(workdir)]
  status = lambda: reading.read(workdir).status()
  assert status() == 'unfinished: 10 rounds of at most 20 reported'  # of a notebook, without a lock
  first = held_elsewhere(workdir)
  try:
    assert status() == 'unfinished: 10 rounds of at most 20 reported, running'
    assert said() == ['nothing ails this run (' + status() + ')']
  finally:
    first.send_signal(signal.SIGKILL)
    first.wait()
  assert status() == 'unfinished: 10 rounds of at most 20 reported, no process runs it'
  assert said()[0] == 'the run was cut off: no process holds it'
  with lock.held(workdir):
    assert status().endswith(', running')
    code = 'import sys; from sirl.runs import lock; print(lock.is_held(sys.argv[1]))'
    asked = [sys.executable, '-c', code, str(workdir)]
    assert subprocess.run(asked, capture_output=True, text=True, check=True).stdout == 'True\n'


def test_a_run_that_writes_nothing_leaves_no_folder(tmp_path):
  with lock.held(tmp_path / 'a' / 'b'):
    pass
  assert not (tmp_path / 'a').exists()
  (tmp_path / 'kept').mkdir()
  with lock.held(tmp_path / 'kept' / 'b'):
    (tmp_path / 'kept' / 'b' / 'x').touch()
  assert {path.name for path in (tmp_path / 'kept' / 'b').iterdir()} == {lock.FILE, 'x'}


def test_the_processes_of_a_run_must_read_the_same():
  """Each machine of a pod has its own copy of code, model and data."""
  known = {
    'config': {'seed': 0, 'mesh': {'data': 2}}, 'experiment': '/a/x.py', 'modules': {'mine': 'f00d'},
    'library': {'revision': None, 'sha256': 'aa'}, 'prompts': {'tokenizer': '12'},
  }  # fmt: skip
  elsewhere = {**known, 'experiment': '/b/x.py', 'library': {'revision': 'r1', 'sha256': 'aa'}}
  identity.check_processes([known, elsewhere])
  for part, said in (
    ({'config': {'seed': 1, 'mesh': {'data': 2}}}, r'config.seed \(0 -> 1\)'),
    ({'modules': {'mine': 'beef'}}, r'modules.mine \(f00d -> beef\)'),
    ({'prompts': {'tokenizer': '13'}}, r'prompts.tokenizer \(12 -> 13\)'),
  ):
    with pytest.raises(ValueError, match=f'process 2 would not run what process 0 runs.*: {said}'):
      identity.check_processes([known, elsewhere, {**known, **part}])


# ---------------------------------------------------------------- how runs end


BROKEN = """
  import pathlib

  def build(c, plain=build):
    def step(learners, tasks, key):
      {line}
    return dataclasses.replace(plain(c), step=step)
"""


def test_the_first_error_is_shown_where_its_record_cannot_be_written(tmp_path, capsys):
  line = f"(pathlib.Path({str(tmp_path)!r}) / 'w' / 'error.txt').mkdir(); raise ValueError('first')"
  file = tiny_experiment.write(tmp_path / 'mine' / 'tiny.py', BROKEN.format(line=line))
  assert run(file, tmp_path / 'w') == commands.ERROR
  err = capsys.readouterr().err
  assert 'sirl: error: first' in err
  assert 'error.txt' not in err


def test_a_full_disk_is_reported_with_the_file(tmp_path):
  """A limit on the size of files stands for the disk."""
  before = resource.getrlimit(resource.RLIMIT_FSIZE)
  resource.setrlimit(resource.RLIMIT_FSIZE, (1000, before[1]))
  try:
    with pytest.raises(OSError, match=f"File too large: '{tmp_path}/x.json'"):
      files.atomic_write(tmp_path / 'x.json', 'x' * 2000)
  finally:
    resource.setrlimit(resource.RLIMIT_FSIZE, before)
  assert list(tmp_path.iterdir()) == []


def test_a_model_that_does_not_fit_the_disk_is_reported_with_the_file(tmp_path):
  file = tiny_gguf.write(tmp_path / 'x.gguf', tiny_gguf.llama_weights())
  params = {'layers': np.ones((200, 200), np.float32)}
  before = resource.getrlimit(resource.RLIMIT_FSIZE)
  resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, before[1]))
  try:
    with pytest.raises(OSError, match=r"File too large: '.*model\.safetensors'"):
      gguf.convert(file, tmp_path / 'x')
    with pytest.raises(
      OSError, match=f'{tmp_path}/model.safetensors cannot be written: .*too large'
    ):
      weights.write_tensors(tmp_path, params, None, 10**9)
    with pytest.raises(OSError, match=f"File too large: '{tmp_path}/x.json'"):
      weights.write_json(tmp_path / 'x.json', 'x' * 60_000)
  finally:
    resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_an_interrupted_run_never_says_that_it_is_done(tmp_path, capsys):
  file = tiny_experiment.write(
    tmp_path / 'mine' / 'tiny.py', BROKEN.format(line='raise KeyboardInterrupt')
  )
  assert run(file, tmp_path / 'w') == commands.INTERRUPTED
  shown, message = capsys.readouterr().err.splitlines()[-2:]
  assert shown.endswith(' interrupted')
  assert message.startswith('sirl: interrupted; ')


def test_a_run_without_rounds_is_no_run_that_has_not_begun(tmp_path, experiment, capsys):
  assert run(experiment, tmp_path / 'w', 'max_rounds=0') == 0, capsys.readouterr().err
  capsys.readouterr()
  assert cli.main(['doctor', str(tmp_path / 'w')]) == 0
  out = capsys.readouterr().out
  assert 'this run has no rounds' in out
  assert 'compiles' not in out


def test_the_folder_of_runs_is_no_run(tmp_path, experiment, capsys):
  for name in ('a', 'b'):
    assert run(experiment, tmp_path / name, 'max_rounds=0') == 0, capsys.readouterr().err
  for command in ('doctor', 'report', 'compare', 'sample'):
    capsys.readouterr()
    assert cli.main([command, str(tmp_path)]) == commands.ERROR
    assert capsys.readouterr().err == (
      f'sirl: error: {tmp_path} is no run: it holds those of {tmp_path}/a, {tmp_path}/b; '
      'give one of them\n'
    )


# ---------------------------------------------------------------- commands in messages


@pytest.mark.parametrize(
  ('name', 'value', 'typed'),
  [
    ('clip', (0.2, 0.28), "--set 'clip=(0.2, 0.28)'"),
    ('data', 'my file.jsonl', "--set 'data=my file.jsonl'"),
    ('rows', None, '--set rows=none'),
    ('debug', True, '--set debug=true'),
    ('lr', 1e-5, '--set lr=1e-05'),
  ],
)
def test_a_suggested_number_is_what_the_shell_and_the_parser_take(name, value, typed):
  assert config.typed(name, value) == typed
  said = subprocess.run(
    ['sh', '-c', f'for word in {typed}; do echo "$word"; done'],
    capture_output=True, text=True, check=True,
  ).stdout.splitlines()  # fmt: skip
  assert len(said) == 2


def test_a_suggested_command_quotes_its_folder():
  assert config.command('answer', 'my runs/a', 'continue') == "sirl answer 'my runs/a' continue"
