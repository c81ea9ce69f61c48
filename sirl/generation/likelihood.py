"""Log-probs of a task's answer or prompt under given weights, for `selection.scores.perplexity`."""

import functools

import jax
import jax.numpy as jnp
import numpy as np

from sirl import ranges
from sirl.generation import texts
from sirl.generation.engine import layout
from sirl.ops import logprobs
from sirl.runtime import hosts
from sirl.types import Codec, Model, named


def make_logp(
  model: Model,
  codec: Codec,
  *,
  max_prompt: int,
  max_new: int,
  batch: int = 64,
  of: str = 'policy',
):
  """(weights, tasks) -> float32 numpy [n]: mean log-prob per token, in nats, of each task's answer.

  The function scores what `demonstrate` would teach: the answer and its end token after the
  rendered prompt. A task without an answer gives NaN. The distribution is that of the model named
  `of`, at temperature 1 and not truncated. Tasks are scored `batch` at a time. The last batch is
  padded with copies of its first row, so one compiled program serves any number of tasks. Every
  process scores all tasks.

  Args: max_prompt, max_new: lengths in tokens as in `explore`; of: name of the weights.
  Raises: ValueError for a number below 1, or if the codec has ids that the model lacks. The returned function raises
    ValueError, with the task's id, for a text over its limit.
  """
  texts.check_fit(model, codec)
  batch = ranges.whole('batch', batch)
  lengths = {
    'max_prompt': ranges.whole('max_prompt', max_prompt),
    'max_new': ranges.whole('max_new', max_new),
  }
  arrays = functools.partial(_answers, codec, **lengths)
  return functools.partial(
    _in_batches, model, of, arrays, batch, lambda task: task.answer is not None
  )


def make_prompt_logp(
  model: Model, codec: Codec, *, max_prompt: int, batch: int = 64, of: str = 'policy'
):
  """`make_logp` of the rendered prompt after its first token; NaN for a prompt of one token."""
  texts.check_fit(model, codec)
  batch = ranges.whole('batch', batch)
  arrays = functools.partial(_prompts, codec, max_prompt=ranges.whole('max_prompt', max_prompt))
  return functools.partial(_in_batches, model, of, arrays, batch, lambda task: True)


def _in_batches(model, of, arrays, batch, known, weights, tasks):
  """Mean log-probs of the tasks that are `known`, NaN for the others; float32 numpy [n]."""
  tasks = list(tasks)
  means = np.full(len(tasks), np.nan, np.float32)
  scored = [i for i, task in enumerate(tasks) if known(task)]
  for start in range(0, len(scored), batch):
    rows = scored[start : start + batch]
    filled = [*rows, *[rows[0]] * (batch - len(rows))]
    rollouts = arrays([tasks[i] for i in filled])
    means[rows] = hosts.everywhere(_mean_logp(model, named(weights, of), rollouts))[: len(rows)]
  return means


@functools.partial(jax.jit, static_argnames='model')
def _mean_logp(model, params, rollouts):
  """Mean log-prob of the action tokens, float32 [P]; NaN for a row without action tokens."""
  logp_PGT = logprobs.token_stats(model, params, rollouts).logp
  count_P = jnp.sum(rollouts.action, axis=(1, 2))
  sum_P = jnp.sum(jnp.where(rollouts.action, logp_PGT, 0.0), axis=(1, 2))
  return jnp.where(count_P > 0, sum_P / jnp.maximum(count_P, 1), jnp.nan)


def _answers(codec, tasks, *, max_prompt, max_new):
  """Rollouts [P, 1, max_prompt + max_new] whose completions are the answers."""
  prompts = texts.encode(
    codec, [task.prompt for task in tasks], max_prompt, [task.id for task in tasks]
  )
  answers = texts.endings(codec, tasks, [task.answer for task in tasks], max_new)
  return layout.given(*prompts, *answers)


def _prompts(codec, tasks, *, max_prompt):
  """Rollouts [P, 1, max_prompt]: a prompt's first token is the prompt, the rest the completion."""
  tokens_PS, valid_PS = texts.encode(
    codec, [task.prompt for task in tasks], max_prompt, [task.id for task in tasks]
  )
  ids = [row[valid].tolist() for row, valid in zip(tokens_PS, valid_PS)]
  firsts_P1 = np.asarray([row[:1] for row in ids], np.int32)
  rest = texts.pad_right([row[1:] for row in ids], max(max_prompt - 1, 1), codec.pad_id)
  return layout.given(firsts_P1, np.ones_like(firsts_P1, bool), *rest)
