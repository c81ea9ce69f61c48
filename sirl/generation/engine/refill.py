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
from sirl.generation.engine import layout, turns
from sirl.generation.engine.weights import for_decoding
from sirl.ops import keys as addressed
from sirl.ops import prefill
from sirl.ops.platform import platform
from sirl.runtime import sharding
from sirl.slots import Decode
from sirl.types import Array, Model, Params, PyTree, Ratio, SamplingParams


class Slots(NamedTuple):
  """State of the W slots. A slot that is done still computes (fixed shapes) and gives padding."""

  row: Array  # int32 [W]  index among the B rows, prompt-major
  length: Array  # int32 [W]  tokens of the completion so far
  token: Array  # int32 [W]  the newest token
  done: Array  # bool [W]
  cache: PyTree  # leaves [W, K, S + max_new, H]; completion token t is at index S + t


class Work(NamedTuple):
  """State of one shard between two turns."""

  entered: Array  # int32 []  rows of the queue that have entered
  slots: Slots
  out: tuple[Array, Array, Array]  # the completions, see `turns.blank`
  slot_turns: Array  # int32 []  turns times the slots that computed in them


class Queue(NamedTuple):
  """The rows of one shard, and what never changes while they are decoded."""

  model: Model
  params: Params
  sampling_params: SamplingParams
  width: int  # S, columns of a prompt
  first_P: Array  # int32 [P]  column of each prompt's first token
  x_PD: Array  # hidden state after each prompt
  prompt_cache: PyTree  # leaves [P, K, S, H]
  noise_BN: Array  # float32 [B, max_new]
  block: int  # E

  @property
  def rows(self):
    """B, the number of rows."""
    return len(self.noise_BN)


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
  G, max_new = sampling_params.group_size, sampling_params.max_new
  x_PD, prompt_cache = prefill.in_pieces(model, params, prompts_PS, valid_PS)
  queue = Queue(
    model=model,
    params=params,
    sampling_params=sampling_params,
    width=prompts_PS.shape[1],
    first_P=turns.first_columns(valid_PS),
    x_PD=x_PD,
    prompt_cache=prefill.for_decoding(model, prompt_cache),
    noise_BN=addressed.token_noise(addressed.rows(key, *address, G).reshape(-1), max_new),
    block=E,
  )
  few = W // 4 if W >= 8 else 0
  work = jax.lax.while_loop(
    lambda work: work.entered < queue.rows, functools.partial(_admit, queue, few), _idle(queue, W)
  )
  if few:
    # Fewer slots make a turn cheaper, so the last rows move to a quarter of the slots.
    active_first = jnp.argsort(work.slots.done, stable=True)[:few]
    work = work._replace(slots=jax.tree.map(lambda x: x[active_first], work.slots))
    work = _until(queue, 0, work)

  tokens_BN, _, action_BN = work.out
  ends_BN = action_BN & turns.ends(tokens_BN, sampling_params)
  rollouts = layout.beside_prompts(prompts_PS, valid_PS, work.out, ~jnp.any(ends_BN, axis=1), G)
  return rollouts, jnp.reshape(work.slot_turns, 1)


def _idle(queue, W) -> Work:
  """W slots without rows. Their length is max_new, where writes to completions are out of range."""
  asked = queue.sampling_params
  slots = Slots(
    row=jnp.zeros(W, jnp.int32),
    length=jnp.full(W, asked.max_new),
    token=jnp.full(W, asked.pad_id),
    done=jnp.ones(W, bool),
    cache=queue.model.init_cache(W, queue.width + asked.max_new),
  )
  return Work(jnp.int32(0), slots, turns.blank(queue.rows, asked), jnp.int32(0))


def _admit(queue, few, work):
  """A block of rows enters, then turns run until the next block has room.

  With an empty queue they run until at most `few` rows are unfinished.
  """
  work = _enter(queue, work)
  remaining = queue.rows - work.entered
  W = len(work.slots.row)
  active = jnp.where(remaining > 0, W - jnp.minimum(queue.block, remaining), few)
  return _until(queue, active, work)


