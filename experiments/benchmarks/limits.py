"""What a case asks for in arithmetic and memory traffic, and what the machine could do at best.

Work is counted by hand, matrix products and attention only, since the compiler counts the body of a loop once. Attention
counts every source it computes scores for, padding and future included; recomputation is not counted.
"""

import math
import re
import time

import jax
import jax.numpy as jnp

FLOAT = 4  # bytes of a float32


# ---------------------------------------------------------------- work


def layer_weights(a):
  """Entries of the matrices of one layer; a: the dict of `cases.shape`."""
  queries, keys = a['heads'] * a['head_width'], a['kv_heads'] * a['head_width']
  return a['width'] * (2 * queries + 2 * keys) + 3 * a['width'] * a['ffw']


def parameters(a):
  """All parameters of a tied model, norms included."""
  return a['layers'] * (layer_weights(a) + 2 * a['width']) + (a['vocab'] + 1) * a['width']


def forward(a, *, tokens, scores, heads):
  """FLOPs of `tokens` through the layers, `scores` (query, source) pairs per head, and `heads` rows of logits."""
  attention = 4 * scores * a['heads'] * a['head_width']
  layers = a['layers'] * (2 * tokens * layer_weights(a) + attention)
  return layers + 2 * heads * a['width'] * a['vocab']


def prefill_flops(a, case):
  """FLOPs of the prompts, each computed once, with logits after each row's last token."""
  P, S = case.prompts, case.prompt
  return forward(a, tokens=P * S, scores=P * S * S, heads=P)


def turn_flops(a, case):
  """FLOPs of one token for every row, the cache filled to its mean."""
  B, sources = case.prompts * case.group_size, case.prompt + case.new / 2
  return forward(a, tokens=B, scores=B * sources, heads=B)


def turn_bytes(a, case):
  """Bytes that one token for every row must read: the weights once, and the keys and values seen."""
  B, sources = case.prompts * case.group_size, case.prompt + case.new / 2
  cache = 2 * a['layers'] * a['kv_heads'] * a['head_width'] * B * sources
  return FLOAT * (parameters(a) + cache)


def decode_flops(a, case):
  """FLOPs of a whole rollout of full length."""
  return prefill_flops(a, case) + (case.new - 1) * turn_flops(a, case)


def train_flops(a, case):
  """FLOPs of a training step: forward and backward, each prompt once per group, logits of completions only."""
  P, G, S, N = case.prompts, case.group_size, case.prompt, case.new
  tokens, scores = P * S + P * G * (N - 1), P * S * S + P * G * (N - 1) * (S + N)
  return 3 * forward(a, tokens=tokens, scores=scores, heads=P * G * N)


def flops(a, case):
  """FLOPs of one run of a case, None where that is not its measure."""
  return {
    'prefill': prefill_flops,
    'decode': decode_flops,
    'train': train_flops,
    'step': lambda a, case: decode_flops(a, case) + train_flops(a, case),
    'growth': lambda a, case: decode_flops(a, case) + train_flops(a, case),
  }.get(case.kind, lambda a, case: None)(a, case)


def largest_array(program):
  """Bytes of the largest array that appears in the text of a compiled program."""
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
  """run() -> {'rate': FLOP/s} of the best of three products of two float32 matrices of SIDE x SIDE."""
  x = jnp.ones((SIDE, SIDE), jnp.float32)
  multiply = jax.jit(lambda x: x @ x)
  return lambda: {'rate': 2 * SIDE**3 / _best(lambda: multiply(x).block_until_ready())}


def memory_read():
  """run() -> {'rate': bytes/s} of the best of three sums over READ floats."""
  x = jnp.ones(READ, jnp.float32)
  total = jax.jit(jnp.sum)
  return lambda: {'rate': READ * FLOAT / _best(lambda: total(x).block_until_ready())}


def empty_call():
  """run() -> {'rate': calls/s} of a compiled program that does next to nothing, waited for each time."""
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
  """Seconds of the fastest of a few tries: a limit is what was reached once."""
  seconds = []
  for _ in range(tries):
    started = time.perf_counter()
    work()
    seconds.append(time.perf_counter() - started)
  return min(seconds)
