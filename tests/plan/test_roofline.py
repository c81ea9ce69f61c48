"""Bytes and seconds by arithmetic."""

import dataclasses
import math

import jax
import pytest

from sirl import config
from sirl.plan import chips, programs, roofline, topology

from support import plans


def mesh_of(word, **axes):
  return topology.abstract_mesh(chips.group(word), config.Mesh(**{'data': 1, **axes}))


def with_numbers(p, **numbers):
  return p._replace(config=dataclasses.replace(p.config, **numbers))


def arithmetic(word, mesh, *given, flops=1e16):
  """The estimate, with this number of operations of the update in place of a trace."""
  p, group = plans.of('gsm8k_grpo', *given), chips.group(word)
  return roofline.estimate(p, group, mesh, flops, roofline.resident(p, mesh))


def test_decoding_reads_all_weights_and_the_cache_in_every_turn():
  """Qwen2.5-0.5B has 24 layers and 2 kv heads of 64.

  1024 slots on 4 chips are 256 rows of 256 + 1024 tokens a chip; 512 rows need two fillings.
  """
  e = arithmetic('v5e:2x2', mesh_of('v5e:2x2', fsdp=4))
  weights = 2 * 494_032_768  # bytes; published: 0.49B parameters, embedding tied to the head
  cache = 256 * 1280 * 24 * 2 * (2 * 64) * 2  # rows, tokens, layers, k and v, heads x width, bytes
  decode = e.stages[1]
  assert (e.rows, e.turns, decode.name) == (256, 2 * 1024, 'decode')
  assert decode.memory_s / e.turns == pytest.approx((weights + cache) / 819e9, rel=1e-3)
  assert decode.memory_s / e.turns == pytest.approx(6.1e-3, abs=0.05e-3)
  assert (decode.bound, decode.seconds) == ('memory', decode.memory_s)
  assert e.sampler['cache of the slots'] == cache


def test_a_stage_lasts_as_long_as_what_it_waits_for_most():
  e = arithmetic('v5e:2x2', mesh_of('v5e:2x2', fsdp=4), flops=1.153e16)
  for stage in e.stages:
    times = stage.compute_s, stage.memory_s, stage.interconnect_s
    assert stage.seconds == max(times)
  assert e.seconds == sum(stage.seconds for stage in e.stages)
  update = e.stages[2]
  assert update.compute_s == pytest.approx(1.153e16 / 4 / 197e12)  # 14.6 s


@pytest.mark.parametrize('axes', [{'data': 4}, {'fsdp': 4}, {'fsdp': 2, 'tensor': 2}])
def test_the_state_takes_its_bytes_over_the_chips_that_share_it(axes):
  """Vectors, such as norms and biases, are not split; they are under 0.1 % of the weights."""
  p, mesh = plans.of('gsm8k_grpo'), mesh_of('v5e:2x2', **axes)
  found = roofline.resident(p, mesh)
  splits = mesh.shape['fsdp'] * mesh.shape['tensor']
  weights = sum(4 * math.prod(x.shape) for x in jax.tree.leaves(p.learner.params))
  assert weights == 4 * 494_032_768
  assert found['weights'] == pytest.approx(weights / splits, rel=1e-3)
  assert found['optimizer'] == pytest.approx(2 * weights / splits, rel=1e-3)  # Adam's two moments


def test_a_float32_model_is_bounded_by_the_slower_products_of_float32():
  e = arithmetic('v5e:2x2', mesh_of('v5e:2x2', fsdp=4), 'dtype=float32')
  update = e.stages[2]
  assert update.compute_s == pytest.approx(update.flops / (197e12 / 6))


def test_weights_that_fit_no_chip_whole_are_gathered_a_layer_at_a_time():
  """8B parameters take 61 GiB with copy and gradient, more than a third of a v5e; of 0.5B, 3.7."""
  mesh = mesh_of('v5e:8x8', fsdp=64)
  small = arithmetic('v5e:8x8', mesh)
  large = arithmetic('v5e:8x8', mesh, 'model=Qwen/Qwen3-8B')
  ends = 151_936 * 896  # tied
  layers = small.parameters - ends
  assert small.update['weights of the pass'] == 2 * layers + 4 * ends
  assert small.update['gradients'] == 4 * (layers + ends)
  ends = 2 * 151_936 * 4096  # embedding and head
  layers = large.parameters - ends
  assert large.update['weights of the pass'] == 2 * layers / 36 + 2 * ends
  assert large.update['gradients'] == 4 * (layers / 64 + ends)


