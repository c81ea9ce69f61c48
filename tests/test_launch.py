"""Launch scripts parse, and say how they are used."""

import pathlib
import subprocess

import pytest

LAUNCH = pathlib.Path(__file__).parent.parent / 'launch'


@pytest.mark.parametrize('script', sorted(LAUNCH.glob('*.sh')), ids=lambda path: path.name)
def test_scripts_parse_and_explain_themselves(script):
  subprocess.run(['bash', '-n', script], check=True)
  wrong = subprocess.run([script, 'nonsense'], capture_output=True, text=True, check=False)
  assert wrong.returncode == 2
  assert wrong.stderr.startswith(f'usage: {script}')


def test_a_pod_gets_one_quoted_command(tmp_path):
  """A program replaces gcloud and prints its last argument as the remote shell would read it."""
  gcloud = tmp_path / 'gcloud'
  gcloud.write_text('#!/bin/sh\nfor last; do :; done\necho "$last"\n')
  gcloud.chmod(0o755)
  command = [LAUNCH / 'pod.sh', 'name', 'zone', 'x.py', '/shared/a run', '--set', 'clip=(0.2, 0.3)']
  environment = {'PATH': f'{tmp_path}:/usr/bin:/bin', 'FOLDER': 'code'}
  line = subprocess.run(
    command, capture_output=True, text=True, check=True, env=environment
  ).stdout.strip()
  assert line.startswith('cd code && exec .venv/bin/sirl run x.py --workdir ')
  words = subprocess.run(
    ['bash', '-c', f'printf "%s\\n" {line.split("sirl ", 1)[1]}'],
    capture_output=True,
    text=True,
    check=True,
  ).stdout.splitlines()
  assert words == [
    'run',
    'x.py',
    '--workdir',
    '/shared/a run',
    '--set',
    'clip=(0.2, 0.3)',
    '--distributed',
  ]
