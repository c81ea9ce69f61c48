"""GRPO on a real pretrained model: SmolLM2-135M-Instruct learns two-digit addition and to reply with the equation alone.

  sirl fetch smollm2-135m-instruct weights/smollm2-135m-instruct
  sirl run experiments/smollm2_addition.py [--set model=FOLDER_OR_HUB_NAME] [--set debug=true]

The reward is 1 for the right number as the last integer of the reply, plus 0.5 when the reply is one equation, 25 + 38 = 63, and
nothing else. Any Hugging Face folder, hub name or .gguf file works the same way. Hardware: 2 CPU cores, 12 GB, half an hour to an hour.

Source: GRPO, Shao et al. 2024 (arXiv 2402.03300). Differs: no KL; one update per rollout, so plain policy gradient; short replies.
"""

import dataclasses
import functools
import pathlib
import re

from experiments import common
from sirl import config, gro, models, rewards
from sirl.acquisition import procedural
from sirl.domains import answers, mathematics
from sirl.evaluation import benchmarks, monitors, steering
from sirl.experiment import Experiment
from sirl.generation import explore, greedy, make_ask
from sirl.generation.engine import sampling
from sirl.models import tokenizer
from sirl.models.files import pretrained
from sirl.ops import keys
from sirl.optimization import advantages, make_optimize, objectives, transforms
from sirl.selection import adaptive

TASK = mathematics.addition(digits=2, template='What is {a} + {b}? Reply with the equation only.')
CORRECT = functools.partial(mathematics.correct, extract=answers.last_integer)


def equation(task, text):
  """1 if the reply is the sum that was asked for, as `25 + 38 = 63`, and nothing else, whatever comes out; else 0.

  The number alone would be shorter, but the model gets that right once in 500 (of the replies that begin with a digit), and what it
  never does right a reward cannot strengthen.
  """
  a, b = re.findall('[0-9]+', task.prompt)
  return float(re.fullmatch(rf'{a} \+ {b} = [0-9]+', text.strip()) is not None)


REWARD = rewards.weighted(
  correct=(1.0, rewards.per_completion(CORRECT, workers=1)),
  format=(0.5, rewards.per_completion(equation, workers=1)),
)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Config(config.Base):
  """Numbers of the run; each can be set with --set NAME=VALUE."""

  model: str = (
    'weights/smollm2-135m-instruct'  # folder, hub name or .gguf file; 'toy' is a tiny random model
  )
  max_rounds: int = 6
  steps_per_round: int = 10
  checkpoint_every: int = 5
  prompts: int = 8  # P
  group_size: int = 8  # G
  max_prompt: int = 56  # tokens; the chat template with its system turn takes about 46
  max_new: int = 32  # tokens
  temperature: float = 0.8
  lr: float = 1e-5
  rows: int = 16  # completions that the learner computes at once
  acquired: int = 200  # new sums per round
  heldout: int = 200
  samples: int = 8  # per held-out sum
  max_logp_gap: float = 1e-4  # nats: 30 layers and 49k tokens of float32 rounding


def shrink(c: Config) -> Config:
  """A minute on a laptop: a tiny random model that reads bytes, nothing to fetch."""
  return dataclasses.replace(
    c, model='toy', max_rounds=2, steps_per_round=2, checkpoint_every=1, prompts=4, group_size=4, max_new=4, acquired=8,
    heldout=8, samples=2, rows=4,
  )  # fmt: skip


def build(
  c: Config, *, reward=REWARD, advantage=advantages.normalized, objective=None
) -> Experiment:
  """The experiment, with its main choices as keywords."""
  model, params, codec = policy(c)
  optimizer = transforms.adamw(c.lr, warmup=5)
  heldout = procedural.fixed_set(TASK, n=c.heldout, seed=0, namespace='heldout')
  texts = functools.partial(
    dict, max_prompt=c.max_prompt, max_new=c.max_new, batch=min(20, c.heldout)
  )
  sampler = sampling.sampler(temperature=c.temperature)
  ask = make_ask(model, codec, sampler=sampler, **texts())
  ask_greedy = greedy(model, codec, **texts())

  return Experiment(
    config=c,
    model=model,
    params=params,
    optimizer=optimizer,
    acquire=procedural.procedural(TASK, per_round=c.acquired, exclude=heldout),
    selector=adaptive.success_rate(target=0.5, decay=0.95),
    step=gro.make_step(
      generate=explore(
        model,
        codec,
        group_size=c.group_size,
        max_prompt=c.max_prompt,
        max_new=c.max_new,
        sampler=sampler,
      ),
      reward=reward,
      optimize=make_optimize(
        model,
        optimizer,
        advantage,
        objective or objectives.policy_gradient(),
        rows=c.rows,
        widths=(max(1, c.max_new // 3),),
        sampler=sampler,
      ),
    ),
    evaluate=benchmarks.merge(
      benchmarks.sampled(
        'heldout',
        heldout,
        CORRECT,
        ask,
        samples=c.samples,
        ks=(1, c.samples),
        extract=answers.last_integer,
      ),
      benchmarks.greedy('heldout', heldout, CORRECT, ask_greedy),
      monitors.standard(CORRECT),
    ),
    steer=steering.first_of(
      steering.stop_if_not_finite(),
      steering.rollback_if_regressed('heldout/pass@1', sems=4.0),
      steering.stop_when_reached('heldout/pass@1', above=0.95),
    ),
  )


def policy(c: Config):
  """(model, params, codec) of a pretrained folder, or the tiny random model of a debug run."""
  if c.model == 'toy':
    codec = tokenizer.bytes_codec()
    model = models.build(models.preset('toy', vocab=codec.vocab, width=32, layers=2, head_width=8))
    return model, model.init(keys.at(c.seed, 'init')), codec
  if c.model == Config.model and not pathlib.Path(c.model).exists():
    raise FileNotFoundError(
      f'{c.model} is missing; run: sirl fetch smollm2-135m-instruct {c.model}'
    )
  model, params, _ = pretrained.load(c.model)
  codec = tokenizer.pretrained(c.model)
  return model, params, codec


summary = common.before_and_after
