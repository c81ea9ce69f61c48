"""The identity of a workdir, in config.json: numbers, code, versions, tasks and prompts.

A run that would not go on as it began is refused (`check`, `check_built`) or its changes are written
down (`write`, see changes.py).
"""

import contextlib
import dataclasses
import hashlib
import json
import logging
import pathlib

from sirl import config as configs
from sirl.runs import changes, digests, sources
from sirl.runtime import files, json_text

log = logging.getLogger(__name__)

ERROR, WARNINGS = 'error.txt', 'warnings.txt'


def check(workdir, config, source=None):
  """Raises ValueError when the workdir holds checkpoints of another config or experiment.

  Called before any model is built.
  """
  known = _known(workdir)
  if not known or config.allow_changed_config:
    return
  if source is not None and 'experiment' in known and not _is_of(known, source):
    raise ValueError(
      f'{workdir} holds a run of {known["experiment"]}, not of {source}; use a new workdir, or '
      '--set allow_changed_config=true'
    )
  differences = configs.differences(known['config'], config)
  if differences:
    raise ValueError(
      f'config differs from the checkpoint in: {", ".join(differences)}. Use a new workdir (now '
      f'{workdir}), or --set allow_changed_config=true'
    )


def check_built(workdir, config, experiment):
  """Raises ValueError when tasks, prompts or models differ from those of the workdir's checkpoints.

  Equal numbers may still read another file of tasks, another chat template, or another config.json
  of the model.
  """
  known = _known(workdir)
  if not known or config.allow_changed_config:
    return
  if found := differences(known, experiment):
    raise ValueError(
      f'this run would not go on as it began, it differs from the checkpoint in: {", ".join(found)}. '
      f'Restore the tasks, the model and its tokenizer, or use a new workdir (now {workdir}), or '
      '--set allow_changed_config=true'
    )


def differences(known, experiment):
  """'name (old -> new)' for what an experiment reads and its numbers do not say; see `built`."""
  now = {name: part for name, part in built(experiment).items() if name in known}
  called = {'measured': 'the measured tasks ', 'prompts': '', 'models': 'the model '}
  found = []
  for name, (before, after) in changes.between(known, now).items():
    room, _, rest = name.partition('.')
    if room in now and not (room == 'models' and before is None):  # a field of a newer version
      found.append(f'{called[room]}{rest} ({before} -> {after})')
  return found


def built(experiment):
  """What an experiment reads from files: digests of measured tasks, of prompts, and its models."""
  shapes = {name: learner.model.architecture for name, learner in experiment.learners.items()}
  return {
    'measured': {name: digest_of(tasks) for name, tasks in experiment.measured.items()},
    'prompts': dict(experiment.prompts),
    'models': {
      name: json.loads(json.dumps(dataclasses.asdict(shape)))
      for name, shape in shapes.items()
      if dataclasses.is_dataclass(shape)
    },
  }


def _is_of(known, source):
  """Whether the identity is of this file: the same contents, or the same path seen from elsewhere."""
  if known.get('source_sha256') == _sha256(source.read_bytes()):
    return True
  parts = [part for part in pathlib.Path(known['experiment']).parts if part != '..']
  return list(source.resolve().parts[-len(parts) :]) == parts


def _sha256(data):
  return hashlib.sha256(data).hexdigest()


def _known(workdir):
  """config.json of a workdir with checkpoints, be they of its warm start; {} without."""
  workdir = pathlib.Path(workdir)
  saved = changes.saved(workdir) or [*workdir.glob('warm*/checkpoints/[0-9]*')]
  return read(workdir) if saved and (workdir / 'config.json').exists() else {}


def describe(config, source, experiment):
  """The contents of config.json.

  These are the numbers, path and hash of the file, digests of the modules that it imports and of
  the library, versions, git revisions, digests of the training tasks, and what `built` adds.
  """
  return {
    'config': configs.dump(config),
    'digest': configs.digest(config),
    'experiment': str(source),
    'source_sha256': _sha256(source.read_bytes()),
    'modules': sources.imported(source),
    'git_revision': sources.git_revision(source.resolve().parent),
    'library': sources.library(),
    'versions': digests.versions(),
    'training': {name: digest_of(tasks, True) for name, tasks in experiment.training.items()},
    **built(experiment),
  }


def check_processes(identities):
  """Raises ValueError if the processes of a run do not all run the same; the first is process 0.

  Paths and git revisions may differ between machines.
  """
  free = ('experiment', 'git_revision', 'library.revision')
  for i, other in enumerate(identities):
    found = changes.between(identities[0], other)
    said = [f'{name} ({a} -> {b})' for name, (a, b) in found.items() if name not in free]
    if said:
      raise ValueError(
        f'process {i} would not run what process 0 runs; it differs in: {", ".join(said)}. Give '
        'every machine the same command, code, model and data'
      )


