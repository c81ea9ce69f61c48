"""The command line: run, answer, report, doctor, fetch, bench.

A mistake of the user, or an error that the project understands, is one line on stderr and exit code 2; the traceback
is one flag away. Exit codes: 0 done, 2 error, 3 the run waits for a human, 130 interrupted.
"""

import argparse
import json
import logging
import os
import pathlib
import sys
import traceback

import sirl
from sirl import experiment_file

DONE, ERROR, WAITING, INTERRUPTED = 0, 2, 3, 130
CACHE = 'SIRL_CACHE'  # environment variable: folder of compiled programs; empty turns the cache off


def main(argv=None):
  """Runs one command; returns its exit code."""
  arguments = parser().parse_args(argv)
  show_log()
  try:
    return arguments.command(arguments)
  except KeyboardInterrupt:
    message = 'interrupted'
    if arguments.command is run:
      message += '; what was saved stays, and the same command resumes the run'
    print(f'sirl: {message}', file=sys.stderr)
    return left(arguments, INTERRUPTED)
  except Exception as error:
    shown = arguments.traceback or not understood(error)
    if shown:
      traceback.print_exc()
    hint = '' if shown or said_here(error) else ' (--traceback shows where this was raised)'
    print(f'sirl: error: {message_of(error)}{hint}', file=sys.stderr)
    return left(arguments, ERROR)


def left(arguments, code):
  """The exit code. One of several processes is gone at once instead: an orderly end would wait for the others.

  They wait for it in turn, in a collective that it will never join. They end when their connection breaks (CPU and GPU
  hosts), at the latest when its heartbeat is missed, and the same command resumes the run.
  """
  if getattr(arguments, 'distributed', False):
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)
  return code


def understood(error):
  """Whether the message alone says what was wrong: wrong values, files, and the errors this project defines."""
  plain = isinstance(error, ValueError | OSError) or type(error) is RuntimeError
  return plain or type(error).__module__.split('.')[0] == 'sirl'


def said_here(error):
  """Whether the message is this project's own: one of an experiment's code, or of a library, may need its traceback."""
  raised = pathlib.Path(traceback.extract_tb(error.__traceback__)[-1].filename).resolve()
  return raised.is_relative_to(pathlib.Path(__file__).resolve().parent)


def message_of(error):
  """The message, or the type where there is none."""
  return str(error) or type(error).__name__


def parser():
  """The argument parser; every command carries its function as `command`."""
  top = argparse.ArgumentParser(
    prog='sirl', description='A language model improves itself, in a loop that is watched.'
  )
  top.add_argument('--version', action='version', version=f'sirl {sirl.__version__}')
  commands = top.add_subparsers(required=True, metavar='COMMAND')

  def command(name, function, help):
    sub = commands.add_parser(name, help=help, description=help)
    sub.add_argument('--traceback', action='store_true', help='show where an error came from')
    sub.set_defaults(command=function)
    return sub

  sub = command('run', run, 'run or resume an experiment file')
  sub.add_argument('file', metavar='FILE', help='a Python file with Config and build')
  sub.add_argument(
    '--set',
    action='append',
    default=[],
    metavar='NAME=VALUE',
    help='override a number of Config; repeatable',
  )
  sub.add_argument(
    '--workdir',
    metavar='DIR',
    help='where everything is written (default: runs/<name of the file>, and the overrides: runs/quickstart-seed=1)',
  )
  sub.add_argument('--distributed', action='store_true', help='one of several processes of a pod')
  sub.add_argument(
    '--sink',
    action='append',
    default=[],
    choices=('tensorboard', 'wandb', 'trackio'),
    help='also send numbers there; repeatable',
  )

  sub = command('answer', answer, 'answer the question of a run that waits for a human')
  sub.add_argument('workdir', metavar='DIR')
  sub.add_argument('answer', metavar='ANSWER', help='continue, stop or rollback=ROUND')

  sub = command('report', report, 'write the report page of a finished or running workdir')
  sub.add_argument('workdir', metavar='DIR')
  sub.add_argument('--png', metavar='FILE', help='also write the main curves as a picture')

  sub = command('doctor', doctor, 'say in words what ails a run')
  sub.add_argument('workdir', metavar='DIR')

  sub = command('fetch', fetch, 'fetch a pretrained model into a folder')
  sub.add_argument('name', metavar='NAME')
  sub.add_argument('folder', metavar='FOLDER')
  sub.add_argument('--dtype', default='float32', choices=('float32', 'bfloat16'), help='of weights')

  sub = command(
    'bench', bench, 'measure speed beside the limits of the machine and other libraries'
  )
  sub.add_argument(
    '--cases', default='all', metavar='SETS',
    help='all, or some of tiny,smol,step,sampling,refill,speculate,overhead,memory,growth (default: all)',
  )  # fmt: skip
  default = ' (default: %(default)s)'
  sub.add_argument(
    '--repeats', type=int, default=5, metavar='N', help=f'measurements of each case{default}'
  )
  sub.add_argument(
    '--out', default='runs/bench', metavar='DIR', help=f'for the table and pictures{default}'
  )
  sub.add_argument(
    '--peers', default='.peers', metavar='DIR', help=f"the peers' environments{default}"
  )
  return top


