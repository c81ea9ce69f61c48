"""Structure of the compiled programs on which speed depends, read from the compiler's output."""

import dataclasses
import re

import jax
import jax.numpy as jnp
import pytest

from experiments.benchmarks import limits
from sirl import models
from sirl.generation.engine.decode import decode
from sirl.models.transformer import product
from sirl.ops import keys, logprobs
from sirl.optimization import (
  Pieces,
  advantages,
  by_group,
  make_optimize,
  objectives,
  optimize,
  passes,
  transforms,
)
from sirl.types import Rewards, Rollouts, SamplingParams, TrainState

from support.hlo import makers

V, P, G, S, N = 2048, 4, 2, 8, 32
MODEL = models.build(
  models.preset('toy', vocab=V, width=16, layers=1, head_width=8, ffw=32, tied=False)
)
PARAMS = jax.eval_shape(MODEL.init, jax.random.key(0))
OPTIMIZER = transforms.adamw(1e-3)
CREDIT = by_group(advantages.centered)


def array(dtype, *shape):
  return jax.ShapeDtypeStruct(shape, dtype)


def abstract_rollouts():
  T = S + N
  return Rollouts(
    tokens=array(jnp.int32, P, G, T),
    valid=array(bool, P, G, T),
    action=array(bool, P, G, T),
    logp=array(jnp.float32, P, G, T),
    truncated=array(bool, P, G),
    prompt_width=S,
  )


def abstract_update(chunk=4, model=MODEL, credit=CREDIT, **cuts):
  """The compiled update, made from shapes alone."""
  params = jax.eval_shape(model.init, jax.random.key(0))
  state = TrainState(
    step=array(jnp.int32),
    params=params,
    opt_state=jax.eval_shape(OPTIMIZER.init, params),
    skipped=array(jnp.int32),
  )
  update = make_optimize(
    model, OPTIMIZER, credit, objectives.policy_gradient(), pieces=Pieces(chunk=chunk, **cuts)
  )
  key = jax.eval_shape(lambda: jax.random.key(0))
  rewards = Rewards(array(jnp.float32, P, G), {})
  return jax.jit(update, donate_argnums=0).lower(
    state, abstract_rollouts(), rewards, key
  ).compile(), state


@pytest.mark.parametrize(
  'cuts',
  [
    pytest.param({}, id='whole batch'),
    pytest.param({'rows': 4, 'widths': (16,)}, id='rows by length', marks=pytest.mark.all),
  ],
)
def test_the_update_writes_into_the_state_it_was_given_and_never_holds_all_logits(cuts):
  compiled, state = abstract_update(**cuts)
  given = sum(x.size * x.dtype.itemsize for x in jax.tree.leaves(state))
  assert compiled.memory_analysis().alias_size_in_bytes == given
  # Larger than the weights and a chunk of logits, far below the logits of every completion token.
  largest = limits.largest_array(compiled.as_text())
  assert largest >= 4 * P * G * 4 * V / (2 if cuts else 1)
  assert largest <= 4 * P * G * N * V / 4


@pytest.mark.all
def test_without_chunks_all_logits_would_be_there():
  """A counter-check: with one chunk as long as the completions, the array [B, N, V] exists."""
  program = abstract_update(chunk=N)[0].as_text()
  assert limits.largest_array(program) >= 4 * P * G * N * V


def test_a_single_update_copies_no_array_of_the_state_it_was_given():
  """An old value that is needed after the new one is written would cost a copy of its array."""
  program = abstract_update()[0].as_text()
  assert 'state_opt_state' in program  # what the arguments are called there
  assert not re.findall(r'copy\(%?(state_(?:params|opt_state)\w+)', program)


@pytest.mark.all
def test_recomputing_layers_stores_only_their_inputs():
  """The loop stores the residual stream for all layers, but no keys and values."""
  L, K, H = 3, 2, 8
  small = models.preset(
    'toy', vocab=V, width=16, layers=L, heads=4, kv_heads=K, head_width=H, ffw=32
  )
  model = models.build(dataclasses.replace(small, remat='block'))
  program = abstract_update(model=model)[0].as_text()
  assert f'f32[{L},{P * G},{N - 1},16]' in program
  assert f'[{L},{P * G},{K},{S + N},{H}]' not in program


@pytest.mark.all
def test_an_update_computes_the_cosines_of_its_positions_once():
  """Once for prompts and once for completions, not in every head of every layer."""
  model = models.build(models.preset('toy', vocab=8, width=16, layers=2, head_width=8, ffw=32))
  program = abstract_update(model=model)[0].as_text()
  assert len(re.findall(r' cosine\(', program)) == 2


@pytest.mark.parametrize(
  'cuts',
  [{}, {'microbatches': 2}, {'rows': 4, 'widths': (16,)}],
  ids=['whole batch', 'micro-batches', 'rows by length'],
)
@pytest.mark.all
def test_only_a_credit_that_reads_log_probs_costs_a_pass_of_its_own(cuts):
  """An update gets old log-probs from its own forward pass; a credit needs them before it."""

  def reading(experience):
    return CREDIT(experience) - experience.old_logp

  def flops(compiled):
    return compiled.cost_analysis()['flops']

  def score(params, rollouts):
    rewards = Rewards(jnp.zeros((P, G)), {})
    forward = passes.Forward(MODEL, logprobs.PLAIN, Pieces(chunk=4, **cuts))
    return passes.scored(forward, params, optimize._judged(rollouts, rewards))[0]

  alone = flops(jax.jit(score).lower(PARAMS, abstract_rollouts()).compile())
  plain, read = (flops(abstract_update(credit=credit, **cuts)[0]) for credit in (CREDIT, reading))
  assert read - plain == pytest.approx(alone, rel=0.05)
  assert plain > 2 * alone  # one pass forward, and back


@pytest.mark.parametrize(('P', 'G'), [(P, G), (1, 1)], ids=['several rows', 'one row'])
def test_decoding_a_token_copies_no_cache(P, G):
  """The loop over tokens writes the cache in place and makes no copy of its size."""
  addresses = jnp.arange(P, dtype=jnp.uint32), jnp.zeros(P, jnp.int32)
  compiled = decode.lower(
    MODEL,
    PARAMS,
    jnp.zeros((P, S), jnp.int32),
    jnp.ones((P, S), bool),
    addresses,
    keys.at(0, 'gro'),
    SamplingParams(group_size=G, max_new=N, eos_ids=(1,), pad_id=0),
  ).compile()
  made = makers(compiled.as_text(), f'{P * G},2,{S + N},8')
  assert 'scatter' in made
  assert made <= {'scatter', 'fusion', 'parameter', 'get-tuple-element'}


@pytest.mark.parametrize(('rows', 'made'), [(16, '48,16'), (64, '48,64'), (65, '65,48')])
def test_few_rows_are_multiplied_by_the_weight_from_the_left(rows, made):
  """A CPU repacks the right factor in every product. With many rows the weight is the right factor.

  The test also shows that XLA does not swap the factors back.
  """
  shapes = jnp.zeros((rows, 16)), jnp.zeros((48, 16))
  compiled = jax.jit(lambda x, weight: 2 * product(x, weight, jnp.float32)).lower(*shapes).compile()
  dots = re.findall(r'f32\[([\d,]+)\]\S* (?:dot|custom-call)\(', compiled.as_text())
  assert dots == [made]
