"""What an update expects of an advantage, a credit and an objective, with errors that show it.

The functions here call them and check what they return. `check_sums` tries an objective on a small
made-up batch: the whole must equal the sum of its pieces.
"""

import math
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from sirl import slots
from sirl.ops import masked
from sirl.types import Counts, Experience, Rollouts, TokenStats

APART = 1e-3  # relative difference of two float32 sums that is no rounding


# ---------------------------------------------------------------- what they return


def advantages_of(advantage, experience):
  """float [P, G]: what the advantage gives to every completion."""
  return _array(
    'advantage', advantage, experience.judged.shape, experience.rewards, experience.judged
  )


def credited(credit, experience) -> Experience:
  """Adds the advantage of every token; 0 outside the mask."""
  advantages_PGT = _array('credit', credit, experience.mask.shape, experience)
  return experience.replace(advantages=jnp.where(experience.mask, advantages_PGT, 0.0))


def _array(slot, fn, shape, *arguments):
  found = fn(*arguments)
  if not isinstance(found, jax.Array | np.ndarray) or found.shape != shape:
    got = _shown(found)
    raise ValueError(
      f'{slot}: {slots.name_of(fn)!r} returned {got}, expected an array of shape {list(shape)}: '
      f'{slots.form(slot)}'
    )
  return found


def loss_of(objective, stats, experience):
  """(scalar, {metric: scalar}) of the objective."""
  found = objective(stats, experience)
  if not (isinstance(found, tuple) and len(found) == 2 and isinstance(found[1], dict)):
    raise ValueError(
      f'objective: {slots.name_of(objective)!r} returned {_shown(found)}; expected '
      f'{slots.form("objective")}. Without metrics return (loss, {{}})'
    )
  loss, metrics = found
  for name, value in {'the loss': loss, **metrics}.items():
    if jnp.ndim(value):
      raise ValueError(
        f'objective: {name} of {slots.name_of(objective)!r} has shape {list(jnp.shape(value))}; '
        'expected a scalar. objectives.token_mean(values, experience) makes one of [P, G, T]'
      )
  return jnp.asarray(loss), dict(metrics)


def _shown(value):
  if isinstance(value, jax.Array | np.ndarray):
    return f'an array of shape {list(value.shape)}'
  if isinstance(value, tuple):
    return f'a tuple of {len(value)}'
  return f'{value!r}' if value is None or isinstance(value, int | float) else type(value).__name__


def check_ties(credit, experience: Experience):
  """Raises ValueError for an advantage that is not finite where the rewards of a group are equal."""
  experience = jax.tree.map(jnp.asarray, experience)
  tied = experience.replace(rewards=experience.rewards.at[0].set(1.0))
  if not jnp.isfinite(credited(credit, tied).advantages).all():
    raise ValueError(
      'advantage: it is not finite for a group whose rewards are all equal, as those of a task that '
      'is always solved; their standard deviation is 0, so divide by std + 1e-4 in place of std'
    )


# ---------------------------------------------------------------- a made-up batch


def with_counts(experience: Experience) -> Experience:
  """Adds the denominators of the whole minibatch, before it is cut."""
  tokens = masked.count(experience.mask)
  sequences = masked.count(jnp.any(experience.mask, axis=-1))
  return experience.replace(counts=Counts(tokens=tokens, sequences=sequences))


