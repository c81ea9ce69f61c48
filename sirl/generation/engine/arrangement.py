"""How weights lie while decoding: whole over fsdp, or split over fsdp as they are over tensor.

An update splits the rows over fsdp and fetches weights as it goes. A token loop must not fetch, so
the weights of a generation are whole over fsdp, see `weights.for_decoding`, where they fit. Larger
ones stay split: the same devices are then arranged as data x 1 x (fsdp * tensor), the rows are split
over data alone, and activations are summed over the rest in every layer.
"""

import jax
from jax.sharding import AbstractMesh, AxisType, Mesh, NamedSharding
from jax.sharding import PartitionSpec as Spec

from sirl.runtime import chips, sharding
from sirl.slots import Decode

LIE = {
  'auto': 'whole where they take at most a third of a device',
  'whole': 'whole over fsdp',
  'tensor': 'split over fsdp as over tensor',
}


def decoder(decode: Decode, how='auto') -> Decode:
  """`decode` with the weights lying as a key of LIE says. The samples are the same up to rounding.

  Raises: ValueError for an unknown word.
  """
  if how not in LIE:
    raise ValueError(f'decode_weights={how!r}; expected one of {", ".join(LIE)}')

  def arranged_decode(model, params, prompts_PS, valid_PS, address, key, sampling_params):
    rest = prompts_PS, valid_PS, address
    if not splits(model, params, how):
      return decode(model, params, *rest, key, sampling_params)
    mesh = jax.sharding.get_mesh()
    other = arranged(mesh)
    with jax.set_mesh(other):
      params = jax.device_put(params, sharding.shardings(params, other))
      rest = jax.device_put(rest, sharding.batch_sharding(other))
      rollouts, metrics = decode(model, params, *rest, key, sampling_params)
    return (
      jax.device_put(rollouts, sharding.batch_sharding(mesh)),
      jax.device_put(metrics, NamedSharding(mesh, Spec())),
    )

  return arranged_decode


def splits(model, params, how) -> bool:
  """Whether weights stay split over fsdp of the mesh in use while they decode.

  Args: params: arrays or shapes; how: a key of LIE.
  """
  mesh = jax.sharding.get_abstract_mesh()
  if mesh.shape.get('fsdp', 1) == 1:
    return False
  if how != 'auto':
    return how == 'tensor'
  memory = chips.memory()
  return memory is not None and size(model, params) > memory / 3


def size(model, params) -> float:
  """Bytes of the weights in the compute dtype on a device, whole over fsdp of the mesh in use."""
  tensor = jax.sharding.get_abstract_mesh().shape.get('tensor', 1)
  dtype = jax.numpy.dtype(getattr(model.architecture, 'dtype', 'float32'))
  return dtype.itemsize * sum(x.size for x in jax.tree.leaves(params)) / tensor


def arranged(mesh):
  """The devices of a mesh, real or abstract, as data x 1 x (fsdp * tensor)."""
  shape = mesh.shape['data'], 1, mesh.shape['fsdp'] * mesh.shape['tensor']
  types = (AxisType.Auto,) * len(shape)
  if isinstance(mesh, AbstractMesh):
    return AbstractMesh(
      shape, sharding.AXES, axis_types=types, abstract_device=mesh.abstract_device
    )
  return Mesh(mesh.devices.reshape(shape), sharding.AXES, axis_types=types)
