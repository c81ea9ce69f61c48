"""Recipe: puts a method on a setting, which makes an experiment.

  Domain    the tasks, and how an answer is checked
  Setting   what all compared methods share: domain, model, codec, limits, measurements, rules
  Method    what differs: generate, reward, keep, credit, objective

`experiment` puts a method on a setting. A `Recipe` is the `build` of an experiment file: it also
puts the file's numbers on top of the setting's. Where a method chooses nothing, the setting's
choice applies.
"""

import dataclasses
import functools
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from sirl import config as configs
from sirl import gro, names, preflight, ranges, rewards, slots
from sirl.acquisition import acquirer, procedural
from sirl.domains import answers, mathematics
from sirl.evaluation import evaluator
from sirl.experiment import Experiment, Learner
from sirl.generation import explore
from sirl.models import tokenizer
from sirl.optimization import Pieces, make_optimize, objectives
from sirl.overlap import slice_numbers
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
  Same,
  Selector,
  Verify,
)
from sirl.tasks import Task
from sirl.types import Codec, Model, Params, Report, Sampler


@dataclasses.dataclass(frozen=True, kw_only=True)
class Config(configs.Base):
  """The numbers that every recipe has.

  A setting adds its own. A method overrides those that it states.
  """

  task: str = 'addition'  # a name in settings.TASKS
  model: str = 'toy'  # a name in settings.MODELS, a folder, a .gguf file or a hub name
  group_size: ranges.Count = 8  # G, completions of one task
  max_prompt: ranges.Count = 64  # tokens
  max_new: ranges.Count = 32  # tokens, the end token included
  temperature: ranges.Positive = 1.0  # of sampling, in training and in evaluation
  lr: ranges.NotNegative = 1e-5
  kl: ranges.NotNegative = 0.0  # weight of KL to the starting weights
  epochs: ranges.Count = 1  # passes over the rollouts of a step
  minibatches: ranges.Count = 1  # updates per pass
  heldout: ranges.Count = 200  # tasks that nothing trains on
  samples: ranges.Count = 8  # completions of each held-out task
  # These change the speed, not the result; docs/speed.md says when each pays off.
  microbatches: ranges.Count = 1  # parts of a minibatch whose gradients are added
  rows: ranges.Count | None = None  # completions per forward pass of the learner, longest first
  widths: tuple[ranges.Count, ...] = ()  # completion columns to which short completions are cut
  # of weights that mesh.fsdp splits: keys of `passes.GATHER` and `arrangement.LIE`
  gather: str = 'auto'  # how often the update gathers them
  decode_weights: str = 'auto'  # how they lie while decoding
  slices: ranges.Count = 1  # parts of a batch, to overlap generation with slow rewards


@names.by_name()
@dataclasses.dataclass(frozen=True, kw_only=True)
class Domain:
  """Tasks and the check of their answers. Tasks come from a generator or from finished lists."""

  name: str
  # (rng, index, difficulty) -> Task, see `acquisition.procedural`
  generator: Callable[..., Task] | None = None
  # {'train': tasks, 'heldout': tasks}, in place of a generator
  splits: Mapping[str, Sequence[Task]] | None = None
  extract: Extract = answers.exact  # text -> answer or None
  same: Same = answers.same  # whether two answers are one in a vote
  # (task, text) -> 1 right, 0 wrong; None compares the extracted answer with the task's
  correct: Verify | None = None
  reward: Reward | None = None  # None: the part `correct`, 1 or 0
  # the text that a demonstration teaches
  solution: Callable[[Task], str | None] = lambda task: task.answer
  check: Verify | None = None  # an imperfect check that reads no answer, for best-of-n
  # Characters of prompts and answers, for a model trained from scratch; None: it reads bytes.
  alphabet: str | None = None
  # Trivial policies {name: task -> text}; `sirl tasks` shows how often they are right.
  baselines: Mapping[str, Callable[[Task], str]] = dataclasses.field(default_factory=dict)
  env: Any = None  # environment of an interactive domain

  def __post_init__(self):
    """Raises ValueError for a value of another form, and unless there is one source of tasks."""
    if (self.generator is None) == (self.splits is None):
      raise ValueError(f'domain {self.name}: expected generator= or splits=, exactly one of them')
    slots.check_domain(self)

  def tasks(
    self, namespace: str, n: int, exclude: Sequence[Task] = (), *, fewer: bool = False
  ) -> list[Task]:
    """n distinct tasks that depend only on the arguments; at most n from a split.

    Args: fewer: True lets a generator with fewer than n tasks return what it has.
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
    """`correct`, or a function that compares the extracted answer with the task's."""
    return self.correct or functools.partial(mathematics.correct, extract=self.extract)

  @property
  def rewarded(self) -> Reward:
    """`reward`, or a reward with the single part `correct`."""
    return self.reward or rewards.weighted(
      correct=(1.0, rewards.per_completion(self.verify, workers=1))
    )


