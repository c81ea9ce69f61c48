"""Speculative decoding: a cheap draft proposes tokens ("guesses"), the model checks all in a pass.

Where reading the weights dominates, a pass over K tokens costs little more than a pass over one,
and each accepted guess saves a pass. The papers measured 2 to 3 times the speed on accelerators
with one row. On a CPU core, a pass over 36 tokens (four rows with eight guesses each) costs far
more than a pass over four. With 90% of the guesses right, one row gains there and four rows do not
(`sirl bench --cases speculate`).

The draft sets the speed; a rule sets what is drawn. No draft can change the distribution.

A round of one row with width 3. The last known token `c` is not in the cache yet; three guesses
follow:

  fed             c   d0  d1  d2
  model draws     y0  y1  y2  y3     y0 holds anyway; y1 if d0 = y0; y2 if also d1 = y1; ...
  if d1 differs   y0  y1             are appended; the next round overwrites d1, d2 in the cache

Sources: Leviathan et al. 2023, arXiv 2211.17192; Chen et al. 2023, arXiv 2302.01318.
"""

import functools
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
from flax import struct

from sirl import ranges
from sirl.generation.engine import drafts, layout, sampling, turns
from sirl.generation.engine.weights import for_decoding
from sirl.ops import keys as addressed
from sirl.ops import logprobs, trees
from sirl.runtime import sharding
from sirl.slots import Decode
from sirl.types import Array, Model, Params, PyTree, Ratio, SamplingParams

# ---------------------------------------------------------------- rules
# (logits_BKV, guess_BW, guess_logits_BWV or None, keys_BK, sampler) -> (token_BK, logp_BK, kept_B).
# K = W + 1; logits i predict the token that guess i proposes. The first kept_B[b] tokens of row b
# are accepted guesses, the next is the model's, the rest has no meaning.


def coupled(logits_BKV, guess_BW, guess_logits_BWV, keys_BK, sampler):
  """The model draws each token with the noise of `decode`; a guess that equals it is accepted.

  So the samples are those of `decode`, up to rounding of the logits. A fixed guess x is accepted
  with probability p(x), which no rule exceeds. A guess drawn from q with the same noise is accepted
  if both inverse CDFs give the same token. That is certain for q = p and otherwise less likely than
  the optimum 1 - TV(p, q). The loss grows with the flatness of the distributions, so prefer
  `rejection` for a draft model with flat distributions.
  """
  del guess_logits_BWV
  B, K, V = logits_BKV.shape
  token, logp = sampling.draw(
    logits_BKV.reshape(B * K, V), addressed.uniform(keys_BK).reshape(B * K), sampler
  )
  token_BK, logp_BK = token.reshape(B, K), logp.reshape(B, K)
  return token_BK, logp_BK, leading(token_BK[:, :-1] == guess_BW)


def rejection(logits_BKV, guess_BW, guess_logits_BWV, keys_BK, sampler):
  """The papers' rule: accepts a guess drawn from q with probability min(1, p / q).

  The mean probability is 1 - TV(p, q), with TV the total variation distance. With a draft model
  this rule accepts more guesses than `coupled`. The samples have the distribution of `decode` but
  are other samples, which depend on draft and width.
  """
  logits_BKV = logprobs.tempered(logits_BKV, sampler)
  V = logits_BKV.shape[-1]
  if guess_logits_BWV is None:
    q_BWV = jax.nn.one_hot(guess_BW, V)
  else:
    # Two embeddings of one tokenizer may have different padding. A guess that the target lacks is
    # rejected.
    extra = guess_logits_BWV.shape[-1] - V
    widen = lambda x, n: jnp.pad(
      x, ((0, 0), (0, 0), (0, max(n, 0))), constant_values=logprobs.EXCLUDED
    )
    logits_BKV, guess_logits_BWV = widen(logits_BKV, extra), widen(guess_logits_BWV, -extra)
    q_BWV = jax.nn.softmax(guess_logits_BWV, axis=-1)
  # The draft used the tokens' own keys, so the rule derives new ones from them.
  pair = jax.vmap(jax.vmap(lambda key: jax.random.uniform(jax.random.fold_in(key, 1), (2,))))
  accept_BK, correct_BK = jnp.moveaxis(pair(keys_BK), -1, 0)
  p_BKV = jax.nn.softmax(logits_BKV, axis=-1)
  token_BK, kept_B = accept_or_correct(p_BKV, guess_BW, q_BWV, accept_BK[:, :-1], correct_BK)
  return token_BK, logprobs.of_tokens(logits_BKV, jnp.maximum(token_BK, 0)), kept_B