def test_how_weights_are_gathered_is_told_with_its_reason():
  mesh, group = mesh_of('v5e:8x8', fsdp=64), chips.group('v5e:8x8')
  told = lambda *given: roofline.gather_in_words(plans.of('gsm8k_grpo', *given), group, mesh)
  (small,), (large,) = told(), told('model=Qwen/Qwen3-8B')
  # 8 bytes x 494,032,768 weights; a third of 15.75 GiB is 5.25
  assert 'once per minibatch, because' in small
  assert 'take 3.68 GiB, at most a third' in small
  assert 'layer by layer in every pass' in large
  assert large.endswith('--set gather=minibatch does otherwise')
  assert told('gather=layer') == [
    'gather=layer: the update gathers weights layer by layer in every pass'
  ]
  assert roofline.gather_in_words(plans.of('gsm8k_grpo'), group, mesh_of('v5e:8x8', data=64)) == []


def test_the_setting_decides_how_weights_are_gathered():
  mesh = mesh_of('v5e:8x8', fsdp=64)
  by_layer, by_itself = (arithmetic('v5e:8x8', mesh, *given) for given in (('gather=layer',), ()))
  assert by_layer.update['gradients'] < by_itself.update['gradients']


# ---------------------------------------------------------------- what does not divide


def test_pieces_of_the_update_that_shards_cannot_share_are_told_with_what_to_set():
  """128 tasks in 4 minibatches are 32 a minibatch, and 64 shards need at least 64."""
  p, mesh = plans.of('gsm8k_grpo'), mesh_of('v5e:8x8', fsdp=64)
  (message,) = roofline.misfits(p, mesh)
  assert 'has 32 of prompts=128 (minibatches=4, microbatches=1), which 64 data shards' in message
  assert message.endswith('set minibatches * microbatches to 2 or a divisor of it')
  assert roofline.misfits(with_numbers(p, minibatches=2), mesh) == []
  assert roofline.misfits(with_numbers(p, minibatches=1, microbatches=2), mesh) == []
  (message,) = roofline.misfits(with_numbers(p, minibatches=2, microbatches=2), mesh)
  assert 'minibatches=2, microbatches=2' in message


def test_prompts_that_shards_cannot_share_are_told_with_a_multiple():
  p = with_numbers(plans.of('gsm8k_grpo'), prompts=130)
  messages = roofline.misfits(p, mesh_of('v5e:2x2', fsdp=4))
  assert messages == ['prompts=130 cannot be split over 4 data shards; set a multiple of 4']


def test_heads_that_tensor_does_not_divide_are_told():
  """The model has 14 heads and 2 kv heads."""
  messages = roofline.misfits(plans.of('gsm8k_grpo'), mesh_of('v5e:2x2', tensor=4))
  assert [message.split()[0] for message in messages] == ['heads=14', 'kv_heads=2']
  assert roofline.misfits(plans.of('gsm8k_grpo'), mesh_of('v5e:2x2', fsdp=2, tensor=2)) == []


def test_rows_need_not_divide_since_every_shard_passes_its_own():
  p = with_numbers(plans.of('gsm8k_grpo'), rows=7)
  assert roofline.misfits(p, mesh_of('v5e:2x2', fsdp=4)) == []


# ---------------------------------------------------------------- programs


def test_the_programs_read_no_weights_of_a_model_that_is_not_here():
  p = plans.of('gsm8k_grpo', 'model=Qwen/Qwen3-8B')
  leaves = jax.tree.leaves(programs.state(p, mesh_of('v5e:8x8', fsdp=64)))
  assert all(isinstance(leaf, jax.ShapeDtypeStruct) for leaf in leaves)
  assert sum(x.size for x in jax.tree.leaves(p.learner.params)) == 8_190_735_360  # as published
