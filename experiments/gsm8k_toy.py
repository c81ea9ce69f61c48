r"""What gsm8k_grpo uses in place of GSM8K and of pretrained weights when it must run in a minute, offline.

Generated questions, written as a GSM8K folder so that the same reader reads them; a small decoder of bytes; and a warm
start that teaches it to answer '\boxed{7}', so that some answers of a group are right and others wrong.
"""

import dataclasses
import json
import pathlib

from experiments import common
from sirl import gro, models, rewards
from sirl.acquisition import once, procedural
from sirl.domains import mathematics
from sirl.evaluation import benchmarks, steering
from sirl.experiment import Experiment
from sirl.generation import demonstrate, make_ask
from sirl.models import tokenizer
from sirl.ops import keys
from sirl.optimization import advantages, make_optimize, objectives, transforms
from sirl.selection import selectors

QUESTION = 'Tom has {a} nuts. He gets {b}. How many?'


def write_folder(folder):
  """Writes train.jsonl and test.jsonl: sums of one-digit numbers as questions, with a line of reasoning in the answer."""
  generator = mathematics.addition(digits=1, template=QUESTION)
  test = procedural.fixed_set(generator, n=16, seed=0, namespace='heldout')
  train = procedural.fixed_set(generator, n=64, seed=0, namespace='train', exclude=test)
  for split, tasks in (('train', train), ('test', test)):
    rows = [
      {
        'question': task.prompt,
        'answer': f'{task.meta["a"]} + {task.meta["b"]}\n#### {task.answer}',
      }
      for task in tasks
    ]
    (pathlib.Path(folder) / f'{split}.jsonl').write_text(
      ''.join(json.dumps(row) + '\n' for row in rows)
    )


def load(c, tasks, constrain):
  """(Model, warm start as params, Codec) of a small decoder of bytes."""
  codec = tokenizer.bytes_codec()
  small = models.preset('toy', vocab=codec.vocab, width=64, layers=2, heads=2, kv_heads=1, ffw=192)
  model = models.build(small, constrain=constrain)
  return model, warm_start(c, model, codec, tasks), codec


def warm_start(c, model, codec, tasks) -> Experiment:
  """Supervised learning of boxed answers to the training questions, one round of 60 steps."""
  optimizer = transforms.adamw(5e-3, warmup=5)
  boxed = [dataclasses.replace(task, answer=f'\\boxed{{{task.answer}}}') for task in tasks]
  ask = make_ask(model, codec, max_prompt=c.max_prompt, max_new=c.max_new, batch=8)
  return Experiment(
    config=dataclasses.replace(
      c, max_rounds=1, steps_per_round=60, checkpoint_every=60, prompts=16
    ),
    model=model,
    params=model.init(keys.at(c.seed, 'init')),
    optimizer=optimizer,
    acquire=once(boxed),
    selector=selectors.uniform(),
    step=gro.make_step(
      generate=demonstrate(codec, max_prompt=c.max_prompt, max_new=c.max_new),
      reward=rewards.per_completion(common.demonstrated, workers=1),
      optimize=make_optimize(model, optimizer, advantages.raw, objectives.nll()),
    ),
    evaluate=benchmarks.sampled('warm', tasks[:8], mathematics.correct, ask, samples=4, ks=(1,)),
    steer=steering.stop_if_not_finite(),
  )
