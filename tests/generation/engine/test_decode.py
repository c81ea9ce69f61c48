"""Decoding with the tabular model: right law, right layout, samples that no layout can change."""

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from sirl.generation import texts
from sirl.generation.engine import sampling
from sirl.generation.engine.decode import decode
from sirl.ops import logprobs
from sirl.types import SamplingParams

from support import enumeration as exact

pytestmark = pytest.mark.usefixtures('quick_compiles')


def sample(
  params, prompts, ids, *, group_size, key=0, sampler=None, max_new=exact.MAX_NEW, width=1
):
  tokens = np.full((len(prompts), width), exact.PAD, np.int32)
  valid = np.zeros((len(prompts), width), bool)
  for p, prompt in enumerate(prompts):
    tokens[p, width - len(prompt) :] = prompt
    valid[p, width - len(prompt) :] = True
  asked = SamplingParams(
    group_size=group_size,
    max_new=max_new,
    eos_ids=(exact.EOS,),
    pad_id=exact.PAD,
    sampler=sampler or sampling.sampler(),
  )
  address = texts.address(ids, group_size)
  return decode(exact.MODEL, params, tokens, valid, address, jax.random.key(key), asked)


@pytest.fixture(scope='module')
def params():
  return exact.MODEL.init(jax.random.key(3))


def completion(rollouts, p, g):
  return tuple(np.asarray(rollouts.tokens[p, g])[np.asarray(rollouts.action[p, g])].tolist())


def test_samples_follow_the_exact_law(params):
  n = 20_000
  rollouts = sample(params, [[exact.PROMPT]], ['a'], group_size=n)
  law = {y: float(jnp.exp(exact.log_probability(params, y))) for y in exact.completions()}
  assert sum(law.values()) == pytest.approx(1, abs=1e-5)
  tokens, lengths = np.asarray(rollouts.tokens[0, :, 1:]), np.asarray(rollouts.action[0].sum(-1))
  counts = dict.fromkeys(law, 0)
  for row, length in zip(tokens.tolist(), lengths):
    counts[tuple(row[:length])] += 1
  chi_square = sum((counts[y] - n * p) ** 2 / (n * p) for y, p in law.items())
  # 12 degrees of freedom (13 completions); 99.9% quantile of chi-square is 32.9. The key is fixed.
  assert len(law) == 13
  assert chi_square < 32.9


def test_log_probs_are_those_of_the_law_and_of_the_learner(params):
  rollouts = sample(params, [[exact.PROMPT]], ['a'], group_size=64)
  for g in range(64):
    y = completion(rollouts, 0, g)
    assert float(rollouts.logp[0, g].sum()) == pytest.approx(
      float(exact.log_probability(params, y)), abs=1e-5
    )
  learner = logprobs.token_stats(exact.MODEL, params, rollouts).logp
  chex.assert_trees_all_close(jnp.where(rollouts.action, learner, 0), rollouts.logp, atol=1e-6)


@pytest.mark.all
def test_truncated_sampling_scores_the_truncated_distribution(params):
  sampler = sampling.sampler(temperature=0.7, top_k=2)
  rollouts = sample(params, [[exact.PROMPT]], ['a'], group_size=64, sampler=sampler)
  learner = logprobs.token_stats(exact.MODEL, params, rollouts, sampler=sampler).logp
  chex.assert_trees_all_close(jnp.where(rollouts.action, learner, 0), rollouts.logp, atol=1e-6)
  plain = logprobs.token_stats(exact.MODEL, params, rollouts).logp
  assert float(jnp.abs(jnp.where(rollouts.action, plain, 0) - rollouts.logp).max()) > 0.05


def test_layout_is_left_pad_prompt_completion_right_pad(params):
  rollouts = sample(params, [[exact.PROMPT]], ['a'], group_size=32, width=2)
  valid, action = np.asarray(rollouts.valid[0]), np.asarray(rollouts.action[0])
  assert not valid[:, 0].any()
  assert valid[:, 1].all()
  assert not action[:, :2].any()
  ended_early = np.asarray(rollouts.tokens[0, :, 2]) == exact.EOS
  assert ended_early.any()
  assert (~action[ended_early, 3]).all()
  np.testing.assert_array_equal(
    np.asarray(rollouts.truncated[0]),
    [completion(rollouts, 0, g)[-1] != exact.EOS for g in range(32)],
  )


def test_samples_do_not_depend_on_batch_layout(params):
  ids, prompts = ['a', 'b', 'c', 'd'], [[2], [3], [2], [3]]
  whole = sample(params, prompts, ids, group_size=4)
  for order in ([3, 1, 0, 2], [2, 3], [1]):
    part = sample(params, [prompts[i] for i in order], [ids[i] for i in order], group_size=4)
    np.testing.assert_array_equal(part.tokens, whole.tokens[np.asarray(order)])
  smaller_group = sample(params, prompts, ids, group_size=2)
  np.testing.assert_array_equal(smaller_group.tokens, whole.tokens[:, :2])
  padded = sample(params, prompts, ids, group_size=4, width=2)
  np.testing.assert_array_equal(padded.tokens[..., 1:], whole.tokens)


@pytest.mark.all
def test_samples_are_the_same_without_jit(params):
  compiled = sample(params, [[2], [3]], ['a', 'b'], group_size=3)
  with jax.disable_jit():
    plain = sample(params, [[2], [3]], ['a', 'b'], group_size=3)
  np.testing.assert_array_equal(compiled.tokens, plain.tokens)


def test_a_task_standing_twice_draws_different_samples(params):
  rollouts = sample(params, [[2], [2]], ['a', 'a'], group_size=16)
  eight = sample(params, [[2]], ['a'], group_size=32)
  assert (np.asarray(rollouts.tokens[0]) != np.asarray(rollouts.tokens[1])).any()
  np.testing.assert_array_equal(rollouts.tokens.reshape(1, 32, -1), eight.tokens)


def test_greedy_takes_the_most_likely_token_with_log_prob_zero(params):
  rollouts = sample(params, [[2]], ['a'], group_size=3, sampler=sampling.greedy())
  first = int(jnp.argmax(params['logits'][0, 2]))
  assert (np.asarray(rollouts.tokens[0, :, 1]) == first).all()
  assert float(jnp.abs(rollouts.logp).max()) == 0.0
