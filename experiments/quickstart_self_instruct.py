"""Self-instruct: quickstart whose policy writes its own sums, from a few dozen that it is given.

  sirl run experiments/quickstart_self_instruct.py

The warm start teaches one model two skills: to answer '12+34=', and to continue a list of sums such
as '12+34=56+10=' with one more sum. In every round the policy reads lists drawn from the pool and
writes new sums. A written sum enters the pool if it is well formed, new and not held out. No task
holds an answer: the reward computes each sum from its prompt, so a wrong answer of the writer
cannot teach anything. monitor/synthetic_share is the share of the pool that the policy wrote.
A policy that is trained only to answer soon forgets how to write: 545 of 560 texts were well
formed, then 395, then 198. Therefore lists of the given sums are tasks in the pool too. They are
rewarded when the continuation is a sum that is not in the list.

Hardware: 2 CPU cores, about 5 minutes.
Source: Self-Instruct, Wang et al. 2022 (arXiv 2212.10560); one model that poses and solves tasks,
  checked by a program: Absolute Zero, Zhao et al. 2025 (arXiv 2505.03335). Differs from the latter:
  writing is rewarded for its form alone, not for how much a task teaches.
"""

import dataclasses
import re

from experiments import arithmetic, quickstart, settings, splits
from sirl import gro, ranges, recipe, rewards
from sirl.acquisition import acquirer, chain, hygiene, once, synthetic
from sirl.generation import demonstrate, explore, make_ask
from sirl.optimization import advantages, by_group, make_optimize, objectives
from sirl.selection import adaptive
from sirl.tasks import Task, content_id
from sirl.warm_start import demonstrated

EXAMPLES = 2  # sums in a list


@dataclasses.dataclass(frozen=True, kw_only=True)
class Config(recipe.Config):
  """Numbers of the run; each can be set with --set NAME=VALUE."""

  warm_prompts: int = 80
  max_list: ranges.Count = 6 * EXAMPLES  # tokens of a list that is read
  max_written: ranges.Count = 7  # tokens: '12+34=' and the end token
  given: ranges.Count = 48  # sums without answers; the policy writes the rest of the pool


# ---------------------------------------------------------------- what is rewarded


def parse(text):
  """{'prompt': text} if the text is one sum of two-digit numbers, such as '12+34=', else None."""
  return {'prompt': text} if re.fullmatch(r'[1-9]\d\+[1-9]\d=', text) else None


def correct(task, text):
  """1.0 if the completion is the sum that the prompt asks for, else 0.0."""
  total = sum(map(int, task.prompt.removesuffix('=').split('+')))
  return float(text.strip() == str(total))


def written(task, text):
  """1.0 if the completion is a sum that is not in the prompt's list, else 0.0."""
  return float(parse(text) is not None and text not in task.prompt)


REWARD = rewards.by_role(
  solve=rewards.weighted(correct=(1.0, rewards.per_completion(correct, workers=1))),
  propose=rewards.weighted(written=(1.0, rewards.per_completion(written, workers=1))),
)


# ---------------------------------------------------------------- the experiment


def method(c, s):
  """quickstart with written tasks and a reward without answers.

  Prompts and completions are long enough for reading lists and writing sums.
  """
  return dataclasses.replace(
    quickstart.method(c, s),
    generate=explore(s.model, s.codec, group_size=c.group_size, sampler=s.sampler, **limits(c)),
    reward=REWARD,
    acquire=acquire(c, s),
    # Tasks of the two roles have different reward parts, but all of them have a total.
    selector=adaptive.success_rate(target=0.5, part='total'),
  )


def setting(c):
  """quickstart's setting, with a warm start that also teaches to write."""
  settings.only(c, 'addition')
  plain = settings.make_setting(c, arithmetic.addition(c))
  return dataclasses.replace(plain, params=warm_start(c, plain))


def limits(c):
  """Room for the lists that are read and the sums that are written."""
  return {'max_prompt': c.max_list, 'max_new': c.max_written}


def taken_of(c, s):
  """All tasks on which nothing may train."""
  return [task for tasks in splits.unseen(c, s.domain).values() for task in tasks]


def acquire(c, s):
  """An Acquirer: given sums and lists of them in round 0, what the policy writes in every round.

  Held-out sums are excluded from what it writes.
  """
  taken = taken_of(c, s)
  given = s.domain.tasks('given', c.given, taken)
  tasks = [dataclasses.replace(task, answer=None, meta={}) for task in given]
  write = synthetic.self_instruct(
    make_ask(s.model, s.codec, sampler=s.sampler, batch=c.acquired, **limits(c)),
    per_round=c.acquired,
    examples=EXAMPLES,
    among=lambda task: task.role == 'solve',
    template='{examples}',
    show=lambda task: task.prompt,
    separator='',
    parse=parse,
    answers=False,
  )
  return chain(once(tasks + lists(given, answers=False)), hygiene.exclude(write, taken))


def warm_start(c, s):
  """quickstart's warm start, with one demonstration in five that continues a list."""
  plain = s.params
  learner = plain.policy
  solved = s.domain.tasks('warm', c.warm_tasks, taken_of(c, s))
  return dataclasses.replace(
    plain,
    acquire=acquirer(once(solved + lists(solved[:1000]))),
    step=gro.make_step(
      demonstrate(s.codec, **limits(c)),
      rewards.per_completion(demonstrated, workers=1),
      make_optimize(learner.model, learner.optimizer, by_group(advantages.raw), objectives.nll()),
    ),
  )


def lists(tasks, *, answers=True):
  """Tasks whose prompt is a list of consecutive sums to continue.

  With `answers` the sum after the list is the task's answer, as a demonstration needs it.
  """
  prompts = [task.prompt for task in tasks]
  found = []
  for i in range(len(prompts) - EXAMPLES):
    listed, after = ''.join(prompts[i : i + EXAMPLES]), prompts[i + EXAMPLES]
    answer = after if answers else None
    found.append(Task(id=content_id('list', listed), prompt=listed, answer=answer, role='propose'))
  return found


build = settings.built(method, setting=setting, small={'given': 8})
