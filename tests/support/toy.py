"""A whole experiment on the tabular model: every stage real, a second to run."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np

from sirl import config, gro, rewards
from sirl.acquisition import acquirer
from sirl.evaluation import evaluator
from sirl.experiment import Experiment, Learner
from sirl.generation import explore, make_ask
from sirl.generation.engine import sampling
from sirl.models import tabular, tokenizer
from sirl.optimization import advantages, by_group, make_optimize, objectives, reference, transforms
from sirl.selection import adaptive
from sirl.slots import Acquirer, Evaluator
from sirl.tasks import Task

CODEC = tokenizer.characters('ab')
MODEL = tabular.tabular(CODEC.vocab, 4)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Config(config.Base):
  max_rounds: int = 4
  steps_per_round: int = 4
  checkpoint_every: int = 2
  prompts: int = 4
  group_size: int = 4
  lr: float = 0.3
  temperature: float = 1.0  # of the sampler; the learner's stays 1


def tasks(n):
  """Prompts 'a' and 'b' alternate; many tasks share a prompt, their ids differ."""
  return [Task(id=f'toy-{i}', prompt='ab'[i % 2], answer='ba'[i % 2]) for i in range(n)]


def correct(task, text):
  return float(text == task.answer)


def acquire(weights, pool, context):
  start = 4 * (context.round + int(10 * context.difficulty))
  return tasks(start + 4)[start:]


def measured(name, ask):
  """An evaluator named `name`: the share of right answers to 'a' and 'b'."""

  def evaluate(weights, record, context):
    texts = ask(weights, ['a', 'b'], context.key, 32)
    scores = np.asarray([[t == answer for t in row] for row, answer in zip(texts, 'ba')], float)
    return {name: scores.mean(), f'{name}_sem': scores.std() / 8, 'monitor/pool': len(record.pool)}

  return evaluate


def build(
  c: Config,
  *,
  steer=lambda reports: None,
  reward=None,
  on_step=lambda: None,
  params=None,
  model=MODEL,
  others=None,
):
  """The experiment; `on_step` is called before every GRO step, to count or to interrupt."""
  optimizer = transforms.adamw(c.lr)
  ask = make_ask(model, CODEC, max_prompt=1, max_new=2, batch=4)
  step = gro.make_step(
    generate=explore(
      model,
      CODEC,
      group_size=c.group_size,
      max_prompt=1,
      max_new=2,
      sampler=sampling.sampler(temperature=c.temperature),
    ),
    reward=reward or rewards.per_completion(correct, workers=2),
    optimize=update_of(model, optimizer),
    others=others,
  )

  def interruptible(learners, batch, key):
    on_step()
    return step(learners, batch, key)

  policy = Learner(
    model=model,
    params=model.init(jax.random.key(c.seed)) if params is None else params,
    optimizer=optimizer,
    reference=True,
    refresh=reference.never,
  )
  return Experiment(
    config=c,
    learners={'policy': policy},
    acquire=acquirer(acquire),
    selector=adaptive.success_rate(capacity=64),
    step=interruptible,
    evaluate=evaluator(measured('heldout/pass@1', ask)),
    steer=steer,
  )


def update_of(model, optimizer):
  return make_optimize(
    model,
    optimizer,
    by_group(advantages.centered),
    objectives.add(objectives.clipped(), (0.01, objectives.kl())),
  )


# ---------------------------------------------------------------- all that a run can carry

# The table is the sum of two, of which only 'delta' is trained.
SPLIT = MODEL._replace(
  init=lambda key: {
    'base': MODEL.init(key),
    'delta': jax.tree.map(jnp.zeros_like, MODEL.init(key)),
  },
  hidden=lambda params, *rest, **more: MODEL.hidden(
    jax.tree.map(jnp.add, params['base'], params['delta']), *rest, **more
  ),
)


def build_whole(c: Config, *, params=None, **options):
  """`build` with everything that a run can carry.

  These are frozen weights, a second learner with a reference of its own, and stages with memory.
  """
  optimizer = transforms.adamw(c.lr)
  weights = SPLIT.init(jax.random.key(c.seed))
  base = build(
    c,
    model=SPLIT,
    params={'delta': weights['delta']} if params is None else params,
    others={'twin': update_of(MODEL, optimizer)},
    **options,
  )
  policy = dataclasses.replace(base.policy, frozen={'base': weights['base']})
  twin = Learner(
    model=MODEL,
    params=MODEL.init(jax.random.key(c.seed + 1)),
    optimizer=optimizer,
    reference=True,
    refresh=reference.ema(0.5),
  )
  ask = lambda model, of: make_ask(model, CODEC, max_prompt=1, max_new=2, batch=4, of=of)
  return dataclasses.replace(
    base,
    learners={'policy': policy, 'twin': twin},
    acquire=acquirer(acquire, extra=counting()),
    evaluate=evaluator(
      measured('heldout/pass@1', ask(SPLIT, 'policy')),
      twin=past_scores('twin', ask(MODEL, 'twin')),
      reference=past_scores('twin_reference', ask(MODEL, 'twin/reference')),
    ),
  )


def counting() -> Acquirer:
  """One task a round, whose id holds the number of calls. The memory is {'calls': n}."""

  def found(memory, weights, pool, context):
    calls = memory['calls'] + 1
    task = Task(id=f'extra-{context.round}-{calls}', prompt='ab'[calls % 2], answer='ba'[calls % 2])
    return [task], {'calls': calls}

  return Acquirer(lambda: {'calls': 0}, found)


def past_scores(name, ask) -> Evaluator:
  """The mean of all scores so far. The memory is {'scores': one of every round}."""

  def evaluate(memory, weights, record, context):
    score = float(measured('score', ask)(weights, record, context)['score'])
    scores = [*memory['scores'], score]
    return {f'monitor/{name}': sum(scores) / len(scores)}, {'scores': scores}

  return Evaluator(lambda: {'scores': []}, evaluate)
