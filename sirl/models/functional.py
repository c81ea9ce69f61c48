"""The decoder as a `Model` of pure functions over a plain nested dict of arrays.

The module is taken apart once: its static structure is closed over, its arrays become params with string keys,
such as params['layers']['0']['attention']['q']['weight']. Outside this package nobody knows about flax.
"""

import jax
from flax import nnx

from sirl.models import transformer
from sirl.types import Model


def build(architecture, *, constrain=None):
  """Model of an `Architecture`. No array is made before `init`.

  Args: constrain: x_BTD -> x_BTD, applied to the residual stream after the embedding and every layer; the place of
    a `with_sharding_constraint` when the params are sharded.
  """

  def make(rngs):
    return transformer.Decoder(architecture, rngs=rngs, constrain=constrain)

  graph, abstract = nnx.split(nnx.eval_shape(lambda: make(nnx.Rngs(0))))
  structure = jax.tree.structure(nnx.to_pure_dict(abstract))

  def init(key):
    return with_string_keys(nnx.to_pure_dict(nnx.state(make(nnx.Rngs(params=key)))))

  def module(params):
    arrays = with_integer_layers(params)
    if jax.tree.structure(arrays) != structure:
      raise ValueError(mismatch(params, init))
    return nnx.merge(graph, arrays)

  def hidden(params, tokens_BT, positions_BT, mask_BTS, cache=None, start_B=None):
    return module(params).hidden(tokens_BT, positions_BT, mask_BTS, cache, start_B)

  def unembed(params, x):
    return module(params).unembed(x)

  def value(params, x):
    return module(params).value(x)

  def init_cache(rows, slots):
    return transformer.init_cache(architecture, rows, slots)

  return Model(
    init=init,
    hidden=hidden,
    unembed=unembed,
    init_cache=init_cache,
    value=value if architecture.value_head else None,
    vocab=architecture.vocab,
  )


def shapes(model):
  """The tree of `jax.ShapeDtypeStruct` that `model.init` would fill; nothing is computed."""
  return jax.eval_shape(model.init, jax.random.key(0))


def count(model):
  """Number of parameters."""
  return sum(leaf.size for leaf in jax.tree.leaves(shapes(model)))


def flatten(params, prefix=''):
  """Nested dict -> {'layers.0.mlp.up.weight': leaf}."""
  flat = {}
  for name, node in params.items():
    flat |= flatten(node, f'{prefix}{name}.') if isinstance(node, dict) else {prefix + name: node}
  return flat


def unflatten(flat):
  """Inverse of `flatten`."""
  tree = {}
  for path, leaf in flat.items():
    *parents, last = path.split('.')
    node = tree
    for name in parents:
      node = node.setdefault(name, {})
    node[last] = leaf
  return tree


def with_string_keys(tree):
  if not isinstance(tree, dict):
    return tree
  return {str(name): with_string_keys(node) for name, node in tree.items()}


def with_integer_layers(params):
  return {**params, 'layers': {int(i): layer for i, layer in params['layers'].items()}}


def mismatch(params, init):
  expected = set(flatten(jax.eval_shape(init, jax.random.key(0))))
  got = set(flatten(params))
  return (
    f'params do not belong to this model: missing {sorted(expected - got)[:3]}, unexpected {sorted(got - expected)[:3]}; '
    f'use params made by its init or loaded with its architecture (value_head included)'
  )
