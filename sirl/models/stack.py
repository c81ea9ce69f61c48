"""Runs the layers of a decoder: unrolled, or as a scan that recomputes in the backward pass.

Unrolled layers are faster, and decoding needs them: its cache is then written in place. The scan
saves memory in training. In unrolled layers XLA's CPU scheduler may run the recomputation early,
beside the forward pass, which saves nothing; the scan prevents that. The scan stacks the weights of
all layers for the duration of a pass.
"""

import jax
import jax.numpy as jnp
from flax import nnx

from sirl.runtime import sharding

REMAT = {  # what is stored for the backward pass; the rest is recomputed
  'none': None,  # everything: fastest where memory allows
  'block': jax.checkpoint_policies.nothing_saveable,  # only the input of every layer
  # outputs of the weight products
  'dots': jax.checkpoint_policies.dots_with_no_batch_dims_saveable,
}


def written_out(blocks, x_BTD, views, cache, start_B, constrain, whole=None):
  """Unrolled layers: the hidden states after the last one, and the tuple of all caches.

  Args:
    blocks: functions (x_BTD, rotation, mask_BTS, cache, start_B) -> (x_BTD, cache).
    views: (rotation, mask_BTS) of global layers, and the same of local ones.
    cache, start_B: as in `Decoder.hidden`.
    constrain: applied after every layer.
    whole: the shapes of a layer's weights, in the order of its tree. Weights of other shapes are
      this device's parts over fsdp, and each layer gathers its own just before it runs.
  """
  kept = []
  for i, block in enumerate(blocks):
    layer_cache = cache[i] if cache is not None else None
    if whole is not None:
      graph, weights = nnx.split(block)
      block = nnx.merge(graph, fetched(weights, whole))
    x_BTD, layer_cache = block(x_BTD, *views[block.local], layer_cache, start_B)
    x_BTD = constrain(x_BTD)
    kept.append(layer_cache)
  return x_BTD, tuple(kept)


def looped(blocks, x_BTD, views, cache, start_B, constrain, remat, whole=None):
  """`written_out` as a scan. `remat`, a key of REMAT, sets what is stored for the backward pass."""
  graph, _ = nnx.split(blocks[0])  # layers differ in their weights and in being local
  weights = stacked([nnx.split(block)[1] for block in blocks])
  local_L = jnp.asarray([block.local for block in blocks])
  mixed = len({block.local for block in blocks}) > 1

  def layer(x_BTD, inputs):
    own_weights, local, own_cache = inputs
    view = views[blocks[0].local]
    if mixed:
      view = jax.tree.map(lambda whole, near: jnp.where(local, near, whole), *views)
    block = nnx.merge(graph, fetched(own_weights, whole))
    x_BTD, own_cache = block(x_BTD, *view, own_cache, start_B)
    return constrain(x_BTD), own_cache

  inputs = weights, local_L, None if cache is None else stacked(cache)
  # The scan already separates forward pass and recomputation, so prevent_cse is not needed.
  layer = jax.checkpoint(layer, policy=REMAT[remat], prevent_cse=False)
  x_BTD, kept = jax.lax.scan(layer, x_BTD, inputs)
  keys, values = kept
  return x_BTD, tuple(zip(keys, values))


def fetched(weights, whole):
  """The weights of a layer, gathered over fsdp where they have another shape than the whole."""
  if whole is None:
    return weights

  def gather(x, shape):
    split = [axis for axis, size in enumerate(shape) if x.shape[axis] != size]
    return sharding.whole_over_fsdp(x, split[0]) if split else x

  leaves, tree = jax.tree.flatten(weights)
  return jax.tree.unflatten(tree, map(gather, leaves, whole))


def stacked(trees):
  """Trees of the same structure as one tree with leaves [L, ...]."""
  return jax.tree.map(lambda *leaves: jnp.stack(leaves), *trees)
