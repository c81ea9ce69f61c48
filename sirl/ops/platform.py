"""The platform that a program is compiled for."""

import jax


def platform():
  """'cpu', 'tpu' or 'gpu': that of the mesh in use, or of the default devices without a mesh.

  The two differ where a host without accelerator compiles for one, as `sirl plan` does.
  """
  device = jax.sharding.get_abstract_mesh().abstract_device
  if device is None:
    return jax.default_backend()
  return 'gpu' if device.platform in ('cuda', 'rocm') else device.platform
