"""Default numbers of the settings: sums or text questions, on a toy or a pretrained model.

A method's Config overrides these numbers. With debug=true, SMALL replaces some of them. `--set`
overrides everything.
"""

import dataclasses

from sirl import config, ranges, recipe

ALL_SPLIT = config.Mesh(data=1, fsdp=-1)  # weights over all devices


@dataclasses.dataclass(frozen=True, kw_only=True)
class Toy(recipe.Config):
  """Sums on a model trained from nothing: 0.6M parameters, about 4 minutes on 2 CPU cores."""

  max_rounds: ranges.Natural = 12
  steps_per_round: ranges.Count = 40
  checkpoint_every: ranges.Count = 10
  prompts: ranges.Count = 64
  group_size: ranges.Count = 8
  max_prompt: ranges.Count = 6  # tokens: '99+99='
  max_new: ranges.Count = 5  # tokens: '198' and the end token, one to spare
  lr: ranges.NotNegative = 5e-4  # falls linearly to 0 over lr_steps; constant if lr_steps is 0
  lr_steps: ranges.Natural = 480
  warmup: ranges.Natural = 10  # steps over which lr rises
  acquired: ranges.Count = 560  # new tasks per round
  heldout: ranges.Count = 250
  digits: ranges.Count = 2  # of task=addition
  terms: ranges.Count = 3  # of task=chains
  width: ranges.Count = 128
  layers: ranges.Count = 3
  warm_goal: ranges.Share = 0.28  # accuracy at which the warm start ends
  warm_rounds: ranges.Natural = 20  # at most, each of 30 steps
  warm_tasks: ranges.Count = 4000  # demonstrations of the warm start, at most
  warm_prompts: ranges.Count = 64
  warm_lr: ranges.NotNegative = 1e-3


@dataclasses.dataclass(frozen=True, kw_only=True)
class ToyText(Toy):
  """Text questions on a byte-level model trained from nothing.

  It shows that everything runs; the model learns little.
  """

  # of task=gsm8k: a folder, generated questions if empty; of task=jsonl: a file
  data: str = ''
  question: str = 'question'  # fields of the rows in data
  answer: str = 'answer'
  parse: str = 'auto'  # how an answer is read: a key of questions.PARSES, or by the first row
  unanswered: bool = False  # whether rows may lack an answer while others have one
  prompts: ranges.Count = 16
  max_prompt: ranges.Count = 128
  max_new: ranges.Count = 12
  lr: ranges.NotNegative = 1e-4
  heldout: ranges.Count = 16
  samples: ranges.Count = 4
  width: ranges.Count = 64
  layers: ranges.Count = 2
  warm_rounds: ranges.Natural = 4
  warm_prompts: ranges.Count = 16
  warm_lr: ranges.NotNegative = 5e-3


@dataclasses.dataclass(frozen=True, kw_only=True)
class Pretrained(recipe.Config):
  """Sums on a small pretrained model: half an hour to an hour on 2 CPU cores with 12 GB."""

  max_rounds: ranges.Natural = 6
  steps_per_round: ranges.Count = 10
  checkpoint_every: ranges.Count = 5
  prompts: ranges.Count = 8
  group_size: ranges.Count = 8
  max_prompt: ranges.Count = 56  # tokens; SmolLM2's template with its system turn has about 46
  max_new: ranges.Count = 32
  temperature: ranges.Positive = 0.8
  lr: ranges.NotNegative = 1e-5
  lr_steps: ranges.Natural = 0
  warmup: ranges.Natural = 5
  rows: ranges.Count | None = 16
  widths: tuple[ranges.Count, ...] = (10,)
  acquired: ranges.Count = 200
  heldout: ranges.Count = 200
  digits: ranges.Count = 2
  terms: ranges.Count = 3
  dtype: str = 'float32'  # of the computation; weights and optimizer are always float32
  max_logp_gap: ranges.NotNegative = 1e-4  # nats; float32 rounding over 30 layers and 49k tokens
  slots: ranges.Natural = 0  # completions decoded at once; 0: all of them
  prompt_widths: tuple[ranges.Count, ...] = ()  # tokens; narrower widths for short prompts
  date: str = (
    '2024-07-26'  # the day that a chat template with a clock writes, on whatever day it is
  )


@dataclasses.dataclass(frozen=True, kw_only=True)
class PretrainedText(Pretrained):
  """Questions on a pretrained model of 0.5B parameters or more.

  Meant for one or more hosts, each with 8 TPU chips or GPUs of 16 GB.
  """

  data: str = ''
  question: str = 'question'
  answer: str = 'answer'
  parse: str = 'auto'
  unanswered: bool = False
  max_rounds: ranges.Natural = 30
  checkpoint_every: ranges.Count = 10
  prompts: ranges.Count = 128
  group_size: ranges.Count = 16
  max_prompt: ranges.Count = 256  # longer questions are dropped, with a warning that counts them
  max_new: ranges.Count = 1024
  temperature: ranges.Positive = 1.0
  lr: ranges.NotNegative = 1e-6
  warmup: ranges.Natural = 5
  minibatches: ranges.Count = 4
  rows: ranges.Count | None = 16
  widths: tuple[ranges.Count, ...] = (256, 512)
  slots: ranges.Natural = 1024
  prompt_widths: tuple[ranges.Count, ...] = (128,)
  heldout: ranges.Count = 256
  samples: ranges.Count = 4
  dtype: str = 'bfloat16'
  # nats: cached decoding and the full forward pass round differently in bfloat16
  max_logp_gap: ranges.NotNegative = 1.0
  mesh: config.Mesh = ALL_SPLIT


# Numbers of a run with debug=true, which takes about a minute on a laptop.
SMALL = {
  Toy: dict(
    max_rounds=2, steps_per_round=4, checkpoint_every=2, prompts=8, group_size=4, acquired=40,
    heldout=16, width=32, layers=2, warm_rounds=1, warm_prompts=16,
  ),
  ToyText: dict(
    max_rounds=2, steps_per_round=3, checkpoint_every=2, prompts=8, group_size=8, heldout=16,
    minibatches=2, warm_rounds=2,
  ),
  Pretrained: dict(
    max_rounds=2, steps_per_round=2, checkpoint_every=1, prompts=4, group_size=4, max_new=16,
    acquired=8, heldout=8, samples=2, rows=4, widths=(),
  ),
  PretrainedText: dict(
    max_rounds=2, steps_per_round=2, checkpoint_every=1, prompts=4, group_size=4, max_new=16,
    heldout=8, samples=2, minibatches=2, rows=4, widths=(), slots=8,
  ),
}  # fmt: skip
