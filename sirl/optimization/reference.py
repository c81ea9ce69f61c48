"""When the reference policy changes. Each rule is `(state, round) -> state`, called after a round."""

from sirl.ops import trees
from sirl.slots import Refresh


def never(state, round):
  """The reference stays what it was: the starting weights."""
  del round
  return state


def each_round(state, round):
  """The reference becomes a copy of the weights at the end of every round (self-rewarding, SPIN)."""
  del round
  return _with_reference(state, trees.copy(state.params))


def ema(decay: float) -> Refresh:
  """The reference drifts after the policy: decay * reference + (1 - decay) * policy."""

  def refresh(state, round):
    del round
    return _with_reference(state, trees.ema(state.others['reference'], state.params, decay))

  return refresh


def _with_reference(state, params):
  return state.replace(others={**state.others, 'reference': params})
