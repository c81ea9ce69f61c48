"""Generate functions: tasks to Samples. `explore` samples the policy, `demonstrate` copies answers.

This is the host side of generation: it encodes prompts and calls the compiled decoder. Completions
are decoded to text when they are first read.
"""

from collections.abc import Callable, Sequence

import jax
import jax.numpy as jnp
import numpy as np

from sirl import ranges
from sirl.generation import texts
from sirl.generation.engine import layout, sampling
from sirl.generation.engine.decode import static
from sirl.runtime import hosts
from sirl.slots import Decode, Generate
from sirl.tasks import Task
from sirl.types import Codec, Model, Samples, SamplingParams, named


def answer_of(task: Task) -> str | None:
  """The task's answer."""
  return task.answer


def explore(
  model: Model,
  codec: Codec,
  *,
  group_size: int,
  max_prompt: int,
  max_new: int,
  prompt_widths: Sequence[int] = (),
  sampler=None,
  decode: Decode = static,
  of: str = 'policy',
) -> Generate:
  """Generate that draws `group_size` completions of every task from the weights named `of`.

  Args:
    max_prompt, max_new: lengths in tokens; `max_new` includes the end token.
    prompt_widths: prompt widths in columns below `max_prompt`. A batch uses the smallest that holds
      all its prompts. Decoder and update compile once per width. Samples change by rounding only.
    sampler: None: temperature 1 without truncation.
    decode: the decoder. `refill.decoder(slots)` helps if lengths differ, and
      `speculative.decoder(draft, width=...)` if a pass over few tokens costs as much as over one.
      Both give the same samples.
  Raises: ValueError for a number below 1, a prompt width outside 1 .. max_prompt, or a codec with ids
    that the model lacks. The returned function raises ValueError, with the task's id, for a prompt
    longer than `max_prompt`.
  """
  texts.check_fit(model, codec)
  max_prompt = ranges.whole('max_prompt', max_prompt)
  for i, width in enumerate(prompt_widths):
    ranges.whole(f'prompt_widths[{i}]', width, 1, max_prompt)
  sampling_params = SamplingParams(
    group_size=group_size,
    max_new=max_new,
    eos_ids=codec.eos_ids,
    pad_id=codec.pad_id,
    sampler=sampler or sampling.sampler(),
  )

  def generate(weights, tasks, key, rows=None):
    names = [task.id for task in tasks]
    ids_P, first_P = texts.address(names, group_size)
    # All slices and all processes use the prompt width of the whole batch.
    tokens_PS, valid_PS = texts.encode(
      codec, [task.prompt for task in tasks], max_prompt, names, prompt_widths
    )
    rows = np.arange(len(tasks)) if rows is None else rows
    tasks = [tasks[row] for row in rows]
    arrays = tokens_PS[rows], valid_PS[rows], ids_P[rows], first_P[rows]
    prompts_PS, valid_PS, ids, first = (hosts.global_rows(hosts.share(x)) for x in arrays)
    rollouts, counted = decode(
      model, named(weights, of), prompts_PS, valid_PS, (ids, first), key, sampling_params
    )
    numbers = hosts.share(first_P[rows].tolist())
    completions = texts.Completions(codec, rollouts)
    return Samples(hosts.share(tasks), completions, rollouts, numbers, counted)

  return generate


def demonstrate(
  codec: Codec, *, max_prompt: int, max_new: int, solution: Callable[[Task], str | None] = answer_of
) -> Generate:
  """Generate for supervised fine-tuning: G = 1, and each completion is a known solution.

  The log-probs are NaN, because these tokens were not sampled.
  Args: solution: task -> the text to learn; its answer by default.
  Raises: the returned function raises ValueError for a task without a solution, or a prompt or
    solution over its limit.
  """
  max_prompt = ranges.whole('max_prompt', max_prompt)
  max_new = ranges.whole('max_new', max_new)

  def generate(weights, tasks, key, rows=None):
    del weights, key
    tasks = tasks if rows is None else [tasks[row] for row in rows]
    prompts = texts.encode(
      codec, [task.prompt for task in tasks], max_prompt, [task.id for task in tasks]
    )
    shown = [_demonstrated(task, solution) for task in tasks]
    rollouts = layout.given(*prompts, *texts.endings(codec, tasks, shown, max_new))
    rollouts = jax.tree.map(lambda x: jnp.asarray(hosts.global_rows(hosts.share(x))), rollouts)
    return Samples(hosts.share(tasks), hosts.share([[text] for text in shown]), rollouts)

  return generate


def _demonstrated(task, solution):
  text = solution(task)
  if text is None:
    raise ValueError(
      f'task {task.id} has no answer to demonstrate; use explore, or tasks with answers'
    )
  return text
