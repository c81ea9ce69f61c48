"""Checks by their signatures whether a function is a Reward, or a function that makes one."""

import functools
import inspect

from sirl import slots

# Names of arguments, and the wrapper of a function that has one of them.
WRAPPERS = {
  'completions': 'from_trl for (prompts, completions, ...)',
  'solution_str': 'from_verl for (data_source, solution_str, ground_truth, extra_info)',
  'solution_strs': 'from_verl for (data_sources, solution_strs, ground_truths, extra_infos)',
  'predict_str': 'from_verl for (predict_str, ground_truth)',
  'model_output': 'from_verl for (model_output, ground_truth)',
  'completion': 'from_verifiers for (completion, answer, ...)',
  'text': 'per_completion for (task, text)',
  'texts': 'per_group for (task, texts)',
  'rollouts': 'on_device for (params, rollouts)',
}
# Names of what the policy wrote, which is no task.
SAID = ('text', 'texts', 'completion', 'completions', 'answer', 'answers', 'response', 'output')
REWARD = ('weights', 'samples', 'key')
KEYWORDS = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)


def check_reward(reward, what='reward', outer=''):
  """Raises ValueError if the signature is not that of a Reward.

  The message names the wrapper that makes a Reward of the function.

  Args: outer: the function that the reward was given to, shown around the wrapper.
  """
  if not callable(reward):
    raise ValueError(
      f'{what}: got {reward!r}; expected a reward (weights, samples, key) -> Rewards; '
      'rewards.per_completion(fn) makes one of a function (task, text) -> number'
    )
  names = arguments_of(reward)
  if names is None or (_binds(reward, 3) and not {*WRAPPERS} & set(names)):
    return
  known = next((WRAPPERS[name] for name in names if name in WRAPPERS), None)
  if known is None and _binds(reward, 2):
    known = WRAPPERS['text']
  ways = [known] if known else [WRAPPERS[name] for name in ('text', 'texts', 'completions')]
  wrap = f'Wrap it: {", ".join(f"rewards.{way}" for way in ways)}'
  if outer:
    wrap += f'; then {outer}(rewards.{ways[0].split()[0]}(...))'
  raise ValueError(
    f'{what}: {_shown(reward)} takes ({", ".join(names)}), a reward takes (weights, samples, key). '
    f'{wrap}'
  )


def check_function(fn, wrapper, expected):
  """Raises ValueError unless `wrapper` can call fn with the arguments `expected`, a tuple of names.

  The message names the right wrapper, or the right order of two.
  """
  _refuse_uncallable(fn, wrapper)
  names = arguments_of(fn)
  if names is None:
    return
  if others := _foreign(fn, names, expected):
    raise ValueError(f'{_said(fn, wrapper, names, expected)}{others}')
  if not _binds(fn, len(expected)):
    raise ValueError(_said(fn, wrapper, names, expected))
  if not slots.in_order(fn, expected) or (expected[0] == 'task' and names[:1] and names[0] in SAID):
    raise ValueError(
      f'{_said(fn, wrapper, names, expected)}, which are passed by position; write them in this order'
    )


def check_keywords(fn, wrapper, marks, forms):
  """Raises ValueError unless fn takes one of the keyword arguments `marks`, or **kwargs.

  The message names the wrapper that takes fn, or shows the forms of this one, a line each.

  Args: forms: {signature as text: whose it is}.
  """
  _refuse_uncallable(fn, wrapper)
  names = arguments_of(fn)
  if names is None:
    return
  marked = {*marks} & {*names}
  others = '' if marked and not inspect.isclass(fn) else _foreign(fn, names, marks)
  if others or not (marked or _takes_any(fn)):
    width = max(map(len, forms))
    shown = ''.join(f'\n  {form:<{width}}  {whose}' for form, whose in forms.items())
    raise ValueError(
      f'{_taken(fn, wrapper, names)}{others or f", expected the names of one of these:{shown}"}'
    )


def accepted(fn, arguments, others=(), *, required=True):
  """Those of the keyword arguments that fn takes.

  Args:
    others: names that the caller gives besides.
    required: False skips the check.
  Raises: TypeError naming the arguments that fn needs and nobody gives.
  """
  try:
    parameters = inspect.signature(fn).parameters.values()
  except (TypeError, ValueError):
    return arguments
  needed = [p.name for p in parameters if p.default is p.empty and p.kind in KEYWORDS]
  if required and (missing := [n for n in needed if n not in arguments and n not in others]):
    raise TypeError(
      f'{_shown(fn)} needs {", ".join(missing)}; known are {", ".join([*arguments, *others])}'
    )
  if any(p.kind is p.VAR_KEYWORD for p in parameters):
    return arguments
  names = [p.name for p in parameters if p.kind in KEYWORDS]
  return {name: value for name, value in arguments.items() if name in names}


def arguments_of(fn):
  """Names of the arguments of fn, without *args and **kwargs; None if it has no signature."""
  try:
    parameters = inspect.signature(fn).parameters.values()
  except (TypeError, ValueError):  # builtins have none
    return None
  return [p.name for p in parameters if p.kind not in (p.VAR_POSITIONAL, p.VAR_KEYWORD)]


def _binds(fn, n):
  """Whether fn can be called with n positional arguments."""
  try:
    inspect.signature(fn).bind(*[None] * n)
  except TypeError:
    return False
  return True


def _foreign(fn, names, expected):
  """What is wrong with a function that another wrapper takes, a class or a reward; else ''."""
  if hasattr(fn, 'forward') and hasattr(fn, 'state_dict'):
    return '. It is a PyTorch module; write a function that tokenizes the texts and calls it'
  if inspect.isclass(fn):
    return f'. It is a class; pass an object of it, {fn.__name__}(...)'
  if tuple(names) == REWARD:
    return (
      '. It is a reward already; what works on rewards goes outside, as in '
      'rewards.tolerant(rewards.per_completion(fn))'
    )
  others = [name for name in names if name in WRAPPERS and name not in expected]
  return f'. Use rewards.{WRAPPERS[others[0]]}' if others else ''


def _refuse_uncallable(fn, wrapper):
  if not callable(fn):
    many = '; add several by rewards.weighted' if isinstance(fn, (list, tuple)) else ''
    raise ValueError(f'rewards.{wrapper}: expected a function, got {fn!r}{many}')


def _said(fn, wrapper, names, expected):
  return f'{_taken(fn, wrapper, names)}, expected ({", ".join(expected)})'


def _taken(fn, wrapper, names):
  return f'rewards.{wrapper}: {_shown(fn)} takes ({", ".join(names)})'


def _takes_any(fn):
  parameters = inspect.signature(fn).parameters.values()
  return any(p.kind is p.VAR_KEYWORD for p in parameters)


def _shown(fn):
  while isinstance(fn, functools.partial):
    fn = fn.func
  return repr(getattr(fn, '__name__', type(fn).__name__))
