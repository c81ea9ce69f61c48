"""What a user sees at the command line: results, one clear line for a mistake, exit codes."""

import json
import os
import subprocess
import sys
import textwrap

import pytest

from sirl import cli, experiment_file, loop

from support import tiny_experiment

pytestmark = pytest.mark.usefixtures('quick_compiles')


@pytest.fixture(autouse=True)
def _no_compilation_cache(monkeypatch):
  monkeypatch.setenv('SIRL_CACHE', '')


@pytest.fixture
def experiment(tmp_path):
  return tiny_experiment.write(tmp_path / 'experiments' / 'tiny.py')


def test_a_run_ends_with_its_summary_and_a_report(tmp_path, experiment, capsys):
  workdir = tmp_path / 'runs' / 'a'
  code = cli.main(['run', str(experiment), '--workdir', str(workdir), '--set', 'seed=3'])
  out, err = capsys.readouterr()
  assert code == 0, err
  assert 'summary of 3 reports' in out
  assert f'report: {workdir}/report.html' in out
  assert 'round 1/2' in err or 'round 1  step 2/2' in err
  assert (workdir / 'report.html').exists()

  identity = json.loads((workdir / 'config.json').read_text())
  assert identity['config']['seed'] == 3
  assert identity['experiment'] == str(experiment)
  assert set(identity['versions']) >= {'python', 'jax', 'flax', 'optax', 'sirl'}
  assert (workdir / 'experiment.py').read_text() == experiment.read_text()
  assert [
    json.loads(line)['round'] for line in (workdir / 'history.jsonl').read_text().splitlines()
  ] == [-1, 0, 1]

  assert cli.main(['report', str(workdir)]) == 0
  assert capsys.readouterr().out.strip() == f'{workdir}/report.html'
  assert cli.main(['doctor', str(workdir)]) == 0
  assert 'HEALTHY' in capsys.readouterr().out

  # The same command again finds nothing to do and reports it.
  again = ['run', str(experiment), '--workdir', str(workdir), '--set', 'seed=3']
  assert cli.main(again) == 0
  assert f'nothing was computed: the run in {workdir} had ended before' in capsys.readouterr().out
  assert 'nothing was computed' not in out

  # Another config is refused before anything is built, and the first one's record stays.
  code = cli.main(['run', str(experiment), '--workdir', str(workdir), '--set', 'learning_rate=0.2'])
  err = capsys.readouterr().err
  assert code == 2
  assert err.startswith('sirl: error: config differs from the checkpoint in: ')
  assert 'learning_rate (0.1 -> 0.2)' in err
  assert 'seed (3 -> 0)' in err
  assert 'allow_changed_config=true' in err
  assert json.loads((workdir / 'config.json').read_text())['config']['seed'] == 3


# What a run ends with: a rule that stops it, and a loss; and its last line.
STOPPED = {
  'no loss is finite': ('stop_if_not_finite()', 'float("nan")', 'no update was ever finite: sirl doctor '),
  'a limit is left': (
    'stop_if_collapsed({"train/entropy": (0.6, None)})', '0.1', 'a rule stopped the run: sirl doctor ',
  ),
  'the goal is reached': ('stop_when_reached("train/reward", 0.5)', '0.1', 'numbers in words: sirl doctor '),
  'no rule speaks': ('first_of()', '0.1', 'report: '),
}  # fmt: skip


@pytest.mark.parametrize(('rule', 'loss', 'said'), STOPPED.values(), ids=STOPPED)
def test_the_last_line_of_a_run_that_a_rule_stopped_sends_to_the_doctor(
  tmp_path, rule, loss, said, capsys
):
  wrapped = f"""
    from sirl.evaluation import steering

    plain, sound = build, step

    def step(learners, tasks, key):
      moved, outcome = sound(learners, tasks, key)
      return moved, dataclasses.replace(outcome, metrics=outcome.metrics | {{'loss': {loss}}})

    def build(c):
      return dataclasses.replace(plain(c), step=step, steer=steering.{rule})
  """
  file = tiny_experiment.write(tmp_path / 'stopped.py', wrapped)
  workdir = tmp_path / 'w'
  assert cli.main(['run', str(file), '--workdir', str(workdir)]) == 0
  last = capsys.readouterr().out.splitlines()[-1]
  assert last.startswith(said)
  assert str(workdir) in last


