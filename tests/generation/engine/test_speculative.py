"""Speculative decoding: plain decoding's samples, the rejection rule's exact law, statistics."""

import dataclasses
import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from sirl.generation import texts
from sirl.generation.engine import drafts, sampling, speculative
from sirl.generation.engine.decode import decode
from sirl.models import functional, tabular
from sirl.models.transformer import Architecture
from sirl.ops import logprobs
from sirl.types import SamplingParams

from support.hlo import makers

pytestmark = pytest.mark.usefixtures('quick_compiles')

EOS, PAD, MAX_NEW = 1, 0, 4
TABLE = tabular.tabular(4, 3 + MAX_NEW)
PARAMS, OTHERS = TABLE.init(jax.random.key(3)), TABLE.init(jax.random.key(4))  # they disagree
PROMPTS = [[2, 3, 2], [3], [2, 2]]
GROUP = 1000
# Built once, so all tests with the same numbers share one compiled program.
LOOKUP = drafts.prompt_lookup(2)
OTHER = drafts.draft_model(TABLE, OTHERS)
ITSELF = OTHER.replace(params=PARAMS)
PLAIN = logprobs.PLAIN
RULES = (speculative.coupled, speculative.rejection)
# One layer with a sliding window, one without.
TOY_SHAPE = Architecture(
  vocab=8, width=16, layers=2, heads=2, kv_heads=1, head_width=8, ffw=32, sliding_window=3, local_layers=(0,),
)  # fmt: skip
TOY = functional.build(TOY_SHAPE)


def arguments(
  prompts=PROMPTS, *, group_size=GROUP, sampler=PLAIN, max_new=MAX_NEW, ids=None, columns=3
):
  tokens = np.full((len(prompts), columns), PAD, np.int32)
  valid = np.zeros((len(prompts), columns), bool)
  for p, prompt in enumerate(prompts):
    tokens[p, columns - len(prompt) :] = prompt
    valid[p, columns - len(prompt) :] = True
  ids = ids or [str(p) for p in range(len(prompts))]
  asked = SamplingParams(
    group_size=group_size, max_new=max_new, eos_ids=(EOS,), pad_id=PAD, sampler=sampler
  )
  return tokens, valid, texts.address(ids, group_size), jax.random.key(0), asked


def plain(model, params, *args, **kwargs):
  return decode(model, params, *arguments(*args, **kwargs))


def speculate(model, params, draft, width, *args, rule=speculative.coupled, **kwargs):
  return speculative.speculate(
    model, params, *arguments(*args, **kwargs), draft=draft, width=width, rule=rule
  )


def same_samples(rollouts, expected):
  for field in ('tokens', 'valid', 'action', 'truncated'):
    np.testing.assert_array_equal(getattr(rollouts, field), getattr(expected, field), err_msg=field)
  np.testing.assert_allclose(rollouts.logp, expected.logp, atol=2e-6)
  assert rollouts.prompt_width == expected.prompt_width


def scored_as_drawn(model, params, rollouts, sampler=PLAIN):
  score = jax.jit(
    lambda params: logprobs.token_stats(model, params, rollouts, sampler=sampler).logp
  )
  learner = score(params)
  np.testing.assert_allclose(jnp.where(rollouts.action, learner, 0), rollouts.logp, atol=2e-6)


# ---------------------------------------------------------------- the samples of plain decoding


@pytest.mark.parametrize(
  ('draft', 'width'),
  [(LOOKUP, 5), pytest.param(OTHER, 2, marks=pytest.mark.all), (ITSELF, 2)],
  ids=['lookup', 'other', 'itself'],
)
def test_samples_are_those_of_the_plain_decoder(draft, width):
  rollouts, statistics = speculate(TABLE, PARAMS, draft, width)
  same_samples(rollouts, plain(TABLE, PARAMS))
  assert (statistics.accepted <= statistics.tested).all()
  assert (statistics.tested <= statistics.drafted).all()
  assert statistics.accepted.sum() > 0


