r"""GRPO on GSM8K with a verifiable reward, from a folder on disk.

  sirl run experiments/gsm8k_grpo.py --set data=DIR --set model=DIR_OR_HUB_NAME [--distributed] [--set debug=true]

`data` is a version prepared by TFDS with file_format='array_record' (dataset_info.json in it, splits train and test), or a
folder with train.jsonl and test.jsonl of rows {"question": ..., "answer": "... #### 42"}. The model solves a question, the
last box (or tag, or number) of its text is compared with the number behind the marks; a tenth more for answering in a box.

Hardware and hours: not run by us at pod scale. Meant for one host of 8 TPU chips or GPUs of 16 GB or more with the defaults
(0.5B parameters, 128 x 16 completions of up to 1024 tokens a step), and for more hosts with --distributed; expect hours.
What we run is `debug=true`, which uses this file's whole path with experiments/gsm8k_toy.py in place of data and weights: a
minute on 2 CPU cores.
Source: GRPO, Shao et al. 2024 (arXiv 2402.03300), sec. 4; clip-higher and dropped groups from DAPO, Yu et al. 2025 (arXiv
2503.14476). Differs: no KL by default, dropped groups are not resampled.
"""

import dataclasses
import logging
import pathlib
import tempfile

from experiments import common, gsm8k_toy
from sirl import config, gro, rewards
from sirl.acquisition import curated, hygiene, once
from sirl.domains import answers, mathematics
from sirl.evaluation import benchmarks, monitors, steering
from sirl.experiment import Experiment
from sirl.generation import explore, greedy, make_ask
from sirl.generation.engine import refill
from sirl.models import tokenizer
from sirl.models.files import pretrained
from sirl.optimization import advantages, make_optimize, objectives, transforms
from sirl.rewards import heuristic
from sirl.runtime import sharding
from sirl.selection import adaptive, selectors

GENERATED = 'generated'  # as data: rows of gsm8k_toy
TOY = 'toy'  # as model: a decoder of bytes, from nothing
INSTRUCTION = '{question}\nReason step by step and put the final answer in \\boxed{{}}.'
ALL_SPLIT = config.Mesh(data=1, fsdp=-1)  # weights over all devices
CORRECT = (
  mathematics.correct
)  # reads answers.final: the last box, else a tag, else the number that is named last


@dataclasses.dataclass(frozen=True, kw_only=True)
class Config(config.Base):
  """Numbers of the run; each can be set with --set NAME=VALUE."""

  data: str = 'data/gsm8k'  # folder
  model: str = (
    'Qwen/Qwen2.5-0.5B-Instruct'  # folder, GGUF file or hub name; Qwen/Qwen3-0.6B works as well
  )
  max_rounds: int = 30
  steps_per_round: int = 10
  prompts: int = 128  # P
  group_size: int = 16  # G
  max_prompt: int = 256  # tokens; longer questions are left out, with a warning that counts them
  max_new: int = 1024  # tokens
  lr: float = 1e-6
  warmup: int = 20  # updates
  clip: tuple[float, float] = (0.2, 0.28)
  kl: float = 0.0  # weight of KL to the starting weights
  minibatches: int = 4  # updates per step
  # How fast, not what is computed; docs/speed.md says when each pays.
  prompt_widths: tuple[int, ...] = (128,)  # columns that a batch of short prompts is cut to
  slots: int = 1024  # completions at work at once; those that end make room for the next
  slices: int = 1  # parts of a batch; more where rewards take long
  rows: int = 16  # completions that the learner computes at once on every data shard, longest first
  widths: tuple[int, ...] = (256, 512)  # completion columns that pieces of short ones are cut to
  dtype: str = 'bfloat16'  # of the computation; weights and optimizer stay float32
  max_logp_gap: float = (
    1.0  # nats; cached decoding and the full forward pass round differently in bfloat16
  )
  heldout: int = 256  # test questions per evaluation, from the start of the test split
  heldout_samples: int = 4
  mesh: config.Mesh = ALL_SPLIT


def shrink(c: Config) -> Config:
  """The same run in about a minute: a decoder of bytes on generated questions, float32, nothing downloaded."""
  return dataclasses.replace(
    c, data=GENERATED, model=TOY, max_rounds=2, steps_per_round=3, checkpoint_every=2, prompts=8, group_size=8,
    max_prompt=128, max_new=12, lr=1e-4, minibatches=2, dtype='float32', max_logp_gap=1e-5, heldout=16,
    heldout_samples=4, mesh=config.Mesh(), prompt_widths=(96,), slots=16, slices=2, widths=(8,),
  )  # fmt: skip


REWARD = rewards.weighted(
  correct=(1.0, rewards.per_completion(CORRECT)),
  format=(0.1, rewards.per_completion(heuristic.boxed)),
)