def test_an_error_before_the_first_step_is_what_the_doctor_says(tmp_path, capsys):
  refusing = """
    unrefused = build

    def build(c):
      def trial(learners):
        raise ValueError('reward: it left every completion unjudged')
      return dataclasses.replace(unrefused(c), trial=trial)
  """
  file = tiny_experiment.write(tmp_path / 'refusing.py', refusing)
  assert cli.main(['run', str(file), '--workdir', str(tmp_path / 'w')]) == 2
  capsys.readouterr()
  assert cli.main(['doctor', str(tmp_path / 'w')]) == 0
  out = capsys.readouterr().out
  assert out.startswith('PROBLEM  the last attempt ended with an error\n')
  assert 'reward: it left every completion unjudged' in out
  assert 'The same command starts it again' not in out


@pytest.mark.parametrize(('level', 'healthy'), [('info', True), ('warning', False)])
def test_only_what_the_build_warned_of_is_kept_and_takes_the_healthy_verdict_away(
  tmp_path, level, healthy, capsys
):
  said = f"""
    import logging
    quiet = build

    def build(c):
      logging.getLogger('sirl.experiments').{level}('the clip does nothing')
      return quiet(c)
  """
  file = tiny_experiment.write(tmp_path / 'said.py', said)
  workdir = tmp_path / 'w'
  assert cli.main(['run', str(file), '--workdir', str(workdir)]) == 0
  assert f'{level.upper()} the clip does nothing' in capsys.readouterr().err
  assert (workdir / 'warnings.txt').exists() == (not healthy)
  assert cli.main(['doctor', str(workdir)]) == 0
  out = capsys.readouterr().out
  assert ('HEALTHY' in out) == healthy
  assert ('the clip does nothing' in out) == (not healthy)


def test_a_workdir_that_refuses_a_run_keeps_what_it_says_of_itself(tmp_path, experiment, capsys):
  """The two runs have equal numbers and different models, so only the checkpoint can tell."""
  command = ['run', str(experiment), '--workdir', str(tmp_path / 'w'), '--set', 'max_rounds=1']
  assert cli.main(command) == 0
  before = [(tmp_path / 'w' / name).read_bytes() for name in ('config.json', 'experiment.py')]
  capsys.readouterr()
  experiment.write_text(experiment.read_text().replace('jnp.zeros(3)', 'jnp.zeros(4)'))
  assert cli.main(command) == 2
  error = capsys.readouterr().err
  assert 'learners.policy.params.w is float32 [3] there and float32 [4] here' in error
  assert 'has changed since' not in error
  after = [(tmp_path / 'w' / name).read_bytes() for name in ('config.json', 'experiment.py')]
  assert after == before


def test_a_question_stops_the_run_and_an_answer_continues_it(tmp_path, experiment, capsys):
  workdir = tmp_path / 'asking'
  command = [
    'run',
    str(experiment),
    '--workdir',
    str(workdir),
    '--set',
    'asks=true',
    '--set',
    'max_rounds=1',
  ]
  assert cli.main(command) == 3
  out = capsys.readouterr().out
  assert 'the run waits for a human: is this right?' in out
  assert f'sirl answer {workdir} continue (or stop, or rollback=ROUND)' in out

  assert cli.main(['answer', str(workdir), 'rollback=7']) == 2
  assert 'expected a round whose end is kept: -1, 0' in capsys.readouterr().err
  assert cli.main(['answer', str(workdir), 'rollback=-1']) == 0
  assert json.loads((workdir / 'answer.json').read_text()) == {
    'round': 0,
    'action': 'rollback',
    'to_round': -1,
  }
  assert cli.main(['answer', str(workdir), 'stop']) == 0
  assert cli.main(command) == 0
  assert cli.main(['answer', str(workdir), 'stop']) == 2
  assert 'asks nothing' in capsys.readouterr().err


