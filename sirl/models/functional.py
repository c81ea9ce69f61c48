"""The decoder as a `Model` of pure functions over a plain nested dict of arrays.

The flax module is split once. The functions keep its static structure, and its arrays become params
with string keys, such as params['layers']['0']['attention']['q']['weight']. No code outside this
package uses flax modules.
"""

import contextlib
import functools

import jax
from flax import nnx

from sirl.models import cache, transformer
from sirl.ops.platform import platform
from sirl.types import Model


def build(architecture, *, constrain=None):
  """Model of an `Architecture`. `build` allocates no array; `init` does.

  Args: constrain: x_BTD -> x_BTD, applied to the residual stream after the embedding and after
    every layer; use it for `with_sharding_constraint` when the params are sharded.
  """
  graph, expected = skeleton(architecture, constrain)

  def init(key):
    constants = nnx.state(transformer.Decoder(architecture))
    return with_string_keys(nnx.to_pure_dict(with_noise(constants, key)))

  def module(params):
    if jax.tree.structure(params) != jax.tree.structure(expected):
      raise ValueError(mismatch(params, expected))
    return nnx.merge(graph, with_integer_layers(params))

  def hidden(params, tokens_BT, positions_BT, mask_BTS, cache=None, start_B=None):
    with precise(architecture):
      return module(params).hidden(tokens_BT, positions_BT, mask_BTS, cache, start_B)

  def unembed(params, x):
    with precise(architecture):
      return module(params).unembed(x)

  def value(params, x):
    with precise(architecture):
      return module(params).value(x)

  def init_cache(rows, slots):
    return cache.init_cache(architecture, rows, slots)

  return Model(
    init=init,
    hidden=hidden,
    unembed=unembed,
    init_cache=init_cache,
    value=value if architecture.value_head else None,
    vocab=architecture.vocab,
    architecture=architecture,
  )


def precise(architecture):
  """A context in which the products of a float32 model are float32, in both directions.

  Otherwise a TPU multiplies float32 as bfloat16, and a GPU as TF32, with 8 and 11 bits of a number.
  Learner and sampler could then not agree to 1e-5.
  """
  if architecture.dtype == 'float32' and platform() != 'cpu':
    return jax.default_matmul_precision('highest')
  return contextlib.nullcontext()


def with_noise(state, key):
  """Fills every parameter that has a std with std * normal noise, in the order of their paths.

  All noise comes from one draw, which is cut into pieces.
  """
  leaves = [leaf for _, leaf in nnx.to_flat_state(state) if leaf.get_metadata().get('std')]
  draws = jax.random.normal(key, (sum(leaf.size for leaf in leaves),))
  draws = jax.lax.optimization_barrier(draws)  # otherwise XLA draws again for every piece
  start = 0
  for leaf in leaves:
    draw = draws[start : start + leaf.size].reshape(leaf.shape)
    leaf[...] = leaf.get_metadata()['std'] * draw
    start += leaf.size
  return state


def shapes(architecture):
  """The params tree of an architecture, a `jax.ShapeDtypeStruct` for every array."""
  return skeleton(architecture, None)[1]


def count(architecture):
  """Number of parameters."""
  return sum(leaf.size for leaf in jax.tree.leaves(shapes(architecture)))


@functools.lru_cache(maxsize=16)
def skeleton(architecture, constrain):
  """(static structure of the module, its params as shapes). Cached, because tracing is slow."""

  def make():
    return transformer.Decoder(architecture, constrain=constrain)

  graph, abstract = nnx.split(nnx.eval_shape(make))
  return graph, with_string_keys(nnx.to_pure_dict(abstract))


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
  """The nested dict with str keys, the form of params."""
  if not isinstance(tree, dict):
    return tree
  return {str(name): with_string_keys(node) for name, node in tree.items()}


def with_integer_layers(params):
  """The params with layer numbers as int, the form of the module."""
  return {**params, 'layers': {int(i): layer for i, layer in params['layers'].items()}}


def mismatch(params, expected):
  """Error message that names missing and unexpected params."""
  got, expected = set(flatten(params)), set(flatten(expected))
  return (
    f'params do not belong to this model: missing {sorted(expected - got)[:3]}, '
    f'unexpected {sorted(got - expected)[:3]}; '
    f'use params made by its init or loaded with its architecture (value_head included)'
  )
