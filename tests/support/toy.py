"""A whole experiment on the tabular model: every stage real, a second to run."""

import dataclasses

import jax
import numpy as np

from sirl import config, gro, rewards
from sirl.experiment import Experiment
from sirl.generation import explore, make_ask
from sirl.generation.engine import sampling
from sirl.models import tabular, tokenizer
from sirl.optimization import advantages, make_optimize, objectives, reference, transforms
from sirl.selection import adaptive
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


def build(c: Config, *, steer=lambda reports: None, reward=None, on_step=lambda: None, params=None):
  """The experiment; `on_step` is called before every GRO step, to count or to interrupt."""
  optimizer = transforms.adamw(c.lr)
  ask = make_ask(MODEL, CODEC, max_prompt=1, max_new=2, batch=4)
  step = gro.make_step(
    generate=explore(
      MODEL,
      CODEC,
      group_size=c.group_size,
      max_prompt=1,
      max_new=2,
      sampler=sampling.sampler(temperature=c.temperature),
    ),
    reward=reward or rewards.per_completion(correct, workers=2),
    optimize=make_optimize(
      MODEL,
      optimizer,
      advantages.centered,
      objectives.add(objectives.clipped(), (0.01, objectives.kl())),
    ),
  )

  def interruptible(state, batch, key):
    on_step()
    return step(state, batch, key)

  def acquire(params, pool, context):
    start = 4 * (context.round + int(10 * context.difficulty))
    return tasks(start + 4)[start:]

  def evaluate(params, record, context):
    texts = ask(params, ['a', 'b'], context.key, 32)
    scores = np.asarray([[t == answer for t in row] for row, answer in zip(texts, 'ba')], float)
    return {
      'heldout/pass@1': scores.mean(),
      'heldout/pass@1_sem': scores.std() / 8,
      'monitor/pool': len(record.pool),
    }

  return Experiment(
    config=c,
    model=MODEL,
    params=MODEL.init(jax.random.key(c.seed)) if params is None else params,
    optimizer=optimizer,
    acquire=acquire,
    selector=adaptive.success_rate(capacity=64),
    step=interruptible,
    evaluate=evaluate,
    steer=steer,
    reference=True,
    refresh=reference.never,
  )
