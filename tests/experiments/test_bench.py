"""Correctness of the benchmark: its counts, its protocol, its tables. It measures no times."""

import dataclasses
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from experiments.benchmarks import (
  cases,
  compiled,
  driver,
  limits,
  ours,
  protocol,
  render,
  rollouts,
  workload,
)
from sirl.models import functional
from sirl.models.transformer import Architecture
from sirl.ops import prefill
from sirl.plan import chips

CASE = cases.Case(
  name='prefill', set='tiny', kind='prefill', layers=1, prompts=2, prompt=4, new=2,
  peers=('transformers',),
)  # fmt: skip


# ---------------------------------------------------------------- work


def counted(function, *arguments):
  analysis = jax.jit(function).lower(*arguments).compile().cost_analysis()
  assert analysis is not None
  return analysis['flops']


@pytest.fixture(scope='module')
def tiny():
  """An unrolled model of tiny's width, for logits of all positions of 4 rows of 64 tokens."""
  numbers = cases.shape(dataclasses.replace(CASE, layers=2))
  model = functional.build(Architecture(**numbers))
  valid_BT = jnp.ones((4, 64), bool)

  def logits(params, tokens_BT):
    see, where = prefill.causal_mask(valid_BT), prefill.positions(valid_BT)
    return model.unembed(params, model.hidden(params, tokens_BT, where, see)[0])

  return numbers, logits, functional.shapes(Architecture(**numbers))


def test_forward_flops_agree_with_the_compiler(tiny):
  numbers, logits, shapes = tiny
  tokens = jax.ShapeDtypeStruct((4, 64), jnp.int32)
  ours = limits.forward(numbers, tokens=256, scores=4 * 64 * 64, heads=256)
  assert counted(logits, shapes, tokens) == pytest.approx(ours, rel=0.02)


def test_gradient_flops_are_three_forward_passes(tiny):
  numbers, logits, shapes = tiny
  tokens = jax.ShapeDtypeStruct((4, 64), jnp.int32)

  def loss(params, tokens):
    return -jnp.mean(jax.nn.log_softmax(logits(params, tokens))[..., 0])

  ours = 3 * limits.forward(numbers, tokens=256, scores=4 * 64 * 64, heads=256)
  assert counted(jax.grad(loss), shapes, tokens) == pytest.approx(ours, rel=0.02)


def test_parameters_are_those_of_the_model():
  for name in cases.SHAPES:
    numbers = cases.shape(dataclasses.replace(CASE, shape=name, layers=None))
    assert limits.parameters(numbers) == functional.count(Architecture(**numbers))


def test_a_rollout_costs_its_prompts_once_and_a_turn_per_later_token():
  # 2 prompts of 4 tokens in groups of 3, 5 new tokens each: 8 prompt tokens, then 4 turns of 6 rows
  # that see 6.5 sources.
  case = dataclasses.replace(CASE, kind='decode', prompts=2, group_size=3, prompt=4, new=5)
  a = cases.shape(case)
  turn = limits.forward(a, tokens=6, scores=6 * 6.5, heads=6)
  prompts = limits.forward(a, tokens=8, scores=2 * 16, heads=2)
  assert limits.flops(a, case) == pytest.approx(prompts + 4 * turn)


# ---------------------------------------------------------------- lengths


def test_end_rates_give_the_lognormal_they_name():
  rates = workload.end_rates(1000, mean=40.0)
  alive = np.concatenate([[1.0], np.cumprod(1 - rates)])
  # A length is its lognormal rounded up, so the mean is half a token larger.
  assert alive.sum() == pytest.approx(40.5, abs=0.5)


@pytest.mark.all
def test_lengths_do_not_depend_on_weights_or_batch():
  case = dataclasses.replace(CASE, prompts=4, group_size=2, prompt=3, new=32, lengths='lognormal')
  numbers = dict(
    vocab=64, width=16, layers=1, heads=2, kv_heads=2, head_width=8, ffw=16, rope_theta=1e4
  )
  model, params = workload.policy(case, numbers)
  other = jax.tree.map(lambda x: 2 * x, params)
  tokens = workload.prompts(case, numbers)

  def lengths(params, tokens, first=0):
    drawn, _ = rollouts.sampler_of(case, model, params, tokens, first=first)()
    return np.asarray(drawn.action).sum(axis=-1)

  whole = lengths(params, tokens)
  np.testing.assert_array_equal(whole, lengths(other, tokens))
  np.testing.assert_array_equal(whole[2:], lengths(params, tokens[2:], first=2))
  assert len(np.unique(whole)) > 2


