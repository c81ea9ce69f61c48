"""Commands that use a run's policy without training: sample, evaluate, export."""

import pathlib
import sys
from typing import Any, NamedTuple

from sirl import config as configs
from sirl import experiment_file
from sirl.commands import DONE
from sirl.commands.workdirs import existing, writable
from sirl.runtime import plural


class Opened(NamedTuple):
  """A run with its newest weights."""

  workdir: pathlib.Path
  module: Any  # the loaded experiment file
  config: Any
  setting: Any  # recipe.Setting
  weights: Any  # {name: params}
  round: int  # number of completed rounds
  mesh: Any  # jax.sharding.Mesh that the weights are placed on


def opened(workdir) -> Opened:
  """Opens a run for reading: rebuilds its setting and loads its newest checkpoint.

  Changes nothing in the workdir.
  Raises: ValueError if the run was not made by a recipe, or has no checkpoint yet.
  """
  from sirl import gro, loop
  from sirl.runs import checkpoint, identity
  from sirl.runtime import sharding

  workdir = existing(workdir)
  if not (workdir / 'config.json').exists():
    raise ValueError(f'{workdir} is no run: it has no config.json; give the --workdir of a run')
  known = identity.read(workdir)
  source = pathlib.Path(known['experiment'])
  source = source if source.is_file() else workdir / 'experiment.py'
  module = experiment_file.load(source)
  if not hasattr(module.build, 'setting'):
    raise ValueError(
      f'{source} makes its experiment by itself; sample, evaluate and export need a method on a '
      'setting, see recipe.Recipe'
    )
  config = experiment_file.configured(module, assignments(known['config']))
  setting = module.build.setting(config)
  experiment = module.build.put_on(config, setting)
  identity.warn_of_reading(workdir, source, experiment)
  mesh = sharding.make_mesh(config.mesh)
  state = checkpoint.newest(workdir, config, loop.abstract_state(experiment, mesh))
  return Opened(
    workdir, module, config, setting, gro.weights_of(state.learners), int(state.round), mesh
  )


def assignments(numbers):
  """The values of a config.json as NAME=VALUE texts, in the form that --set takes."""
  return [f'{name}={word(value)}' for name, value in configs.flat(numbers).items()]


def word(value):
  """One value of a config.json in the form that --set takes."""
  if isinstance(value, list):
    return str(tuple(value))
  return value if isinstance(value, str) else str(value)


# ---------------------------------------------------------------- sample


def sample(arguments):
  """sirl sample DIR [PROMPT...]: prints what the policy answers."""
  import jax

  from sirl.generation import greedy, make_ask

  run = opened(arguments.workdir)
  s = run.setting
  limits = {'max_prompt': s.max_prompt, 'max_new': s.max_new, 'batch': 1}
  ask = (
    greedy(s.model, s.codec, **limits)
    if arguments.greedy
    else make_ask(s.model, s.codec, sampler=s.sampler, **limits)
  )
  key = jax.random.key(arguments.seed)
  tasks = {task.text: task for task in s.heldout}
  shown = [task.text for task in s.heldout[: arguments.heldout]]
  for prompt in [*arguments.prompts, *shown] or typed():
    task = tasks.get(prompt)
    answer = '' if task is None or task.answer is None else f'   (answer {task.answer})'
    try:
      with jax.set_mesh(run.mesh):
        (texts,) = ask(run.weights, [prompt if task is None else task.prompt], key, arguments.n)
    except ValueError as error:  # too long, or unknown characters
      print(f'{prompt!r}: {error}', file=sys.stderr)
      continue
    for text in texts:
      print(f'{prompt} -> {text}{answer}')
  return DONE


def typed():
  """Yields prompts from standard input, one per line.

  Stops at the end of the input, or at an empty line in a terminal.
  """
  asked = sys.stdin.isatty()
  while True:
    try:
      line = input('prompt> ' if asked else '')
    except EOFError:
      return
    if not line.strip():
      if asked:
        return
      continue
    yield line


# ---------------------------------------------------------------- evaluate


