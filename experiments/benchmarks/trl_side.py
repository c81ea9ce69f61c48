"""The side of TRL: whole steps of its GRPOTrainer on a CPU.

Variants: 'whole' batches, or 'micro' batches with gradient accumulation. With 'async' the reward
function awaits all completions at once; these variants run where rewards take time. Logging,
evaluation and checkpoints are off, KL is off, one update per batch.
"""

import asyncio
import sys
import tempfile
import time
from typing import Any

import datasets
import tokenizers
import torch
import transformers
import trl
from transformers_side import llama

from experiments.benchmarks import protocol

EOS, PAD = 0, 1


def main(variant):
  """Serves the cases in one variant."""
  torch.set_num_threads(protocol.cores())

  def prepare(case, shape, lengths):
    return step(case, shape, lengths, variant)

  protocol.serve(prepare, {'torch': torch.__version__, 'trl': trl.__version__})


def step(case, shape, lengths, variant):
  """One optimizer step of the trainer: generate, reward, update."""
  rows = case['prompts'] * case['group_size']
  piece = case['micro'] if 'micro' in variant else rows
  model: Any = llama(shape)
  if lengths:
    model.generate = with_ends(model.generate, case['prompt'], lengths)
  arguments = trl.GRPOConfig(
    output_dir=tempfile.mkdtemp(prefix='sirl-bench-'),
    per_device_train_batch_size=piece,
    gradient_accumulation_steps=rows // piece,
    num_generations=case['group_size'],
    max_completion_length=case['new'],
    generation_kwargs={} if lengths else {'min_new_tokens': case['new']},
    temperature=1.0,
    top_k=0,
    beta=0.0,
    learning_rate=1e-5,
    optim='adamw_torch_fused',
    lr_scheduler_type='constant',
    max_steps=1_000_000,
    shuffle_dataset=False,
    use_cpu=True,
    bf16=False,
    gradient_checkpointing=False,
    logging_strategy='no',
    save_strategy='no',
    report_to='none',
    disable_tqdm=True,
  )

  def loop(pause):
    trainer = trl.GRPOTrainer(
      model=model,
      reward_funcs=reward_of(case, 'async' in variant),
      args=arguments,
      train_dataset=prompts(case, shape),
      processing_class=tokenizer(shape['vocab']),
      callbacks=[Pauses(pause)],
    )
    trainer.train()

  turns = protocol.Turns(loop)
  tokens = sum(lengths) if lengths else rows * case['new']

  def run():
    turns.advance()
    return {'tokens': tokens + rows * case['prompt']}

  return run


class Pauses(transformers.TrainerCallback):
  """A callback that pauses before the first step and after every step."""

  def __init__(self, pause):
    self.pause = pause

  def on_train_begin(self, args, state, control, **rest):
    """Before the first step."""
    self.pause()

  def on_step_end(self, args, state, control, **rest):
    """After a step."""
    self.pause()


def with_ends(generate, prompt, lengths):
  """Wraps `generate`: row i ends after lengths[i] tokens. A call must hold the whole batch."""
  lengths_B = torch.tensor(lengths)

  class Ends(transformers.LogitsProcessor):
    """Forces the end token at its place and forbids it elsewhere."""

    def __call__(self, tokens, scores):
      ends = lengths_B == tokens.shape[1] + 1 - prompt
      scores[:, EOS] = -torch.inf
      scores[ends] = -torch.inf
      scores[ends, EOS] = 0.0
      return scores

  def generate_with_ends(*args, **how):
    return generate(*args, **how, logits_processor=transformers.LogitsProcessorList([Ends()]))

  return generate_with_ends


def reward_of(case, concurrent):
  """A reward of the text alone, which sleeps per completion for the seconds that the case sets."""
  score = lambda text: len(text) % 7 / 7

  def serial(completions, **rest):
    scores = []
    for text in completions:
      if case['reward_seconds']:
        time.sleep(case['reward_seconds'])
      scores.append(score(text))
    return scores

  async def gathered(completions, **rest):
    async def one(text):
      await asyncio.sleep(case['reward_seconds'])
      return score(text)

    return list(await asyncio.gather(*[one(text) for text in completions]))

  return gathered if concurrent else serial


def prompts(case, shape):
  """A dataset of the case's prompts, which are random words."""
  torch.manual_seed(0)
  tokens = torch.randint(2, shape['vocab'], (case['prompts'], case['prompt'])).tolist()
  return datasets.Dataset.from_dict({'prompt': [' '.join(map(str, row)) for row in tokens]})


def tokenizer(vocab):
  """A tokenizer whose words are numbers: '17' is token 17."""
  model = tokenizers.models.WordLevel({str(i): i for i in range(vocab)}, unk_token=str(PAD))
  backend = tokenizers.Tokenizer(model)
  backend.pre_tokenizer = tokenizers.pre_tokenizers.WhitespaceSplit()
  return transformers.PreTrainedTokenizerFast(
    tokenizer_object=backend, eos_token=str(EOS), pad_token=str(PAD), padding_side='left'
  )


if __name__ == '__main__':
  main(sys.argv[1])
