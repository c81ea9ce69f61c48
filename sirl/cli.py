"""The command line: parses the arguments and calls the function of the command.

A user's mistake, or an error that sirl recognises, prints one line on stderr and exits with 2;
--traceback shows the traceback. Exit codes: 0 done, 2 error, 3 the run waits for a human,
130 interrupted.
"""

import argparse
import os
import pathlib
import sys
import traceback

import sirl
from sirl.commands import (
  ERROR,
  INTERRUPTED,
  catalog,
  events,
  message_of,
  plan,
  policy,
  run,
  workdirs,
)


def main(argv=None):
  """Runs one command; returns its exit code."""
  arguments = parser().parse_args(argv)
  events.show()
  try:
    return arguments.command(arguments)
  except KeyboardInterrupt:
    message = 'interrupted'
    if arguments.command is run.run:
      message += '; what was saved stays, and the same command resumes the run'
    print(f'sirl: {message}', file=sys.stderr)
    return exit_code(arguments, INTERRUPTED)
  except (Exception, SystemExit) as error:  # code of an experiment may call sys.exit
    shown = arguments.traceback or not understood(error)
    if shown:
      traceback.print_exc()
    hint = '' if shown or raised_here(error) else ' (--traceback shows where this was raised)'
    print(f'sirl: error: {message_of(error)}{hint}', file=sys.stderr)
    return exit_code(arguments, ERROR)


def exit_code(arguments, code):
  """Returns the exit code. With --distributed, exits the process at once instead.

  A normal exit would wait for the other processes, while they wait for this one in a collective
  that it never joins. They end when their connection to it breaks (CPU and GPU hosts), or at the
  latest when its heartbeat is missed. The same command then resumes the run.
  """
  if getattr(arguments, 'distributed', False):
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)
  return code


def understood(error):
  """Whether the message alone explains the error, without a traceback.

  True for ValueError, OSError, RuntimeError and the exceptions that sirl defines.
  """
  plain = isinstance(error, ValueError | OSError | SystemExit) or type(error) is RuntimeError
  return plain or type(error).__module__.split('.')[0] == 'sirl'


def raised_here(error):
  """Whether sirl or experiments/ raised the error.

  Other errors, from a user's experiment or a library, may need their traceback.
  """
  raised = pathlib.Path(traceback.extract_tb(error.__traceback__)[-1].filename).resolve()
  package = pathlib.Path(__file__).resolve().parent
  return any(raised.is_relative_to(home) for home in (package, package.parent / 'experiments'))


