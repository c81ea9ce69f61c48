"""Floating-point operations of a traced program: those of its matrix products.

Loops count as often as they run, which a compiler's own count does not do. Of the branches of a
conditional, the dearest counts. A loop whose length depends on data counts `turns` times.
"""

import math

import jax
from jax.extend import core


def flops(traced, *, turns: int = 1, kernels: bool = True) -> float:
  """Operations of the whole program, over all devices.

  Args:
    traced: `jax.stages.Traced`.
    turns: how often a loop runs whose length depends on data.
    kernels: whether hand-written kernels count, for which compilers have no estimate.
  """
  return _of(traced.jaxpr.jaxpr, turns, kernels)


def _of(jaxpr, *how):
  return sum(_equation(equation, *how) for equation in jaxpr.eqns)


def _equation(equation, *how):
  turns, kernels = how
  name, given = equation.primitive.name, equation.params
  if name == 'dot_general':
    return _product(equation)
  if name == 'scan':
    return given['length'] * _of(given['jaxpr'].jaxpr, *how)
  if name == 'while':
    return turns * _of(given['body_jaxpr'].jaxpr, *how)
  if name == 'cond':
    return max(_of(branch.jaxpr, *how) for branch in given['branches'])
  attention = name.startswith('dot_product_attention')  # cuDNN's
  if (name == 'pallas_call' or attention) and not kernels:
    return 0
  if attention:
    return _attention(equation)
  inner = sum(_of(found, *how) for found in _inner(given))
  if name == 'pallas_call':  # a kernel's body is one cell of its grid
    inner *= math.prod(n for n in given['grid_mapping'].grid if isinstance(n, int))
  if name == 'shard_map':  # shapes inside are those of one shard
    inner *= math.prod(given['mesh'].shape[axis] for axis in given['newly_manual_axes'])
  return inner


def _product(equation):
  """2 m n k of a dot_general."""
  (contracted, _), _ = equation.params['dimension_numbers']
  left = equation.invars[0].aval.shape
  return 2 * math.prod(equation.outvars[0].aval.shape) * math.prod(left[i] for i in contracted)


def _attention(equation):
  """Two products forward, five backward. A causal mask leaves out half of each."""
  (B, T, N, H), (_, S, _, _) = (x.aval.shape for x in equation.invars[:2])
  products = 5 if '_bwd' in equation.primitive.name else 2
  causal = 'CAUSAL' in equation.params['mask_type'].name
  return products * 2 * B * N * T * S * H / (2 if causal else 1)


def _inner(given):
  """The jaxprs among an equation's parameters."""
  for value in jax.tree.leaves(list(given.values()), is_leaf=_is_jaxpr):
    if _is_jaxpr(value):
      yield value.jaxpr if isinstance(value, core.ClosedJaxpr) else value


def _is_jaxpr(value):
  return isinstance(value, core.ClosedJaxpr | core.Jaxpr)
