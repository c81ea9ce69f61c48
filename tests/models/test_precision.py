"""Products of a float32 model are float32 on every platform. Other programs do not change."""

import contextlib

import jax
import jax.numpy as jnp
import pytest
from jax.extend import core

from sirl.models import functional
from sirl.models.presets import preset
from sirl.ops import prefill
from sirl.plan import chips, topology
from sirl.plan.programs import using

from support.compiled import program

HIGHEST = (jax.lax.Precision.HIGHEST,) * 2


def loss(model, params, tokens_BT):
  """Uses all functions of a model."""
  valid = jnp.ones(tokens_BT.shape, bool)
  see, where = prefill.causal_mask(valid), prefill.positions(valid)
  x_BTD, cache = model.hidden(params, tokens_BT, where, see)
  after, _ = model.hidden(params, tokens_BT, where, see, cache, jnp.zeros(len(valid), jnp.int32))
  return model.unembed(params, x_BTD).sum() + model.value(params, after).sum()


def precisions(dtype, where, remat='none'):
  """The precisions of all products of the loss and of its gradient."""
  architecture = preset('toy', dtype=dtype, value_head=True, layers=2, remat=remat)
  model = functional.build(architecture)
  tokens = jax.ShapeDtypeStruct((2, 8), jnp.int32)
  both = jax.jit(jax.value_and_grad(lambda params, tokens: loss(model, params, tokens)))
  with where:
    traced = both.trace(functional.shapes(architecture), tokens)
  return [each.params['precision'] for each in products(traced.jaxpr.jaxpr)]


def products(jaxpr):
  for equation in jaxpr.eqns:
    if equation.primitive.name == 'dot_general':
      yield equation
    for inner in core.jaxprs_in_params(equation.params):
      yield from products(inner)


@pytest.mark.parametrize('word', ['v5e:2x2', 'h100x8'])
@pytest.mark.parametrize('remat', ['none', 'block'])
def test_a_float32_model_multiplies_in_float32_in_both_directions(word, remat):
  on = lambda: using(topology.alone(chips.group(word)))
  found = precisions('float32', on(), remat)
  assert len(found) > 40
  assert set(found) == {HIGHEST}
  assert precisions('bfloat16', on(), remat).count(None) > 40


def test_programs_of_a_cpu_are_as_without_a_precision():
  """Products have JAX's default there, but for those by an identity in `rope.kept`."""
  found = precisions('float32', contextlib.nullcontext())
  assert found.count(HIGHEST) == 2  # one each time that hidden states are computed
  assert set(found) == {HIGHEST, None}


@pytest.mark.all
@pytest.mark.parametrize('name', ['sampler', 'update'])
def test_a_compiled_float32_program_has_no_bfloat16(name):
  """A TPU's compiler writes every product at default precision as one of bfloat16 numbers."""
  found = program(name, 'data')
  assert found['half'] == 0
  assert found['precisions'] == ['highest,highest']
