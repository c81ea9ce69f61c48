"""How weights lie while decoding: whole over fsdp, or split over a part of fsdp as over tensor.

An update splits the rows over fsdp and fetches weights as it goes. A token loop must not fetch, so
the weights of a generation are whole over fsdp, see `weights.for_decoding`, where they fit. For
larger ones the same devices are arranged as data x (fsdp / n) x (n * tensor), with n as small as
fits: weights and cache are split n times further, each device decodes n times the rows, and
activations are summed over tensor in every layer. n * tensor divides the kv heads.
"""

import jax
from jax.sharding import AbstractMesh, AxisType, Mesh, NamedSharding
from jax.sharding import PartitionSpec as Spec

from sirl.runtime import chips, sharding
from sirl.slots import Decode

LIE = {
  'auto': 'whole where they take at most a third of a device, else split as far as needed',
  'whole': 'whole over fsdp',
  'tensor': 'split as far as the kv heads allow',
}


def decoder(decode: Decode, how='auto') -> Decode:
  """`decode` with the weights lying as a key of LIE says. The samples are the same up to rounding.

  Raises: ValueError for an unknown word.
  """
  if how not in LIE:
    raise ValueError(f'decode_weights={how!r}; expected one of {", ".join(LIE)}')

  def arranged_decode(model, params, prompts_PS, valid_PS, address, key, sampling_params):
    rest = prompts_PS, valid_PS, address
    n = parts(model, params, how)
    if n == 1:
      return decode(model, params, *rest, key, sampling_params)
    mesh = jax.sharding.get_mesh()
    other = arranged(mesh, n)
    with jax.set_mesh(other):
      params = jax.device_put(params, sharding.shardings(params, other))
      rest = jax.device_put(rest, sharding.batch_sharding(other))
      rollouts, metrics = decode(model, params, *rest, key, sampling_params)
    return (
      jax.device_put(rollouts, sharding.batch_sharding(mesh)),
      jax.device_put(metrics, NamedSharding(mesh, Spec())),
    )

  return arranged_decode


def parts(model, params, how) -> int:
  """n, into which fsdp of the mesh in use splits the weights while they decode; 1: they are whole.

  Args: params: arrays or shapes; how: a key of LIE.
  """
  mesh = jax.sharding.get_abstract_mesh()
  fsdp, tensor = (mesh.shape.get(axis, 1) for axis in ('fsdp', 'tensor'))
  heads = getattr(model.architecture, 'kv_heads', 1)
  able = [n for n in range(1, fsdp + 1) if fsdp % n == 0 and heads % (n * tensor) == 0] or [1]
  if how != 'auto':
    return max(able) if how == 'tensor' else 1
  memory = chips.memory()
  fitting = [n for n in able if memory is None or size(model, params) / n <= memory / 3]
  return min(fitting, default=max(able))


def size(model, params) -> float:
  """Bytes of the weights in the compute dtype on a device, whole over fsdp of the mesh in use."""
  tensor = jax.sharding.get_abstract_mesh().shape.get('tensor', 1)
  dtype = jax.numpy.dtype(getattr(model.architecture, 'dtype', 'float32'))
  return dtype.itemsize * sum(x.size for x in jax.tree.leaves(params)) / tensor


def arranged(mesh, n):
  """The devices of a mesh, real or abstract, as data x (fsdp / n) x (n * tensor)."""
  shape = mesh.shape['data'], mesh.shape['fsdp'] // n, n * mesh.shape['tensor']
  types = (AxisType.Auto,) * len(shape)
  if isinstance(mesh, AbstractMesh):
    return AbstractMesh(
      shape, sharding.AXES, axis_types=types, abstract_device=mesh.abstract_device
    )
  return Mesh(mesh.devices.reshape(shape), sharding.AXES, axis_types=types)