@pytest.mark.all
@pytest.mark.parametrize(
  'sampler',
  [sampling.sampler(temperature=0.5, top_k=3, top_p=0.7), sampling.greedy()],
  ids=['truncated', 'greedy'],
)
def test_temperature_and_truncation_are_the_samplers(sampler):
  rollouts, _ = speculate(TABLE, PARAMS, OTHER, 2, group_size=100, sampler=sampler)
  same_samples(rollouts, plain(TABLE, PARAMS, group_size=100, sampler=sampler))


@pytest.mark.all
def test_the_cache_of_failed_guesses_is_rolled_back():
  params, others = map(jax.jit(TOY.init), (jax.random.key(0), jax.random.key(1)))
  expected = plain(TOY, params, group_size=8, max_new=12)
  for draft in (LOOKUP, drafts.draft_model(TOY, others)):
    rollouts, statistics = speculate(TOY, params, draft, 3, group_size=8, max_new=12)
    # Only rounding of logits could make them differ: about 1e-6 per token.
    same_samples(rollouts, expected)
    assert 0 < statistics.accepted.sum() < statistics.tested.sum()
  scored_as_drawn(TOY, params, rollouts)


@pytest.mark.slow
def test_samples_do_not_depend_on_batch_layout():
  whole, counts = speculate(TABLE, PARAMS, OTHER, 2, rule=speculative.rejection)
  part, part_counts = speculate(
    TABLE, PARAMS, OTHER, 2, [PROMPTS[2], PROMPTS[0]], rule=speculative.rejection,
    ids=['2', '0'], group_size=40, columns=4,
  )  # fmt: skip
  order = np.asarray([2, 0])
  np.testing.assert_array_equal(part.tokens[..., 1:], whole.tokens[order, :40])
  np.testing.assert_array_equal(part_counts.rounds, counts.rounds[order, :40])


def test_decoder_has_the_signature_of_decode_and_says_how_the_guesses_fared():
  rollouts, said = speculative.decoder(LOOKUP, width=5)(TABLE, PARAMS, *arguments())
  same_samples(rollouts, plain(TABLE, PARAMS))
  _, counts = speculate(TABLE, PARAMS, LOOKUP, 5)
  assert said == {
    'sampling/acceptance': (counts.accepted.sum(), counts.tested.sum()),
    'sampling/accepted_per_round': (counts.accepted.sum(), counts.rounds.sum()),
  }
  assert 0 < counts.accepted.sum() < counts.tested.sum()


@pytest.mark.all
@pytest.mark.parametrize('remat', ['none', 'block'])
def test_no_round_copies_the_cache(remat):
  """Holds whatever training recomputes: a pass over guesses writes keys and values in place."""
  model = functional.build(dataclasses.replace(TOY_SHAPE, remat=remat))
  given = arguments(group_size=2, max_new=23)
  params = functional.shapes(TOY_SHAPE)
  program = speculative.speculate.lower(model, params, *given, draft=LOOKUP, width=2).compile()
  made = makers(program.as_text(), f'6,1,{3 + 23 + 3},8')
  assert made
  assert made <= {'scatter', 'dynamic-update-slice', 'fusion', 'parameter', 'get-tuple-element'}


# ---------------------------------------------------------------- the rejection rule


