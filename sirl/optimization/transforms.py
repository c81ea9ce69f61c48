"""Optimizers as optax chains."""

import jax
import optax

from sirl import ranges


def adamw(
  learning_rate: float,
  *,
  warmup: int = 0,
  total: int | None = None,
  schedule: str = 'constant',
  b1: float = 0.9,
  b2: float = 0.95,
  weight_decay: float = 0.0,
  clip: float | None = 1.0,
) -> optax.GradientTransformation:
  """AdamW with global-norm clipping, linear warmup and a learning rate schedule.

  Args:
    warmup: updates of linear warmup.
    total: updates after which 'linear' and 'cosine' reach 0.
    schedule: 'constant', 'linear' or 'cosine'.
    weight_decay: applies to leaves of rank 2 or more only.
    clip: largest global norm of the gradient; None does not clip.
  The optimizer state holds the learning rate under 'learning_rate', where the metrics read it.
  Raises: ValueError for a number out of range, an unknown schedule, 'linear' or 'cosine' without
    `total`, or a `total` within the warmup.
  """
  learning_rate = ranges.real('learning_rate', learning_rate, 0)
  warmup, total = ranges.whole('warmup', warmup, 0), ranges.optional('total', total)
  b1, b2 = ranges.real('b1', b1, 0, below=1), ranges.real('b2', b2, 0, below=1)
  weight_decay = ranges.real('weight_decay', weight_decay, 0)
  clip = ranges.optional('clip', clip, ranges.real, above=0)
  shapes = {'constant': optax.constant_schedule(learning_rate)}
  if total is not None:
    if total <= warmup:
      raise ValueError(f'total={total}; expected a number of updates above warmup={warmup}')
    steps = total - warmup
    shapes['linear'] = optax.linear_schedule(learning_rate, 0.0, steps)
    shapes['cosine'] = optax.cosine_decay_schedule(learning_rate, steps)
  if schedule not in shapes:
    known = "'constant', or with total= also 'linear' and 'cosine'"
    raise ValueError(f'schedule={schedule!r}: expected {known}')
  rate = optax.join_schedules(
    [
      optax.linear_schedule(learning_rate / max(warmup, 1), learning_rate, max(warmup - 1, 1)),
      shapes[schedule],
    ],
    [warmup],
  )

  @optax.inject_hyperparams
  def chain(learning_rate):
    steps = [] if clip is None else [optax.clip_by_global_norm(clip)]
    steps.append(optax.adamw(learning_rate, b1=b1, b2=b2, weight_decay=weight_decay, mask=matrices))
    return optax.chain(*steps)

  return chain(learning_rate=rate)


def matrices(params):
  """Tree of bool: which leaves have rank 2 or more, and so get weight decay."""
  return jax.tree.map(lambda x: x.ndim >= 2, params)


def learning_rate_of(opt_state):
  """float32 [], the learning rate of the last update.

  NaN for an optimizer that was not made by `optax.inject_hyperparams`.
  """
  return getattr(opt_state, 'hyperparams', {}).get('learning_rate', float('nan'))