def _enter(queue, work):
  """The next E rows of the queue that exist take idle slots and draw their first token."""
  slots, asked = work.slots, queue.sampling_params
  B, E, W, G = queue.rows, queue.block, len(slots.row), asked.group_size
  row_E = work.entered + jnp.arange(E)
  absent_E = row_E >= B
  row_E = jnp.minimum(row_E, B - 1)
  prompt_E = row_E // G
  first_token = jnp.zeros(E, jnp.int32)
  token_E, logp_E, ended_E = _choose(queue, queue.x_PD[prompt_E], row_E, first_token, absent_E)
  # A scatter drops indices past the end, so absent rows get such an index.
  out = turns.write(work.out, (jnp.where(absent_E, B, row_E), 0), token_E, logp_E, absent_E)
  (slot_E,) = jnp.nonzero(slots.done, size=E)
  slot_E = jnp.where(absent_E, W, slot_E)
  slots = Slots(
    row=slots.row.at[slot_E].set(row_E),
    length=slots.length.at[slot_E].set(1),
    token=slots.token.at[slot_E].set(token_E),
    done=slots.done.at[slot_E].set(ended_E | (asked.max_new == 1)),
    cache=_with_prompts(slots.cache, queue.prompt_cache, slot_E, prompt_E),
  )
  return Work(work.entered + E, slots, out, work.slot_turns)


def _with_prompts(cache, prompt_cache, slot_E, prompt_E):
  """The slots' cache with the prompts' copied to slots slot_E; indices past the end are dropped."""

  def scattered(cache_WKTH, prompts_PKSH):
    S = prompts_PKSH.shape[2]
    return cache_WKTH.at[slot_E, :, :S].set(prompts_PKSH[prompt_E])

  def selected(cache_WKTH, prompts_PKSH):
    S = prompts_PKSH.shape[2]
    own = jnp.where(
      (prompt_W >= 0)[:, None, None, None], prompts_PKSH[prompt_W], cache_WKTH[:, :, :S]
    )
    return cache_WKTH.at[:, :, :S].set(own)

  if platform() != 'tpu' or not cache:
    return jax.tree.map(scattered, cache, prompt_cache)
  # A TPU scatters row by row in a loop for every layer, so it passes over all slots instead.
  W = len(cache[0][0])
  prompt_W = jnp.full(W, -1).at[slot_E].set(prompt_E)
  return jax.tree.map(selected, cache, prompt_cache)


def _until(queue, active, work):
  """Runs turns until at most `active` slots are active."""
  return jax.lax.while_loop(
    lambda work: jnp.sum(~work.slots.done) > active, functools.partial(_turn, queue), work
  )


def _turn(queue, work):
  """Adds one token to every slot that is not done."""
  slots, asked = work.slots, queue.sampling_params
  t_W = slots.length
  x_W1D, cache = turns.read(
    queue.model,
    queue.params,
    slots.token[:, None],
    queue.width + t_W - 1,
    queue.first_P[slots.row // asked.group_size],
    slots.cache,
  )
  token_W, logp_W, ended_W = _choose(queue, x_W1D[:, 0], slots.row, t_W, slots.done)
  out = turns.write(work.out, (slots.row, t_W), token_W, logp_W, slots.done)
  length_W = jnp.where(slots.done, t_W, t_W + 1)
  slots = Slots(slots.row, length_W, token_W, ended_W | (length_W == asked.max_new), cache)
  return Work(work.entered, slots, out, work.slot_turns + token_W.size)


def _choose(queue, x_WD, row_W, t_W, done_W):
  """Token number t_W of the rows, see `turns.draw`."""
  logits_WV = turns.logits(queue.model, queue.params, x_WD)
  return turns.draw(logits_WV, queue.noise_BN[row_W, t_W], done_W, queue.sampling_params)


def _block(slots, block, shards, width):
  ranges.whole('slots', slots)
  if block is None:
    return max(1, width // 8)
  ranges.whole('block', block, 1, slots)
  return min(-(-block // shards), width)
