"""Whether a function is a Reward, by its signature."""

import inspect


def check_reward(reward, what='reward'):
  """Raises ValueError for a function that is no Reward by its signature, with the wrapper that makes it one."""
  try:
    takes = inspect.signature(reward)
  except (TypeError, ValueError):  # a builtin has none
    return
  names = [name for name in takes.parameters if name not in ('args', 'kwargs')]
  try:
    takes.bind(None, None, None)
    fits = not {'completions', 'solution_str', 'text', 'texts'} & set(names)
  except TypeError:
    fits = False
  if not fits:
    raise ValueError(
      f'{what}: {getattr(reward, "__name__", reward)!r} takes ({", ".join(names)}), a reward takes (weights, samples, key). Wrap it: '
      'rewards.from_trl for (prompts, completions, ...), rewards.from_verl for (data_source, solution_str, ...), '
      'rewards.per_completion for (task, text), rewards.per_group for (task, texts)'
    )
