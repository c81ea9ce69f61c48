"""A model is pure functions of a plain dict."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from sirl.models import functional
from sirl.models.presets import preset

# Parameters of the released checkpoints: safetensors metadata of each, or summed by hand from its
# config.
RELEASED = {
  'smollm2-135m': 134_515_008,
  'llama3.2-1b': 1_235_814_400,
  'llama3.1-70b': 70_553_706_496,
  'qwen2.5-0.5b': 494_032_768,
  'qwen3-0.6b': 596_049_920,
  'gemma3-270m': 268_098_176,
}
TOKENS = jnp.array([[3, 1, 4, 1, 5]])
POSITIONS = jnp.arange(5)[None]
MASK = jnp.tril(jnp.ones((1, 5, 5), bool))


@pytest.mark.parametrize('name', RELEASED)
def test_presets_have_the_released_number_of_parameters(name):
  assert functional.count(preset(name)) == RELEASED[name]


def test_toy_is_small_and_its_heads_divide_over_two_devices():
  assert 500_000 < functional.count(preset('toy')) < 700_000
  assert preset('toy').heads % 2 == preset('toy').kv_heads % 2 == 0


def test_unknown_names_suggest_the_nearest():
  with pytest.raises(ValueError, match=r"unknown preset 'qwen3-0\.6', did you mean 'qwen3-0\.6b'"):
    preset('qwen3-0.6')
  with pytest.raises(ValueError, match="no field 'vocabulary', did you mean 'vocab'"):
    preset('toy', vocabulary=3)


@pytest.mark.parametrize(
  ('change', 'message'),
  [
    ({'kv_heads': 3}, 'heads=4 cannot be shared evenly by kv_heads=3'),
    ({'head_width': 31}, 'head_width=31 is odd'),
    ({'layers': 0}, 'layers=0; expected an int of at least 1'),
    ({'local_layers': (0,)}, 'need a window'),
    ({'local_layers': (9,), 'sliding_window': 4}, 'indices below layers=3'),
    ({'dtype': 'float8'}, "dtype='float8' is unknown; expected one of float32"),
  ],
)
def test_contradictory_architecture_is_refused(change, message):
  with pytest.raises(ValueError, match=message):
    preset('toy', **change)


def test_init_is_a_function_of_the_key_and_jits():
  architecture = preset('toy', layers=2, width=16, head_width=4, ffw=8, value_head=True)
  model = functional.build(architecture)
  init = jax.jit(model.init)
  params = init(jax.random.key(3))
  jax.tree.map(np.testing.assert_array_equal, params, init(jax.random.key(3)))
  other = init(jax.random.key(4))
  assert (params['embed']['weight'] != other['embed']['weight']).all()
  expected = functional.shapes(architecture)
  assert jax.tree.map(lambda x: (x.shape, x.dtype), params) == jax.tree.map(
    lambda x: (x.shape, x.dtype), expected
  )
  # Else the second step recompiles.
  assert not any(leaf.weak_type for leaf in jax.tree.leaves(params))


def test_layers_run_in_numeric_order():
  """Sorted as strings, eleven layers would run in the order 0, 1, 10, 2.

  An error in layer 10 must reach the keys of no other layer.
  """
  architecture = preset('toy', layers=11, width=16, head_width=4, ffw=8)
  params = jax.tree.map(lambda x: jnp.full(x.shape, 0.1), functional.shapes(architecture))
  params['layers']['10']['attention_norm']['weight'] *= jnp.nan
  _, cache = functional.build(architecture).hidden(params, TOKENS, POSITIONS, MASK)
  finite = [bool(jnp.isfinite(keys).all()) for keys, _ in cache]
  assert finite == [True] * 10 + [False]


def test_fresh_model_predicts_almost_uniformly_and_values_zero():
  model = functional.build(preset('toy', vocab=32, value_head=True))
  params = jax.jit(model.init)(jax.random.key(0))
  x_BTD, _ = model.hidden(params, TOKENS, POSITIONS, MASK)
  logp = jax.nn.log_softmax(model.unembed(params, x_BTD))
  assert abs(-logp.mean() - np.log(32)) < 0.1
  np.testing.assert_array_equal(model.value(params, x_BTD), np.zeros((1, 5)))
  assert model.vocab == 32


def test_params_of_another_model_are_refused_by_name():
  model = functional.build(preset('toy'))
  critic = functional.build(preset('toy', value_head=True))
  assert model.value is None
  assert critic.value is not None
  params = functional.shapes(preset('toy'))
  with pytest.raises(ValueError, match=r'missing \[.value_head\.bias., .value_head\.weight.\]'):
    critic.unembed(params, jnp.zeros((1, 128)))


def test_flatten_and_unflatten_are_inverse():
  tree = {'a': {'0': 1, 'b': {'c': 2}}, 'd': 3}
  assert functional.flatten(tree) == {'a.0': 1, 'a.b.c': 2, 'd': 3}
  assert functional.unflatten(functional.flatten(tree)) == tree