def accept_or_correct(p_BKV, guess_BW, q_BWV, accept_BW, correct_BK):
  """Accepts guess i if accept * q(guess) < p(guess); draws one more token after the accepted ones.

  The token after a rejection comes from max(p - q, 0), normalised. If all guesses are accepted, it
  comes from p.
  Args: p_BKV, q_BWV: probabilities, K = W + 1; accept_BW, correct_BK: uniform noise in [0, 1).
  Returns: tokens int32 [B, K], and the number of accepted guesses, int32 [B].
  """
  chosen_BW1 = jnp.maximum(guess_BW, 0)[..., None]
  p_guess_BW = jnp.take_along_axis(p_BKV[:, :-1], chosen_BW1, axis=-1)[..., 0]
  q_guess_BW = jnp.take_along_axis(q_BWV, chosen_BW1, axis=-1)[..., 0]
  kept_B = leading((guess_BW != drafts.NONE) & (accept_BW * q_guess_BW < p_guess_BW))

  here = lambda x: jnp.take_along_axis(x, kept_B.reshape(-1, *[1] * (x.ndim - 1)), axis=1)[:, 0]
  # q = 0 where there is no guess
  p_BV, q_BV = here(p_BKV), here(jnp.pad(q_BWV, ((0, 0), (0, 1), (0, 0))))
  left_BV = jnp.maximum(p_BV - q_BV, 0)
  # p = q up to rounding: draw from p
  left_BV = jnp.where(jnp.any(left_BV > 0, axis=-1, keepdims=True), left_BV, p_BV)
  logits_BV = jnp.where(left_BV > 0, jnp.log(jnp.maximum(left_BV, 1e-38)), logprobs.EXCLUDED)
  corrected_B, _ = sampling.draw(logits_BV, here(correct_BK), logprobs.PLAIN)
  guess_BK = jnp.pad(guess_BW, ((0, 0), (0, 1)), constant_values=drafts.NONE)
  at_K = jnp.arange(guess_BK.shape[1])
  return jnp.where(at_K == kept_B[:, None], corrected_B[:, None], guess_BK), kept_B


# ---------------------------------------------------------------- the loop


@struct.dataclass
class Statistics:
  """Outcome of the guesses per row. The prefill, which gives the first token, is not a round."""

  rounds: Array  # int32 [P, G]  passes of the model while the row was unfinished
  drafted: Array  # int32 [P, G]  guesses made
  # int32 [P, G]  guesses compared with an appended token, so none after the first rejected one
  tested: Array
  accepted: Array  # int32 [P, G]  guesses appended

  @property
  def acceptance(self):
    """float32 [P, G]: accepted share of tested guesses, alpha in 2211.17192; NaN without any."""
    return jnp.where(self.tested > 0, self.accepted / jnp.maximum(self.tested, 1), jnp.nan)

  @property
  def accepted_per_round(self):
    """float32 [P, G]: accepted guesses per pass; 0 where no round was needed."""
    return self.accepted / jnp.maximum(self.rounds, 1)


class Progress(NamedTuple):
  """State of every row between two rounds."""

  tokens: Array  # int32 [B, T]  prompt and completion
  logp: Array  # float32 [B, T]
  count: Array  # int32 [B]  tokens of the completion
  ended: Array  # bool [B]
  cache: PyTree  # holds every known token except the last, at its column
  memory: PyTree  # the draft's state
  statistics: Statistics  # leaves [B]


