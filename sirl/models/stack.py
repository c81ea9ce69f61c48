"""The layers of a decoder one after the other: written out, or as one loop whose backward pass computes again.

Written out is faster, and what decoding needs: a cache is then written in place. The loop exists for the memory of training:
recomputation that is written out stands beside the forward pass in one program, and XLA's CPU scheduler may do it first, which
saves nothing. The loop stacks the weights of all layers for the time of a pass.
"""

import jax
import jax.numpy as jnp
from flax import nnx

REMAT = {  # what the backward pass finds stored; the rest is computed again
  'none': None,  # everything: fastest where memory allows
  'block': jax.checkpoint_policies.nothing_saveable,  # only the input of every layer
  'dots': jax.checkpoint_policies.dots_with_no_batch_dims_saveable,  # outputs of the weight products
}


def written_out(blocks, x_BTD, views, cache, start_B, constrain):
  """Hidden states after all layers, and the tuple of their caches.

  Args: blocks: (x_BTD, rotation, mask_BTS, cache, start_B) -> (x_BTD, cache) each; views: (rotation, mask_BTS) of a layer that
    sees everything, and of a local one; cache, start_B: as in `Decoder.hidden`; constrain: applied after every layer.
  """
  kept = []
  for i, block in enumerate(blocks):
    layer_cache = cache[i] if cache is not None else None
    x_BTD, layer_cache = block(x_BTD, *views[block.local], layer_cache, start_B)
    x_BTD = constrain(x_BTD)
    kept.append(layer_cache)
  return x_BTD, tuple(kept)


def looped(blocks, x_BTD, views, cache, start_B, constrain, remat):
  """The same as a scan over layers, storing for the backward pass what `remat`, a key of REMAT, names."""
  graph, _ = nnx.split(blocks[0])  # layers differ in their weights and in what they see
  weights = stacked([nnx.split(block)[1] for block in blocks])
  local_L = jnp.asarray([block.local for block in blocks])
  mixed = len({block.local for block in blocks}) > 1

  def layer(x_BTD, inputs):
    own_weights, local, own_cache = inputs
    view = views[blocks[0].local]
    if mixed:
      view = jax.tree.map(lambda whole, near: jnp.where(local, near, whole), *views)
    block = nnx.merge(graph, own_weights)
    x_BTD, own_cache = block(x_BTD, *view, own_cache, start_B)
    return constrain(x_BTD), own_cache

  inputs = weights, local_L, None if cache is None else stacked(cache)
  # The loop alone keeps the two passes apart.
  layer = jax.checkpoint(layer, policy=REMAT[remat], prevent_cse=False)
  x_BTD, kept = jax.lax.scan(layer, x_BTD, inputs)
  keys, values = kept
  return x_BTD, tuple(zip(keys, values))


def stacked(trees):
  """Trees of like structure as one, leaves [L, ...]."""
  return jax.tree.map(lambda *leaves: jnp.stack(leaves), *trees)
