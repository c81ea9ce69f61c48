"""Prefill in pieces gives the same cache and logits as prefill in one pass."""

import functools

import chex
import jax
import jax.numpy as jnp
import pytest

from sirl import models
from sirl.ops import prefill

from support.hlo import loops

MODEL = models.build(models.preset('toy', vocab=16, width=16, layers=1, head_width=8, ffw=16))
PARAMS = jax.jit(MODEL.init)(jax.random.key(0))


@pytest.mark.parametrize(
  ('prompts', 'pieces'), [(24, True), (16, False), (17, False)], ids=['24', 'they fit', 'a prime']
)
def test_pieces_leave_what_all_prompts_together_leave(prompts, pieces):
  S = 64
  tokens_PS = jax.random.randint(jax.random.key(1), (prompts, S), 2, 16)
  valid_PS = jnp.arange(S) >= (jnp.arange(prompts) % 7)[:, None]
  compiled = [
    jax.jit(functools.partial(how, MODEL)).lower(PARAMS, tokens_PS, valid_PS).compile()
    for how in (prefill.whole, prefill.in_pieces)
  ]
  assert not loops(compiled[0].as_text())
  assert bool(loops(compiled[1].as_text())) == pieces
  together, apart = (program(PARAMS, tokens_PS, valid_PS) for program in compiled)
  chex.assert_trees_all_close(together, apart, atol=1e-5)