def decoder(draft, *, width, rule=coupled) -> Decode:
  """A function with the signature of `decode` that also returns the metrics of `summary`."""
  ranges.whole('width', width)

  def decode(model, params, prompts_PS, valid_PS, address, key, sampling_params):
    rollouts, statistics = speculate(
      model, params, prompts_PS, valid_PS, address, key, sampling_params,
      draft=draft, width=width, rule=rule,
    )  # fmt: skip
    return rollouts, summary(statistics)

  return decode


@jax.jit
def summary(statistics):
  """Metrics of a batch: accepted guesses per tested guess, and accepted guesses per pass."""
  total = jax.tree.map(jnp.sum, statistics)
  return {
    'sampling/acceptance': Ratio(total.accepted, total.tested),
    'sampling/accepted_per_round': Ratio(total.accepted, total.rounds),
  }


@functools.partial(jax.jit, static_argnames=('model', 'sampling_params', 'width', 'rule'))
def speculate(
  model, params, prompts_PS, valid_PS, address, key, sampling_params, *, draft, width, rule=coupled
):
  """`decode` in fewer passes: the same arguments, layout, distribution and log-probs.

  Args:
    draft: a Draft.
    width: guesses per round. Each round computes logits of width + 1 tokens per row.
    rule: `coupled`, whose samples are those of `decode`, or `rejection`.
  Returns: Rollouts [P, G, S + max_new] and Statistics [P, G].
  Raises: ValueError for width < 1.
  """
  ranges.whole('width', width)
  params = for_decoding(model, params)
  draft = draft.replace(params=draft.prepare(draft.params))
  rows = functools.partial(_rows, model, sampling_params, width, rule)
  return sharding.on_data_shards(
    rows, (params, key, draft), (prompts_PS, valid_PS, address), axes=sharding.ROWS
  )


class Setup(NamedTuple):
  """What never changes while the rows of one shard are decoded."""

  model: Model
  params: Params
  draft: drafts.Draft
  rule: Callable
  width: int  # W, guesses per round
  sampling_params: SamplingParams
  prompt_width: int  # S
  keys_B: Array  # keys of the rows
  first_B: Array  # int32 [B]  column of the prompt's first token


def _rows(model, sampling_params, width, rule, params, key, draft, prompts_PS, valid_PS, address):
  """`speculate` for the tasks of one shard."""
  S, G, max_new = prompts_PS.shape[1], sampling_params.group_size, sampling_params.max_new
  setup = Setup(
    model=model,
    params=params,
    draft=draft,
    rule=rule,
    width=width,
    sampling_params=sampling_params,
    prompt_width=S,
    keys_B=addressed.rows(key, *address, G).reshape(-1),
    first_B=jnp.repeat(turns.first_columns(valid_PS), G),
  )
  now = _begin(setup, prompts_PS, valid_PS)
  now = jax.lax.while_loop(
    lambda now: jnp.any(_unfinished(setup, now)), functools.partial(_round, setup), now
  )
  rollouts = layout.in_columns(
    now.tokens[:, : S + max_new],
    now.logp[:, : S + max_new],
    setup.first_B,
    now.count,
    ~now.ended,
    prompt_width=S,
    group_size=G,
  )
  return rollouts, trees.split_groups(now.statistics, G)


def _begin(setup, prompts_PS, valid_PS) -> Progress:
  """The rows after their first token, which the prefill gives."""
  asked, B = setup.sampling_params, len(setup.keys_B)
  # a finished row still writes after its last token
  room = asked.max_new + setup.width + 1
  prompts = dict(group_size=asked.group_size, room=room)
  rows = turns.begin(setup.model, setup.params, prompts_PS, valid_PS, **prompts)
  none_B = jnp.zeros(B, jnp.int32)
  now = Progress(
    tokens=jnp.pad(
      jnp.repeat(prompts_PS, asked.group_size, axis=0),
      ((0, 0), (0, room)),
      constant_values=asked.pad_id,
    ).astype(jnp.int32),
    logp=jnp.zeros((B, setup.prompt_width + room), jnp.float32),
    count=none_B,
    ended=jnp.zeros(B, bool),
    cache=rows.cache,
    memory=setup.draft.start(setup.draft.params, prompts_PS, valid_PS, **prompts),
    statistics=Statistics(none_B, none_B, none_B, none_B),
  )
  noise_B1 = addressed.uniform(addressed.token_keys(setup.keys_B, now.count, 1))
  token_B, logp_B = sampling.draw(
    turns.logits(setup.model, setup.params, rows.x), noise_B1[:, 0], asked.sampler
  )
  now, _ = _append(setup, now, token_B[:, None], logp_B[:, None], none_B + 1)
  return now


