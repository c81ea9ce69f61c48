"""Decoding: prompts to completions in one compiled program.

Each prompt is prefilled once, and its cache is repeated for the rows of its group. A while loop
then adds one token per iteration to every row, until every row has ended. The result is a
`types.Rollouts`.
"""

import functools

import jax
import jax.numpy as jnp

from sirl.generation.engine import layout, turns
from sirl.generation.engine.weights import for_decoding
from sirl.ops import keys as addressed
from sirl.runtime import sharding


@functools.partial(jax.jit, static_argnames=('model', 'sampling_params'))
def decode(model, params, prompts_PS, valid_PS, address, key, sampling_params):
  """Samples G = sampling_params.group_size completions of each prompt.

  Args:
    prompts_PS: int32 [P, S], left-padded, with at least one valid token each.
    valid_PS: bool [P, S].
    address: (ids_P uint32 [P], first_P int32 [P]), the noise address of each row, see `keys.rows`.
      A token's noise comes from its row's key, folded with the token's index in the completion.
    sampling_params: a `SamplingParams`.
  Returns: Rollouts [P, G, S + max_new].
  """
  params = for_decoding(model, params)
  rows = functools.partial(_rows, model, sampling_params)
  return sharding.on_data_shards(
    rows, (params, key), (prompts_PS, valid_PS, address), axes=sharding.ROWS
  )


def static(model, params, prompts_PS, valid_PS, address, key, sampling_params):
  """`decode` as a `slots.Decode`: all rows run until the longest has ended; it has no metrics."""
  return decode(model, params, prompts_PS, valid_PS, address, key, sampling_params), {}


def _rows(model, sampling_params, params, key, prompts_PS, valid_PS, address):
  """`decode` for the tasks of one shard."""
  G = sampling_params.group_size
  keys_B = addressed.rows(key, *address, G).reshape(-1)
  rows = turns.begin(
    model, params, prompts_PS, valid_PS, group_size=G, room=sampling_params.max_new
  )
  everyone = jnp.ones(len(keys_B), bool)
  (*out, ended_B), _ = turns.act(model, params, keys_B, everyone, rows, sampling_params)
  return layout.beside_prompts(prompts_PS, valid_PS, out, ~ended_B, G)