def check_sums(objective, stats: TokenStats, experience: Experience) -> bool:
  """Tries an objective on a batch of two tasks, such as `made_up` makes.

  Loss and metrics of the whole must be the sums of those of its two halves. Micro-batches, rows and
  data shards cut a minibatch and add the results. An objective that divides by the size of its
  piece, as `.mean()` does, would depend on the cut.

  Returns: whether the loss depends on the log-probs before the update, as a ratio pi / pi_old does.
  Raises: ValueError for a loss that is not finite, or an objective whose halves do not add up.
  """

  @jax.jit
  def tried(stats, experience):
    experience = with_counts(experience)
    moved = experience.replace(old_logp=1.5 * experience.old_logp)
    halves = [_task(p, stats, experience) for p in range(2)]
    return [
      {'the loss': loss, **metrics}
      for loss, metrics in (
        loss_of(objective, *each) for each in ((stats, experience), *halves, (stats, moved))
      )
    ]

  whole, *halves, moved = jax.tree.map(float, jax.device_get(tried(stats, experience)))
  if not math.isfinite(whole['the loss']):
    raise ValueError(
      f'objective: the loss of {slots.name_of(objective)!r} is {whole["the loss"]} for a made-up '
      'batch in which every number is finite; look for a division by 0, and for the logarithm or '
      'root of a log-prob, which is below 0'
    )
  for name, value in whole.items():
    parts = [half[name] for half in halves]
    if abs(sum(parts) - value) > APART * max(map(abs, [value, *parts])):  # NaN compares as False
      raise ValueError(
        f'objective: {name} of {slots.name_of(objective)!r} is {value:.4g} for a made-up batch, but '
        f'its two halves give {parts[0]:.4g} and {parts[1]:.4g}, and pieces of a batch are added. '
        'Sum over tokens and divide by experience.counts.tokens or .sequences, as '
        'objectives.token_mean(values, experience) does, in place of .mean()'
      )
  return abs(moved['the loss'] - whole['the loss']) > 0


def has_gradient(objective, stats: TokenStats, experience: Experience) -> bool:
  """Whether the loss of a made-up batch changes with the log-probs, entropies or values.

  Tried as drawn, and with no weights moved and all advantages above 0: a clip cuts the gradients of
  tokens that have moved, and some losses read good completions only.
  """

  @jax.jit
  def found(stats, experience):
    experience = with_counts(experience)
    loss = lambda stats, experience: loss_of(objective, stats, experience)[0].astype(jnp.float32)
    still = stats.replace(logp=experience.old_logp)
    good = experience.replace(advantages=jnp.abs(experience.advantages))
    slopes = [jax.grad(loss)(stats, experience), jax.grad(loss)(still, good)]
    return [jnp.any(slope != 0) for slope in jax.tree.leaves(slopes)]

  return any(jax.device_get(found(stats, experience)))


def _task(p, stats, experience):
  """One task of the batch; its denominators stay those of the whole."""
  row = lambda tree: jax.tree.map(lambda x: x[p : p + 1], tree)
  return row(stats), row(experience.replace(counts=None)).replace(counts=experience.counts)


def made_up(*, group_size: int, prompt_width: int, width: int, parts=(), named=(), values=False):
  """(TokenStats, Experience) of two tasks with other lengths, rewards and log-probs each.

  Args:
    width: columns, prompt included; parts: names of reward parts; named: names of other weights.
    values: whether the model has a value head.
  """
  rng = np.random.default_rng(0)
  shape, most = (2, group_size, width), width - prompt_width
  lengths_PG = rng.integers(1, most + 1, shape[:2])
  lengths_PG[0] = np.minimum(lengths_PG[0], (most + 1) // 2)
  columns = np.arange(width) - prompt_width
  mask = (columns >= 0) & (columns < lengths_PG[..., None])
  draw = lambda: np.where(mask, rng.uniform(0.1, 1.0, shape), 0.0).astype(np.float32)
  outcome = lambda: rng.uniform(0.1, 1.0, shape[:2]).astype(np.float32)
  rollouts: Any = Rollouts(
    tokens=mask.astype(np.int32),
    valid=mask | (columns < 0),
    action=mask,
    logp=-draw(),
    truncated=np.zeros(shape[:2], bool),
    prompt_width=prompt_width,
  )
  experience: Any = Experience(
    rollouts=rollouts,
    rewards=outcome(),
    judged=np.ones(shape[:2], bool),
    mask=mask,
    advantages=draw() - draw(),
    old_logp=-draw(),
    named_logp={name: -draw() for name in named},
    values=draw() if values else None,
    parts={name: outcome() for name in parts},
  )
  stats: Any = TokenStats(logp=-draw(), entropy=draw(), value=draw() if values else None)
  return stats, experience
