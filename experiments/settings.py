"""Settings: every task on every model, as `--set task=` and `--set model=` name them.

  sirl run experiments/methods/grpo.py --set task=chains
  sirl run experiments/methods/dapo.py --set task=gsm8k --set data=DIR --set model=MODEL

The names are the keys of TASKS and MODELS. A file of your own may bring a method, a domain or a
reward; `built` combines it with a setting. docs/architecture.md has an example of each.
"""

import dataclasses
import functools
import logging
import pathlib

from experiments import arithmetic, measures, questions, splits
from experiments.defaults import SMALL, Pretrained, PretrainedText, Toy, ToyText
from sirl import config as configs
from sirl import models, names, recipe
from sirl.generation import greedy, make_ask
from sirl.generation.engine import arrangement, refill, sampling
from sirl.generation.engine.decode import static
from sirl.models import functional, tokenizer
from sirl.models.files import pretrained
from sirl.optimization import transforms
from sirl.runtime import sharding
from sirl.selection import adaptive
from sirl.warm_start import warm_start as learned

# ---------------------------------------------------------------- the two lists


def toy(c, domain):
  """A small decoder trained from nothing; its warm start on demonstrations is a run of its own.

  Returns: (model, None, codec); the warm start makes the params.
  """
  characters = domain.alphabet is not None
  codec = tokenizer.characters(domain.alphabet) if characters else tokenizer.bytes_codec()
  shape = models.preset(
    'toy', vocab=codec.vocab, width=c.width, layers=c.layers, head_width=c.width // 4
  )
  return models.build(shape, constrain=sharding.pin), None, codec


def load(c, domain):
  """A Hugging Face folder, a .gguf file or a hub name.

  Returns: (model, params, codec).
  """
  del domain
  _check_exists(c.model)
  codec = tokenizer.pretrained(c.model, date=c.date)
  model, params, _ = pretrained.load(
    c.model, dtype=c.dtype, remat=_remat(c), constrain=sharding.pin
  )
  return model, params, codec


TASKS = {
  'addition': arithmetic.addition,
  'chains': arithmetic.chains,
  'gsm8k': questions.gsm8k,
  'jsonl': questions.jsonl,
}
# Tasks of free text, which take the numbers of ToyText and PretrainedText.
IN_WORDS = ('gsm8k', 'jsonl')
MODELS = {'toy': toy}  # any other name is a path or hub name for `load`


def numbers(c):
  """(class of default numbers, its debug numbers) for c.task on c.model.

  Raises: ValueError for an unknown task or a misspelt model; the message names the nearest one.
  """
  if c.task not in TASKS:
    raise ValueError(f'task={c.task}: no such task; {names.hint(c.task, TASKS)}')
  if is_own(c.model):
    kind = ToyText if c.task in IN_WORDS else Toy
  else:
    kind = PretrainedText if c.task in IN_WORDS else Pretrained
  return kind, SMALL[kind]


def built(
  method, *, domain=None, small=None, summary=None, setting=None, **changes
) -> recipe.Recipe:
  """Makes the `build` of an experiment file: a method on the setting of `task` and `model`.

  Args:
    method: (config, setting) -> recipe.Method.
    domain: (config) -> recipe.Domain of your own, in place of TASKS.
    small: further numbers for debug runs.
    summary: (history) -> text that is printed after the run.
    setting: (config) -> recipe.Setting, in place of `make_setting`.
    changes: fields of the Method to replace, such as reward=...
  Raises: ValueError for an unknown name, and for a function of another form.
  """
  own = ('domain', 'small', 'summary', 'setting')
  fields = [field.name for field in dataclasses.fields(recipe.Method)]
  names.check(changes, [*fields, *own], 'settings.built')
  domain_of = domain or (lambda c: TASKS[c.task](c))
  return recipe.Recipe(
    setting=setting or (lambda c: make_setting(c, domain_of(c))),
    method=method,
    numbers=_numbers_of_own if domain else numbers,
    small=small or {},
    changes=changes,
    summary=summary,
    sketch=None if setting else (lambda c: sketch(c, domain_of)),
    domain=domain,
  )


