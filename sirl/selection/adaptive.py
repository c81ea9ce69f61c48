"""Selection that learns from outcomes, with a posterior over each task's success rate.

A group-relative method learns nothing from tasks that are always or never solved, so this selector
prefers tasks whose success rate is near a target. Rates are uncertain, so it draws them from the
posterior. Rates change with the policy, so old evidence decays.
"""

from collections.abc import Callable

import numpy as np

from sirl import ranges
from sirl.ops import stats
from sirl.runtime import hosts
from sirl.selection import selectors
from sirl.slots import Selector
from sirl.tasks import Task


def success_rate(
  *,
  target=0.5,
  capacity=selectors.CAPACITY,
  prior=(1.0, 1.0),
  decay=0.99,
  part='correct',
  bucket: Callable[[Task], int] | None = None,
) -> Selector:
  """Selects the tasks whose sampled success rate lies closest to the target.

  Each rate is drawn from its Beta posterior (Thompson sampling). A cell is a task, or a bucket of
  tasks. Its posterior is Beta(prior[0] + solved, prior[1] + failed).
  State: {'solved', 'failed': float32 [capacity], evidence per cell; 'cell': int32 [capacity], the
  cell of each task}.

  Args:
    target: the desired success rate; at 0.5 the variance of outcomes, p (1 - p), is largest.
    capacity: the most tasks that the pool may ever hold.
    prior: Beta parameters. With (1, 1) the rate of an untried task is uniform, so it keeps a
      chance.
    decay: factor on all evidence at each GRO step, because rates change as the policy learns; 1
      never forgets.
    part: the reward part in [0, 1] that measures success; `Rewards.total` if there is no such part.
    bucket: task -> int in [0, capacity), such as lambda task: int(task.difficulty); tasks of one
      bucket share evidence.
  Raises: ValueError for a target, decay or prior out of range; at an update, for outcomes outside
    [0, 1].
  """
  target = ranges.share('success_rate: target', target)
  capacity = ranges.whole('success_rate: capacity', capacity)
  decay = ranges.real('success_rate: decay', decay, above=0, most=1)
  prior = ranges.fitted('success_rate: prior', prior, tuple[ranges.Positive, ranges.Positive])

  def init():
    zeros = np.zeros(capacity, np.float32)
    return {'solved': zeros, 'failed': zeros.copy(), 'cell': np.arange(capacity, dtype=np.int32)}

  def prepare(state, pool, weights, key):
    del weights, key
    selectors.check_capacity(len(pool), capacity)
    if bucket is None:
      return state
    cell = np.array(state['cell'])
    for i, task in enumerate(pool):
      cell[i] = _checked(bucket(task), task, capacity)
    return {**state, 'cell': cell}

  def select(state, pool, key, n):
    if not len(pool):
      raise ValueError('the pool is empty: acquire brought no tasks, so there is nothing to select')
    cell = np.asarray(state['cell'])[: len(pool)]
    solved, failed = np.asarray(state['solved'])[cell], np.asarray(state['failed'])[cell]
    rates = stats.generator(key).beta(prior[0] + solved, prior[1] + failed)
    return selectors.repeat(np.argsort(np.abs(rates - target), kind='stable'), n)

  def update(state, indices, rewards):
    outcomes_PG = _outcomes(rewards, part)
    judged_PG = ~np.isnan(outcomes_PG)
    cells_P = np.asarray(state['cell'])[np.asarray(indices)]
    successes_P = np.where(judged_PG, outcomes_PG, 0).sum(axis=1)
    failures_P = np.where(judged_PG, 1 - outcomes_PG, 0).sum(axis=1)
    solved, failed = (np.asarray(state[name]) * np.float32(decay) for name in ('solved', 'failed'))
    np.add.at(solved, cells_P, successes_P)  # a batch may contain a task twice
    np.add.at(failed, cells_P, failures_P)
    return {**state, 'solved': solved, 'failed': failed}

  return Selector(init, prepare, select, update)


def posterior_mean(state, *, prior=(1.0, 1.0)):
  """Expected success rate of each cell, float32 [capacity]; that of the prior without evidence."""
  solved, failed = np.asarray(state['solved']), np.asarray(state['failed'])
  return ((prior[0] + solved) / (sum(prior) + solved + failed)).astype(np.float32)


def _outcomes(rewards, part):
  """float32 numpy [P, G] in [0, 1], NaN where not judged."""
  name = part if part in rewards.parts else 'total'
  x_PG = hosts.everywhere(rewards.parts.get(part, rewards.total)).astype(np.float32)
  if np.any((x_PG < 0) | (x_PG > 1)):  # NaN compares as False
    raise ValueError(
      f'success_rate(part={part!r}) read {name}, which spans {np.nanmin(x_PG):g} to '
      f'{np.nanmax(x_PG):g}; a success lies in [0, 1]. Parts of this reward: '
      f'{", ".join(rewards.parts) or "none"}.'
    )
  return x_PG


def _checked(cell, task, capacity):
  if not 0 <= cell < capacity:
    raise ValueError(f'bucket({task.id}) = {cell}; expected an int in [0, capacity={capacity})')
  return cell
