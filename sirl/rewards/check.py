"""Checks by its signature whether a function is a Reward."""

import inspect


def check_reward(reward, what='reward'):
  """Raises ValueError if the signature is not that of a Reward.

  The message names the wrapper that makes a Reward of the function.
  """
  try:
    takes = inspect.signature(reward)
  except (TypeError, ValueError):  # builtins have no signature
    return
  names = [name for name in takes.parameters if name not in ('args', 'kwargs')]
  try:
    takes.bind(None, None, None)
    fits = not {'completions', 'solution_str', 'text', 'texts'} & set(names)
  except TypeError:
    fits = False
  if not fits:
    raise ValueError(
      f'{what}: {getattr(reward, "__name__", reward)!r} takes ({", ".join(names)}), a reward takes '
      '(weights, samples, key). Wrap it: rewards.from_trl for (prompts, completions, ...), '
      'rewards.from_verl for (data_source, solution_str, ...), rewards.per_completion for (task, '
      'text), rewards.per_group for (task, texts)'
    )
