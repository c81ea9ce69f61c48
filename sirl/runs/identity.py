"""What a workdir says of itself in config.json: the numbers, the experiment file, versions, revision."""

import hashlib
import json
import logging
import pathlib
import subprocess

from sirl import config as configs
from sirl.runs import digests
from sirl.runtime import files

log = logging.getLogger(__name__)

ERROR = 'error.txt'


def check(workdir, config):
  """Raises ValueError when the workdir holds checkpoints of another config: before any model is built."""
  path = workdir / 'config.json'
  saved = any((workdir / 'checkpoints').glob('[0-9]*'))
  if not path.exists() or not saved or config.allow_changed_config:
    return
  differences = configs.differences(read(workdir)['config'], config)
  if differences:
    raise ValueError(
      f'config differs from the checkpoint in: {", ".join(differences)}. Use a new workdir (now {workdir}), '
      'or --set allow_changed_config=true'
    )


def write(workdir, config, source, measured=None):
  """config.json: the numbers, the experiment file and its hash, versions, git revision; and a copy of the file.

  Args: measured: {name: tasks} that the run measures; kept as their number and a digest of prompts and answers.
  """
  text = source.read_text(encoding='utf-8')
  copy = workdir / 'experiment.py'
  if copy.exists() and copy.read_text(encoding='utf-8') != text:
    log.warning(
      '%s has changed since this workdir was last run; its choices apply from here on, the earlier rounds keep theirs',
      source,
    )
  identity = {
    'config': configs.dump(config),
    'digest': configs.digest(config),
    'experiment': str(source),
    'source_sha256': hashlib.sha256(text.encode()).hexdigest(),
    'git_revision': git_revision(source.resolve().parent),
    'versions': digests.versions(),
    'measured': {name: digest_of(tasks) for name, tasks in (measured or {}).items()},
  }
  files.atomic_write(workdir / 'config.json', json.dumps(identity, indent=2) + '\n')
  files.atomic_write(copy, text)


def digest_of(tasks):
  """{'tasks': how many, 'sha256': of their prompts and answers, in any order}."""
  said = sorted(json.dumps([task.text, task.answer]) for task in tasks)
  return {'tasks': len(said), 'sha256': hashlib.sha256('\n'.join(said).encode()).hexdigest()}


def keep_error(workdir, message):
  """Leaves what ended a run in its workdir, for the doctor and the report."""
  files.atomic_write(workdir / ERROR, message + '\n')


def forget_error(workdir):
  """Another attempt begins."""
  (workdir / ERROR).unlink(missing_ok=True)


def last_error(workdir):
  """What ended the last attempt, None when it ended well or still runs."""
  path = pathlib.Path(workdir) / ERROR
  return path.read_text(encoding='utf-8').strip() if path.exists() else None


def read(workdir):
  """What `write` wrote. Raises ValueError when it is not JSON, FileNotFoundError when there is none."""
  path = pathlib.Path(workdir) / 'config.json'
  try:
    return json.loads(path.read_text(encoding='utf-8'))
  except json.JSONDecodeError as error:
    raise ValueError(f'{path} is not JSON ({error}); restore it or use a new workdir') from None


def git_revision(folder):
  """The revision that folder is checked out at, with '-dirty' for uncommitted changes; None outside git."""
  command = [
    'git',
    '-C',
    str(folder),
    'describe',
    '--always',
    '--dirty',
    '--abbrev=40',
    '--exclude=*',
  ]
  try:
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=10)
  except (OSError, subprocess.TimeoutExpired):
    return None
  return done.stdout.strip() or None