def write(workdir, source, identity):
  """Writes config.json and copies of the code; says and records what has changed.

  The experiment file is kept as experiment.py, its own modules in modules/. Where one has changed,
  the earlier copy stays beside the new one, with the beginning of its digest in its name.
  Args: identity: as `describe` gives it.
  """
  if known := _known(workdir):
    found = changes.between(known, identity)
    warn_of_code(source, found)
    warn_of_training(workdir, known, identity)
    if found:
      round, step = changes.place(workdir, known['config']['steps_per_round'])
      changes.add(workdir, found, round=round, step=step, digest=identity['digest'])
  files.atomic_write(workdir / 'config.json', json_text.dumps(identity, indent=2) + '\n')
  keep_copy(source, workdir / 'experiment.py')
  for name, path in sources.own(source).items():
    keep_copy(path, workdir / 'modules' / f'{name}.py')


def keep_copy(path, copy):
  """Copies a file; an earlier copy of other contents is kept under its digest."""
  if copy.exists() and copy.read_bytes() != path.read_bytes():
    copy.rename(copy.with_stem(f'{copy.stem}_{_sha256(copy.read_bytes())[:12]}'))
  files.atomic_write(copy, path.read_text(encoding='utf-8'))


def warn_of_reading(workdir, source, experiment):
  """Warns if what now reads the weights of a workdir is not what trained them, where that is known."""
  known = _known(workdir)
  now = {
    'source_sha256': _sha256(source.read_bytes()),
    'modules': sources.imported(source),
    'library': sources.library(),
  }
  changed = code_of(source, changes.between(known, now)) + differences(known, experiment)
  if changed:
    log.warning('changed since %s was last run: %s', workdir, ', '.join(changed))


def code_of(source, found):
  """Names of the code that is among the changes."""
  changed = [str(source)] * ('source_sha256' in found)
  changed += [name.removeprefix('modules.') for name in found if name.startswith('modules.')]
  return changed + ['the library'] * ('library.sha256' in found)


def warn_of_code(source, found):
  """Warns if the code behind a run is not that of its earlier rounds."""
  if changed := code_of(source, found):
    log.warning(
      '%s changed since this workdir was last run; the choices made there apply from here on, the '
      'earlier rounds keep theirs',
      ', '.join(changed),
    )


def warn_of_training(workdir, known, identity):
  """Warns if training tasks are not those that the run began with: its pool holds the earlier ones."""
  saved = 'The run goes on with the tasks that it has saved in its pool/, unchanged'
  if not (workdir / 'pool').exists():
    saved = 'Its warm start saw the earlier ones'
  for name, now in identity['training'].items():
    before = known.get('training', {}).get(name, now)
    if before != now:
      log.warning(
        'the training tasks %r are not those that this run began with (%d then, %d now, and their '
        'texts, answers or order differ). %s; restore the file, or train on the new tasks in a new '
        'workdir',
        name, before['tasks'], now['tasks'], saved,
      )  # fmt: skip


def digest_of(tasks, ordered=False):
  """{'tasks': number of tasks, 'sha256': digest of prompts and answers}.

  Args: ordered: whether the digest depends on the order of the tasks.
  """
  said = [json.dumps([task.text, task.answer]) for task in tasks]
  said = said if ordered else sorted(said)
  return {'tasks': len(said), 'sha256': _sha256('\n'.join(said).encode())}


def keep_error(workdir, message):
  """Writes the error that ended a run to its workdir, for the doctor and the report.

  A disk that is full, or read-only, hides no error: what cannot be written is left out.
  """
  with contextlib.suppress(OSError):
    files.atomic_write(workdir / ERROR, message + '\n')


def keep_warnings(workdir, texts):
  """Writes what was warned of before the run began or went on; an earlier start's is forgotten.

  A resumed run is built anew and warns of what still holds. What no longer does would contradict it.
  """
  lines = dict.fromkeys(' '.join(text.split()) for text in texts)
  if lines or (workdir / WARNINGS).exists():
    files.atomic_write(workdir / WARNINGS, ''.join(f'{line}\n' for line in lines))


def last_warnings(workdir):
  """What was warned of when the run was last started: a list of lines."""
  path = pathlib.Path(workdir) / WARNINGS
  return path.read_text(encoding='utf-8').splitlines() if path.exists() else []


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
