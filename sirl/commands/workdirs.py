"""Commands that inspect runs or answer their questions: answer, report, doctor, compare, runs."""

import pathlib

from sirl.commands import DONE
from sirl.runtime import files


def answer(arguments):
  """sirl answer DIR ANSWER: writes answer.json, which the next `sirl run` obeys."""
  from sirl.runs import record
  from sirl.runtime import json_text

  workdir = writable(arguments.workdir)
  action, _, target = arguments.answer.partition('=')
  if action not in ('continue', 'stop', 'rollback') or (action == 'rollback') != bool(target):
    raise ValueError(
      f'{arguments.answer!r} is no answer; expected continue, stop or rollback=ROUND'
    )
  history = record.read_rows(workdir / 'history.jsonl')
  decision = (history[-1]['decision'] or {}) if history else {}
  if decision.get('action') != 'ask_human':
    raise ValueError(
      f'the run in {workdir} asks nothing; its last decision is '
      f'{decision.get("action", "none yet")}'
    )
  row = {'round': history[-1]['round'], 'action': action}
  if action == 'rollback':
    row['to_round'] = _kept_round(workdir, target)
  files.atomic_write(workdir / 'answer.json', json_text.dumps(row) + '\n')
  print(f'answered {arguments.answer} to: {decision["reason"]}')
  print('run the experiment again with the same command; it follows the answer first')
  return DONE


def report(arguments):
  """sirl report DIR: writes the report page and prints its path."""
  from sirl.reporting import page as reports

  workdir = writable(arguments.workdir)
  png = picture(arguments.png) if arguments.png else None
  print(reports.write(workdir))
  if png:
    reports.figure(workdir, png)
    print(png)
  return DONE


def doctor(arguments):
  """sirl doctor DIR: prints findings, worst first."""
  from sirl.reporting import doctor as doctors

  print(doctors.render(doctors.diagnose(existing(arguments.workdir))))
  return DONE


def compare(arguments):
  """sirl compare DIR...: prints runs side by side and draws them."""
  from sirl.reporting import compare as comparing

  png = picture(arguments.png)
  found = comparing.compare([existing(workdir) for workdir in arguments.workdirs])
  print(comparing.text(found))
  comparing.picture(found, png)
  print(f'picture: {png}')
  return DONE


def runs(arguments):
  """sirl runs [DIR]: prints a table of the runs in a folder."""
  from sirl.reporting import tables

  print(tables.runs(arguments.folder))
  return DONE


# What a run writes first. One that a notebook started has no config.json.
SIGNS = ('config.json', 'checkpoints', 'steps.jsonl', 'history.jsonl', 'warm')


def existing(workdir):
  """The workdir as a path.

  Raises: FileNotFoundError when there is no such folder, ValueError when it is not that of a run.
  """
  workdir = pathlib.Path(workdir)
  if not workdir.is_dir():
    raise FileNotFoundError(f'no workdir {workdir}; give the --workdir of a run')
  if not is_run(workdir):
    below = sorted(folder for folder in workdir.glob('*') if is_run(folder))
    runs = ', '.join(map(str, below[:3])) + (', ...' if below[3:] else '')
    hint = f'it holds those of {runs}; give one of them' if below else (
      'it has no config.json; give the --workdir of a run'
    )  # fmt: skip
    raise ValueError(f'{workdir} is no run: {hint}')
  return workdir


def picture(name):
  """The path of --png, with the suffix .png where none is given. Raises OSError as `check_file`."""
  path = pathlib.Path(name)
  path = path if path.suffix else path.with_suffix('.png')
  files.check_file(path, '--png')
  return path


def writable(workdir):
  """The workdir as `existing` gives it. Raises OSError also where nothing can be written in it."""
  workdir = existing(workdir)
  files.check_folder(workdir, 'workdir', 'copy it to a place where you may write')
  return workdir


def is_run(folder):
  """Whether a run has written into this folder."""
  return any((folder / name).exists() for name in SIGNS)


def _kept_round(workdir, text):
  """The round of rollback=ROUND. Raises ValueError if the round's end has no checkpoint."""
  from sirl.runs import retention

  kept = retention.kept_rounds(workdir)
  try:
    round = int(text)
  except ValueError:
    round = None
  if round not in kept:
    raise ValueError(
      f'rollback={text}: expected a round whose end is kept: {", ".join(map(str, kept)) or "none"}'
    )
  return round