# ---------------------------------------------------------------- sides


def test_our_side_plays_every_kind_of_case():
  assert set(ours.KINDS) == set(cases.VARIANTS[cases.OURS])


def test_a_side_answers_and_a_missing_peer_is_shown(tmp_path):
  sides = driver.Sides(tmp_path / 'no-peers', tmp_path)
  try:
    row = driver.run_case(CASE, sides, repeats=2)
  finally:
    sides.close()
  runs = row['sides']['sirl']['plain']['runs']
  assert len(runs) == 2, row
  assert all(run['wall'] > 0 and run['cpu'] > 0 and run['tokens'] == 8 for run in runs)
  assert sides.versions['sirl']['jax'] == jax.__version__
  results = {'machine': {'cpu': 'x', 'cores': 2}, 'repeats': 2, 'versions': {}, 'rows': [row]}
  line = next(line for line in render.table(results).splitlines() if line.startswith('| prefill'))
  assert [cell.strip() for cell in line.split('|')[4:7]] == ['not installed', '-', '-']


def test_a_side_that_dies_is_an_error_that_names_its_output(tmp_path):
  worker = driver.Worker(['sh', '-c', 'exit 7'], 2, tmp_path / 'log')
  assert worker.versions == {}
  answer = worker.ask({'case': {}})
  worker.close()
  assert answer == {'error': f'the process ended with exit code 7; see {tmp_path / "log"}'}


def test_a_foreign_loop_advances_one_iteration_per_call_and_hands_on_its_error():
  seen = []

  def loop(pause):
    for i in range(2):
      pause()
      seen.append(i)
    raise OSError('no more data')

  turns = protocol.Turns(loop)
  assert seen == []
  turns.advance()
  assert seen == [0]
  with pytest.raises(OSError, match='no more data'):
    turns.advance()


def test_unknown_cases_are_refused():
  with pytest.raises(ValueError, match="unknown cases 'tny'; expected some of tiny, smol"):
    cases.chosen(['tny'])


def test_limits_stand_before_and_after_every_kind_of_case():
  chosen = cases.chosen(['smol'])
  for cores, kinds in ((1, ['decode', 'prefill', 'train']), (2, ['prefill', 'train'])):
    mine = [case.kind for case in chosen if case.cores == cores]
    order = [kind for i, kind in enumerate(mine) if i == 0 or mine[i - 1] != kind]
    assert order == [x for kind in kinds for x in ('limit', kind)] + ['limit']
    assert mine.count('limit') == 3 * (len(kinds) + 1)


def test_cases_of_more_cores_than_there_are_are_left_out_by_name(monkeypatch, tmp_path):
  monkeypatch.setattr(driver, 'held_cores', lambda: [3])
  monkeypatch.setattr(
    driver, 'run_case', lambda case, sides, repeats: {'sides': {}, 'name': case.name}
  )
  said = []
  *_, results = driver.measure(
    ['memory', 'refill'], repeats=1, peers=tmp_path, logs=tmp_path, say=said.append
  )
  assert said[0].startswith('left out, 1 core is not 2: memory of an update')
  assert all('one core' in row['name'] for row in results['rows'])


# ---------------------------------------------------------------- arithmetic


def runs(*walls, cpu=1.0, **more):
  return {'runs': [{'wall': wall, 'cpu': cpu, **more} for wall in walls]}


def row(kind='train', by='wall', sides=None, **numbers):
  case = dataclasses.replace(CASE, name='row', kind=kind, by=by, peers=cases.PEERS, **numbers)
  shape = cases.shape(case)
  flops = limits.flops(shape, case)
  return {'case': dataclasses.asdict(case), 'shape': shape, 'flops': flops, 'sides': sides}


def test_ratio_is_of_medians_of_the_best_variants_per_token():
  sides = {
    'sirl': {'whole': runs(2.0, 9.0, 2.0, tokens=100), 'micro': runs(5.0, tokens=100)},
    'transformers': {'whole': runs(8.0, tokens=100), 'micro': runs(3.0, tokens=50)},
    'trl': {'whole': {'runs': [], 'error': 'KeyError'}},
  }
  # ours 2 s of 100 tokens; theirs 3 s of 50 tokens, that is 6 s of 100.
  assert render.ratio(row(sides=sides), 'transformers') == pytest.approx(3.0)
  assert render.ratio(row(sides=sides), 'trl') == 'failed'
  assert render.ratio(row(sides=sides), 'tunix') == '-'