def _numbers_of_own(c):
  """`numbers` for a domain of a file's own."""
  kind = Toy if is_own(c.model) else Pretrained
  return kind, SMALL[kind]


def is_own(model):
  """Whether the model is one of MODELS. Raises ValueError for a name that misspells one of them."""
  if model in MODELS:
    return True
  if names.nearest(model, MODELS) and not pathlib.Path(model).exists():
    raise ValueError(f'model={model}: no such model; {names.hint(model, MODELS)}')
  return False


def examples(task):
  """Lines for `sirl tasks`: one task with its answer, and the accuracy of trivial answers.

  The accuracy is measured on held-out tasks.
  """
  asked = recipe.Config(task=task)
  kind, _ = numbers(asked)
  try:
    domain = TASKS[task](dataclasses.replace(kind(), task=task))
    heldout = domain.tasks('heldout', 200, fewer=True)
  except ValueError as error:
    return [str(error)]
  shown = heldout[0]
  lines = [f'for example {shown.text!r}, answer {shown.answer!r}']
  for name, says in domain.baselines.items():
    right = sum(domain.verify(each, says(each)) or 0.0 for each in heldout) / len(heldout)
    lines.append(f'always {name}: {right:.3f}')
  return lines


# ---------------------------------------------------------------- the setting of a task on a model


def make_setting(c, domain) -> recipe.Setting:
  """The Setting: what stays fixed for every method on this domain and model."""
  if not isinstance(domain, recipe.Domain):
    raise ValueError(f'domain: got {type(domain).__name__}; return a recipe.Domain from domain(c)')
  model, params, codec = MODELS.get(c.model, load)(c, domain)
  if domain.splits is not None:
    domain = splits.fitting(domain, codec, max_prompt=c.max_prompt, max_new=c.max_new)
  sets = splits.unseen(c, domain)
  if params is None:
    params = warm_start(c, model, codec, domain, sets)
  return put_together(c, domain, model, params, codec, sets)


def sketch(c, domain_of) -> recipe.Setting:
  """The Setting of a plan: shapes in place of weights, and for a pretrained model no tasks.

  Reads at most the config.json of a model.
  Args: domain_of: (config) -> Domain; called for a model from nothing, whose vocabulary it decides.
  """
  if c.model in MODELS:
    return make_setting(c, domain_of(c))
  shape = pretrained.architecture_named(c.model, dtype=c.dtype, remat=_remat(c))
  model = models.build(shape, constrain=sharding.pin)
  domain = recipe.Domain(name=c.task, splits={'train': [], 'heldout': []})
  codec = tokenizer.absent(shape.vocab)
  return put_together(c, domain, model, functional.shapes(shape), codec, {'heldout': []})


def put_together(c, domain, model, params, codec, sets) -> recipe.Setting:
  """The Setting of its parts, see `make_setting`."""
  texts = functools.partial(dict, max_prompt=c.max_prompt, max_new=c.max_new, batch=_batch(c))
  sampler = sampling.sampler(temperature=c.temperature)
  ask = make_ask(model, codec, sampler=sampler, **texts())
  ask_greedy = greedy(model, codec, **texts())
  check_rate(c)
  answered = all(task.answer is not None for task in sets['heldout'])
  slots = getattr(c, 'slots', 0)
  per_step = c.epochs * c.minibatches  # updates of a GRO step; schedules are stated in steps
  return recipe.Setting(
    domain=domain,
    model=model,
    params=params,
    codec=codec,
    max_prompt=c.max_prompt,
    max_new=c.max_new,
    sampler=sampler,
    decode=arrangement.decoder(refill.decoder(slots) if slots else static, c.decode_weights),
    prompt_widths=getattr(c, 'prompt_widths', ()),
    optimizer=transforms.adamw(
      c.lr,
      warmup=c.warmup * per_step,
      total=c.lr_steps * per_step or None,
      schedule='linear' if c.lr_steps else 'constant',
    ),
    acquire=splits.training(c, domain, sets, answers=True),
    unanswered=splits.training(c, domain, sets, answers=False),
    selector=adaptive.success_rate(target=0.5, decay=0.99 if c.model in MODELS else 0.95),
    heldout=sets['heldout'],
    evaluate=functools.partial(
      measures.measured, domain, sets, ask, ask_greedy, samples=c.samples, own=c.model in MODELS
    ),
    steer=measures.steer_by_accuracy(words=c.task in IN_WORDS, own=c.model in MODELS),
    answered=answered,
    reference=c.model in MODELS,
  )