@names.by_name()
@dataclasses.dataclass(frozen=True, kw_only=True)
class Setting:
  """What all compared methods share."""

  domain: Domain
  model: Model
  params: Params | Experiment  # weights, or the warm start that trains them
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
  # (whether the method sees answers) -> the Evaluator that runs after every round
  evaluate: Callable[[bool], Evaluator]
  steer: Rule
  answered: bool = True  # whether the tasks have answers at all
  reference: bool = False  # keep the starting weights, to measure KL
  frozen: Params | None = None  # the untrained part of the model's tree, see TrainState
  prompt_widths: Sequence[int] = ()


@names.by_name()
@dataclasses.dataclass(frozen=True, kw_only=True)
class Method:
  """What differs between methods. None takes the setting's choice."""

  credit: Credit
  objective: Objective
  generate: Generate | None = None  # None: explore
  reward: Reward | None = None
  keep: Keep = gro.everything
  acquire: Acquire | None = None
  # sources with memory, in addition to `acquire`
  acquirers: Mapping[str, Acquirer] = dataclasses.field(default_factory=dict)
  selector: Selector | None = None
  evaluate: Evaluate | None = None  # in addition to the setting's evaluator
  evaluators: Mapping[str, Evaluator] = dataclasses.field(default_factory=dict)  # with memory
  steer: Rule | None = None
  optimizer: Any = None
  sampler: Sampler | None = None  # of the learner's log-probs, where nothing is sampled
  teachers: Mapping[str, Params] = dataclasses.field(default_factory=dict)  # see Learner.others
  answers: bool = True  # whether the method reads answers; False removes them from its tasks
  reference: bool = False  # keep the starting weights; kl > 0 keeps them in any case
  refresh: Refresh | None = None
  from_reference: bool = False  # each step restarts from the reference, see make_optimize
  parts: Sequence[str] = ()  # parts of the reward that credit and objective read
  # learners in addition to the policy, and their updates
  learners: Mapping[str, Learner] = dataclasses.field(default_factory=dict)
  others: Mapping[str, Optimize] = dataclasses.field(default_factory=dict)


def experiment(c: Config, s: Setting, m: Method) -> Experiment:
  """Puts the method on the setting.

  Raises: ValueError for a method that reads answers, on tasks without answers.
  """
  if m.answers and not s.answered:
    raise ValueError(
      f'this method reads answers, but tasks of {s.domain.name} have none; take a method without '
      'answers, such as experiments/methods/majority_vote.py, or give the tasks answers'
    )
  slots.check_method(m)
  slots.check_mapping('learners', m.learners, Learner, 'a Learner')
  generate = m.generate or explore(
    s.model, s.codec, group_size=c.group_size, max_prompt=s.max_prompt, max_new=s.max_new,
    prompt_widths=s.prompt_widths, sampler=s.sampler, decode=s.decode,
  )  # fmt: skip
  policy = policy_of(c, s, m)
  reward = m.reward or s.domain.rewarded
  own = m.reward or s.domain.reward
  fails = preflight.check_reward(own, s) if own and m.answers and m.generate is None else None
  if m.answers:  # selectors and monitors read the part `correct`, whatever the reward is
    reward = rewards.watched(reward, 'correct', s.domain.verify)
  evaluate = s.evaluate(m.answers)
  own_evaluate = evaluator(m.evaluate, **m.evaluators)
  if m.evaluate is not None or m.evaluators:
    evaluate = evaluator(m.evaluate, **{'setting': evaluate, **m.evaluators})
  optimize = update_of(c, s, m)
  slice_numbers(c.prompts, c.slices, shards=1)  # raises where they do not divide
  learners = {'policy': policy, **m.learners}
  acquire = acquirer(m.acquire or (s.acquire if m.answers else s.unanswered), **m.acquirers)
  selector, steer = m.selector or s.selector, m.steer or s.steer
  choices = preflight.Choices(
    config=c, setting=s, generate=generate, reward=reward, keep=m.keep,
    updates={'policy': optimize, **m.others}, objective=m.objective, credit=m.credit,
    acquire=acquire, selector=selector, evaluators=(evaluate, own_evaluate), steer=steer,
    weights=gro.starting_weights(learners), parts=m.parts, fails=fails,
  )  # fmt: skip
  return Experiment(
    config=c,
    learners=learners,
    acquire=acquire,
    selector=selector,
    step=gro.make_step(generate, reward, optimize, keep=m.keep, slices=c.slices, others=m.others),
    evaluate=evaluate,
    steer=steer,
    measured={'heldout': s.heldout},
    training={'train': s.domain.splits['train']} if s.domain.splits and not m.acquire else {},
    prompts=tokenizer.identity(s.codec, s.heldout),
    trial=functools.partial(preflight.run, choices),
  )


