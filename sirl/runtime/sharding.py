"""One mesh and one table: which devices there are, and how each weight is split over them.

Tasks are split over (data, fsdp). A weight is split over fsdp on one axis and over tensor on the
other. Under jit the compiler inserts the collectives, so model code contains no sharding. If
weights are split, the caller must also pin the residual stream with `pin`. Otherwise the
compiler shards features and reduces activations.
"""

import logging
import math
import re

import jax
import numpy as np
from jax.sharding import AxisType, NamedSharding
from jax.sharding import PartitionSpec as P

log = logging.getLogger(__name__)

AXES = ('data', 'fsdp', 'tensor')
ROWS = ('data', 'fsdp')  # axes that the tasks of a batch are split over

# The first match wins. Weights are stored (out, in). A layer that reads the residual stream splits
# its outputs over tensor, and a layer that writes to it splits its inputs, so a block needs one
# reduction. A pattern matches the end of a path, so it also covers optimizer moments and the
# reference.
TABLE = (
  (r'embed/weight$', P('tensor', 'fsdp')),  # [V, D]
  (r'value_head/weight$', P(None, 'fsdp')),  # [1, D]
  (r'head/weight$', P('tensor', 'fsdp')),  # [V, D]
  (r'attention/[qkv]/weight$', P('tensor', 'fsdp')),  # [heads * H, D]
  (r'attention/o/weight$', P('fsdp', 'tensor')),  # [D, N * H]
  (r'mlp/(gate|up)/weight$', P('tensor', 'fsdp')),  # [F, D]
  (r'mlp/down/weight$', P('fsdp', 'tensor')),  # [D, F]
)


def make_mesh(config, devices=None):
  """The mesh ('data', 'fsdp', 'tensor') over all devices.

  Args:
    config: `config.Mesh`, devices per axis; one axis may be -1 and takes the rest.
    devices: default jax.devices().
  Raises: ValueError when the axes do not multiply to the number of devices.
  """
  devices = jax.devices() if devices is None else devices
  shape = mesh_shape(config, len(devices))
  # make_mesh defaults to Explicit axes, which the scatter into the cache does not accept.
  return jax.make_mesh(shape, AXES, axis_types=(AxisType.Auto,) * len(AXES), devices=devices)


