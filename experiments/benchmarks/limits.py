"""The work of a case in FLOPs and bytes, and the limits of the machine.

FLOPs are counted by hand, because the compiler counts the body of a loop only once. Only matrix
products and attention count. Attention counts every source for which scores are computed, padding
and future tokens included. Recomputation is not counted.
In this file `a` is the dict of `cases.shape`.
"""

import math
import re
import time

import jax
import jax.numpy as jnp

FLOAT = 4  # bytes of a float32


# ---------------------------------------------------------------- work


def layer_weights(a):
  """Number of entries in the matrices of one layer. Args: a: the dict of `cases.shape`."""
  queries, keys = a['heads'] * a['head_width'], a['kv_heads'] * a['head_width']
  return a['width'] * (2 * queries + 2 * keys) + 3 * a['width'] * a['ffw']


def parameters(a):
  """Number of parameters of a model with tied embedding, norms included."""
  return a['layers'] * (layer_weights(a) + 2 * a['width']) + (a['vocab'] + 1) * a['width']


def forward(a, *, tokens, scores, heads):
  """FLOPs of a forward pass.

  Args: tokens: tokens that go through the layers; scores: (query, source) pairs per head; heads:
    rows of logits.
  """
  attention = 4 * scores * a['heads'] * a['head_width']
  layers = a['layers'] * (2 * tokens * layer_weights(a) + attention)
  return layers + 2 * heads * a['width'] * a['vocab']


def prefill_flops(a, case):
  """FLOPs of a prefill: each prompt once, with logits after its last token."""
  P, S = case.prompts, case.prompt
  return forward(a, tokens=P * S, scores=P * S * S, heads=P)


def turn_flops(a, case):
  """FLOPs of decoding one token for every row, at the mean length of the cache."""
  B, sources = case.prompts * case.group_size, case.prompt + case.new / 2
  return forward(a, tokens=B, scores=B * sources, heads=B)


def turn_bytes(a, case):
  """Bytes to read for one token of every row: the weights once, and the cached keys and values."""
  B, sources = case.prompts * case.group_size, case.prompt + case.new / 2
  cache = 2 * a['layers'] * a['kv_heads'] * a['head_width'] * B * sources
  return FLOAT * (parameters(a) + cache)


def decode_flops(a, case):
  """FLOPs of a whole rollout in which every row has full length."""
  return prefill_flops(a, case) + (case.new - 1) * turn_flops(a, case)


def train_flops(a, case):
  """FLOPs of an update: forward and backward, each prompt once per group.

  Logits are counted for completions only.
  """
  P, G, S, N = case.prompts, case.group_size, case.prompt, case.new
  tokens, scores = P * S + P * G * (N - 1), P * S * S + P * G * (N - 1) * (S + N)
  return 3 * forward(a, tokens=tokens, scores=scores, heads=P * G * N)


def flops(a, case):
  """FLOPs of one run of a case; None for kinds that are not compared in FLOPs."""
  return {
    'prefill': prefill_flops,
    'decode': decode_flops,
    'train': train_flops,
    'step': lambda a, case: decode_flops(a, case) + train_flops(a, case),
    'growth': lambda a, case: decode_flops(a, case) + train_flops(a, case),
  }.get(case.kind, lambda a, case: None)(a, case)


def largest_array(program):
  """Bytes of the largest array in the text of a compiled program."""
  arrays = re.findall(r'\b([a-z]+)(\d*)\[([\d,]+)\]', program)
  return max(
    math.prod(map(int, shape.split(','))) * (int(bits) if bits else 8) // 8
    for _, bits, shape in arrays
  )


# ---------------------------------------------------------------- the machine

SIDE = 2048  # of the matrices multiplied
READ = 2**26  # floats summed: 256 MB, beyond any cache
CALLS = 1000


def matrix_product():
  """run() -> {'rate': FLOP/s} of the fastest of three float32 products of SIDE x SIDE matrices."""
  x = jnp.ones((SIDE, SIDE), jnp.float32)
  multiply = jax.jit(lambda x: x @ x)
  return lambda: {'rate': 2 * SIDE**3 / _best(lambda: multiply(x).block_until_ready())}


def memory_read():
  """run() -> {'rate': bytes/s} of the fastest of three sums over READ floats."""
  x = jnp.ones(READ, jnp.float32)
  total = jax.jit(jnp.sum)
  return lambda: {'rate': READ * FLOAT / _best(lambda: total(x).block_until_ready())}


def empty_call():
  """run() -> {'rate': calls/s} of a compiled program that adds two scalars, each call awaited."""
  x = jnp.float32(0)
  step = jax.jit(lambda x: x + 1)

  def calls():
    for _ in range(CALLS):
      step(x).block_until_ready()

  return lambda: {'rate': CALLS / _best(calls)}


MEASURES = {
  'matrix product': matrix_product,
  'memory read': memory_read,
  'empty call': empty_call,
}


def _best(work, tries=3):
  """Seconds of the fastest of several tries."""
  seconds = []
  for _ in range(tries):
    started = time.perf_counter()
    work()
    seconds.append(time.perf_counter() - started)
  return min(seconds)
