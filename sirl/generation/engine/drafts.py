"""Drafts propose the tokens ("guesses") that speculative decoding checks.

A draft copies from the row's own text or samples from a smaller model. Guesses change the speed of
decoding, never the distribution of its samples.
"""

import functools
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
from flax import struct

from sirl import ranges
from sirl.generation.engine import sampling, turns
from sirl.generation.engine.weights import for_decoding
from sirl.ops import logprobs
from sirl.types import Array, PyTree

NONE = -1  # sentinel: no token proposed


class Text(NamedTuple):
  """The known tokens of every row, prompt and completion, in columns first .. end - 1."""

  tokens: Array  # int32 [B, T]
  first: Array  # int32 [B]  column after the left padding
  end: Array  # int32 [B]  column after the last known token


@struct.dataclass
class Draft:
  """A source of guesses: pure functions of an explicit state.

  start(params, prompts_PS, valid_PS, *, group_size, room) -> state.
  propose(params, state, text, uniform_BW, sampler) -> (guess_BW, logits_BWV, state).

  guess_BW: int32 guesses of the W tokens after the text; NONE where no token is proposed.
  logits_BWV: the tempered logits that the guesses were drawn from, or None for deterministic
  guesses. uniform_BW: the noise of these tokens. Build a Draft once and reuse it, because
  `speculate` is compiled for each one. New params need no compilation.
  """

  params: PyTree
  start: Callable[..., PyTree] = struct.field(pytree_node=False)
  propose: Callable[..., tuple[Array, Array | None, PyTree]] = struct.field(pytree_node=False)
  # params -> the params that start and propose receive, once per generation
  prepare: Callable[[PyTree], PyTree] = struct.field(
    pytree_node=False, default=lambda params: params
  )


def prompt_lookup(ngram=3):
  """Draft that finds the row's last tokens earlier in its text and copies what followed them.

  It searches for the longest repeated suffix of up to `ngram` tokens and takes its latest
  occurrence. A copy that reaches the end of the text continues with its own output, as in LZ77:
  'abcab' is continued 'cabcab...'. The draft needs no model pass and works well for quotes and
  repetition.
  Source: Saxena 2023, github.com/apoorvumang/prompt-lookup-decoding. Differs: the n-gram size is
    not fixed, and copies may overlap.
  Raises: ValueError for ngram < 1.
  """
  ngram = ranges.whole('ngram', ngram)

  def start(params, prompts_PS, valid_PS, *, group_size, room):
    del params, prompts_PS, valid_PS, group_size, room

  def propose(params, state, text, uniform_BW, sampler):
    del params, sampler
    W, columns_T = uniform_BW.shape[1], jnp.arange(text.tokens.shape[1])
    known_BT = (text.first[:, None] <= columns_T) & (columns_T < text.end[:, None])
    same_BT, length_BT = known_BT, jnp.zeros(known_BT.shape, jnp.int32)
    # length_BT: how many tokens directly before a column equal the last tokens of the text
    for back in range(1, ngram + 1):
      last_B1 = read(text.tokens, jnp.maximum(text.end - back, 0), 1)
      same_BT &= shifted(known_BT, back) & (shifted(text.tokens, back) == last_B1)
      length_BT += same_BT
    latest_longest_BT = length_BT * columns_T.size + columns_T
    source_B1 = jnp.argmax(latest_longest_BT, axis=1)[:, None]
    found_B1 = jnp.take_along_axis(length_BT, source_B1, axis=1) > 0
    distance_B1 = jnp.maximum(text.end[:, None] - source_B1, 1)
    copied_BW = jnp.take_along_axis(text.tokens, source_B1 + jnp.arange(W) % distance_B1, axis=1)
    return jnp.where(found_B1, copied_BW, NONE), None, state

  return Draft(None, start, propose)


def draft_model(model, params):
  """Draft that samples from a smaller model with the same tokenizer and the target's sampler.

  It draws with the noise that the target model will use. The embeddings of the two models may be
  padded to different numbers of rows.
  """

  def start(params, prompts_PS, valid_PS, *, group_size, room):
    rows = turns.begin(model, params, prompts_PS, valid_PS, group_size=group_size, room=room)
    return rows.cache

  def propose(params, cache, text, uniform_BW, sampler):
    def choose(x_BD, uniform_B):
      logits_BV = logprobs.tempered(turns.logits(model, params, x_BD), sampler)
      return sampling.draw(logits_BV, uniform_B, logprobs.PLAIN)[0], logits_BV

    def step(carry, this):
      token_B, cache = carry
      column_B, uniform_B = this
      x_B1D, cache = turns.read(model, params, token_B[:, None], column_B, text.first, cache)
      token_B, logits_BV = choose(x_B1D[:, 0], uniform_B)
      return (token_B, cache), (token_B, logits_BV)

    # If all guesses of the last round were accepted, the second to last token is not in the cache.
    # Feeding two tokens to every row needs no extra pass.
    known_B2 = read(text.tokens, text.end - 2, 2)
    x_B2D, cache = turns.read(model, params, known_B2, text.end - 2, text.first, cache)
    first = choose(x_B2D[:, 1], uniform_BW[:, 0])
    columns_WB = text.end + jnp.arange(uniform_BW.shape[1] - 1)[:, None]
    (_, cache), rest = jax.lax.scan(step, (first[0], cache), (columns_WB, uniform_BW[:, 1:].T))
    guess_BW, logits_BWV = (
      jnp.concatenate([one[:, None], more.swapaxes(0, 1)], axis=1) for one, more in zip(first, rest)
    )
    return guess_BW, logits_BWV, cache

  return Draft(params, start, propose, functools.partial(for_decoding, model))


def read(x_BT, column_B, n):
  """[B, n]: n entries of every row, starting at its column."""
  return jnp.take_along_axis(x_BT, column_B[:, None] + jnp.arange(n), axis=1)


def shifted(x_BT, n):
  """[B, T]: the rows moved n columns to the right; the first n columns are 0."""
  return jnp.pad(x_BT, ((0, 0), (n, 0)))[:, : x_BT.shape[1]]