def mesh_shape(config, devices):
  """The sizes of the axes (data, fsdp, tensor) for a number of devices. Raises as `make_mesh`."""
  sizes = [getattr(config, axis) for axis in AXES]
  asked = ', '.join(f'mesh.{axis}={size}' for axis, size in zip(AXES, sizes))
  if sizes.count(-1) > 1:
    raise ValueError(f'{asked}: expected at most one -1, which takes the rest')
  known = math.prod(size for size in sizes if size != -1)
  if devices % known or (-1 not in sizes and known != devices):
    raise ValueError(
      f'{asked}: the product must be {devices}, the number of devices; or leave one axis at -1 to '
      'take the rest'
    )
  return tuple(devices // known if size == -1 else size for size in sizes)


def shardings(tree, mesh, table=TABLE):
  """A NamedSharding for every leaf of params, optimizer state or a whole TrainState.

  Leaves of rank 0 and 1 are replicated, and so are all leaves on a mesh that splits no weights. If
  a mesh axis does not divide a dimension, the dimension is not split over it. This is logged; it
  costs memory and changes no number.

  Raises: ValueError naming path and shape of a leaf of rank 2 or more that no pattern matches.
  """
  splits_weights = mesh.shape['fsdp'] * mesh.shape['tensor'] > 1

  def sharding(path, leaf):
    shape = getattr(leaf, 'shape', ())
    if not splits_weights or len(shape) < 2:
      return NamedSharding(mesh, P())
    name = jax.tree_util.keystr(path, simple=True, separator='/')
    for pattern, spec in table:
      if re.search(f'(^|/){pattern}', name):
        return NamedSharding(mesh, _dividing(spec, shape, mesh, name))
    raise ValueError(
      f'no sharding for {name} of shape {list(shape)}; '
      f'add a pattern for its path to sirl/runtime/sharding.py'
    )

  return jax.tree_util.tree_map_with_path(sharding, tree)


def kept(tree):
  """The tree under jit, each leaf pinned to its place in the table, on the mesh in use.

  Otherwise the compiler may return weights that lie differently from those it was given, and the
  next call would compile again.
  """
  mesh = jax.sharding.get_abstract_mesh()
  if mesh.size <= 1 or not set(AXES) <= set(mesh.shape):
    return tree
  return jax.lax.with_sharding_constraint(tree, shardings(tree, mesh))


def gathered(tree):
  """The tree under jit, no longer split over fsdp; it stays split over tensor."""
  mesh = jax.sharding.get_abstract_mesh()
  if mesh.shape.get('fsdp', 1) == 1 or tree is None:
    return tree
  table = tuple(
    (pattern, P(*(None if axis == 'fsdp' else axis for axis in spec))) for pattern, spec in TABLE
  )
  return jax.lax.with_sharding_constraint(tree, shardings(tree, mesh, table))


def fsdp_specs(tree):
  """A PartitionSpec for every leaf, with the dimension that the table splits over fsdp."""
  mesh = jax.sharding.get_abstract_mesh()
  if mesh.shape.get('fsdp', 1) == 1:
    return jax.tree.map(lambda x: P(), tree)
  only = lambda where: P(*(axis if axis == 'fsdp' else None for axis in where.spec))
  return jax.tree.map(only, shardings(tree, mesh))


def summed_over_shards(tree, specs, like):
  """Sums a tree over the shards of (data, fsdp), inside `on_data_shards` with axes=ROWS.

  A leaf that `specs` (from `fsdp_specs`) splits comes back as this shard's part of the sum.

  Args: like: shapes of the whole. A leaf of another shape is summed over fsdp already.
  """

  def total(x, spec, whole):
    if 'fsdp' not in spec:
      return jax.lax.psum(x, ROWS)
    if x.shape == whole:
      axis = list(spec).index('fsdp')
      scatter = lambda x: jax.lax.psum_scatter(x, 'fsdp', scatter_dimension=axis, tiled=True)
      x = _by_tensor(scatter, x, axis)
    return jax.lax.psum(x, 'data')

  return jax.tree.map(total, tree, specs, like)


def whole_over_fsdp(x, axis):
  """A weight of which every device has a part of the axis, gathered, inside `on_data_shards`.

  It stays split over tensor. In the backward pass gradients are summed, and each device keeps its
  part of the sum.
  """
  gather = lambda x: jax.lax.all_gather(x, 'fsdp', axis=axis, tiled=True)
  return _by_tensor(gather, x, axis)


def _by_tensor(run, x, axis):
  """run(x), with every device's own part over tensor of a matrix that fsdp splits on `axis`.

  Left to the compiler, a collective over fsdp would first gather the matrix over tensor.
  """
  mesh = jax.sharding.get_abstract_mesh()
  tensor = 1 if 'tensor' in mesh.manual_axes else mesh.shape.get('tensor', 1)
  if tensor == 1 or x.ndim != 2 or x.shape[1 - axis] % tensor:
    return run(x)
  part = P('tensor', None) if axis == 1 else P(None, 'tensor')
  return jax.shard_map(run, in_specs=part, out_specs=part, axis_names={'tensor'}, check_vma=False)(
    x
  )


def place(tree, mesh, table=TABLE):
  """The tree on the mesh, split by the table. Raises as `shardings` does."""
  return jax.tree.map(_put, tree, shardings(tree, mesh, table))


def _put(x, where):
  # device_put checks that all processes hold equal host arrays, which fails for NaN.
  if isinstance(x, np.ndarray):
    return jax.make_array_from_callback(x.shape, where, lambda index: x[index])
  return jax.device_put(x, where)


def batch_sharding(mesh):
  """Sharding of [P, ...] arrays: tasks over (data, fsdp)."""
  return NamedSharding(mesh, P(ROWS))


def row_shards(mesh):
  """Number of parts that the tasks of a batch are split into; 1 for an empty mesh."""
  return math.prod(mesh.shape.get(axis, 1) for axis in ROWS)


def check_rows(prompts, mesh, processes=None):
  """Checks that tasks, mesh and processes fit together.

  Raises: ValueError if P tasks cannot be split evenly over the data shards of the mesh, or the data
    shards over the processes (default: all).
  """
  shards, processes = row_shards(mesh), processes or jax.process_count()
  if prompts % shards:
    raise ValueError(
      f'prompts={prompts} cannot be split over {shards} data shards '
      f'(mesh.data={mesh.shape["data"]} x mesh.fsdp={mesh.shape["fsdp"]}); '
      f'choose a multiple of {shards} or fewer shards'
    )
  if shards % processes:
    raise ValueError(
      f'mesh.data={mesh.shape["data"]} x mesh.fsdp={mesh.shape["fsdp"]} = {shards} data shards '
      f'cannot be split over {processes} processes, each of which brings tasks of its own; '
      f'choose a multiple of {processes}, and fewer for mesh.tensor'
    )


def on_data_shards(fn, whole, rows, *, parts=1, merge=None, axes=('data',), given=None, out=None):
  """fn(*whole, *rows) with a separate computation of its own rows on every shard of the axes.

  The shards wait for each other only in `merge`. If the compiler split the rows instead, a loop
  over tokens would wait in every iteration for the slowest shard, and a loop over pieces of a batch
  would sum gradients after each piece. The compiler still handles the other mesh axes. With one
  shard (see `data_shards`) fn is called directly.

  Args:
    fn: takes and returns trees; it runs under jit.
    whole: arguments that every shard receives unsplit.
    rows: trees of [P, ...] leaves.
    parts: number of equal pieces that fn cuts its rows into.
    merge: combines the results of all shards into the same result on each, by collectives over
      the axes. None: fn returns trees of [P, ...] leaves, which are concatenated.
    axes: of the mesh; ROWS also splits over fsdp, where each shard then holds whole weights.
    given: PartitionSpecs of `whole`, a prefix of its tree; None: every shard receives it unsplit.
    out: PartitionSpecs of what merge returns, a prefix of its tree; None: the same on every shard.
  """
  if data_shards(jax.tree.leaves(rows)[0].shape[0], parts, axes) == 1:
    return fn(*whole, *rows)

  def own(whole, rows):
    found = fn(*whole, *rows)
    return found if merge is None else merge(found)

  if merge is None:
    out = P(axes)
  elif out is None:
    out = P()
  # check_vma=True would sum the gradients of the replicated weights in every iteration of a loop.
  split = jax.shard_map(
    own,
    in_specs=(P() if given is None else given, P(axes)),
    out_specs=out,
    axis_names={*axes},
    check_vma=False,
  )
  return split(whole, rows)


def data_shards(rows, parts=1, axes=('data',)):
  """Number of shards that `on_data_shards` splits the rows into: the size of the axes.

  It is 1 without a mesh, or if the rows cannot be split into shards of `parts` equal pieces.
  """
  shape = jax.sharding.get_abstract_mesh().shape
  shards = math.prod(shape.get(axis, 1) for axis in axes)
  return 1 if rows % (shards * parts) else shards


def pin(x_BTD):
  """Pins rows to (data, fsdp) of the mesh in use: the `constrain` of a model with split weights.

  Without a mesh, on one device, or if the rows do not divide, x_BTD is returned unchanged.
  """
  mesh = jax.sharding.get_abstract_mesh()
  # inside `on_data_shards`, these are the rows of one shard of the data axis
  axes = tuple(axis for axis in ROWS if axis not in mesh.manual_axes)
  if mesh.size <= 1 or x_BTD.shape[0] % math.prod(mesh.shape.get(axis, 1) for axis in axes):
    return x_BTD
  return jax.lax.with_sharding_constraint(x_BTD, NamedSharding(mesh, P(axes)))


def whole(x):
  """x on every device of the axes that the compiler still splits over, such as tensor."""
  mesh = jax.sharding.get_abstract_mesh()
  free = [axis for axis, size in mesh.shape.items() if size > 1 and axis not in mesh.manual_axes]
  return jax.lax.with_sharding_constraint(x, NamedSharding(mesh, P())) if free else x


def whole_heads(x_BTF, heads):
  """Features that are `heads` heads side by side; not split where tensor would split within a head.

  The compiler aborts the process on some programs with split heads.
  """
  mesh = jax.sharding.get_abstract_mesh()
  if 'tensor' in mesh.manual_axes or heads % mesh.shape.get('tensor', 1) == 0:
    return x_BTF
  free = P.UNCONSTRAINED
  return jax.lax.with_sharding_constraint(x_BTF, NamedSharding(mesh, P(free, free, None)))


def _dividing(spec, shape, mesh, name):
  fitting = tuple(
    axis if axis is None or size % mesh.shape[axis] == 0 else None
    for axis, size in zip(spec, shape)
  )
  if fitting != tuple(spec):
    log.info('%s %s: not split by %s of mesh %s', name, list(shape), spec, dict(mesh.shape))
  return P(*fitting)
