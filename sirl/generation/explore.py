"""Generate functions: tasks to Samples. `explore` draws from the policy, `demonstrate` writes the known answer.

The host side of generation: encode, call the compiled decoder; whoever reads the texts detokenizes them.
"""

from collections.abc import Callable, Sequence

import jax
import jax.numpy as jnp
import numpy as np

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

  Lengths are in tokens; `max_new` counts the end token. The sampler defaults to temperature 1 without truncation.
  `prompt_widths` are columns below `max_prompt`: a batch of short prompts gets the first width that holds them all, in the
  decoder and in the update, which both compile once for each width. Samples change by rounding only.
  `decode` may be another decoder with the same samples: `refill.decoder(slots)` where lengths differ,
  `speculative.decoder(draft, width=...)` where a pass over few rows costs as much as over one.
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

  def generate(weights, tasks, key, rows=None):
    names = [task.id for task in tasks]
    ids_P, first_P = texts.address(names, group_size)
    # The whole batch has one width, in every slice of it and on every process.
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
  """Generate with G = 1 whose completion is a known solution: the "generation" of supervised fine-tuning.

  The log-probs are NaN: nobody sampled these tokens.
  Args: solution: task -> the text to learn, its answer by default.
  Raises: ValueError for a task without a solution, or a prompt or solution over its limit.
  """

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