def test_one_core_cases_compare_cpu_seconds():
  sides = {
    'sirl': {'plain': runs(1.0, cpu=2.0, tokens=1)},
    'transformers': {'dynamic': runs(9.0, cpu=3.0, tokens=1)},
  }
  assert render.ratio(row(by='cpu', sides=sides), 'transformers') == pytest.approx(1.5)


def test_share_of_limit_is_time_at_the_limit_over_time_of_a_turn():
  sides = {'sirl': {'plain': runs(5.0, tokens=1), 'first token': runs(1.0, tokens=1)}}
  case = row(kind='decode', shape='smol', layers=None, sides=sides, new=5)  # 4 turns in 4 seconds
  turn = limits.turn_bytes(case['shape'], cases.from_json(case['case']))
  found = {('matrix product', 2): math.inf, ('memory read', 2): 2 * turn}
  assert render.share_of_limit(case, found) == pytest.approx(0.5)
  found = {('matrix product', 2): limits.turn_flops(case['shape'], cases.from_json(case['case'])),
           ('memory read', 2): math.inf}  # fmt: skip
  assert render.share_of_limit(case, found) == pytest.approx(1.0)
  # 13 MB of weights may lie in the processor's cache: how fast memory is read says nothing.
  case = row(kind='decode', shape='tiny', sides=sides, new=5)
  found = {('matrix product', 2): math.inf, ('memory read', 2): 1.0}
  assert render.share_of_limit(case, found) is None


def test_a_limit_is_the_best_of_all_its_measurements():
  """Limits are measured before and after every kind of case.

  A busy moment at the end does not lower the best.
  """
  rates = ([3.0, 5.0], [4.0, 1.0], [])
  rows = [
    row(kind='limit', what='memory read', sides={'sirl': {'plain': {'runs': [{'rate': r} for r in found]}}})
    for found in rates
  ]  # fmt: skip
  assert render.machine_limits(rows) == {('memory read', 2): 5.0}


def test_host_share_is_what_neither_program_took():
  entry = {'runs': [{'round': 10.0, 'decode': 4.0, 'optimize': x} for x in (5.5, 5.0, 5.9)]}
  np.testing.assert_allclose(render.host_shares(entry), [0.01, 0.05, 0.1])


def test_pictures_are_written_where_there_is_something_to_draw(tmp_path):
  sides = {
    'sirl': {'plain': runs(1.0, tokens=1)},
    'transformers': {'dynamic': runs(2.0, tokens=1)},
  }
  rows = [row(sides=sides)]
  assert render.picture({'rows': rows}, tmp_path / 'bench.png')
  assert not render.growth({'rows': rows}, tmp_path / 'growth.png')
  rows += [row(kind='growth', what='prompts', prompts=n, sides=sides) for n in (2, 4)]
  assert render.growth({'rows': rows}, tmp_path / 'growth.png')
  assert (tmp_path / 'growth.png').read_bytes().startswith(b'\x89PNG')


# ---------------------------------------------------------------- compiled for a TPU


def row_of(program, **result):
  given = {'fits': True, 'peak': 3 * 2**30, 'collectives': [], 'kernel_flops': 0.0, **result}
  found = compiled.repeated(given, 1 if program == 'sampler' else 128)
  return compiled.line('x', 'data', compiled.judged(program, found, chips.group('v5e:2x2')))


def test_a_step_of_tunix_is_all_its_micro_steps():
  # 128 x (10 ms + 197e12 FLOPs on 4 chips of that rate + 2 x 3/4 x 1 GB at 100 GB/s).
  found = row_of(
    'update', loops=[[[], 0.01]], collectives=[[[], 'all-reduce', 1, 10**9]], kernel_flops=197e12
  )
  assert found == '| x, s a step | data | 35.20 | 1.28 | 32.00 | 1.92 | 192.00 | 3.00 |'


def test_a_sampler_is_compared_by_the_turn():
  # 5 ms a turn, and 3/4 x 1 GB in each.
  loops = [[[], 9.0], [[None], 0.005]]
  found = row_of('sampler', loops=loops, collectives=[[[None], 'all-gather', 4, 10**9]])
  assert found == '| x, ms a turn | data | 12.50 | 5.00 | 0.00 | 7.50 | 0.75 | 3.00 |'


def test_a_program_without_a_verdict_says_why_in_its_row():
  failed = compiled.judged('update', {'failed': 'killed'}, chips.group('v5e:2x2'))
  assert compiled.line('x', 'fsdp', failed).startswith('| x | fsdp | killed |')
  full = compiled.judged('update', {'fits': False, 'full': 17e9}, chips.group('v5e:2x2'))
  assert compiled.line('x', 'fsdp', full).startswith('| x | fsdp | does not fit |')
