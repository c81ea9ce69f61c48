"""The mesh and the table of weights. Eight devices need a process of their own."""

import subprocess
import sys
import textwrap

import jax
import jax.numpy as jnp
import pytest

from sirl import config
from sirl.runtime import sharding


def test_one_device_takes_any_tree_as_it_is():
  mesh = sharding.make_mesh(config.Mesh())
  tree = {'table': jnp.ones((2, 3, 4)), 'step': jnp.int32(1)}
  placed = sharding.place(tree, mesh)
  assert dict(mesh.shape) == {'data': len(jax.devices()), 'fsdp': 1, 'tensor': 1}
  assert placed['table'].sharding.is_fully_replicated


@pytest.mark.parametrize(
  ('numbers', 'message'),
  [
    (
      {'data': 3},
      r'mesh.data=3, mesh.fsdp=1, mesh.tensor=1: the product must be 8, the number of devices',
    ),
    (
      {'data': 2, 'fsdp': 2},
      'the product must be 8, the number of devices; or leave one axis at -1',
    ),
    ({'fsdp': -1}, 'at most one -1'),
    ({'tensor': 0}, 'mesh.tensor=0; expected an int of at least 1, or -1 for all remaining'),
  ],
)
def test_meshes_that_do_not_fit_are_refused(numbers, message):
  with pytest.raises(ValueError, match=message):
    sharding.make_mesh(config.Mesh(**numbers), devices=jax.devices() * 8)


def in_eight_devices(program):
  """Runs a program in a process with 8 CPU devices."""
  head = """
    import jax
    jax.config.update('jax_platforms', 'cpu')
    jax.config.update('jax_num_cpu_devices', 8)
    import jax.numpy as jnp
    import numpy as np
    import optax
    import tempfile
    from sirl import config
    from sirl.runs import checkpoint
    from sirl.runtime import hosts, sharding
    from sirl.models import functional, transformer
    from sirl.types import LoopState, TrainState
    """
  source = textwrap.dedent(head) + textwrap.dedent(program)
  done = subprocess.run(
    [sys.executable, '-c', source], capture_output=True, text=True, check=False, timeout=300
  )
  assert done.returncode == 0, done.stderr[-3000:]


def test_eight_devices():
  """Every leaf of a decoder and its optimizer is placed, and an unknown weight is named.

  One update equals that of one device, and a checkpoint of one mesh is restored on another.
  """
  in_eight_devices("""
    model = functional.build(transformer.Architecture(
      vocab=32, width=16, layers=1, heads=4, kv_heads=2, head_width=4, ffw=32, tied=False, value_head=True))
    params = model.init(jax.random.key(0))
    optimizer = optax.adam(1e-2)
    mesh = sharding.make_mesh(config.Mesh(data=2, fsdp=2, tensor=2))

    state = sharding.place({'params': params, 'opt_state': optimizer.init(params)}, mesh)
    split = lambda leaf: leaf.addressable_shards[0].data.shape
    q = lambda tree: tree['layers']['0']['attention']['q']['weight']
    assert split(q(state['params'])) == (8, 8), split(q(state['params']))  # [16, 16] over tensor x fsdp
    assert split(q(state['opt_state'][0].mu)) == (8, 8)
    assert split(state['params']['layers']['0']['mlp']['down']['weight']) == (8, 16)  # [16, 32] over fsdp x tensor
    assert split(state['params']['value_head']['weight']) == (1, 8)
    assert split(state['params']['final_norm']['weight']) == (16,)

    tokens = np.arange(8 * 6).reshape(8, 6) % 32
    positions, mask = np.tile(np.arange(6), (8, 1)), np.tile(np.tril(np.ones((6, 6), bool)), (8, 1, 1))

    def update(params, opt_state, tokens):
      def loss(params):
        hidden, _ = model.hidden(params, tokens, positions, mask)
        logp = jax.nn.log_softmax(model.unembed(params, hidden))
        return -jnp.mean(jnp.take_along_axis(logp[:, :-1], tokens[:, 1:, None], -1))
      updates, _ = optimizer.update(jax.grad(loss)(params), opt_state, params)
      return optax.apply_updates(params, updates)

    rows = jax.device_put(tokens, sharding.batch_sharding(mesh))
    assert split(rows) == (2, 6)
    many = jax.jit(update)(state['params'], state['opt_state'], rows)
    one = jax.jit(update)(params, optimizer.init(params), jnp.asarray(tokens))
    for a, b in zip(jax.tree.leaves(many), jax.tree.leaves(one)):
      np.testing.assert_allclose(a, b, atol=1e-5)

    np.testing.assert_array_equal(hosts.local_rows(rows), tokens)
    np.testing.assert_array_equal(hosts.local_rows(hosts.global_rows(tokens, mesh)), tokens)
    np.testing.assert_array_equal(hosts.everywhere(q(many)), np.asarray(q(many)))

    policy = TrainState(jnp.int32(3), state['params'], state['opt_state'], skipped=jnp.int32(0),
                        others={'reference': state['params']}, frozen={'base': {'norm': {'weight': jnp.ones(3)}}})
    loop = LoopState({'policy': policy}, (), jnp.int32(0), jnp.int32(3), jnp.float32(0), {'evaluate': {'anchor': ['1', None]}})
    other = sharding.make_mesh(config.Mesh(data=1, fsdp=8))
    like = jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype), loop)
    like = jax.tree.map(
      lambda x, s: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=s), like, sharding.shardings(like, other))
    with tempfile.TemporaryDirectory() as workdir:
      with checkpoint.Store(workdir, config.Base(), steps_per_round=10) as store:
        store.save(loop, [], [])
      with checkpoint.Store(workdir, config.Base(), steps_per_round=10) as store:
        restored = store.restore(like)[0]
    trained = restored.learners['policy']
    assert split(q(trained.params)) == split(q(trained.others['reference'])) == (16, 2)
    assert restored.memory == loop.memory
    for a, b in zip(jax.tree.leaves(loop), jax.tree.leaves(restored)):
      assert np.asarray(a).tobytes() == np.asarray(b).tobytes()

    x = jnp.ones((8, 6, 16))
    with jax.set_mesh(mesh):
      assert split(jax.jit(sharding.pin)(x)) == (2, 6, 16)
    assert split(jax.jit(sharding.pin)(x)) == (8, 6, 16)  # no mesh in use
    odd = sharding.place({'embed': {'weight': jnp.ones((7, 16))}}, mesh)
    assert split(odd['embed']['weight']) == (7, 8)  # 7 rows do not divide by tensor=2

    for fail, words in (
      (lambda: sharding.place({'mystery': jnp.ones((4, 4))}, mesh), ['mystery', '[4, 4]', 'sharding.py']),
      (lambda: sharding.check_rows(30, mesh), ['prompts=30', '4 data shards', 'multiple of 4']),
      (lambda: sharding.check_rows(32, mesh, 8), ['4 data shards', '8 processes', 'mesh.tensor']),
    ):
      try:
        fail()
      except ValueError as error:
        assert all(word in str(error) for word in words), error
      else:
        raise AssertionError(words)
    """)


@pytest.mark.parametrize(
  ('rows', 'parts', 'shards'), [(8, 1, 2), (8, 4, 2), (8, 8, 1), (6, 2, 1), (7, 1, 1)]
)
def test_rows_are_split_over_data_shards_where_each_can_cut_its_own(rows, parts, shards):
  with jax.sharding.use_abstract_mesh(jax.sharding.AbstractMesh((2, 1, 1), sharding.AXES)):
    assert sharding.data_shards(rows, parts) == shards
  assert sharding.data_shards(rows, parts) == 1  # no mesh