def evaluate(arguments):
  """sirl evaluate DIR --set NAME=VALUE: measures the newest weights on another setting.

  The assignments, such as task=chains, change the task or other numbers. Trains nothing.
  """
  import jax

  from sirl.ops import keys
  from sirl.runs import digests
  from sirl.runs import metrics as metrics_table
  from sirl.runtime import files, json_text
  from sirl.tasks import Pool
  from sirl.types import Context, Record, Report

  run = opened(writable(arguments.workdir))
  config = other_config(run, arguments.set)
  setting = run.module.build.setting(config)
  check_fit(run.setting, setting, config)
  evaluator = setting.evaluate(setting.answered)
  context = Context(run.round, 0.0, keys.at(config.seed, 'evaluate', run.round))
  with jax.set_mesh(run.mesh):
    metrics, _ = evaluator.evaluate(
      evaluator.init(), run.weights, Record(Pool(), None, []), context
    )
  asked = plural.counted(len(setting.heldout), 'held-out task')
  print(f'{config.task}, {asked}, weights after {plural.counted(run.round, "round")}')
  for metric in metrics_table.accuracies(metrics):
    print(f'  {metric:<24}{metrics_table.with_interval(metrics, metric)}')
  given = dict(text.split('=', 1) for text in arguments.set)
  name = experiment_file.folder_name(given or {'task': config.task})
  path = run.workdir / 'evaluations' / f'{name}.json'
  row = digests.report_json(Report(run.round, metrics)) | {'config': configs.dump(config)}
  files.atomic_write(path, json_text.dumps(row, indent=2) + '\n')
  print(f'written: {path}')
  return DONE


def other_config(run, changes):
  """The config for the setting that `changes` select.

  Numbers that the user set for the run carry over where the new setting has a field of that name.
  """
  here = [f'task={run.config.task}', f'model={run.config.model}']
  plain = configs.flat(configs.dump(experiment_file.configured(run.module, here)))
  given = {
    name: value
    for name, value in configs.flat(configs.dump(run.config)).items()
    if value != plain[name]
  }
  first = configs.setting(changes, ('task', 'model'))
  there = configs.flat(configs.dump(experiment_file.configured(run.module, [*here, *first])))
  kept = assignments({name: value for name, value in given.items() if name in there})
  return experiment_file.configured(run.module, [*here, *kept, *changes])


def check_fit(own, other, config):
  """Raises ValueError if the run's tokenizer encodes the other setting's prompts differently."""
  from sirl.tasks import turns

  wrong = f'task={config.task} does not fit the tokenizer of this run: '
  todo = (
    f'; train a run on task={config.task}, or give both tasks one alphabet (recipe.Domain) and '
    'train this run again'
  )
  prompts = [turns(task.prompt) for task in other.heldout]
  if unknown := refused(own.codec, ''.join(turn.content for said in prompts for turn in said)):
    here = own.domain.alphabet
    lacks = 'it does not encode' if here is None else f'its alphabet {here!r} lacks'
    more = f' and {len(unknown) - 5} others' if len(unknown) > 5 else ''
    raise ValueError(f'{wrong}{lacks} {", ".join(map(repr, unknown[:5]))}{more}{todo}')
  for task, said in zip(other.heldout, prompts):
    if own.codec.render(said) != other.codec.render(said):
      raise ValueError(f'{wrong}it reads {task.text[:40]!r} as other ids{todo}')


def refused(codec, text):
  """The characters of a text that a codec does not encode, each once."""

  def known(character):
    try:
      codec.encode(character)
    except ValueError:
      return False
    return True

  return [character for character in dict.fromkeys(text) if not known(character)]


# ---------------------------------------------------------------- export


def export(arguments):
  """sirl export DIR FOLDER: writes weights, tokenizer and generation config for transformers."""
  from sirl.models.files import export as exporting

  folder = pathlib.Path(arguments.folder)
  exporting.check_free(folder)
  run = opened(arguments.workdir)
  s = run.setting
  exporting.export(
    folder,
    run.weights['policy'],
    s.model.architecture,
    s.codec,
    sampler=s.sampler,
    max_new=s.max_new,
  )
  print(f'exported after {plural.counted(run.round, "round")}: {folder}')
  return DONE
