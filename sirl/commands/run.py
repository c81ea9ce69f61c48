"""sirl run: runs one experiment file and writes its report."""

import contextlib
import logging
import pathlib
import shutil

from sirl import config as configs
from sirl import experiment_file
from sirl.commands import DONE, WAITING, events, message_of, sweep
from sirl.runtime import worker

log = logging.getLogger(__name__)


def run(arguments):
  """sirl run FILE: runs until a decision or the round limit ends it, then writes the report."""
  if arguments.sweep or arguments.print:
    return sweep.run(arguments)
  source = experiment_file.find(arguments.file)
  module = experiment_file.load(source)
  config = experiment_file.configured(module, arguments.set)
  if arguments.numbers:
    for name, value in configs.flat(configs.dump(config)).items():
      print(configs.typed(name, value))
    return DONE
  workdir = pathlib.Path(
    arguments.workdir or experiment_file.workdir(source, module, config, arguments.set)
  )

  import jax

  from sirl.runs import identity, lock
  from sirl.runtime import host_memory, hosts

  identity.check(workdir, config, source)

  host_memory.keep_freed()
  if arguments.distributed:
    hosts.initialize()
  cache_compilations(jax)
  alone = lock.held(workdir) if hosts.is_first() else contextlib.nullcontext()
  with alone, events.kept() as warnings:
    return run_in(workdir, source, module, config, arguments, warnings)


def run_in(workdir, source, module, config, arguments, warnings):
  """Runs an experiment in a workdir that no other process uses; returns the exit code.

  Args: warnings: a function that gives the warnings so far, as of the build; they are kept.
  """
  from sirl import loop
  from sirl.experiment import Experiment
  from sirl.reporting import page as reports
  from sirl.reporting import tables
  from sirl.runs import identity, progress, sinks
  from sirl.runtime import hosts
  from sirl.types import Action

  experiment = module.build(config)
  if not isinstance(experiment, Experiment):
    raise ValueError(
      f'build in {source} returned {type(experiment).__name__}; expected a '
      'sirl.experiment.Experiment'
    )
  own_identity = identity.describe(config, source, experiment)
  identity.check_processes(hosts.gather([own_identity]))
  identity.check_built(workdir, config, experiment)
  first = hosts.is_first()
  before = recorded(workdir)
  if arguments.warm:
    if first:
      take_warm_start(pathlib.Path(arguments.warm), workdir)
    hosts.gather([True])  # no process looks for it before it is there
  own = []  # not empty once the workdir is known to belong to this run; one without a step is free

  def accepted():
    own.append(True)
    if first:
      identity.keep_warnings(workdir, warnings())
      identity.write(workdir, source, own_identity)
      identity.forget_error(workdir)

  outside = [sinks.opened(name, workdir, config) for name in arguments.sink] if first else []
  display = progress.open_display(f'sirl {source.stem}') if first else None
  ended = 'interrupted'
  try:
    with worker.exits_raise():
      history = loop.run(
        experiment, workdir, progress=display, sinks=outside, accepted=accepted
      ).history
    ended = 'done'
  except loop.WaitsForHuman as question:
    ended = 'waiting for an answer'
    return waiting(question.workdir, question.reason) if first else DONE
  except Exception as error:
    ended = 'failed'
    if first and (own or not before):
      identity.keep_error(workdir, message_of(error))
    raise
  finally:
    if display is not None:
      display.close(ended)
  if not first:
    return DONE

  identity.forget_error(workdir)
  if recorded(workdir) == before:
    identity.warn_of_reading(workdir, source, experiment)
    print(
      f'nothing was computed: the run in {workdir} had ended before; raise max_rounds or take '
      'another --workdir'
    )
  print((experiment_file.summary(module) or tables.before_and_after)(history))
  if config.debug:
    print('this is a debug run: its numbers are too small to learn anything')
  print(f'report: {reports.write(workdir)}')
  decision = history[-1].decision
  if decision is not None and decision.action is Action.ASK_HUMAN:
    return waiting(workdir, decision.reason)
  if said := diagnosis(workdir, config.debug):
    print(said)
  return DONE


def diagnosis(workdir, debug):
  """A line that sends to the doctor, of a run that a rule stopped or that has a problem; else None.

  A debug run has problems by design, so only the stop counts there.
  """
  from sirl.reporting import doctor
  from sirl.runs import reading

  run = reading.read(workdir)
  worst = doctor.examine(run)[0]
  if not run.is_stopped and (debug or worst.severity != 'problem'):
    return None
  said = f'{worst.what}: ' if worst.severity in ('problem', 'warning') else 'numbers in words: '
  return f'{said}{configs.command("doctor", workdir)}'


def take_warm_start(other, workdir):
  """Copies the warm start of another run, unless this one has its own.

  The run reads it as its own and goes on after it. Another seed, model or task is refused there, by
  the numbers that the checkpoint keeps.
  Raises: ValueError if the other run has no warm start.
  """
  if not (other / 'warm' / 'checkpoints').exists():
    raise ValueError(
      f'--warm {other}: it holds no warm start; give the workdir of a run that has one'
    )
  if not (workdir / 'warm').exists():
    half = workdir / '.warm.tmp'
    shutil.rmtree(half, ignore_errors=True)
    shutil.copytree(other / 'warm', half)
    half.rename(workdir / 'warm')


def recorded(workdir):
  """Sizes of the files that grow with steps, rounds and warm start.

  Comparing two results shows whether a run computed anything.
  """
  names = ('steps.jsonl', 'history.jsonl', 'warm/steps.jsonl')
  return [(workdir / name).stat().st_size for name in names if (workdir / name).exists()]


def waiting(workdir, reason):
  """Prints why the run waits for a human; returns the exit code WAITING."""
  print(f'the run waits for a human: {reason}')
  answer = configs.command('answer', workdir, 'continue')
  print(f'read {workdir}/question.md, then: {answer} (or stop, or rollback=ROUND)')
  return WAITING


def cache_compilations(jax):
  """Keeps compiled programs between processes, under the user's cache folder or $SIRL_CACHE."""
  from sirl.runtime import files, user_cache

  folder = user_cache.folder()
  if folder is None:
    return
  try:
    files.check_folder(folder, 'cache', 'set SIRL_CACHE to another folder, or to nothing')
  except OSError as error:
    log.warning('%s. Until then compiled programs are not kept', error)
  jax.config.update('jax_compilation_cache_dir', str(folder / 'compiled'))
  jax.config.update('jax_persistent_cache_min_compile_time_secs', 0)
  jax.config.update('jax_persistent_cache_min_entry_size_bytes', -1)