def test_a_warm_start_that_asks_makes_the_run_wait(tmp_path, experiment, capsys):
  """The question and its answer are in the warm start's own workdir."""
  experiment.write_text(
    experiment.read_text()
    + textwrap.dedent("""
    warm = build

    def build(c):
      policy = dataclasses.replace(warm(c).policy, params=warm(c))
      return dataclasses.replace(warm(c), learners={'policy': policy}, steer=lambda reports: None)
    """)
  )
  workdir = tmp_path / 'w'
  command = ['run', str(experiment), '--workdir', str(workdir)]
  command += ['--set', 'asks=true', '--set', 'max_rounds=1']
  assert cli.main(command) == 3
  assert (
    f'sirl answer {workdir}/warm continue (or stop, or rollback=ROUND)' in capsys.readouterr().out
  )
  assert cli.main(['answer', str(workdir / 'warm'), 'continue']) == 0
  assert cli.main(command) == 0
  assert 'summary of 2 reports' in capsys.readouterr().out


def test_a_warm_start_can_be_rolled_back(tmp_path, experiment, capsys):
  """Its workdir has no config.json, and its rounds may have another number of steps."""
  experiment.write_text(
    experiment.read_text()
    + textwrap.dedent("""
    warm = build

    def build(c):
      start = warm(dataclasses.replace(c, steps_per_round=3))
      policy = dataclasses.replace(warm(c).policy, params=start)
      return dataclasses.replace(warm(c), learners={'policy': policy}, steer=lambda reports: None)
    """)
  )
  workdir = tmp_path / 'w'
  numbers = ['asks=true', 'max_rounds=1']
  command = ['run', str(experiment), '--workdir', str(workdir)]
  command += [word for number in numbers for word in ('--set', number)]
  assert cli.main(command) == 3
  capsys.readouterr()
  assert cli.main(['answer', str(workdir / 'warm'), 'rollback=1']) == 2
  assert 'expected a round whose end is kept: -1, 0' in capsys.readouterr().err
  assert cli.main(['answer', str(workdir / 'warm'), 'rollback=-1']) == 0
  assert cli.main(command) == 0
  module = experiment_file.load(experiment)
  done = loop.run(module.build(experiment_file.configured(module, numbers)), workdir)
  assert done.state.learners['policy'].params['w'].tolist() == [
    2.0,
    2.0,
    2.0,
  ]  # two steps from 0, not from 3


def test_a_picture_goes_into_a_folder_that_is_made_for_it(tmp_path, experiment, capsys):
  workdir, picture = tmp_path / 'w', tmp_path / 'missing' / 'folder' / 'x.png'
  assert cli.main(['run', str(experiment), '--workdir', str(workdir)]) == 0
  assert cli.main(['report', str(workdir), '--png', str(picture)]) == 0, capsys.readouterr().err
  assert picture.exists()


def test_another_line_never_continues_the_run_of_this_one(
  tmp_path, monkeypatch, experiment, capsys
):
  monkeypatch.chdir(tmp_path)
  line = lambda *numbers: [
    'run',
    str(experiment),
    *(word for number in numbers for word in ('--set', number)),
  ]
  assert cli.main(line('max_rounds=1')) == 0
  for _ in range(2):  # the same line continues its own run
    assert cli.main(line('seed=1', 'max_rounds=1')) == 0, capsys.readouterr().err
  assert cli.main(line('max_rounds=1', 'seed=2', 'learning_rate=0.2')) == 0
  names = sorted(path.name for path in (tmp_path / 'runs').iterdir())
  assert names == ['tiny', 'tiny-learning_rate=0.2,seed=2', 'tiny-seed=1']


@pytest.mark.parametrize(
  ('assignments', 'name'),
  [
    ([], 'tiny'),
    (['allow_changed_config=true', 'max_rounds=9', 'checkpoint_every=2'], 'tiny'),
    (['seed=0', 'learning_rate=1e-1'], 'tiny'),  # what they are anyway
    (['seed=1', 'learning_rate=1e-5'], 'tiny-learning_rate=1e-05,seed=1'),
    (['learning_rate=0.00001', 'seed=1'], 'tiny-learning_rate=1e-05,seed=1'),
    (['debug=true'], 'tiny-debug=true'),
    (['seed=1', 'debug=true', 'learning_rate=0.5'], 'tiny-debug=true,seed=1'),  # as shrink does
    (['debug=true', 'learning_rate=0.1'], 'tiny-debug=true,learning_rate=0.1'),
    (['mesh.data=2'], 'tiny-mesh.data=2'),
    (['clip=(0.1,0.3)'], 'tiny-clip=0.1+0.3'),
  ],
  ids=lambda value: ','.join(value) if isinstance(value, list) else '',
)
def test_a_run_without_workdir_is_named_by_what_was_changed(experiment, assignments, name):
  assert default_workdir(experiment, *assignments) == f'runs/{name}'


