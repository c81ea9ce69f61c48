"""Devices of a chip that is not here. The chip's own compiler takes them in place of real ones."""

import contextlib
import dataclasses
import importlib.util
import os
import pathlib
import sys

import jax
from jax._src.cudnn import fused_attention_stablehlo as of_cudnn
from jax.sharding import AbstractDevice, AbstractMesh, AxisType

from sirl import config
from sirl.plan.chips import Group
from sirl.runtime import sharding

# Without these, libtpu looks for a TPU, prints errors, writes logs, and allows one process only.
ENVIRONMENT = {
  'JAX_PLATFORMS': 'cpu',
  'TPU_WORKER_HOSTNAMES': 'localhost',
  'TPU_ACCELERATOR_TYPE': 'v5litepod-4',
  'TPU_SKIP_MDS_QUERY': '1',
  'TPU_LOG_DIR': 'disabled',
  'ALLOW_MULTIPLE_LIBTPU_LOAD': '1',
}

# A folder for the GPU's compiler. In an environment of its own JAX would load it in every process,
# which prints lines on a machine without a driver. Children of a plan search this folder as well.
APART = pathlib.Path(sys.prefix, 'gpu-compiler')

# What XLA must know of a GPU, a GpuTargetConfigProto. Source: openxla/xla,
# xla/backends/gpu/target_config/specs.
HOPPER = """
gpu_device_info {{
  threads_per_block_limit: 1024 threads_per_warp: 32 shared_memory_per_block: 49152
  shared_memory_per_core: 233472 threads_per_core_limit: 2048 core_count: 132 fpus_per_core: 128
  block_dim_limit_x: 2147483647 block_dim_limit_y: 65535 block_dim_limit_z: 65535
  memory_bandwidth: {bandwidth} l2_cache_size: 52428800 clock_rate_ghz: 1.98
  device_memory_size: {memory} shared_memory_per_block_optin: 232448
  cuda_compute_capability {{ major: 9 }} registers_per_core_limit: 65536
  registers_per_block_limit: 65536
}}
platform_name: "CUDA" dnn_version_info {{ major: 9 minor: 8 }} device_description_str: "{kind}"
"""
CUDNN = 90800  # the same version, as cuDNN writes it


def missing(group: Group) -> str | None:
  """What must be installed to compile for these chips, as one sentence; None if nothing."""
  tpu = group.chip.platform == 'tpu'
  package, extra = ('libtpu', 'plan') if tpu else ('jax_cuda12_plugin', 'plan-gpu')
  if importlib.util.find_spec(package) is not None or (APART / package).is_dir():
    return None
  what = 'the TPU compiler, libtpu' if tpu else 'the GPU compiler, jax-cuda12-plugin'
  return f"--compile for {group.name} needs {what}: pip install '.[{extra}]'"


def devices(group: Group):
  """Devices to compile for. Set ENVIRONMENT before JAX is imported.

  Raises: ValueError if the compiler is not installed.
  """
  if message := missing(group):
    raise ValueError(message)
  from jax.experimental import topologies

  chip = group.chip
  if chip.platform == 'gpu':
    target = HOPPER.format(bandwidth=int(chip.bandwidth), memory=int(chip.memory), kind=chip.kind)
    return topologies.get_topology_desc(
      platform='cuda', topology_name='', target_config=target, topology=f'1x1x{group.size}'
    ).devices
  one = {'chips_per_host_bounds': [1, 1, 1]} if group.size == 1 else {}
  return topologies.get_topology_desc(platform='tpu', topology_name=group.name, **one).devices


def mesh(group: Group, numbers: config.Mesh):
  """The mesh of the run on these chips, to compile for."""
  return sharding.make_mesh(numbers, devices=devices(group))


def abstract_mesh(group: Group, numbers: config.Mesh) -> AbstractMesh:
  """The same mesh for tracing, which needs no compiler.

  Raises: ValueError when the axes do not multiply to the number of chips.
  """
  shape = sharding.mesh_shape(numbers, group.size)
  platform = 'cuda' if group.chip.platform == 'gpu' else group.chip.platform
  return AbstractMesh(
    shape, sharding.AXES, axis_types=(AxisType.Auto,) * len(sharding.AXES),
    abstract_device=AbstractDevice(device_kind=group.chip.kind, num_cores=None, platform=platform),
  )  # fmt: skip


def alone(group: Group) -> AbstractMesh:
  """A mesh of one of the chips, on which every number divides."""
  one = dataclasses.replace(group, shape=(1,) * len(group.shape))
  return abstract_mesh(one, config.Mesh(data=1))


@contextlib.contextmanager
def cudnn():
  """While it is open, JAX takes cuDNN to be installed, which it otherwise asks for its version."""
  asked, of_cudnn.check_cudnn_version = of_cudnn.check_cudnn_version, lambda: CUDNN
  try:
    yield
  finally:
    of_cudnn.check_cudnn_version = asked


def prepare():
  """Sets ENVIRONMENT for this process. Raises RuntimeError if JAX has devices already."""
  os.environ.update(ENVIRONMENT)
  jax.config.update('jax_platforms', 'cpu')
  # An entry of these programs could be written and never read.
  jax.config.update('jax_enable_compilation_cache', False)
