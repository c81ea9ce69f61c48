"""The identity of a workdir, in config.json: numbers, experiment file, versions, git revision."""

import hashlib
import json
import logging
import pathlib
import subprocess

from sirl import config as configs
from sirl.runs import digests
from sirl.runtime import files, json_text

log = logging.getLogger(__name__)

ERROR = 'error.txt'


def check(workdir, config, source=None):
  """Raises ValueError when the workdir holds checkpoints of another config.

  Called before any model is built.
  """
  path = workdir / 'config.json'
  saved = any((workdir / 'checkpoints').glob('[0-9]*'))
  if not path.exists() or not saved or config.allow_changed_config:
    return
  known = read(workdir).get('experiment')
  if source is not None and known is not None and pathlib.Path(known).stem != source.stem:
    raise ValueError(
      f'{workdir} holds a run of {known}, not of {source}; use a new workdir, or '
      '--set allow_changed_config=true'
    )
  differences = configs.differences(read(workdir)['config'], config)
  if differences:
    raise ValueError(
      f'config differs from the checkpoint in: {", ".join(differences)}. Use a new workdir (now '
      f'{workdir}), or --set allow_changed_config=true'
    )


def write(workdir, config, source, measured=None):
  """Writes config.json and a copy of the experiment file.

  config.json holds the numbers, the path and hash of the file, versions and the git revision.

  Args: measured: {name: tasks} that the run measures; stored as their number and a digest of
    prompts and answers.
  """
  text = source.read_text(encoding='utf-8')
  copy = workdir / 'experiment.py'
  if copy.exists() and copy.read_text(encoding='utf-8') != text:
    log.warning(
      '%s has changed since this workdir was last run; its choices apply from here on, the earlier '
      'rounds keep theirs',
      source,
    )
  identity = {
    'config': configs.dump(config),
    'digest': configs.digest(config),
    'experiment': str(source),
    'source_sha256': hashlib.sha256(text.encode()).hexdigest(),
    'git_revision': git_revision(source.resolve().parent)
    or git_revision(pathlib.Path(__file__).resolve().parent),
    'versions': digests.versions(),
    'measured': {name: digest_of(tasks) for name, tasks in (measured or {}).items()},
  }
  files.atomic_write(workdir / 'config.json', json_text.dumps(identity, indent=2) + '\n')
  files.atomic_write(copy, text)


def digest_of(tasks):
  """{'tasks': number of tasks, 'sha256': digest of prompts and answers, independent of order}."""
  said = sorted(json.dumps([task.text, task.answer]) for task in tasks)
  return {'tasks': len(said), 'sha256': hashlib.sha256('\n'.join(said).encode()).hexdigest()}


def keep_error(workdir, message):
  """Writes the error that ended a run to its workdir, for the doctor and the report."""
  files.atomic_write(workdir / ERROR, message + '\n')


def forget_error(workdir):
  """Removes the error of the previous attempt."""
  (workdir / ERROR).unlink(missing_ok=True)


def last_error(workdir):
  """The error that ended the last attempt; None if it ended well or still runs."""
  path = pathlib.Path(workdir) / ERROR
  return path.read_text(encoding='utf-8').strip() if path.exists() else None


def read(workdir):
  """The contents of config.json.

  Raises: ValueError if it is not JSON, FileNotFoundError if there is none.
  """
  path = pathlib.Path(workdir) / 'config.json'
  try:
    return json_text.loads(path.read_text(encoding='utf-8'))
  except json.JSONDecodeError as error:
    raise ValueError(f'{path} is not JSON ({error}); restore it or use a new workdir') from None


def git_revision(folder):
  """The git revision of a folder, with '-dirty' for uncommitted changes; None outside git."""
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
