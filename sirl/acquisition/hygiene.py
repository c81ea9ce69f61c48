"""Filters that keep held-out tasks and near-duplicates out of the pool.

Each filter wraps an Acquire and returns an Acquire. It logs how many tasks it dropped.
"""

import logging

from sirl import ranges
from sirl.slots import Acquire
from sirl.tasks import prompt_key


def exclude(acquire: Acquire, heldout, *, shared_words: int | None = None) -> Acquire:
  """Drops tasks whose prompt equals that of a held-out task, ignoring case and white space.

  Args:
    heldout: tasks.
    shared_words: also drop a prompt that shares this many consecutive words with a held-out one;
      13 is customary for web text. None (default) drops equal prompts only, because prompts made
      from one template share its words.
  """
  heldout = list(heldout)
  keys = {prompt_key(task.prompt) for task in heldout}
  ranges.optional('shared_words', shared_words)
  grams = (
    set().union(*(_ngrams(task.text, shared_words) for task in heldout)) if shared_words else set()
  )

  def leaks(task):
    if prompt_key(task.prompt) in keys:
      return True
    return bool(grams) and not grams.isdisjoint(_ngrams(task.text, shared_words))

  def filtered(weights, pool, context):
    found = acquire(weights, pool, context)
    kept = [task for task in found if not leaks(task)]
    _log(context, len(found) - len(kept), len(found), 'are held-out tasks or overlap with one')
    return kept

  return filtered


def dissimilar(acquire: Acquire, *, max_overlap=0.7) -> Acquire:
  """Keeps a task only if its ROUGE-L with every other task is below max_overlap.

  The other tasks are those of the pool and those kept before it in this round. Computes one longest
  common subsequence per pair, so it suits pools of thousands, not millions. Meant for prompts of
  several words.
  Source: Wang et al. 2022, arXiv 2212.10560, sec. 2.2.
  """
  max_overlap = ranges.real('max_overlap', max_overlap, above=0, most=1)

  def filtered(weights, pool, context):
    found = acquire(weights, pool, context)
    known = [task.text.casefold().split() for task in pool]
    kept = []
    for task in found:
      words = task.text.casefold().split()
      if all(_rouge_l(words, other) < max_overlap for other in known):
        known.append(words)
        kept.append(task)
    _log(
      context, len(found) - len(kept), len(found), f'overlap with others by {max_overlap:g} or more'
    )
    return kept

  return filtered


def rouge_l(a: str, b: str) -> float:
  """F-measure of the longest common subsequence of words, in [0, 1]. Lin 2004."""
  return _rouge_l(a.casefold().split(), b.casefold().split())


def _rouge_l(a, b):
  if not a or not b:
    return 0.0
  row = [0] * (len(b) + 1)
  for word in a:
    diagonal = 0
    for j, other in enumerate(b, start=1):
      diagonal, row[j] = row[j], diagonal + 1 if word == other else max(row[j], row[j - 1])
  return 2 * row[-1] / (len(a) + len(b))


def _ngrams(prompt, n):
  words = prompt.casefold().split()
  return {tuple(words[i : i + n]) for i in range(len(words) - n + 1)}


def _log(context, dropped, found, reason):
  if dropped:
    logging.getLogger(__name__).warning(
      'round %d: dropped %d of %d tasks that %s', context.round, dropped, found, reason
    )