def policy_of(c: Config, s: Setting, m: Method) -> Learner:
  """The learner whose weights generate."""
  return Learner(
    model=s.model, params=s.params, optimizer=m.optimizer or s.optimizer, refresh=m.refresh,
    reference=s.reference or m.reference or m.from_reference or c.kl > 0,
    frozen=s.frozen, others=m.teachers,
  )  # fmt: skip


def update_of(c: Config, s: Setting, m: Method) -> Optimize:
  """The policy's update."""
  return make_optimize(
    s.model, m.optimizer or s.optimizer, m.credit,
    objectives.add(m.objective, (c.kl, objectives.kl())),
    epochs=c.epochs, minibatches=c.minibatches,
    pieces=Pieces(microbatches=c.microbatches, rows=c.rows, widths=c.widths, gather=c.gather),
    sampler=m.sampler or s.sampler, scored_by=('reference', *m.teachers),
    from_reference=m.from_reference, parts=m.parts,
  )  # fmt: skip


# ---------------------------------------------------------------- the build of a file


@names.by_name()
@dataclasses.dataclass(frozen=True, kw_only=True)
class Recipe:
  """A function (config) -> Experiment that also assembles the config of a run.

  Numbers come from these sources, each overriding the one before: the setting, the method's Config,
  the small numbers of setting and method (with debug=true), and the command line. So config.json is
  complete.
  """

  setting: Callable[[Any], Setting]  # (config) -> Setting
  method: Callable[[Any, Setting], Method]
  # (config with task and model) -> (the setting's subclass of Config, {name: small number})
  numbers: Callable[[Config], tuple[type[Config], Mapping[str, Any]]]
  # the method's small numbers, for debug runs
  small: Mapping[str, Any] = dataclasses.field(default_factory=dict)
  # {field of Method: its new value}
  changes: Mapping[str, Any] = dataclasses.field(default_factory=dict)
  summary: Callable[[Sequence[Report]], str] | None = None  # text about a finished run
  # (config) -> Setting with shapes in place of weights, for `sirl plan`; None: `setting` makes one
  sketch: Callable[[Any], Setting] | None = None
  # (config) -> the file's own Domain, whose name becomes the task; None: config.task names one
  domain: Callable[[Any], Domain] | None = None

  def __post_init__(self):
    """Raises ValueError for a function of another form."""
    for slot in ('setting', 'method', 'domain', 'summary'):
      if (fn := getattr(self, slot)) is not None:
        slots.check_function(slot, fn)

  def __call__(self, c) -> Experiment:
    """Builds the experiment. Raises ValueError for a method that cannot work on the setting."""
    return self.put_on(c, slots.checked_result('setting', self.setting(c), Setting))

  def method_on(self, c, setting: Setting) -> Method:
    """The method with the changes of the file."""
    return dataclasses.replace(
      slots.checked_result('method', self.method(c, setting), Method), **self.changes
    )

  def put_on(self, c, setting: Setting) -> Experiment:
    """Puts the method on a setting that is already built."""
    preflight.check(setting)
    return experiment(c, setting, self.method_on(c, setting))

  def configured(self, kind: type[Config], assignments: Sequence[str] = ()) -> Config:
    """Assembles the numbers of a run.

    Args:
      kind: the file's Config.
      assignments: such as 'task=chains' and 'lr=1e-3'.
    Raises: ValueError for an unknown name, a value of another type, or a task that the file
      excludes.
    """
    first = configs.setting(assignments, ('task', 'model', 'debug'))
    chosen = configs.override(kind(), first)
    if chosen.debug and not configs.setting(first, ('model',)):
      chosen = dataclasses.replace(chosen, model='toy')
    numbers, small = self.numbers(chosen)
    c = configs.on_top(kind, numbers, Config)(
      task=chosen.task, model=chosen.model, debug=chosen.debug
    )
    owner = f'Config (task={c.task}, model={c.model})'
    names.check(self.small, [field.name for field in dataclasses.fields(c)], f'small: {owner}')
    if c.debug:
      c = dataclasses.replace(c, **{**small, **self.small})
    c = configs.override(c, assignments, owner)
    if self.domain is None:
      return c
    return self._named(slots.checked_result('domain', self.domain(c), Domain).name, c, first)

  def _named(self, name, c, first):
    """The config with the name of the file's own domain as its task.

    Raises ValueError if the assignments name another task.
    """
    if configs.setting(first, ('task',)) and c.task != name:
      raise ValueError(f'task={c.task}: this file brings its own tasks, {name}; leave task out')
    return dataclasses.replace(c, task=name)