def test_accept_or_correct_keeps_the_distribution_exactly():
  # In tenths. A guess holds with probability min(1, p/q) = 1/4, 1, 1, 1, 0, and max(p - q, 0) is 0,
  # 1, 2, 2, 0 fifths: grids of 4 and 10 noise values integrate both without error, and guesses are
  # enumerated with their weights.
  p, q = np.asarray([1, 2, 3, 4, 0]), np.asarray([4, 1, 1, 2, 2])
  guesses = np.repeat(np.arange(5), q)
  rows = list(itertools.product(guesses, (np.arange(4) + 0.5) / 4, (np.arange(10) + 0.5) / 10))
  guess, accept, correct = (np.asarray(column) for column in zip(*rows))
  law = lambda x, n: jnp.broadcast_to(jnp.asarray(x / 10, jnp.float32), (len(rows), n, 5))
  token_BK, kept_B = speculative.accept_or_correct(
    law(p, 2), jnp.asarray(guess)[:, None], law(q, 1), jnp.asarray(accept, jnp.float32)[:, None],
    jnp.tile(jnp.asarray(correct, jnp.float32)[:, None], (1, 2)),
  )  # fmt: skip
  np.testing.assert_array_equal(np.bincount(token_BK[:, 0], minlength=5), p * len(rows) / 10)
  # 1 - TV = (1 + 1 + 1 + 2 + 0) / 10.
  assert kept_B.sum() == len(rows) * 5 / 10
  # If the guess is accepted, the next token comes from p itself.
  np.testing.assert_array_equal(
    np.bincount(token_BK[:, 1][kept_B == 1], minlength=5), p * len(rows) / 20
  )


def completions(vocab, max_new):
  for n in range(1, max_new + 1):
    for y in itertools.product(range(vocab), repeat=n):
      if EOS not in y[:-1] and (y[-1] == EOS or n == max_new):
        yield y


def check_law(rollouts, laws):
  """Chi-square of the completions of every prompt against their exact probabilities.

  Rare completions of a prompt are counted as one class.
  """
  degrees = chi_square = 0
  for p, law in enumerate(laws):
    assert sum(law.values()) == pytest.approx(1, abs=1e-5)
    S, n = rollouts.prompt_width, rollouts.tokens.shape[1]
    tokens, lengths = np.asarray(rollouts.tokens[p, :, S:]), np.asarray(rollouts.action[p].sum(-1))
    counts = dict.fromkeys(law, 0)
    for row, length in zip(tokens.tolist(), lengths):
      counts[tuple(row[:length])] += 1
    common = [y for y in law if n * law[y] >= 5]
    observed, expected = [counts[y] for y in common], [n * law[y] for y in common]
    observed, expected = np.asarray([*observed, n - sum(observed)]), [*expected, n - sum(expected)]
    degrees += len(common)
    chi_square += (np.square(observed - expected) / np.asarray(expected)).sum()
  # Mean `degrees`, standard deviation sqrt(2 degrees); 4 of them is beyond the 99.9% quantile. The
  # key is fixed.
  assert degrees > 20
  assert chi_square < degrees + 4 * np.sqrt(2 * degrees)


@pytest.mark.parametrize(
  ('draft', 'rule'),
  [
    (LOOKUP, speculative.rejection),
    pytest.param(OTHER, speculative.rejection, marks=pytest.mark.all),
    pytest.param(OTHER, speculative.coupled, marks=pytest.mark.all),
  ],
  ids=['lookup-rejection', 'other-rejection', 'other-coupled'],
)
def test_samples_follow_the_exact_law(draft, rule):
  rollouts, statistics = speculate(TABLE, PARAMS, draft, 2, rule=rule)
  logp = np.asarray(jax.nn.log_softmax(PARAMS['logits'], axis=-1), np.float64)

  def probability(prompt, y):
    transitions = enumerate(itertools.pairwise([prompt[-1], *y]), len(prompt) - 1)
    return np.exp(sum(logp[t, before, token] for t, (before, token) in transitions))

  ends = list(completions(4, MAX_NEW))
  check_law(rollouts, [{y: probability(prompt, y) for y in ends} for prompt in PROMPTS])
  assert 0.1 < statistics.accepted.sum() / statistics.tested.sum() < 0.9
  scored_as_drawn(TABLE, PARAMS, rollouts)


