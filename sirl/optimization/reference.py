"""Rules that change the reference policy: `(state, round) -> state`, called after every round."""

from sirl import ranges
from sirl.ops import trees
from sirl.slots import Refresh


def never(state, round):
  """Keeps the reference at the starting weights."""
  del round
  return state


def each_round(state, round):
  """Copies the weights to the reference at the end of every round (self-rewarding, SPIN)."""
  del round
  return _with_reference(state, trees.copy(state.params))


def ema(decay: float) -> Refresh:
  """Moves the reference towards the policy: decay * reference + (1 - decay) * policy."""
  decay = ranges.share('ema: decay', decay)

  def refresh(state, round):
    del round
    return _with_reference(state, trees.ema(state.others['reference'], state.params, decay))

  return refresh


def _with_reference(state, params):
  return state.replace(others={**state.others, 'reference': params})