def _round(setup, now):
  """The draft proposes W tokens, the model reads them, and the rule says which are appended."""
  model, params, draft = setup.model, setup.params, setup.draft
  sampler = setup.sampling_params.sampler
  text = drafts.Text(now.tokens, setup.first_B, setup.prompt_width + now.count)
  keys_BK = addressed.token_keys(setup.keys_B, now.count, setup.width + 1)
  guess_BW, guess_logits_BWV, memory = draft.propose(
    draft.params, now.memory, text, addressed.uniform(keys_BK)[:, : setup.width], sampler
  )
  fed_BK = jnp.concatenate(
    [drafts.read(text.tokens, text.end - 1, 1), jnp.clip(guess_BW, 0, model.vocab - 1)], axis=1
  )
  x_BKD, cache = turns.read(model, params, fed_BK, text.end - 1, text.first, now.cache)
  token_BK, logp_BK, kept_B = setup.rule(
    turns.logits(model, params, x_BKD), guess_BW, guess_logits_BWV, keys_BK, sampler
  )
  later, taken_B = _append(setup, now, token_BK, logp_BK, kept_B + 1)
  unfinished_B = _unfinished(setup, now)
  guessed_BW = (guess_BW != drafts.NONE) & unfinished_B[:, None]
  tested_BW = guessed_BW & (jnp.arange(setup.width) < taken_B[:, None])
  s = now.statistics
  statistics = Statistics(
    rounds=s.rounds + unfinished_B,
    drafted=s.drafted + jnp.sum(guessed_BW, axis=1, dtype=jnp.int32),
    tested=s.tested + jnp.sum(tested_BW, axis=1, dtype=jnp.int32),
    accepted=s.accepted + jnp.minimum(kept_B, taken_B),
  )
  return later._replace(cache=cache, memory=memory, statistics=statistics)


def _append(setup, now, token_BK, logp_BK, offered_B):
  """Appends the first offered_B tokens, up to the end token or max_new; also returns how many."""
  asked = setup.sampling_params
  at_K = jnp.arange(token_BK.shape[1])
  end_BK = turns.ends(token_BK, asked)
  ends_before_BK = jnp.cumsum(end_BK, axis=1) - end_BK
  taken_BK = (at_K < offered_B[:, None]) & (ends_before_BK == 0)
  taken_BK &= _unfinished(setup, now)[:, None] & (now.count[:, None] + at_K < asked.max_new)
  taken_B = jnp.sum(taken_BK, axis=1, dtype=jnp.int32)
  column_B = setup.prompt_width + now.count
  now = now._replace(
    tokens=write(now.tokens, jnp.where(taken_BK, token_BK, asked.pad_id), column_B),
    logp=write(now.logp, jnp.where(taken_BK, logp_BK, 0.0), column_B),
    count=now.count + taken_B,
    ended=now.ended | jnp.any(taken_BK & end_BK, axis=1),
  )
  return now, taken_B


def _unfinished(setup, now):
  return ~now.ended & (now.count < setup.sampling_params.max_new)


def write(x_BT, new_BK, column_B):
  """x_BT with each row's new entries from its column on."""
  (B, T), K = x_BT.shape, new_BK.shape[1]
  # Entry by entry: a TPU would write slices in a loop over rows.
  columns_BK = jnp.minimum(column_B, T - K)[:, None] + jnp.arange(K)
  at = x_BT.at[jnp.arange(B)[:, None], columns_BK]
  return at.set(new_BK, unique_indices=True, mode='promise_in_bounds')


def leading(true_BW):
  """int32 [B]: number of entries before the first False."""
  return jnp.sum(jnp.cumprod(true_BW, axis=1, dtype=jnp.int32), axis=1, dtype=jnp.int32)