@pytest.mark.slow
def test_rejection_with_a_transformer_follows_the_exact_law():
  params, others = map(jax.jit(TOY.init), (jax.random.key(0), jax.random.key(1)))
  prompt, sampler = PROMPTS[0], sampling.sampler(temperature=0.5, top_k=4)
  y_BC = np.asarray(list(itertools.product(range(8), repeat=3)))
  tokens = np.concatenate([np.tile(prompt, (len(y_BC), 1)), y_BC], axis=1)
  see = jnp.broadcast_to(jnp.tril(jnp.ones((6, 6), bool)), (len(y_BC), 6, 6))
  x, _ = jax.jit(TOY.hidden)(params, tokens, jnp.tile(jnp.arange(6), (len(y_BC), 1)), see)
  logits = logprobs.tempered(TOY.unembed(params, x[:, 2:5]), sampler)
  p_BC = np.exp(np.asarray(logprobs.of_tokens(logits, y_BC), np.float64))
  law = {}
  for y, p in zip(y_BC.tolist(), p_BC):
    stop = y.index(EOS) + 1 if EOS in y else 3
    law[tuple(y[:stop])] = p[:stop].prod()

  draft = drafts.draft_model(TOY, others)
  rollouts, _ = speculate(
    TOY, params, draft, 2, [prompt], group_size=4000, max_new=3, sampler=sampler, rule=speculative.rejection,
  )  # fmt: skip
  check_law(rollouts, [law])


@pytest.mark.all
def test_rejection_accepts_one_minus_total_variation_and_coupling_less():
  # The same two distributions at every position and after every token.
  constant = lambda law: {
    'logits': jnp.broadcast_to(jnp.log(jnp.asarray(law) + 1e-9), PARAMS['logits'].shape)
  }
  p, q = constant([0.5, 0, 0.3, 0.2]), constant([0.2, 0, 0.3, 0.5])
  # 1 - TV = .2 + .3 + .2. The inverse CDFs, with steps at .5 .8 1 and .2 .5 1, agree on [0, .2] and
  # on [.8, 1].
  for rule, expected in ((speculative.rejection, 0.7), (speculative.coupled, 0.4)):
    _, s = speculate(TABLE, p, OTHER.replace(params=q), 2, rule=rule)
    n = int(s.tested.sum())
    rate = float(s.accepted.sum() / n)
    assert rate == pytest.approx(expected, abs=4 * np.sqrt(expected * (1 - expected) / n))


@pytest.mark.slow
def test_embeddings_padded_differently_keep_rejection_exact():
  wide = tabular.tabular(6, 3 + MAX_NEW)
  wide_params = wide.init(jax.random.key(1))
  for target, params, draft in (
    (TABLE, PARAMS, drafts.draft_model(wide, wide_params)),
    (wide, wide_params, OTHER),
  ):
    rollouts, s = speculate(target, params, draft, 1, group_size=50, rule=speculative.rejection)
    assert rollouts.tokens.max() < target.vocab
    assert 0 < s.accepted.sum() < s.tested.sum()
    scored_as_drawn(target, params, rollouts)


# ---------------------------------------------------------------- statistics, limits, drafts

CYCLE = tabular.tabular(5, 20)
WRITES_ITSELF = drafts.draft_model(CYCLE, None)


def cycle(end_at=None):
  """A tabular model that writes 2 3 4 2 3 4 .. and the end token at position end_at."""
  logits = np.full((20, 5, 5), -30.0, np.float32)
  logits[:, range(5), [3, 4, 3, 4, 2]] = 30
  if end_at is not None:
    logits[end_at - 1] = -30
    logits[end_at - 1, :, EOS] = 30
  return {'logits': jnp.asarray(logits)}


def write_cycle(rule, end_at=None):
  params = cycle(end_at)
  draft = WRITES_ITSELF.replace(params=params)
  rollouts, s = speculate(CYCLE, params, draft, 3, [[2, 3, 4]], group_size=1, max_new=10, rule=rule)
  return rollouts, {name: int(x[0, 0]) for name, x in dataclasses.asdict(s).items()}, s