# ---------------------------------------------------------------- run


def run(arguments):
  """sirl run FILE: runs until a decision or the round limit ends it, then writes the report."""
  module = experiment_file.load(arguments.file)
  config = experiment_file.configured(module, arguments.set)
  source = pathlib.Path(arguments.file)
  workdir = pathlib.Path(
    arguments.workdir or experiment_file.workdir(source, module, config, arguments.set)
  )

  import jax

  from sirl.runs import identity
  from sirl.runtime import host_memory, hosts

  identity.check(workdir, config)

  host_memory.keep_freed()
  if arguments.distributed:
    hosts.initialize()
  cache_compilations(jax)
  from sirl import loop
  from sirl.experiment import Experiment
  from sirl.reporting import page as reports
  from sirl.reporting import tables
  from sirl.runs import progress, sinks
  from sirl.types import Action

  experiment = module.build(config)
  if not isinstance(experiment, Experiment):
    raise ValueError(
      f'build in {source} returned {type(experiment).__name__}; expected a sirl.types.Experiment'
    )
  first = hosts.is_first()
  before = recorded(workdir)
  own = []  # whether the workdir was found to be this run's

  def accepted():
    own.append(True)
    if first:
      identity.write(workdir, config, source)
      identity.forget_error(workdir)

  outside = [sinks.opened(name, workdir, config) for name in arguments.sink] if first else []
  display = progress.open_display(f'sirl {source.stem}') if first else None
  try:
    history = loop.run(
      experiment, workdir, progress=display, sinks=outside, accepted=accepted
    ).history
  except loop.WaitsForHuman as question:
    return waiting(question.workdir, question.reason) if first else DONE
  except Exception as error:
    if first and own:
      identity.keep_error(workdir, message_of(error))
    raise
  finally:
    if display is not None:
      display.close()
  if not first:
    return DONE

  if recorded(workdir) == before:
    print(
      f'nothing was computed: the run in {workdir} had ended before; raise max_rounds or take another --workdir'
    )
  print((experiment_file.summary(module) or tables.before_and_after)(history))
  print(f'report: {reports.write(workdir)}')
  decision = history[-1].decision
  if decision is not None and decision.action is Action.ASK_HUMAN:
    return waiting(workdir, decision.reason)
  return DONE


def recorded(workdir):
  """How much a workdir holds of steps and rounds, and of its warm start."""
  names = ('steps.jsonl', 'history.jsonl', 'warm/steps.jsonl')
  return [(workdir / name).stat().st_size for name in names if (workdir / name).exists()]


def waiting(workdir, reason):
  """Says what the run in this workdir waits for; returns the exit code of a run that waits."""
  print(f'the run waits for a human: {reason}')
  print(f'read {workdir}/question.md, then: sirl answer {workdir} continue|stop|rollback=ROUND')
  return WAITING


def cache_compilations(jax):
  """Keeps compiled programs between processes, under the user's cache folder or $SIRL_CACHE."""
  default = (
    pathlib.Path(os.environ.get('XDG_CACHE_HOME') or pathlib.Path.home() / '.cache') / 'sirl'
  )
  folder = os.environ.get(CACHE, str(default))
  if not folder:
    return
  jax.config.update('jax_compilation_cache_dir', str(pathlib.Path(folder) / 'compiled'))
  jax.config.update('jax_persistent_cache_min_compile_time_secs', 0)
  jax.config.update('jax_persistent_cache_min_entry_size_bytes', -1)