def build(c: Config, *, reward=REWARD, keep=None) -> Experiment:
  """The experiment, with reward and filter as keywords."""
  train, test = load_tasks(c)
  model, params, codec = load_model(c, train)
  train, test = (fitting(tasks, codec, c.max_prompt) for tasks in (train, test))
  heldout = test[: c.heldout]
  ask = make_ask(model, codec, max_prompt=c.max_prompt, max_new=c.max_new)
  ask_greedy = greedy(model, codec, max_prompt=c.max_prompt, max_new=c.max_new)
  optimizer = transforms.adamw(c.lr, warmup=c.warmup)

  return Experiment(
    config=c,
    model=model,
    params=params,
    optimizer=optimizer,
    reference=c.kl > 0,
    acquire=hygiene.exclude(once(train), test),  # the two splits of a folder may overlap
    selector=adaptive.success_rate(target=0.5),
    step=gro.make_step(
      generate=explore(
        model,
        codec,
        group_size=c.group_size,
        max_prompt=c.max_prompt,
        max_new=c.max_new,
        prompt_widths=c.prompt_widths,
        decode=refill.decoder(c.slots),
      ),
      reward=reward,
      optimize=make_optimize(
        model,
        optimizer,
        advantages.normalized,
        objectives.add(objectives.clipped(*c.clip), (c.kl, objectives.kl())),
        minibatches=c.minibatches,
        rows=c.rows,
        widths=c.widths,
      ),
      keep=keep or selectors.informative('correct'),
      slices=c.slices,
    ),
    evaluate=benchmarks.merge(
      benchmarks.sampled(
        'heldout',
        heldout,
        CORRECT,
        ask,
        samples=c.heldout_samples,
        ks=(1, c.heldout_samples),
        extract=answers.final,
      ),
      benchmarks.greedy('heldout', heldout, CORRECT, ask_greedy),
      monitors.standard(CORRECT),
    ),
    steer=steering.first_of(
      steering.stop_if_not_finite(),
      steering.rollback_if_regressed('heldout/pass@1', sems=3.0),
      steering.ask_if_hacking('train/reward', 'heldout/pass@1', patience=4),
      steering.stop_after_plateau('heldout/pass@1', rounds=10),
    ),
  )


def load_model(c: Config, train):
  """(Model, params, Codec): pretrained, or the toy, whose params are a warm start on the training tasks.

  Where weights are split over devices the residual stream is pinned to rows, as `sharding` asks for.
  """
  mesh = sharding.make_mesh(c.mesh)
  constrain = sharding.constrain(mesh) if mesh.size > 1 else None
  if c.model == TOY:
    return gsm8k_toy.load(c, train, constrain)
  model, params, _ = pretrained.load(c.model, dtype=c.dtype, remat='block', constrain=constrain)
  codec = tokenizer.pretrained(c.model)
  return model, params, codec


def load_tasks(c: Config):
  """(train, test) tasks of the configured folder, or generated and written as such a folder first."""
  if c.data != GENERATED:
    return read_folder(c.data)
  with tempfile.TemporaryDirectory() as folder:
    gsm8k_toy.write_folder(folder)
    return read_folder(folder)


def read_folder(folder):
  """(train, test) tasks of a TFDS version's folder or of a folder with train.jsonl and test.jsonl.

  Raises: ValueError for a folder that is missing or is neither, and for a row that does not fit, with its place.
  """
  folder = pathlib.Path(folder)
  rows = {'parse': curated.gsm8k_answer, 'name': 'gsm8k'}
  if (folder / 'dataset_info.json').is_file():
    splits = [curated.tfds(folder, split, **rows) for split in ('train', 'test')]
  elif all((folder / f'{split}.jsonl').is_file() for split in ('train', 'test')):
    splits = [curated.jsonl(folder / f'{split}.jsonl', **rows) for split in ('train', 'test')]
  else:
    found = (
      ', '.join(sorted(path.name for path in folder.iterdir())[:8]) if folder.is_dir() else None
    )
    what = 'does not exist' if found is None else f'holds {found or "nothing"}'
    raise ValueError(
      f'data={folder} {what}; expected a prepared TFDS version (with dataset_info.json, such as gsm8k/1.0.0) or a '
      'folder with train.jsonl and test.jsonl. Give it with --set data=FOLDER'
    )
  return tuple(
    [dataclasses.replace(t, prompt=INSTRUCTION.format(question=t.prompt)) for t in tasks]
    for tasks in splits
  )


def fitting(tasks, codec, max_prompt):
  """The tasks whose rendered prompt has at most `max_prompt` tokens; warns with the number of the others.

  Raises: ValueError when none fits.
  """
  kept = [task for task in tasks if len(codec.render(task.prompt)) <= max_prompt]
  if not kept:
    raise ValueError(
      f'none of {len(tasks)} prompts has at most max_prompt={max_prompt} tokens; raise max_prompt'
    )
  if len(kept) < len(tasks):
    logging.getLogger('sirl.experiments').warning(
      '%d of %d questions are longer than max_prompt=%d tokens and left out',
      len(tasks) - len(kept),
      len(tasks),
      max_prompt,
    )
  return kept


def summary(history) -> str:
  """The closing table: before and after."""
  names = [
    name for name in history[0].metrics if name.startswith('heldout/pass@') and '_' not in name
  ]
  return common.before_and_after(
    history, {name.removeprefix('heldout/'): name for name in [*names, 'heldout/greedy']}
  )