@pytest.mark.parametrize('rule', RULES)
def test_statistics_count_what_happened(rule):
  rollouts, counts, s = write_cycle(rule)
  np.testing.assert_array_equal(rollouts.tokens[0, 0], [2, 3, 4, *[2, 3, 4] * 3, 2])
  assert rollouts.truncated.all()
  # The prefill gives one token; two rounds of width 3 give three guesses and one more
  # token each; in the third round only one token fits.
  assert counts == {'rounds': 3, 'drafted': 9, 'tested': 7, 'accepted': 7}
  np.testing.assert_allclose(s.acceptance, 1)
  np.testing.assert_allclose(s.accepted_per_round, 7 / 3)


@pytest.mark.parametrize('rule', RULES)
def test_an_end_token_among_the_guesses_ends_the_row(rule):
  rollouts, counts, _ = write_cycle(rule, end_at=5)
  np.testing.assert_array_equal(rollouts.tokens[0, 0], [2, 3, 4, 2, 3, EOS, *[PAD] * 7])
  assert rollouts.action.sum() == 3
  assert not rollouts.truncated.any()
  assert (np.asarray(rollouts.logp)[~np.asarray(rollouts.action)] == 0).all()
  # One token from the prefill, then one round; two of its three guesses stay in the completion.
  assert counts == {'rounds': 1, 'drafted': 3, 'tested': 2, 'accepted': 2}


@pytest.mark.parametrize('rule', RULES)
def test_a_row_that_ends_with_its_first_token_needs_no_round(rule):
  rollouts, counts, s = write_cycle(rule, end_at=3)
  assert rollouts.action.sum() == 1
  assert counts == {'rounds': 0, 'drafted': 0, 'tested': 0, 'accepted': 0}
  assert np.isnan(s.acceptance).all()
  assert (s.accepted_per_round == 0).all()


@pytest.mark.parametrize('rule', RULES)
def test_a_model_drafting_for_itself_is_always_right(rule):
  _, s = speculate(TABLE, PARAMS, ITSELF, 2, rule=rule)
  np.testing.assert_array_equal(s.accepted, s.tested)
  assert s.tested.sum() > 0


@pytest.mark.parametrize(
  ('text', 'ngram', 'expected'),
  [
    ([5, 6, 7, 8, 5, 6], 2, [7, 8, 5, 6]),  # after the earlier 5 6
    ([5, 6, 7, 6, 8, 5, 6], 2, [7, 6, 8, 5]),  # the longer match 5 6, not the later 6
    ([5, 6, 7, 6, 8, 5, 6], 1, [8, 5, 6, 8]),  # the later 6; the copy runs into what it writes
    ([5, 6, 5, 7, 5], 3, [7, 5, 7, 5]),  # of equal matches the latest
    ([5, 5], 3, [5, 5, 5, 5]),
    ([5, 6, 7], 3, [-1, -1, -1, -1]),  # 7 stands nowhere else
    ([0], 3, [-1, -1, -1, -1]),  # like the padding, which is no text
  ],
)
def test_prompt_lookup_continues_as_the_text_did_before(text, ngram, expected):
  tokens = jnp.asarray([[0, 0, 0, *text, *[0] * (12 - len(text))]])
  known = drafts.Text(tokens, jnp.asarray([3]), jnp.asarray([3 + len(text)]))
  guess, _, _ = drafts.prompt_lookup(ngram).propose(
    None, None, known, jnp.zeros((1, 4)), sampling.sampler()
  )
  np.testing.assert_array_equal(guess, [expected])


@pytest.mark.slow
def test_new_weights_of_model_and_draft_compile_nothing():
  speculate(TABLE, PARAMS, OTHER, 2)
  compiled = speculative.speculate._cache_size()
  speculate(TABLE, OTHERS, ITSELF, 2)
  assert speculative.speculate._cache_size() == compiled


def test_impossible_numbers_are_refused():
  with pytest.raises(ValueError, match='ngram=0'):
    drafts.prompt_lookup(0)
  with pytest.raises(ValueError, match='width=0'):
    speculate(TABLE, PARAMS, LOOKUP, 0)