def parser():
  """The argument parser. Each command's function is stored as `command`."""
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

  sub = command('run', run.run, 'run or resume an experiment file')
  sub.add_argument(
    'file',
    metavar='FILE',
    help='a Python file with Config and build, or the name of a method such as grpo',
  )
  sub.add_argument(
    '--set',
    action='append',
    default=[],
    metavar='NAME=VALUE',
    help='override a number of Config; repeatable',
  )
  sub.add_argument(
    '--sweep',
    action='append',
    default=[],
    metavar='NAME=A,B',
    help='run every value, and with several --sweep every combination; each is a run of its own',
  )
  sub.add_argument(
    '--print', action='store_true', help='print the command lines of a sweep and run nothing'
  )
  sub.add_argument(
    '--workdir',
    metavar='DIR',
    help='where everything is written (default: runs/<name of the file>, and the overrides: '
    'runs/quickstart-seed=1)',
  )
  sub.add_argument(
    '--numbers', action='store_true', help='print the numbers of the experiment and run nothing'
  )
  sub.add_argument(
    '--warm',
    metavar='DIR',
    help='take the warm start of the run in DIR; it must have the same numbers',
  )
  sub.add_argument('--distributed', action='store_true', help='one of several processes of a pod')
  sub.add_argument(
    '--sink',
    action='append',
    default=[],
    choices=('tensorboard', 'wandb', 'trackio'),
    help='also send numbers there; repeatable',
  )

  sub = command('plan', plan.plan, 'tell what a run needs on chips that are not here')
  sub.add_argument('file', metavar='FILE', help='an experiment, as for sirl run')
  sub.add_argument('--set', action='append', default=[], metavar='NAME=VALUE', help='see sirl run')
  sub.add_argument(
    '--chip', required=True, metavar='CHIPS', help='such as v5e:4x4, v5p:2x2x2, v6e:4x4 or h100x8'
  )
  sub.add_argument('--mesh', metavar='AXES', help='such as data=2,fsdp=4,tensor=2')
  sub.add_argument(
    '--compile', action='store_true', help="ask the chip's own compiler; this takes minutes"
  )
  sub.add_argument(
    '--search', action='store_true', help='try meshes, rows and slots, and compile the best'
  )
  sub.add_argument(
    '--limit', type=float, default=900, metavar='SECONDS', help='for each program (default: 900)'
  )
  sub.add_argument('--json', metavar='FILE', help='also write all numbers')

  sub = command('answer', workdirs.answer, 'answer the question of a run that waits for a human')
  sub.add_argument('workdir', metavar='DIR')
  sub.add_argument('answer', metavar='ANSWER', help='continue, stop or rollback=ROUND')

  sub = command('report', workdirs.report, 'write the report page of a finished or running workdir')
  sub.add_argument('workdir', metavar='DIR')
  sub.add_argument('--png', metavar='FILE', help='also write the main curves as a picture')

  sub = command('doctor', workdirs.doctor, 'say in words what ails a run')
  sub.add_argument('workdir', metavar='DIR')

  sub = command('compare', workdirs.compare, 'put runs side by side, with intervals and a picture')
  sub.add_argument('workdirs', metavar='DIR', nargs='+')
  sub.add_argument(
    '--png', default='runs/compare.png', metavar='FILE', help='the picture (default: %(default)s)'
  )

  sub = command('runs', workdirs.runs, 'list the runs of a folder')
  sub.add_argument('folder', metavar='DIR', nargs='?', default='runs')

  command('methods', catalog.methods, 'list the methods that there are')
  command('tasks', catalog.tasks, 'list the tasks and models that there are')

  sub = command('sample', policy.sample, "ask a run's policy in the terminal")
  sub.add_argument('workdir', metavar='DIR')
  sub.add_argument(
    'prompts', metavar='PROMPT', nargs='*', help='without any, they are read from standard input'
  )
  sub.add_argument('-n', type=int, default=1, metavar='N', help='answers to each (default: 1)')
  sub.add_argument('--greedy', action='store_true', help='the most likely token everywhere')
  sub.add_argument('--heldout', type=int, default=0, metavar='N', help='ask N held-out tasks')
  sub.add_argument('--seed', type=int, default=0, help='of the noise (default: 0)')

  sub = command(
    'evaluate', policy.evaluate, 'measure a checkpoint on another task; nothing is trained'
  )
  sub.add_argument('workdir', metavar='DIR')
  sub.add_argument(
    '--set',
    action='append',
    default=[],
    metavar='NAME=VALUE',
    help='such as heldout=500, or another task that the tokenizer reads; repeatable',
  )

  sub = command('export', policy.export, 'write the policy as a Hugging Face folder')
  sub.add_argument('workdir', metavar='DIR')
  sub.add_argument('folder', metavar='FOLDER')

  sub = command('fetch', catalog.fetch, 'fetch a pretrained model into a folder')
  sub.add_argument('name', metavar='NAME')
  sub.add_argument('folder', metavar='FOLDER')
  sub.add_argument('--dtype', default='float32', choices=('float32', 'bfloat16'), help='of weights')

  sub = command(
    'bench', catalog.bench, 'measure speed beside the limits of the machine and other libraries'
  )
  sub.add_argument(
    '--cases', default='all', metavar='SETS',
    help='all, or some of tiny,smol,step,sampling,refill,speculate,overhead,memory,growth '
    '(default: all)',
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