# ---------------------------------------------------------------- the other commands


def answer(arguments):
  """sirl answer DIR ANSWER: writes answer.json, which the next `sirl run` follows."""
  from sirl.runs import record
  from sirl.runtime import files

  workdir = existing(arguments.workdir)
  action, _, target = arguments.answer.partition('=')
  if action not in ('continue', 'stop', 'rollback') or (action == 'rollback') != bool(target):
    raise ValueError(
      f'{arguments.answer!r} is no answer; expected continue, stop or rollback=ROUND'
    )
  history = record.read_rows(workdir / 'history.jsonl')
  decision = (history[-1]['decision'] or {}) if history else {}
  if decision.get('action') != 'ask_human':
    raise ValueError(
      f'the run in {workdir} asks nothing; its last decision is {decision.get("action", "none yet")}'
    )
  row = {'round': history[-1]['round'], 'action': action}
  if action == 'rollback':
    row['to_round'] = _kept_round(workdir, target)
  files.atomic_write(workdir / 'answer.json', json.dumps(row) + '\n')
  print(f'answered {arguments.answer} to: {decision["reason"]}')
  print('run the experiment again with the same command; it follows the answer first')
  return DONE


def report(arguments):
  """sirl report DIR: writes the page and prints where it is."""
  from sirl.reporting import page as reports

  workdir = existing(arguments.workdir)
  print(reports.write(workdir))
  if arguments.png:
    reports.figure(workdir, arguments.png)
    print(arguments.png)
  return DONE


def doctor(arguments):
  """sirl doctor DIR: prints findings, worst first."""
  from sirl.reporting import doctor as doctors

  print(doctors.render(doctors.diagnose(existing(arguments.workdir))))
  return DONE


def fetch(arguments):
  """sirl fetch NAME FOLDER: fetches, verifies and converts a pretrained model."""
  from sirl.models.files import fetch as fetching

  print(fetching.fetch(arguments.name, arguments.folder, dtype=arguments.dtype))
  return DONE


def bench(arguments):
  """sirl bench: measures and prints a table."""
  from experiments.benchmarks import command

  command.bench(
    arguments.cases, repeats=arguments.repeats, out=arguments.out, peers=arguments.peers
  )
  return DONE


def existing(workdir):
  """The workdir as a path. Raises FileNotFoundError when there is none."""
  workdir = pathlib.Path(workdir)
  if not workdir.is_dir():
    raise FileNotFoundError(f'no workdir {workdir}; give the --workdir of a run')
  return workdir


def show_log():
  """Events of the project on stderr, once; libraries only speak about errors.

  The handler is the root's: a library that sets up logging leaves a root alone that has one, and nothing is said twice.
  """
  logging.getLogger('absl').setLevel(logging.ERROR)
  logging.getLogger('sirl').setLevel(logging.INFO)
  if not any(isinstance(handler, Stderr) for handler in logging.root.handlers):
    handler = Stderr()
    handler.setFormatter(logging.Formatter('%(levelname)s %(message)s'))
    logging.root.addHandler(handler)


class Stderr(logging.Handler):
  """Writes to what sys.stderr is now: a live display replaces it, so that lines appear above the table."""

  def filter(self, record):
    """Lets the project's own events through, and the errors of others."""
    return record.name.split('.')[0] == 'sirl' or record.levelno >= logging.ERROR

  def emit(self, record):
    """Writes one line."""
    print(self.format(record), file=sys.stderr)


def _kept_round(workdir, text):
  """The round of rollback=ROUND. Raises ValueError when its end is not among the checkpoints."""
  from sirl.runs import checkpoint

  kept = checkpoint.kept_rounds(workdir)
  try:
    round = int(text)
  except ValueError:
    round = None
  if round not in kept:
    raise ValueError(
      f'rollback={text}: expected a round whose end is kept: {", ".join(map(str, kept)) or "none"}'
    )
  return round