def test_texts_that_a_file_system_refuses_still_name_different_runs(experiment):
  texts = ['/data/a', '_data_a', 'x,seed=1', 'x' * 300, 'x' * 301, '']
  names = [default_workdir(experiment, f'data={text}') for text in texts]
  names.append(default_workdir(experiment, 'data=x', 'seed=1'))
  assert len(set(names)) == len(names)
  assert names[0].startswith('runs/tiny-data=_data_a-')
  assert all(name.count('/') == 1 and len(name) < 110 for name in names)


def default_workdir(experiment, *assignments):
  module = experiment_file.load(experiment)
  config = experiment_file.configured(module, assignments)
  return str(experiment_file.workdir(experiment, module, config, assignments))


def test_debug_shrinks_first_and_other_overrides_win(experiment):
  module = experiment_file.load(experiment)
  config = experiment_file.configured(module, ['debug=true', 'max_rounds=3'])
  assert (config.max_rounds, config.learning_rate, config.debug) == (3, 0.5, True)
  assert experiment_file.configured(module, []).learning_rate == 0.1


def test_an_interrupt_says_how_to_go_on(tmp_path, experiment, capsys):
  code = cli.main(
    ['run', str(experiment), '--workdir', str(tmp_path / 'w'), '--set', 'interrupted=true']
  )
  assert code == 130
  assert 'the same command resumes the run' in capsys.readouterr().err


FILES = {
  'no_config.py': 'def build(config): pass',
  'wrong_config.py': 'class Config: pass\ndef build(config): pass',
  'no_build.py': 'from sirl import config\nclass Config(config.Base): pass',
  'not_callable.py': 'from sirl import config\nclass Config(config.Base): pass\nbuild = 3',
  'no_module.py': '\nimport a_module_nobody_has',
  'syntax.py': 'def build(:\n',
  'returns_none.py': 'from sirl import config\nclass Config(config.Base): pass\ndef build(c): pass',
  'text.txt': '',
}
# Subclasses of Base that would not have the fields that they state, the old default among them.
HEAD = 'import dataclasses as d\nfrom sirl.config import Base\n'
FROZEN = '@d.dataclass(frozen=True, kw_only=True)\n'
FILES |= {
  'no_dataclass.py': f'{HEAD}class Config(Base):\n  prompts: int = 3',
  'no_dataclass_below.py': f'{HEAD}class A(Base):\n  beta: float = 1\n{FROZEN}class Config(A): pass',
  'no_type.py': f'{HEAD}{FROZEN}class Config(Base):\n  prompts = 3',
  'no_default.py': f'{HEAD}{FROZEN}class Config(Base):\n  beta: float',
  'no_such_type.py': f"{HEAD}{FROZEN}class Config(Base):\n  beta: 'flot' = 3.0",
  'not_frozen.py': f'{HEAD}@d.dataclass\nclass Config(Base):\n  beta: float = 0.1',
}


