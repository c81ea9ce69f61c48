"""The plan as a person reads it, as JSON, and what it advises."""

import dataclasses
import json
import re
import shlex

import pytest

from sirl import cli
from sirl.plan import chips, plan, report, verdict

from support import plans

GiB, MiB = chips.GiB, 2**20


def toy(*given, word='v5e:2x2'):
  return plans.estimated('grpo', word, *plans.TOY, *given)


def judged(*verdicts):
  return dataclasses.replace(toy(), verdicts=verdicts)


def of(name, **result):
  """A verdict, with a peak of 2 MiB and no estimate unless given."""
  given = {'fits': True, 'peak': 2 * MiB, 'loops': [], 'collectives': [], **result}
  return verdict.of(name, given, chips.group('v5e:2x2'), beside=0, turns=20, blocks=1)


def test_a_small_model_is_shown_in_small_units():
  text = report.table(toy())
  assert '80,480 parameters, float32. A step has 8 x 4 completions' in text
  assert re.search(r'memory of a chip \(estimate\) +MiB\n', text)
  assert re.search(r'  weights +0\.31\n', text)
  assert re.search(r'largest at once +\d\.\d\d  of 15\.75 GiB: fits\n', text)
  assert re.search(r'time of a stage \(estimate, us\) ', text)
  assert ' 0.00  ' not in text.split('step, without')[1]


@pytest.mark.parametrize(
  ('number', 'units', 'said'),
  [
    (2.5 * GiB, report.BYTES, '2.5 GiB'),
    (1023 * MiB, report.BYTES, '1023 MiB'),
    (0.0061, report.SECONDS, '6.1 ms'),
    (12.54, report.SECONDS, '12.5 s'),
    (0, report.SENT, '0 B'),
    (8.2e10, report.SENT, '82 GB'),
  ],
)
def test_a_number_takes_the_unit_in_which_it_is_at_least_one(number, units, said):
  assert report.quantity(number, units) == said


def test_collectives_are_told_by_what_a_chip_sends_and_where():
  turns = [[[None], 'all-gather', 170, int(0.99e9)], [[4, 32], 'all-reduce', 1, 1000]]
  text = report.table(judged(of('sampler', collectives=turns[:1]), of('update', collectives=turns)))
  gathers = '170 all-gathers, together 990 MB, in every turn of the token loop (20 times a step)'
  sums = '1 all-reduce of 1 kB, in a loop of 32 inside a loop (128 times a step)'
  assert re.search(rf'  sampler +14\.8 GB +{re.escape(gathers)}', text)  # 20 x .99 x 3 / 4
  assert re.search(rf'  update +192 kB +{re.escape(sums)}', text)


def test_what_takes_longer_is_said_in_words():
  slow = of('update', loops=[[[], 1e-4]], collectives=[[[], 'all-reduce', 1, int(1e9)]])
  fast = of('sampler', loops=[[[], 0.5], [[None], 0.01]])
  text = report.table(judged(fast, slow))
  assert re.search(r'  sampler .* 10 ms  fits; no collectives\n', text)
  assert re.search(r'  update .* -  fits; the links take longer\n', text)


def test_a_program_that_does_not_fit_says_by_how_much():
  refused = of('sampler', fits=False, full=int(16.25 * GiB))
  stopped = of('update', failed='not compiled within 9 s; --limit gives it longer')
  text = report.table(judged(refused, stopped))
  assert 'does not fit: 512 MiB too much' in text
  assert 'not compiled within 9 s; --limit gives it longer' in text


def test_the_json_holds_every_number_and_survives_a_round_trip():
  moved = [[[None], 'all-gather', 2, 1000]]
  found = judged(of('sampler', loops=[[[], 0.5], [[None], 0.01]], collectives=moved))
  given = report.as_json(found)
  assert json.loads(json.dumps(given)) == json.loads(json.dumps(given, allow_nan=False))
  read = json.loads(json.dumps(given))
  assert read['estimate']['parameters'] == 80_480
  assert read['estimate']['resident'] == found.estimate.resident
  assert [stage['name'] for stage in read['estimate']['stages']] == ['prefill', 'decode', 'update']
  assert read['compiled'][0]['collectives'][0]['sent'] == 20 * 1000 * 3 / 4
  assert read['mesh'] == {'data': 4, 'fsdp': 1, 'tensor': 1}


@pytest.mark.parametrize(('word', 'pod'), [('v5e:2x2', False), ('v5e:4x4', True)])
def test_the_command_that_is_printed_runs_the_plan(word, pod):
  found = toy('mesh.data=-1', 'prompts=16', word=word)
  words = shlex.split(report.command(found))
  arguments = cli.parser().parse_args(words[1:])
  assert arguments.file == 'grpo'
  assert arguments.distributed == pod
  size = found.group.size
  assert arguments.set == [
    'debug=true', 'prompts=16', f'mesh.data={size}', 'mesh.fsdp=1', 'mesh.tensor=1',
  ]  # fmt: skip
  assert f'\nto run it:\n  {shlex.join(words)}' in report.table(found)


def test_notes_stand_last():
  found = dataclasses.replace(toy(), notes=('take care',))
  assert report.table(found).endswith('\n\nnote: take care')


# ---------------------------------------------------------------- advice


def large(word, sampler=0.0, update=0.0, **numbers):
  """The toy's plan, as if its state took 8 GiB a chip and its programs so many more."""
  found = toy(*(f'{name}={value}' for name, value in numbers.items()), word=word)
  parts = {'weights for decoding': 0.0, 'cache of the slots': sampler}
  estimate = dataclasses.replace(
    found.estimate, resident={'weights': 2 * GiB, 'optimizer': 6 * GiB}, sampler=parts,
    update={'gradients': update},
  )  # fmt: skip
  return dataclasses.replace(found, estimate=estimate)


def test_a_state_that_every_chip_holds_whole_is_to_be_split():
  advised = plan.advice(large('v5e:2x2', update=9 * GiB), 'update')
  assert advised.startswith('try --mesh fsdp=-1, which splits weights and optimizer')
  assert '--set rows=2, or --set microbatches=2' in advised  # 4 completions a task at once


def test_a_cache_that_is_too_large_is_halved():
  advised = plan.advice(large('v5e:2x2', sampler=9 * GiB), 'sampler')
  assert advised.endswith('--set slots=16, which halves the cache')  # of 8 x 4 completions


def test_weights_that_are_too_large_for_decoding_are_split_over_tensor():
  found = large('v5e:2x2')
  parts = {'weights for decoding': 12 * GiB, 'cache of the slots': 1.0}
  found = dataclasses.replace(found, estimate=dataclasses.replace(found.estimate, sampler=parts))
  assert '--mesh tensor=2,fsdp=-1' in plan.advice(found, 'sampler')


def test_what_fits_on_no_mesh_of_these_chips_is_said_with_the_chips_that_hold_it():
  """68 GiB fit on no 63 GiB. One H100 has 79, four v6e have 125."""
  found = large('v5e:2x2')
  state = {'weights': 17 * GiB, 'optimizer': 51 * GiB}
  estimate = dataclasses.replace(found.estimate, resident=state)
  assert plan.advice(dataclasses.replace(found, estimate=estimate), 'update') == (
    'weights and optimizer alone take 68 GiB, which 4 chips of 15.75 GiB cannot hold; '
    'take v5e:2x4 or v6e:2x2 or v5p:2x2x1 or h100x1 or h200x1, or a smaller model'
  )
