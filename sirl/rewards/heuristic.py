"""Rewards that need no verifier: format, length, repetition, majority vote and a random control.

  per_completion:  boxed, matches(...), tagged(...), repetition(...)
  per_group:       majority_vote(...)
  on_device:       length, soft_overlong(...)
  a Reward:        random_reward(...)

A policy can maximise each of them without solving a task. Give them small weights beside a
verifiable term, or weight 0 as metrics.
"""

import functools
import re
from collections.abc import Callable, Hashable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from sirl import ranges
from sirl.ops import keys, stats
from sirl.runtime import hosts
from sirl.slots import Reward, Same
from sirl.types import Rewards

# ---------------------------------------------------------------- format


_BRACES = re.compile(r'\\boxed\s{0,8}\{|\\.|[{}]', re.DOTALL)  # \{ is a brace of the text


def boxed(task, text: str) -> float:
  r"""1 if the text has a \boxed{...} that is closed and not blank, else 0."""
  del task
  stack = []  # where the contents of each open box begin; None for other braces
  for brace in _BRACES.finditer(text):
    if brace.group() == '}' and stack:
      start = stack.pop()
      if start is not None and text[start : brace.start()].strip():
        return 1.0
    elif brace.group().endswith('{') and brace.group() != r'\{':
      stack.append(brace.end() if len(brace.group()) > 1 else None)
  return 0.0


def matches(pattern: str, flags: int = re.DOTALL) -> Callable:
  """fn(task, text) -> 1 if the text without outer white space matches the pattern, else 0.

  The time is that of Python's `re`. A pattern with several `.*` may need hours for a text that
  repeats itself, as a bad policy writes; `tagged` does not, and a process can be stopped:
  per_completion(matches(pattern), run=calls.processes(timeout=10)).
  """
  return functools.partial(matched, re.compile(pattern, flags))


def matched(compiled: re.Pattern, task, text: str) -> float:
  """See `matches`. It stands here so that a process can import it."""
  del task
  return float(compiled.fullmatch(text.strip()) is not None)


def tagged(*names: str) -> Callable:
  """fn(task, text) -> 1 if the text has every <name>...</name> exactly once, else 0.

  The tags must be in this order, without overlap, and not blank. If the prompt ends with the first
  opening tag, as many chat templates do, use `rewards.opened`.
  """
  if not names or len({*names}) < len(names):
    raise ValueError(
      f"tagged{names}: name at least one tag, and each once, as in tagged('think', 'answer')."
    )

  def tags(task, text):
    del task
    end = 0
    for name in names:
      if text.count(f'<{name}>') != 1 or text.count(f'</{name}>') != 1:
        return 0.0
      start, close = text.find(f'<{name}>', end), text.find(f'</{name}>', end)
      if start < 0 or close < start or not text[start + len(name) + 2 : close].strip():
        return 0.0
      end = close + len(name) + 3
    return 1.0

  return tags


# ---------------------------------------------------------------- length and repetition


def length(params, rollouts):
  """Tokens that the policy chose, end token included, float32 [P, G].

  A function for on_device; use weight 0 to report it as a metric.
  """
  del params
  return jnp.sum(rollouts.action, axis=-1, dtype=jnp.float32)


def soft_overlong(longest: int, buffer: int) -> Callable:
  """fn(params, rollouts) -> 0 up to longest - buffer tokens, falling linearly to -1 at `longest`.

  It stays at -1 beyond.

  Args: longest, buffer: tokens; the paper uses 20480 and 4096.
  Source: DAPO, Yu et al. 2025, arXiv 2503.14476, sec. 3.4.
  """
  longest = ranges.whole('soft_overlong: longest', longest)
  buffer = ranges.whole('soft_overlong: buffer', buffer, 1, longest)

  def overlong(params, rollouts):
    return jnp.clip((longest - buffer - length(params, rollouts)) / buffer, -1.0, 0.0)

  return overlong


def repetition(n: int = 3, penalty: float = 1.0) -> Callable:
  """fn(task, text) -> -penalty * (1 - distinct / all n-grams of words).

  Gives 0 for texts of fewer than n words.
  Source: Yeo et al. 2025, arXiv 2502.03373.
  """
  n, penalty = ranges.whole('repetition: n', n), ranges.real('repetition: penalty', penalty, 0)

  def repeated(task, text):
    del task
    words = text.split()
    grams = [tuple(words[i : i + n]) for i in range(len(words) - n + 1)]
    return -penalty * (1 - len(set(grams)) / len(grams)) if grams else 0.0

  return repeated


# ---------------------------------------------------------------- votes, and the control


def majority_vote(
  extract: Callable[[str], Hashable | None],
  *,
  same: Same,
  train: int | None = None,
) -> Callable:
  """fn(task, texts) for per_group: 1 if a text gives the group's most frequent answer, else 0.

  It reads no true answer. Texts without an answer (None) do not vote and get 0. Ties go to the
  answer seen first. A group without any answer gets 0, not NaN. Neither gives a gradient with a
  group baseline, but NaN would exclude the group from the mean reward, which would then rise while
  answers disappear.

  Parts: majority_ratio, votes of the winner over all texts of the group; parsed, 1 where an answer
  was found.

  Args:
    extract: text -> answer or None.
    same: whether two answers count as one: `answers.same` for 18, 18.0 and $18, operator.eq for
      equal texts only.
    train: the first `train` texts of a group are judged, and the rest only vote; None judges all.
      The paper votes with 64 and trains on 32.
  Source: TTRL, Zuo et al. 2025, arXiv 2504.16084. When the label is wrong, only texts with the
  label or the right answer get a wrong reward: every other wrong answer correctly gets 0.
  """
  train = ranges.optional('majority_vote: train', train)

  def vote(task, texts):
    del task
    if train is not None and train > len(texts):
      raise ValueError(
        f'majority_vote: train={train} of {len(texts)} texts; raise group_size or lower train.'
      )
    answers = stats.merged([extract(text) for text in texts], same)
    label = stats.plurality(answers)
    ratio = 0.0 if label is None else answers.count(label) / len(answers)
    return [
      {
        'score': float(label is not None and answer == label)
        if train is None or g < train
        else None,
        'majority_ratio': ratio,
        'parsed': float(answer is not None),
      }
      for g, answer in enumerate(answers)
    ]

  return vote


def random_reward(p: float = 0.5) -> Reward:
  """Reward that is 1 with probability p, whatever the text: a control that every gain must beat.

  Its random numbers are keyed by task and sample.
  Source: Shao et al. 2025, Spurious Rewards, arXiv 2506.10947: some base models gain from it.
  """
  p = ranges.share('random_reward: p', p)

  @functools.partial(jax.jit, static_argnums=3)
  def draw(key, ids_P, first_P, group_size):
    keys_PG = keys.rows(key, ids_P, first_P, group_size)
    return jax.vmap(jax.vmap(lambda k: jax.random.bernoulli(k, p)))(keys_PG)

  def reward(weights, samples, key):
    del weights
    ids = [task.id for task in samples.tasks]
    group_size = samples.rollouts.truncated.shape[1]
    numbered = keys.occurrences(ids) * group_size if samples.first is None else samples.first
    lucky_PG = draw(key, keys.text_ids(ids), np.asarray(numbered, np.int32), group_size)
    total: Any = hosts.global_rows(np.asarray(lucky_PG, np.float32))
    return Rewards(total, {'random': total})

  return reward