@pytest.mark.parametrize(
  ('arguments', 'message'),
  [
    (['run', 'missing.py'], 'no experiment file {0}/missing.py; {0} holds: '),
    (['run', 'no_biuld.py'], 'did you mean {0}/no_build.py?'),
    (['run', 'text.txt'], 'text.txt is not a Python file'),
    (
      ['run', 'no_dataclass.py', '--set', 'prompts=4'],
      'class Config of {0}/no_dataclass.py states prompts, but is no dataclass, so Python makes no '
      'field of it; write @dataclasses.dataclass(frozen=True, kw_only=True) above the class',
    ),
    (['run', 'no_dataclass_below.py'], 'class A of {0}/no_dataclass_below.py states beta, but is'),
    (
      ['run', 'no_type.py'],
      'class Config of {0}/no_type.py: prompts = 3 has no type, so it is no field; write '
      'prompts: int = 3',
    ),
    (['run', 'no_default.py'], 'beta has no value; write one after =, which --set changes'),
    (['run', 'no_such_type.py'], "the type of a field does not exist: name 'flot' is not defined"),
    (
      ['run', 'not_frozen.py'],
      '(line 3); write @dataclasses.dataclass(frozen=True, kw_only=True) above the class',
    ),
    (['run', 'no_config.py'], 'no_config.py has no Config; an experiment file defines Config'),
    (
      ['run', 'wrong_config.py'],
      'has no Config; an experiment file defines Config, a subclass of sirl.config.Base',
    ),
    (['run', 'no_build.py'], 'no_build.py has no build; an experiment file defines build(config)'),
    (['run', 'not_callable.py'], 'has a build that is not a function'),
    (
      ['run', 'no_module.py'],
      "ModuleNotFoundError: No module named 'a_module_nobody_has' (line 2)",
    ),
    (['run', 'syntax.py'], 'cannot be loaded: SyntaxError'),
    (['run', 'returns_none.py'], 'returned NoneType; expected a sirl.experiment.Experiment'),
    (['run', 'returns_none.py', '--set', 'sed=1'], "Config has no 'sed'; did you mean 'seed'?"),
    (['run', 'returns_none.py', '--set', 'seed=x'], '--set seed=x: expected int'),
    (['report', 'nowhere'], 'no workdir {0}/nowhere'),
    (['report', '.'], '{0} is no run: it holds those of {0}/young; give one of them'),
    (['report', 'young'], 'holds no step and no report yet'),
    (['doctor', 'nowhere'], 'no workdir {0}/nowhere'),
    (['answer', 'nowhere', 'stop'], 'no workdir {0}/nowhere'),
    (
      ['answer', 'young', 'maybe'],
      "'maybe' is no answer; expected continue, stop or rollback=ROUND",
    ),
    (['answer', 'young', 'rollback'], "'rollback' is no answer"),
    (['answer', 'young', 'stop'], 'asks nothing; its last decision is none yet'),
    (['fetch', 'gpt-99', 'there'], "unknown model 'gpt-99'"),
  ],
  ids=lambda value: '_'.join(value) if isinstance(value, list) else '',
)
def test_a_mistake_is_one_clear_line_and_exit_code_2(
  tmp_path, monkeypatch, capsys, arguments, message
):
  for name, source in FILES.items():
    (tmp_path / name).write_text(source)
  (tmp_path / 'young' / 'checkpoints').mkdir(parents=True)
  monkeypatch.chdir(tmp_path)
  command, target, *rest = arguments
  target = target if command == 'fetch' else str((tmp_path / target).resolve())
  code = cli.main([command, target, *rest])
  err = capsys.readouterr().err
  assert code == 2
  assert err.startswith('sirl: error: ')
  assert err.count('\n') == 1, err
  assert message.format(tmp_path) in err


def test_traceback_on_request(tmp_path, capsys):
  assert cli.main(['report', '--traceback', str(tmp_path / 'nowhere')]) == 2
  assert 'Traceback' in capsys.readouterr().err


@pytest.mark.parametrize('line', ["raise ValueError('no such style')", 'np.ones(3).reshape(2)'])
def test_an_error_in_the_code_of_an_experiment_says_how_to_see_where(
  tmp_path, experiment, capsys, line
):
  experiment.write_text(
    experiment.read_text()
    + textwrap.dedent(f"""
    def build(c):
      {line}
    """)
  )
  command = ['run', str(experiment), '--workdir', str(tmp_path / 'w')]
  assert cli.main(command) == 2
  err = capsys.readouterr().err
  assert 'Traceback' not in err
  assert err.endswith(' (--traceback shows where this was raised)\n')
  assert cli.main([*command, '--traceback']) == 2
  err = capsys.readouterr().err
  assert f'in build\n    {line}' in err
  assert not err.endswith('was raised)\n')


@pytest.mark.parametrize(
  ('place', 'message'),
  [
    ('def build(c): sys.exit(0)', 'sys.exit(0) was called; raise an error instead ('),
    ('def build(c): sys.exit()', 'sys.exit(None) was called; raise an error instead ('),
    ("sys.exit('no key')", 'cannot be loaded: SystemExit: no key (line '),
  ],
)
def test_an_exit_in_the_code_of_an_experiment_is_one_line_and_exit_code_2(
  tmp_path, experiment, capsys, place, message
):
  """A run that ended by it would be silent, and done by its exit code."""
  experiment.write_text(f'{experiment.read_text()}\nimport sys\n{place}\n')
  assert cli.main(['run', str(experiment), '--workdir', str(tmp_path / 'w')]) == 2
  err = capsys.readouterr().err
  assert message in err
  assert f'line {len(experiment.read_text().splitlines())}' in err
  assert err.count('\n') == 1


