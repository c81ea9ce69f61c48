"""Recipe: a method on a setting is an experiment.

  Domain    what is asked and how an answer is checked
  Setting   what stays fixed while methods are compared: domain, model, codec, limits, measurements, rules
  Method    what differs: generate, reward, keep, credit, objective

`experiment` puts a method on a setting. `Recipe` is what an experiment file calls `build`: it also puts the file's numbers
on top of the setting's. Where a method chooses nothing, the setting's choice holds.
"""

import dataclasses
import functools
import inspect
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from sirl import config as configs
from sirl import gro, preflight, rewards
from sirl.acquisition import acquirer, procedural
from sirl.domains import answers, mathematics
from sirl.evaluation import evaluator
from sirl.experiment import Experiment, Learner
from sirl.generation import explore
from sirl.optimization import Pieces, make_optimize, objectives
from sirl.slots import (
  Acquire,
  Acquirer,
  Credit,
  Decode,
  Evaluate,
  Evaluator,
  Extract,
  Generate,
  Keep,
  Objective,
  Optimize,
  Refresh,
  Reward,
  Rule,
  Selector,
  Verify,
)
from sirl.tasks import Task
from sirl.types import Codec, Model, Params, Report, Sampler


@dataclasses.dataclass(frozen=True, kw_only=True)
class Config(configs.Base):
  """Numbers that every recipe has. A setting adds its own, and a method overrides what it states."""

  task: str = 'addition'  # a name of settings.TASKS
  model: str = 'toy'  # a name of settings.MODELS, a folder, a .gguf file or a hub name
  group_size: int = 8  # G, completions of one task
  max_prompt: int = 64  # tokens
  max_new: int = 32  # tokens, the end token included
  temperature: float = 1.0  # of sampling, in training and in evaluation
  lr: float = 1e-5
  kl: float = 0.0  # weight of KL to the starting weights
  epochs: int = 1  # passes over the rollouts of a step
  minibatches: int = 1  # updates per pass
  heldout: int = 200  # tasks that nothing trains on
  samples: int = 8  # completions of each of them
  # How fast, not what is computed; docs/speed.md says when each pays.
  microbatches: int = 1  # parts of a minibatch whose gradients are added
  rows: int | None = None  # completions that the learner computes at once, longest first
  widths: tuple[int, ...] = ()  # completion columns that pieces of short ones are cut to
  slices: int = 1  # parts of a batch; more where rewards take long


@dataclasses.dataclass(frozen=True, kw_only=True)
class Domain:
  """What is asked and how an answer is checked. Tasks come from a generator, or from finished lists."""

  name: str
  # (rng, index, difficulty) -> Task, see `acquisition.procedural`
  generator: Callable[..., Task] | None = None
  # {'train': tasks, 'heldout': tasks}, in place of a generator
  splits: Mapping[str, Sequence[Task]] | None = None
  extract: Extract = answers.exact  # text -> answer, None where there is none
  correct: Verify | None = (
    None  # (task, text) -> 1 right, 0 wrong; None compares what `extract` finds with the answer
  )
  reward: Reward | None = None  # None: the part `correct`, 1 or 0
  solution: Callable[[Task], str | None] = lambda task: (
    task.answer
  )  # the text that a demonstration teaches
  check: Verify | None = None  # an imperfect check that reads no answer, for best-of-n
  # Characters of prompts and answers, for a model that is trained from nothing; None: it reads bytes.
  alphabet: str | None = None
  # What trivial policies say: {name: task -> text}. `sirl tasks` shows how often they are right.
  baselines: Mapping[str, Callable[[Task], str]] = dataclasses.field(default_factory=dict)
  env: Any = None  # where a domain is interactive

  def __post_init__(self):
    """Raises ValueError unless tasks come from exactly one source."""
    if (self.generator is None) == (self.splits is None):
      raise ValueError(f'domain {self.name}: expected generator= or splits=, exactly one of them')

  def tasks(
    self, namespace: str, n: int, exclude: Sequence[Task] = (), *, fewer: bool = False
  ) -> list[Task]:
    """n distinct tasks that depend on nothing but the arguments; of a split at most n.

    Args: fewer: whether a generator that has not so many may give what it has.
    Raises: ValueError when a generator has too few, or for a split that does not exist.
    """
    if self.generator is not None:
      return procedural.fixed_set(
        self.generator, n=n, seed=0, namespace=namespace, exclude=exclude, fewer=fewer
      )
    assert self.splits is not None
    if namespace not in self.splits:
      raise ValueError(
        f'domain {self.name} has no tasks {namespace!r}; it has {", ".join(self.splits)}'
      )
    return list(self.splits[namespace][:n])

  @property
  def verify(self) -> Verify:
    """`correct`, or the comparison of the extracted answer with the task's."""
    return self.correct or functools.partial(mathematics.correct, extract=self.extract)

  @property
  def rewarded(self) -> Reward:
    """`reward`, or the part `correct` alone."""
    return self.reward or rewards.weighted(
      correct=(1.0, rewards.per_completion(self.verify, workers=1))
    )


