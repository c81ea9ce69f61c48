"""Generate functions: tasks to Samples. `explore` draws from the policy, `demonstrate` writes the known answer.

The host side of generation: encode, call the compiled decoder; whoever reads the texts detokenizes them.
"""

from collections.abc import Sequence

import jax.numpy as jnp
import numpy as np

from sirl.generation import texts
from sirl.generation.engine import sampling
from sirl.generation.engine.decode import counted_too
from sirl.generation.engine.decode import decode as plain_decode
from sirl.runtime import hosts
from sirl.types import Codec, Decode, Generate, Model, Rollouts, Samples, SamplingParams


def explore(
  model: Model,
  codec: Codec,
  *,
  group_size: int,
  max_prompt: int,
  max_new: int,
  prompt_widths: Sequence[int] = (),
  sampler=None,
  decode: Decode = plain_decode,
) -> Generate:
  """Generate that draws `group_size` completions of every task from the policy.

  Lengths are in tokens; `max_new` counts the end token. The sampler defaults to temperature 1 without truncation. Generate's
  `rows` are the numbers of the tasks to do now (default: all); the others still count for the numbering of samples.
  `prompt_widths` are columns below `max_prompt`: a batch whose prompts are all short gets the first that holds them, in the decoder and
  in the update, which both compile once for each; samples change by rounding only.
  `decode` may be another function of decode's signature with the same samples: `refill.decoder(slots)` where lengths differ,
  `speculative.decoder(draft, width=...)` where a pass over few rows costs as much as over one. Beside Rollouts it may return
  {name: Ratio} for the row of the step.
  Raises: ValueError here if the codec has ids that the model has not, or for a prompt width outside 1 .. max_prompt; later for a prompt
  longer than `max_prompt`, with the task's id.
  """
  texts.check_fit(model, codec)
  if group_size < 1:
    raise ValueError(f'group_size={group_size}; expected at least 1 completion per task')
  if any(not 1 <= width <= max_prompt for width in prompt_widths):
    raise ValueError(
      f'prompt_widths={tuple(prompt_widths)}; expected columns between 1 and max_prompt={max_prompt}'
    )
  sampling_params = SamplingParams(
    group_size=group_size,
    max_new=max_new,
    eos_ids=codec.eos_ids,
    pad_id=codec.pad_id,
    sampler=sampler or sampling.sampler(),
  )

  def generate(params, tasks, key, rows=None):
    names = [task.id for task in tasks]
    ids_P, first_P = texts.address(names, group_size)
    # The whole batch has one width, in every slice of it and on every process.
    tokens_PS, valid_PS = texts.encode(
      codec, [task.prompt for task in tasks], max_prompt, names, prompt_widths
    )
    rows = np.arange(len(tasks)) if rows is None else rows
    tasks = [tasks[row] for row in rows]
    arrays = tokens_PS[rows], valid_PS[rows], ids_P[rows], first_P[rows]
    prompts_PS, valid_PS, *address = (hosts.global_rows(hosts.share(x)) for x in arrays)
    found = decode(model, params, prompts_PS, valid_PS, tuple(address), key, sampling_params)
    rollouts, counted = counted_too(found)
    first = hosts.share(first_P[rows].tolist())
    return Samples(hosts.share(tasks), texts.Completions(codec, rollouts), rollouts, first, counted)

  return generate


def demonstrate(codec: Codec, *, max_prompt: int, max_new: int) -> Generate:
  """Generate with G = 1 whose completion is the task's answer: the "generation" of supervised fine-tuning.

  The log-probs are NaN: nobody sampled these tokens.
  Raises: ValueError for a task without an answer, or a prompt or answer over its limit.
  """

  def generate(params, tasks, key, rows=None):
    del params, key
    tasks = tasks if rows is None else [tasks[row] for row in rows]
    prompts_PS, valid_PS = texts.encode(
      codec, [task.prompt for task in tasks], max_prompt, [task.id for task in tasks]
    )
    answers = [_demonstration(codec, task, max_new) for task in tasks]
    tokens_PN, action_PN = texts.pad_right(answers, max_new, codec.pad_id)
    arrays = (
      np.concatenate([prompts_PS, tokens_PN], axis=1),
      np.concatenate([valid_PS, action_PN], axis=1),
      np.concatenate([np.zeros_like(valid_PS), action_PN], axis=1),
    )
    tokens, valid, action = (
      jnp.asarray(hosts.global_rows(hosts.share(x[:, None]))) for x in arrays
    )
    rollouts = Rollouts(
      tokens=tokens,
      valid=valid,
      action=action,
      logp=jnp.where(action, jnp.nan, 0.0).astype(jnp.float32),
      truncated=jnp.zeros(tokens.shape[:2], bool),
      prompt_width=max_prompt,
    )
    mine = hosts.share(tasks)
    return Samples(mine, [[task.answer] for task in mine], rollouts)

  return generate


def _demonstration(codec, task, max_new):
  if task.answer is None:
    raise ValueError(
      f'task {task.id} has no answer to demonstrate; use explore, or tasks with answers'
    )
  ids = [*codec.encode(task.answer), codec.eos_ids[0]]
  if len(ids) > max_new:
    raise ValueError(
      f'answer of task {task.id} has {len(ids)} tokens with its end token, max_new is {max_new}; raise max_new'
    )
  return ids
