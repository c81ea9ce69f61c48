"""Ask: the policy as a function from texts to texts. Every method that works on text needs only this."""

import numpy as np

from sirl.generation import texts
from sirl.generation.engine import sampling
from sirl.generation.engine.decode import static
from sirl.runtime import hosts
from sirl.slots import Ask, Decode
from sirl.tasks import text_of
from sirl.types import Codec, Model, SamplingParams, named


def make_ask(
  model: Model,
  codec: Codec,
  *,
  max_prompt: int,
  max_new: int,
  sampler=None,
  batch: int = 64,
  decode: Decode = static,
  of: str = 'policy',
) -> Ask:
  """Ask(weights, prompts, key, n) -> n texts per prompt, drawn from the weights named `of`.

  Prompts go through the decoder `batch` at a time, the last batch padded with copies of its first prompt, so any number
  of prompts runs one compiled program per n. Noise is addressed by the prompt's text: order and batching change nothing.
  `decode` may be another function of decode's signature, see `explore`.
  Every process asks everything and sees the same texts.
  Raises: ValueError here if the codec has ids that the model has not; later for a prompt longer than `max_prompt` tokens.
  """
  texts.check_fit(model, codec)
  sampler = sampler or sampling.sampler()

  def ask(weights, prompts, key, n):
    if not prompts:
      return []
    tokens_PS, valid_PS = texts.encode(codec, prompts, max_prompt)
    ids_P, first_P = texts.address(list(map(text_of, prompts)), n)
    sampling_params = SamplingParams(
      group_size=n, max_new=max_new, eos_ids=codec.eos_ids, pad_id=codec.pad_id, sampler=sampler
    )
    answers = []
    for start in range(0, len(prompts), batch):
      rows = np.arange(start, start + batch)
      rows = np.where(rows < len(prompts), rows, start)
      address = ids_P[rows], first_P[rows]
      rollouts, _ = decode(
        model, named(weights, of), tokens_PS[rows], valid_PS[rows], address, key, sampling_params
      )
      everything = hosts.everywhere(rollouts.tokens), hosts.everywhere(rollouts.action)
      answers += texts.completions(codec, *everything)[: len(prompts) - start]
    return answers

  return ask


def greedy(model: Model, codec: Codec, **kwargs) -> Ask:
  """make_ask with the most likely token at every position; asking for more than one text returns copies."""
  ask_one = make_ask(model, codec, sampler=sampling.greedy(), **kwargs)

  def ask(weights, prompts, key, n):
    return [answers * n for answers in ask_one(weights, prompts, key, 1)]

  return ask