@dataclasses.dataclass(frozen=True, kw_only=True)
class Setting:
  """What stays fixed while methods are compared."""

  domain: Domain
  model: Model
  params: Params | Experiment  # weights, or the warm start that makes them
  codec: Codec
  max_prompt: int  # tokens
  max_new: int  # tokens
  sampler: Sampler
  decode: Decode
  optimizer: Any  # optax.GradientTransformation
  acquire: Acquire  # training tasks, with their answers
  unanswered: Acquire  # the same without answers, for methods that must not see them
  selector: Selector
  heldout: Sequence[Task]
  # (whether the method sees answers) -> what is measured after every round
  evaluate: Callable[[bool], Evaluator]
  steer: Rule
  answered: bool = True  # whether the tasks have answers at all
  reference: bool = False  # keep the starting weights, for the curve of KL
  prompt_widths: Sequence[int] = ()


@dataclasses.dataclass(frozen=True, kw_only=True)
class Method:
  """What differs between methods. None takes the setting's choice."""

  credit: Credit
  objective: Objective
  generate: Generate | None = None  # None: explore
  reward: Reward | None = None
  keep: Keep = gro.everything
  acquire: Acquire | None = None
  acquirers: Mapping[str, Acquirer] = dataclasses.field(
    default_factory=dict
  )  # with memory, besides
  selector: Selector | None = None
  evaluate: Evaluate | None = None  # measured besides what the setting measures
  evaluators: Mapping[str, Evaluator] = dataclasses.field(default_factory=dict)  # with memory
  steer: Rule | None = None
  optimizer: Any = None
  answers: bool = True  # whether the method reads answers; False: its tasks come without
  reference: bool = False  # whether the method needs the starting weights, kl > 0 apart
  refresh: Refresh | None = None
  from_reference: bool = False  # every step trains the reference afresh, see make_optimize
  parts: Sequence[str] = ()  # parts of the reward that credit and objective read
  learners: Mapping[str, Learner] = dataclasses.field(default_factory=dict)  # besides the policy
  others: Mapping[str, Optimize] = dataclasses.field(default_factory=dict)  # what updates them


def experiment(c: Config, s: Setting, m: Method) -> Experiment:
  """The method on the setting.

  Raises: ValueError for a method that reads answers on tasks without.
  """
  if m.answers and not s.answered:
    raise ValueError(
      f'this method reads answers, but tasks of {s.domain.name} have none; take a method without answers, such as '
      'experiments/methods/majority_vote.py, or give the tasks answers'
    )
  optimizer = m.optimizer or s.optimizer
  generate = m.generate or explore(
    s.model, s.codec, group_size=c.group_size, max_prompt=s.max_prompt, max_new=s.max_new,
    prompt_widths=s.prompt_widths, sampler=s.sampler, decode=s.decode,
  )  # fmt: skip
  policy = Learner(
    model=s.model,
    params=s.params,
    optimizer=optimizer,
    reference=s.reference or m.reference or m.from_reference or c.kl > 0,
    refresh=m.refresh,
  )
  reward = m.reward or s.domain.rewarded
  if m.answers:  # what selectors and monitors read, whatever is rewarded
    reward = rewards.watched(reward, 'correct', s.domain.verify)
  evaluate = s.evaluate(m.answers)
  if m.evaluate is not None or m.evaluators:
    evaluate = evaluator(m.evaluate, **{'setting': evaluate, **m.evaluators})
  return Experiment(
    config=c,
    learners={'policy': policy, **m.learners},
    acquire=acquirer(m.acquire or (s.acquire if m.answers else s.unanswered), **m.acquirers),
    selector=m.selector or s.selector,
    step=gro.make_step(
      generate,
      reward,
      make_optimize(
        s.model,
        optimizer,
        m.credit,
        objectives.add(m.objective, (c.kl, objectives.kl())),
        epochs=c.epochs,
        minibatches=c.minibatches,
        pieces=Pieces(microbatches=c.microbatches, rows=c.rows, widths=c.widths),
        sampler=s.sampler,
        from_reference=m.from_reference,
        parts=m.parts,
      ),
      keep=m.keep,
      slices=c.slices,
      others=m.others,
    ),
    evaluate=evaluate,
    steer=m.steer or s.steer,
    measured={'heldout': s.heldout},
  )


