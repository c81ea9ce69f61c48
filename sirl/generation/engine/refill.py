"""Continuous batching in one compiled program: when a row ends, its slot takes the next queued row.

A static batch waits for its longest completion. Here W slots process the B = P * G rows. A turn is
one model pass, which adds a token to every slot that is not done. New rows enter in blocks. Each
prompt is prefilled once per group, and a row's cache starts as a copy of its prompt's. When the
queue is empty and few rows are unfinished, these rows continue in a narrower loop. The samples are
those of `decode`, because a token's noise depends only on its row and its index in the completion.

Memory holds the caches of all P prompts as well as those of the slots. Each data shard has its own
part of the slots and of the queue, and waits for no other shard.

Letters: W slots, E rows that enter at once; the rest as in `types`.
"""

import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp

from sirl import ranges
from sirl.generation.engine import layout
from sirl.generation.engine.decode import blank, draw, ends, write
from sirl.generation.engine.weights import for_decoding
from sirl.ops import keys as addressed
from sirl.ops import prefill
from sirl.runtime import sharding
from sirl.slots import Decode
from sirl.types import Array, PyTree, Ratio


class Slots(NamedTuple):
  """State of the W slots. A slot that is done still computes (fixed shapes) and gives padding."""

  row: Array  # int32 [W]  index among the B rows, prompt-major
  length: Array  # int32 [W]  tokens of the completion so far
  token: Array  # int32 [W]  the newest token
  done: Array  # bool [W]
  cache: PyTree  # leaves [W, K, S + max_new, H]; completion token t is at index S + t


def decoder(slots) -> Decode:
  """`decode` with a fixed number of slots, for `explore` and `make_ask`.

  It also returns the metric `slot_use`. Raises: ValueError for slots < 1.
  """
  ranges.whole('slots', slots)

  def in_slots(model, params, prompts_PS, valid_PS, address, key, sampling_params):
    rollouts, slot_turns = decode(
      model, params, prompts_PS, valid_PS, address, key, sampling_params, slots=slots
    )
    return rollouts, {'sampling/slot_use': slot_use(rollouts, slot_turns)}

  return in_slots


@jax.jit
def slot_use(rollouts, slot_turns):
  """Ratio of the slot-turns that gave a token to all computed slot-turns.

  A row's first token comes from the prefill, takes no turn and is not counted.
  """
  return Ratio(jnp.sum(rollouts.action) - rollouts.truncated.size, slot_turns)


