"""The layout of a Rollouts row: left padding, prompt, completion, right padding.

All functions that build such rows are in this file.
"""

from typing import Any

import jax.numpy as jnp
import numpy as np

from sirl.ops import trees
from sirl.types import Rollouts


def beside_prompts(prompts_PS, valid_PS, out, truncated_B, group_size) -> Rollouts:
  """Rollouts [P, G, S + N] of prompts and the completions that a decoder wrote.

  Args:
    out: token ids int32, log-probs float32 and token mask bool, each [P * G, N].
    truncated_B: bool [P * G], True for completions without an end token.
  """

  def beside(prompt_PS, new_BN):
    return jnp.concatenate([jnp.repeat(prompt_PS, group_size, axis=0), new_BN], axis=1)

  tokens_BN, logp_BN, action_BN = out
  rollouts = Rollouts(
    tokens=beside(prompts_PS, tokens_BN),
    valid=beside(valid_PS, action_BN),
    action=beside(jnp.zeros_like(valid_PS), action_BN),
    logp=beside(jnp.zeros(prompts_PS.shape, jnp.float32), logp_BN),
    truncated=truncated_B,
    prompt_width=prompts_PS.shape[1],
  )
  return trees.split_groups(rollouts, group_size)


def in_columns(
  tokens_BT, logp_BT, first_B, count_B, truncated_B, *, prompt_width, group_size
) -> Rollouts:
  """Rollouts [P, G, T] of rows that already hold prompt and completion at their final columns.

  Args:
    first_B: int32 [B], column of the prompt's first token.
    count_B: int32 [B], number of tokens of the completion.
  """
  columns_T = jnp.arange(tokens_BT.shape[1])
  written_BT = columns_T < (prompt_width + count_B)[:, None]
  rollouts = Rollouts(
    tokens=tokens_BT,
    valid=written_BT & (columns_T >= first_B[:, None]),
    action=written_BT & (columns_T >= prompt_width),
    logp=logp_BT,
    truncated=truncated_B,
    prompt_width=prompt_width,
  )
  return trees.split_groups(rollouts, group_size)


def given(prompts_PS, valid_PS, tokens_PN, action_PN) -> Rollouts:
  """Rollouts [P, 1, S + N] of known completions; their log-probs are NaN because none was sampled.

  Args: numpy arrays, int32 and bool.
  Returns: numpy leaves; several processes may pass them to the same compiled program.
  """
  tokens = np.concatenate([prompts_PS, tokens_PN], axis=1)[:, None]
  valid = np.concatenate([valid_PS, action_PN], axis=1)[:, None]
  action = np.concatenate([np.zeros_like(valid_PS), action_PN], axis=1)[:, None]
  logp = np.where(action, np.nan, 0).astype(np.float32)
  arrays: list[Any] = [tokens, valid, action, logp, np.zeros(tokens.shape[:2], bool)]
  return Rollouts(*arrays, prompt_width=prompts_PS.shape[1])