# ---------------------------------------------------------------- what a file calls build


@dataclasses.dataclass(frozen=True, kw_only=True)
class Recipe:
  """(config) -> Experiment of a method on a setting, and how the config of a run is put together.

  Numbers come, each overriding the one before, from the setting, from the method's Config, with debug=true from the
  setting's small ones, and from the command line. So config.json is complete.
  """

  setting: Callable[[Any], Setting]  # (config) -> Setting
  method: Callable[[Any, Setting], Method]
  # (config with task and model) -> (the setting's numbers, a subclass of Config; its small numbers by name)
  numbers: Callable[[Config], tuple[type[Config], Mapping[str, Any]]]
  small: Mapping[str, Any] = dataclasses.field(default_factory=dict)  # of the method, in debug runs
  changes: Mapping[str, Any] = dataclasses.field(default_factory=dict)  # fields of the Method
  summary: Callable[[Sequence[Report]], str] | None = None  # of a finished run
  # (config) -> Domain of the file's own, whose name is then the run's task; None: config.task names one
  domain: Callable[[Any], Domain] | None = None

  def __call__(self, c) -> Experiment:
    """The experiment. Raises ValueError for a method that cannot work on the setting."""
    return self.put_on(c, self.setting(c))

  def put_on(self, c, setting: Setting) -> Experiment:
    """The method on a setting that was built already."""
    preflight.check(setting)
    method = dataclasses.replace(self.method(c, setting), **self.changes)
    return experiment(c, setting, method)

  def configured(self, kind: type[Config], assignments: Sequence[str] = ()) -> Config:
    """The numbers of a run. Args: kind: the file's Config; assignments: such as 'task=chains' and 'lr=1e-3'.

    Raises: ValueError for an unknown name, or a value of another type.
    """
    first = [a for a in assignments if a.split('=')[0].strip() in ('task', 'model', 'debug')]
    chosen = configs.override(kind(), first)
    if chosen.debug and not any(a.split('=')[0].strip() == 'model' for a in first):
      chosen = dataclasses.replace(chosen, model='toy')
    numbers, small = self.numbers(chosen)
    c = on_top(kind, numbers)(task=chosen.task, model=chosen.model, debug=chosen.debug)
    if c.debug:
      c = dataclasses.replace(c, **{**small, **self.small})
    c = configs.override(c, assignments)
    return c if self.domain is None else self._named(self.domain(c).name, c, first)

  def _named(self, name, c, first):
    """The config with the own domain's name as its task. Raises ValueError where another task was asked for."""
    if any(a.split('=')[0].strip() == 'task' for a in first) and c.task != name:
      raise ValueError(f'task={c.task}: this file brings its own tasks, {name}; leave task out')
    return dataclasses.replace(c, task=name)


def on_top(kind: type[Config], numbers: type[Config]) -> type[Config]:
  """The numbers class with the fields that `kind` and its bases up to Config state themselves, their values winning."""
  stated = {}
  for base in reversed(kind.__mro__):
    if issubclass(base, Config) and base is not Config:
      stated |= inspect.get_annotations(base, eval_str=True)
  fields = {field.name: field for field in dataclasses.fields(kind)}
  return dataclasses.make_dataclass(
    'Config',
    [
      (name, hint, dataclasses.field(default=fields[name].default)) for name, hint in stated.items()
    ],
    bases=(numbers,),
    frozen=True,
    kw_only=True,
  )