def test_an_error_nobody_foresaw_shows_its_traceback(tmp_path, capsys):
  path = tmp_path / 'broken.py'
  path.write_text(
    'from sirl import config\nclass Config(config.Base): pass\ndef build(c): return {}["x"]'
  )
  assert cli.main(['run', str(path), '--workdir', str(tmp_path / 'w')]) == 2
  assert 'KeyError' in capsys.readouterr().err


@pytest.mark.parametrize(
  ('module', 'hint'),
  [
    ('trl', "; pip install '.[peers]' brings it"),
    ('math_verify', "; pip install '.[verify]' brings it"),
    ('nowhere_at_all', ''),
  ],
)
def test_a_missing_package_of_an_extra_is_named_with_the_extra(
  module, hint, tmp_path, monkeypatch, capsys
):
  monkeypatch.setitem(sys.modules, module, None)  # as where it is not installed
  file = tmp_path / 'mine.py'
  file.write_text(f'import {module}.rewards\n')
  assert cli.main(['run', str(file)]) == 2
  err = capsys.readouterr().err
  assert 'mine.py cannot be loaded: ModuleNotFoundError' in err
  assert err.strip().endswith(f'(line 1){hint}')


def test_a_run_keeps_compiled_programs_at_home_or_where_the_environment_says(
  tmp_path, experiment, monkeypatch, caplog
):
  import jax

  before = jax.config.jax_compilation_cache_dir
  try:
    monkeypatch.delenv('SIRL_CACHE')
    monkeypatch.delenv('XDG_CACHE_HOME', raising=False)
    monkeypatch.setenv('HOME', str(tmp_path))
    assert cli.main(['run', str(experiment), '--workdir', str(tmp_path / 'a')]) == 0
    home = tmp_path / '.cache' / 'sirl' / 'compiled'
    assert jax.config.jax_compilation_cache_dir == str(home)

    monkeypatch.setenv('SIRL_CACHE', str(tmp_path))
    assert cli.main(['run', str(experiment), '--workdir', str(tmp_path / 'b')]) == 0
    assert jax.config.jax_compilation_cache_dir == str(tmp_path / 'compiled')

    monkeypatch.setenv('SIRL_CACHE', str(experiment))
    assert cli.main(['run', str(experiment), '--workdir', str(tmp_path / 'c')]) == 0
    assert f'cache {experiment} cannot be written: it is a file; set SIRL_CACHE' in caplog.text
  finally:
    jax.config.update('jax_compilation_cache_dir', before)


def test_a_second_process_compiles_no_program_again(tmp_path, experiment):
  def programs(name):
    """What lies in the cache after a run in a process of its own."""
    subprocess.run(
      [sys.executable, '-m', 'sirl', 'run', str(experiment), '--workdir', str(tmp_path / name)],
      env={**os.environ, 'SIRL_CACHE': str(tmp_path / 'cache')},
      check=True,
      capture_output=True,
    )
    return {path.name for path in (tmp_path / 'cache').rglob('*-cache')}

  first = programs('a')
  assert first
  assert programs('b') == first


def test_help_needs_no_jax():
  program = (
    'import sys; from sirl import cli; cli.parser().format_help(); sys.exit("jax" in sys.modules)'
  )
  assert subprocess.run([sys.executable, '-c', program], check=False).returncode == 0


def test_the_version_is_said(capsys):
  with pytest.raises(SystemExit) as ended:
    cli.main(['--version'])
  assert ended.value.code == 0
  assert capsys.readouterr().out.startswith('sirl 0.')


def test_an_event_is_said_once_even_where_a_library_sets_up_logging(capsys):
  code = """if True:
    import logging
    from sirl import cli
    cli.main(['doctor', 'nowhere'])
    cli.main(['doctor', 'nowhere'])
    logging.basicConfig()
    logging.getLogger('sirl.x').warning('changed')
    logging.getLogger('absl').warning('chatter')
    logging.getLogger('absl').error('broken')
  """
  done = subprocess.run([sys.executable, '-c', code], capture_output=True, text=True, check=True)
  *errors, changed, broken = done.stderr.splitlines()
  assert [line.split(':')[:2] for line in errors] == [['sirl', ' error']] * 2
  assert (changed, broken) == ('WARNING changed', 'ERROR broken')
