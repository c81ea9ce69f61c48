"""Generate functions: tasks to Samples. `explore` draws from the policy, `demonstrate` writes the known answer.

The host side of generation: encode, call the compiled decoder, detokenize.
"""

import jax
import jax.numpy as jnp
import numpy as np

from sirl.generation import sampling
from sirl.generation.decode import decode
from sirl.ops import keys as addressed
from sirl.runtime import hosts
from sirl.types import Codec, Generate, Model, Rollouts, Samples


def explore(
  model: Model, codec: Codec, *, group_size: int, max_prompt: int, max_new: int, sampler=None
) -> Generate:
  """Generate that draws `group_size` completions of every task from the policy.

  Lengths are in tokens; `max_new` counts the end token. The sampler defaults to temperature 1 without truncation.
  Raises: ValueError for a prompt longer than `max_prompt`, with the task's id.
  """
  sampler = sampler or sampling.sampler()

  def generate(params, tasks, key):
    prompts_PS, valid_PS = encode(codec, [task.prompt for task in tasks], max_prompt, [task.id for task in tasks])
    keys_PG = row_keys(key, [task.id for task in tasks], group_size)
    prompts_PS, valid_PS, keys_PG = hosts.global_rows((prompts_PS, valid_PS, keys_PG))
    rollouts = decode(
      model,
      params,
      prompts_PS,
      valid_PS,
      keys_PG,
      max_new=max_new,
      sampler=sampler,
      eos_ids=codec.eos_ids,
      pad_id=codec.pad_id,
    )
    return Samples(tasks, texts_of(codec, rollouts), rollouts)

  return generate


def demonstrate(codec: Codec, *, max_prompt: int, max_new: int) -> Generate:
  """Generate with G = 1 whose completion is the task's answer: the "generation" of supervised fine-tuning.

  The log-probs are NaN: nobody sampled these tokens.
  Raises: ValueError for a task without an answer, or a prompt or answer over its limit.
  """

  def generate(params, tasks, key):
    del params, key
    prompts_PS, valid_PS = encode(codec, [task.prompt for task in tasks], max_prompt, [task.id for task in tasks])
    answers = [_demonstration(codec, task, max_new) for task in tasks]
    tokens_PN, action_PN = _pad_right(answers, max_new, codec.pad_id)
    arrays = (
      np.concatenate([prompts_PS, tokens_PN], axis=1),
      np.concatenate([valid_PS, action_PN], axis=1),
      np.concatenate([np.zeros_like(valid_PS), action_PN], axis=1),
    )
    tokens, valid, action = hosts.global_rows(tuple(x[:, None] for x in arrays))
    rollouts = Rollouts(
      tokens=tokens,
      valid=valid,
      action=action,
      logp=jnp.where(action, jnp.nan, 0.0).astype(jnp.float32),
      truncated=jnp.zeros(tokens.shape[:2], bool),
      prompt_width=max_prompt,
    )
    return Samples(tasks, [[task.answer] for task in tasks], rollouts)

  return generate


def encode(codec, prompts, max_prompt, names=None):
  """Left-padded prompts.

  Args: prompts: texts of user turns; names: what to call them in an error, task ids by default the texts.
  Returns: int32 numpy [P, max_prompt], bool numpy [P, max_prompt].
  Raises: ValueError naming the prompt that is empty or too long.
  """
  tokens_PS = np.full((len(prompts), max_prompt), codec.pad_id, np.int32)
  valid_PS = np.zeros((len(prompts), max_prompt), bool)
  for p, prompt in enumerate(prompts):
    ids = codec.render(prompt)
    name = names[p] if names else repr(prompt[:60])
    if len(ids) > max_prompt:
      raise ValueError(
        f'prompt of task {name} has {len(ids)} tokens, max_prompt is {max_prompt}; '
        f'raise max_prompt or leave the task out. It begins: {prompt[:60]!r}'
      )
    if not ids:
      raise ValueError(f'prompt of task {name} encodes to no token; a prompt needs at least one')
    tokens_PS[p, max_prompt - len(ids) :] = ids
    valid_PS[p, max_prompt - len(ids) :] = True
  return tokens_PS, valid_PS


def row_keys(key, ids, group_size):
  """Keys [P, G] addressed by task id and sample index; a task standing twice continues its numbering."""
  first_P = addressed.occurrences(ids) * group_size
  return addressed.rows(key, addressed.text_ids(ids), first_P, group_size)


def texts_of(codec, rollouts):
  """Completions as text, P x G of this process's rows, end tokens and padding left out."""
  tokens, action = hosts.local_rows(jax.device_get((rollouts.tokens, rollouts.action)))
  ends = set(codec.eos_ids)
  return [
    [codec.decode([int(t) for t, a in zip(row, acts) if a and int(t) not in ends]) for row, acts in zip(group, group_acts)]
    for group, group_acts in zip(tokens, action)
  ]


def _demonstration(codec, task, max_new):
  if task.answer is None:
    raise ValueError(f'task {task.id} has no answer to demonstrate; use explore, or tasks with answers')
  ids = [*codec.encode(task.answer), codec.eos_ids[0]]
  if len(ids) > max_new:
    raise ValueError(
      f'answer of task {task.id} has {len(ids)} tokens with its end token, max_new is {max_new}; raise max_new'
    )
  return ids


def _pad_right(rows, width, pad_id):
  tokens = np.full((len(rows), width), pad_id, np.int32)
  filled = np.zeros((len(rows), width), bool)
  for i, ids in enumerate(rows):
    tokens[i, : len(ids)] = ids
    filled[i, : len(ids)] = True
  return tokens, filled
