"""Decodes a toy on 8 CPU devices with weights whole over fsdp and split; prints JSON."""

import json
import os

os.environ.update(JAX_PLATFORMS='cpu', JAX_NUM_CPU_DEVICES='8')

import jax
import numpy as np

from sirl import config, models
from sirl.generation import texts
from sirl.generation.engine import arrangement, decode, refill
from sirl.runtime import sharding
from sirl.types import SamplingParams

P, S = 8, 5
SHAPE = models.preset(
  'toy', vocab=64, width=32, layers=2, heads=8, kv_heads=4, head_width=8, ffw=64
)
MODEL = models.build(SHAPE)
ASKED = SamplingParams(group_size=2, max_new=8, eos_ids=(1, 2, 3, 4, 5, 6), pad_id=0)
DECODERS = {
  'static': (decode.static, [(1, 8, 1)]),
  'refill': (refill.decoder(8), [(2, 2, 2)]),
}


def main():
  params = jax.jit(MODEL.init)(jax.random.key(0))
  rng = np.random.default_rng(0)
  valid = np.arange(S) >= S - rng.integers(1, S + 1, (P, 1))
  prompts = np.where(valid, rng.integers(7, 64, (P, S)), 0).astype(np.int32)
  address = texts.address([str(p) for p in range(P)], ASKED.group_size)
  arguments = prompts, valid, address, jax.random.key(1), ASKED
  found = {}
  for name, (decoder, meshes) in DECODERS.items():
    expected, _ = decoder(MODEL, params, *arguments)
    for shape in meshes:
      mesh = sharding.make_mesh(config.Mesh(data=shape[0], fsdp=shape[1], tensor=shape[2]))
      with jax.set_mesh(mesh):
        placed = sharding.place(params, mesh)
        for how in ('whole', 'tensor'):
          rollouts, _ = arrangement.decoder(decoder, how)(MODEL, placed, *arguments)
          found[f'{name} {shape} {how}'] = {
            'same tokens': bool(np.array_equal(rollouts.tokens, expected.tokens)),
            'logp': float(np.abs(rollouts.logp - expected.logp).max()),
            'rows': str(rollouts.tokens.sharding.spec),
          }
  print(json.dumps(found))


main()
