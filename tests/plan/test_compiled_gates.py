"""The toy's programs, compiled for chips that are not here: what must hold of every program.

Each program is compiled once, in a process of its own, by support/compiled.py.
"""

import itertools

import pytest

from support.compiled import program

pytestmark = pytest.mark.all

DECODERS = ['sampler', 'refilled', 'speculative']


def in_the_token_loop(found):
  """The collectives of a path with a loop whose length depends on data."""
  return [each for each in found['collectives'] if None in each[0]]


@pytest.mark.parametrize('word', ['v5e:2x2', 'h100x8'])
@pytest.mark.parametrize('name', ['sampler', 'update'])
def test_the_toy_compiles(name, word):
  mesh = 'data' if word == 'v5e:2x2' else 'data8'
  found = program(name, mesh, word)
  assert 0 < found['peak'] < 2**30
  assert found['arguments'] >= found['state' if name == 'update' else 'weights']


@pytest.mark.parametrize('mesh', ['data', 'fsdp'])
@pytest.mark.parametrize('name', DECODERS)
def test_shards_decode_without_waiting_for_one_another(name, mesh):
  found = program(name, mesh)
  assert None in [n for path in found['loops'] for n in path]  # there is a token loop
  assert in_the_token_loop(found) == []


def test_tensor_sums_activations_in_the_token_loop_and_gathers_no_weights():
  """A control: on this mesh the token loop has collectives, and the reader finds them."""
  found = program('sampler', 'both')
  moved = in_the_token_loop(found)
  assert 'all-reduce' in {kind for _, kind, _, _ in moved}
  gathered = [size for _, kind, _, size in moved if kind == 'all-gather']
  assert gathered == [found['logits']]  # to draw from


@pytest.mark.parametrize('mesh', ['fsdp', 'both'])
def test_the_state_lies_after_an_update_as_before(mesh):
  """Otherwise the second update, and the sampler after it, would compile again."""
  found = program('update', mesh)
  assert found['leaves'] > 20
  assert found['moved'] == []


@pytest.mark.parametrize(
  ('name', 'mesh'), [*itertools.product(DECODERS, ['data', 'fsdp']), ('sampler', 'both')]
)
def test_the_token_loop_copies_no_cache(name, mesh):
  found = program(name, mesh)
  assert found['cache'] > 0
  assert [line for path, line in found['copies'] if None in path] == []


@pytest.mark.parametrize('name', DECODERS)
def test_no_loop_over_rows_writes_to_the_cache(name):
  """Neither in the token loop nor, where rows wait in a queue, when some enter."""
  found = program(name, 'data')
  assert [path for path in found['written'] if len(path) > 1 and isinstance(path[-1], int)] == []


@pytest.mark.parametrize('mesh', ['data', 'fsdp', 'both'])
def test_an_update_writes_over_the_state_that_it_is_given(mesh):
  found = program('update', mesh)
  assert found['donated'] >= found['state']