def warm_start(c, model, codec, domain, sets):
  """The supervised run that teaches a model from nothing enough for the loop to begin.

  Raises: ValueError if no task of the domain has an answer.
  """
  taken = [task for tasks in sets.values() for task in tasks]
  if domain.generator is None:
    solved = [task for task in domain.splits['train'] if domain.solution(task) is not None]
    development = solved[:16]
  else:
    solved, development = domain.tasks('warm', c.warm_tasks, taken, fewer=True), sets['development']
  if not solved:
    raise ValueError(
      f'model={c.model} learns from demonstrations first, but no task of {domain.name} has an '
      'answer; take a pretrained model, and a method without answers such as majority_vote'
    )
  rounds = dataclasses.replace(
    c, max_rounds=c.warm_rounds, steps_per_round=30, checkpoint_every=30, prompts=c.warm_prompts
  )
  return learned(
    rounds, model, codec, domain, solved=solved, development=development,
    max_prompt=c.max_prompt, max_new=c.max_new, goal=c.warm_goal, lr=c.warm_lr, batch=_batch(c),
  )  # fmt: skip


def check_rate(c):
  """Logs a warning when steps of the run have a learning rate of 0, after its schedule or by lr=0.

  The schedule does not follow max_rounds: a run that goes on must compute what a longer run would.
  Raises: ValueError for a schedule that ends before its warmup.
  """
  log, steps = logging.getLogger('sirl.experiments'), c.max_rounds * c.steps_per_round
  if 0 < c.lr_steps <= c.warmup:
    raise ValueError(
      f'lr_steps={c.lr_steps}: the learning rate would end at 0 before it has risen over '
      f'warmup={c.warmup} steps; --set warmup={c.lr_steps // 4}, or lr_steps=0 for a constant rate'
    )
  if c.lr == 0:
    log.warning('lr=0: no step changes the weights, so the whole run measures its start')
  elif 0 < c.lr_steps < steps:
    log.warning(
      'the learning rate is 0 from step lr_steps=%d on, and the run has %d steps (max_rounds=%d x '
      'steps_per_round=%d): the last ones learn nothing. Set lr_steps=%d, or 0 for a constant rate; '
      'a run that has begun also needs allow_changed_config=true',
      c.lr_steps, steps, c.max_rounds, c.steps_per_round, steps,
    )  # fmt: skip


def only(c, task):
  """Raises ValueError for an experiment that is made for one task on a model from nothing."""
  if c.task != task or c.model not in MODELS:
    raise ValueError(
      f'task={c.task}, model={c.model}: this experiment is made for task={task}, model=toy; '
      'take a file of experiments/methods for others'
    )


# ---------------------------------------------------------------- models


def _remat(c):
  """What a pretrained model stores for the backward pass, a key of `stack.REMAT`."""
  return 'block' if c.dtype != 'float32' else 'none'


def _batch(c):
  """Number of prompts that evaluation asks at once."""
  most = 250 if c.model in MODELS else 64 if c.task in IN_WORDS else 20
  return min(most, c.heldout)


def _check_exists(model):
  """Raises FileNotFoundError if a model of `sirl fetch` is missing."""
  folder = pathlib.Path(model)
  if folder.parts[:1] == ('weights',) and not folder.exists():
    raise FileNotFoundError(
      f'{model} is missing; run: {configs.command("fetch", folder.name, model)}'
    )
