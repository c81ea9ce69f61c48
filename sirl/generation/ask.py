"""Ask: the policy as a function from texts to texts, the interface of all methods on text."""

import numpy as np

from sirl import ranges
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

  The decoder takes `batch` prompts at a time. The last batch is padded with copies of its first
  prompt, so each n needs one compiled program. Noise depends on the prompt's text, so order and
  batching do not change the texts. Every process decodes all prompts and returns the same texts.
  Args: max_prompt, max_new, sampler, decode: as in `explore`.
  Raises: ValueError for a number below 1, or if the codec has ids that the model lacks. The returned
    function raises ValueError for a prompt longer than `max_prompt` tokens.
  """
  texts.check_fit(model, codec)
  max_prompt, batch = ranges.whole('max_prompt', max_prompt), ranges.whole('batch', batch)
  ranges.whole('max_new', max_new)
  sampler = sampler or sampling.sampler()

  def ask(weights, prompts, key, n):
    ranges.whole('n', n)
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
  """`make_ask` with the most likely token at every position; n > 1 returns copies of one text."""
  ask_one = make_ask(model, codec, sampler=sampling.greedy(), **kwargs)

  def ask(weights, prompts, key, n):
    return [answers * n for answers in ask_one(weights, prompts, key, 1)]

  return ask
