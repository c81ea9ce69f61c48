"""The memory of accelerators by the name that JAX gives them."""

import jax

GiB = 2**30
# Bytes that a program may use, as the compilers allow them.
MEMORY = {
  'TPU v5 lite': 15.75 * GiB,
  'TPU v6 lite': 31.25 * GiB,
  'TPU v5': 95.74 * GiB,
  'NVIDIA H100 80GB HBM3': 79.1 * GiB,
  'NVIDIA H200': 139.8 * GiB,
}


def memory() -> float | None:
  """Bytes of one device of the mesh in use; None for a device that MEMORY does not know."""
  device = jax.sharding.get_abstract_mesh().abstract_device
  return None if device is None else MEMORY.get(device.device_kind)
