"""Credit: maps an Experience to the advantage of every token, float32 [P, G, T].

Credit runs after scoring. It may read the rewards, the policy's log-probs before the update
(`old_logp`), those of a reference, values, and per-token rewards. Fields that it does not read are
not computed.
"""

import jax.numpy as jnp

from sirl.optimization import contract
from sirl.slots import Advantage, Credit, check_function
from sirl.types import Experience


def by_group(advantage: Advantage) -> Credit:
  """Gives every token of a completion the advantage that its group's rewards assign.

  Args: advantage: (rewards_PG, judged_PG) -> [P, G], such as `advantages.normalized`. P is the whole
    batch, before it is cut into minibatches.
  Raises: ValueError for a function of another form, here or when the update is traced.
  """
  check_function('advantage', advantage)

  def credit(experience: Experience):
    advantages_PG = contract.advantages_of(advantage, experience)
    return jnp.broadcast_to(advantages_PG[..., None], experience.mask.shape)

  return credit
