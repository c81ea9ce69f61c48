"""How likely the policy finds a task's text: the model's part of `selection.scores.perplexity`."""

import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from sirl.generation import texts
from sirl.ops import logprobs
from sirl.runtime import hosts
from sirl.types import Codec, Model, Rollouts


def make_logp(
  model: Model,
  codec: Codec,
  *,
  max_prompt: int,
  max_new: int | None = None,
  batch: int = 64,
  of: str = 'answer',
):
  """(params, tasks) -> float32 numpy [n]: mean log-prob per token, in nats, of each task's text under the policy.

  of='answer': the answer and its end token after the rendered prompt, what `demonstrate` would teach; NaN for a task without
  an answer. of='prompt': the rendered prompt after its first token; NaN for a prompt of one token.
  The distribution is the model's own, at temperature 1 and not truncated. Tasks are scored `batch` at a time, the last batch
  padded with copies of its first row, so any number of them runs one compiled program. Every process scores everything.

  Args: max_prompt, max_new: lengths in tokens as in `explore`; of='prompt' takes no max_new.
  Raises: ValueError here for another `of` or missing max_new; later, with the task's id, for a text over its limit.
  """
  texts.check_fit(model, codec)
  if of not in ('answer', 'prompt'):
    raise ValueError(f"of={of!r}; expected 'answer' or 'prompt'")
  if of == 'answer' and max_new is None:
    raise ValueError("of='answer' needs max_new, the most tokens of an answer with its end token")
  arrays = functools.partial(_answers, codec, max_prompt=max_prompt, max_new=max_new)
  if of == 'prompt':
    arrays = functools.partial(_prompts, codec, max_prompt=max_prompt)

  def logp(params, tasks):
    tasks = list(tasks)
    means = np.full(len(tasks), np.nan, np.float32)
    known = [i for i, task in enumerate(tasks) if of == 'prompt' or task.answer is not None]
    for start in range(0, len(known), batch):
      rows = known[start : start + batch]
      filled = [*rows, *[rows[0]] * (batch - len(rows))]
      rollouts = arrays([tasks[i] for i in filled])
      means[rows] = hosts.everywhere(_mean_logp(model, params, rollouts))[: len(rows)]
    return means

  return logp


@functools.partial(jax.jit, static_argnames='model')
def _mean_logp(model, params, rollouts):
  """Mean log-prob of the action tokens, float32 [P], NaN for a row without any."""
  logp_PGT = logprobs.token_stats(model, params, rollouts).logp
  count_P = jnp.sum(rollouts.action, axis=(1, 2))
  sum_P = jnp.sum(jnp.where(rollouts.action, logp_PGT, 0.0), axis=(1, 2))
  return jnp.where(count_P > 0, sum_P / jnp.maximum(count_P, 1), jnp.nan)


def _answers(codec, tasks, *, max_prompt, max_new):
  """Rollouts [P, 1, max_prompt + max_new] whose completions are the answers."""
  prompts = texts.encode(
    codec, [task.prompt for task in tasks], max_prompt, [task.id for task in tasks]
  )
  answers = [[*codec.encode(task.answer), codec.eos_ids[0]] for task in tasks]
  for task, ids in zip(tasks, answers):
    if len(ids) > max_new:
      raise ValueError(
        f'answer of task {task.id} has {len(ids)} tokens with its end token, max_new is {max_new}; '
        f'raise max_new or leave the task out. It begins: {task.answer[:60]!r}'
      )
  return _rollouts(*prompts, *texts.pad_right(answers, max_new, codec.pad_id))


def _prompts(codec, tasks, *, max_prompt):
  """Rollouts [P, 1, max_prompt] with the first token of each prompt as the prompt and the rest as its completion."""
  tokens_PS, valid_PS = texts.encode(
    codec, [task.prompt for task in tasks], max_prompt, [task.id for task in tasks]
  )
  ids = [row[valid].tolist() for row, valid in zip(tokens_PS, valid_PS)]
  firsts_P1 = np.asarray([row[:1] for row in ids], np.int32)
  rest = texts.pad_right([row[1:] for row in ids], max(max_prompt - 1, 1), codec.pad_id)
  return _rollouts(firsts_P1, np.ones_like(firsts_P1, bool), *rest)


def _rollouts(prompts_PS, valid_PS, scored_PN, action_PN):
  """What is scored, in the layout that the learner reads; nobody sampled it."""
  tokens = np.concatenate([prompts_PS, scored_PN], axis=1)[:, None]
  valid = np.concatenate([valid_PS, action_PN], axis=1)[:, None]
  action = np.concatenate([np.zeros_like(valid_PS), action_PN], axis=1)[:, None]
  logp = np.where(action, np.nan, 0).astype(np.float32)
  truncated = np.zeros(tokens.shape[:2], bool)
  # NumPy's, so that every process of several may hand them to one program.
  arrays: list[Any] = [tokens, valid, action, logp, truncated]
  return Rollouts(*arrays, prompt_width=prompts_PS.shape[1])