@functools.partial(jax.jit, static_argnames=('model', 'sampling_params', 'slots', 'block'))
def decode(
  model, params, prompts_PS, valid_PS, address, key, sampling_params, *, slots, block=None
):
  """Samples G = sampling_params.group_size completions of each prompt, and counts slot-turns.

  Args: as for `sirl.generation.engine.decode.decode`, and
    slots: rows decoded at the same time, which bounds the memory of the cache; at most P * G are
      used.
    block: slots that must be free before rows enter; None: an eighth of the slots. Entering costs
      an unembedding and a copy of the prompts' caches; waiting leaves slots idle. Slots and block
      are split over the data shards, rounded up.
  Returns: Rollouts [P, G, S + max_new], and for `slot_use` the computed slot-turns, int32 [].
  Raises: ValueError for slots < 1, or a block that is not between 1 and slots.
  """
  P = len(prompts_PS)
  shards = sharding.data_shards(P, axes=sharding.ROWS)
  W = min(-(-slots // shards), P * sampling_params.group_size // shards)
  E = _block(slots, block, shards, W)
  params = for_decoding(model, params)
  rows = functools.partial(_rows, model, sampling_params, W, E)
  rollouts, slot_turns = sharding.on_data_shards(
    rows, (params, key), (prompts_PS, valid_PS, address), axes=sharding.ROWS
  )
  return rollouts, jnp.sum(slot_turns)


def _rows(model, sampling_params, W, E, params, key, prompts_PS, valid_PS, address):
  """`decode` for the tasks of one shard: W slots, E rows enter at once; the count is int32 [1]."""
  (P, S), G, max_new = prompts_PS.shape, sampling_params.group_size, sampling_params.max_new
  B = P * G
  ids_P, first_P = address
  noise_BN = addressed.token_noise(addressed.rows(key, ids_P, first_P, G).reshape(-1), max_new)
  lengths_P = jnp.sum(valid_PS, axis=1, dtype=jnp.int32)
  x_PD, prompt_cache = prefill.in_pieces(model, params, prompts_PS, valid_PS)
  prompt_cache = prefill.for_decoding(model, prompt_cache)

  def choose(x_WD, row_W, t_W, done_W):
    logits_WV = model.unembed(params, x_WD)
    return draw(logits_WV, noise_BN[row_W, t_W], done_W, sampling_params)

  def enter(first, slots, out):
    """Rows first .. first + E - 1 that exist take idle slots and draw their first token."""
    row_E = first + jnp.arange(E)
    absent_E = row_E >= B
    row_E = jnp.minimum(row_E, B - 1)
    token_E, logp_E, ended_E = choose(x_PD[row_E // G], row_E, jnp.zeros(E, jnp.int32), absent_E)
    # A scatter drops indices past the end, so absent rows get such an index.
    out = write(out, (jnp.where(absent_E, B, row_E), 0), token_E, logp_E, absent_E)
    (slot_E,) = jnp.nonzero(slots.done, size=E)
    slot_E = jnp.where(absent_E, W, slot_E)

    def copy_prompt(cache, prompt_cache):
      return cache.at[slot_E, :, :S].set(prompt_cache[row_E // G])

    slots = Slots(
      row=slots.row.at[slot_E].set(row_E),
      length=slots.length.at[slot_E].set(1),
      token=slots.token.at[slot_E].set(token_E),
      done=slots.done.at[slot_E].set(ended_E | (max_new == 1)),
      cache=jax.tree.map(copy_prompt, slots.cache, prompt_cache),
    )
    return slots, out

  def turn(work):
    """Adds one token to every slot that is not done."""
    slots, out, slot_turns = work
    p_W, t_W = slots.row // G, slots.length
    visible_WT = jnp.concatenate([valid_PS[p_W], jnp.arange(max_new) < t_W[:, None]], axis=1)
    x_W1D, cache = model.hidden(
      params,
      slots.token[:, None],
      (lengths_P[p_W] + t_W - 1)[:, None],
      visible_WT[:, None],
      slots.cache,
      S + t_W - 1,
    )
    token_W, logp_W, ended_W = choose(x_W1D[:, 0], slots.row, t_W, slots.done)
    out = write(out, (slots.row, t_W), token_W, logp_W, slots.done)
    length_W = jnp.where(slots.done, t_W, t_W + 1)
    slots = Slots(slots.row, length_W, token_W, ended_W | (length_W == max_new), cache)
    return slots, out, slot_turns + token_W.size

  def until(active, work):
    """Runs turns until at most `active` slots are active."""
    return jax.lax.while_loop(lambda work: jnp.sum(~work[0].done) > active, turn, work)

  def admit(carry):
    """A block of rows enters, then turns run until the next block has room.

    With an empty queue they run until few rows are unfinished.
    """
    first, (slots, out, slot_turns) = carry
    work = (*enter(first, slots, out), slot_turns)
    remaining = B - (first + E)
    active = jnp.where(remaining > 0, W - jnp.minimum(E, remaining), few)
    return first + E, until(active, work)

  # A slot without a row has length max_new, where writes to the completions are out of range.
  idle = Slots(
    row=jnp.zeros(W, jnp.int32),
    length=jnp.full(W, max_new),
    token=jnp.full(W, sampling_params.pad_id),
    done=jnp.ones(W, bool),
    cache=model.init_cache(W, S + max_new),
  )
  few = W // 4 if W >= 8 else 0
  carry = (jnp.int32(0), (idle, blank(B, sampling_params), jnp.int32(0)))
  _, (slots, out, slot_turns) = jax.lax.while_loop(lambda carry: carry[0] < B, admit, carry)
  if few:
    # Fewer slots make a turn cheaper, so the last rows move to a quarter of the slots.
    active_first = jnp.argsort(slots.done, stable=True)[:few]
    slots = jax.tree.map(lambda x: x[active_first], slots)
    _, out, slot_turns = until(0, (slots, out, slot_turns))

  tokens_BN, _, action_BN = out
  ends_BN = action_BN & ends(tokens_BN, sampling_params)
  rollouts = layout.beside_prompts(prompts_PS, valid_PS, out, ~jnp.any(ends_BN, axis=1), G)
  return rollouts, jnp.reshape(slot_turns, 1)


def _block(slots, block, shards, width):
  ranges.whole('slots', slots)
  if block is None:
    return max(1, width // 8)
  ranges.whole('block', block, 1, slots)
  return min(-(-block // shards), width)
