"""sirl plan, as a user types it."""

import json
import re

import pytest

from sirl import cli
from sirl.plan import chips, compiling, plan, programs, search, topology
from sirl.runtime import chips as runtime_chips

from support import plans
from support.plans import as_before  # noqa: F401

pytestmark = pytest.mark.usefixtures('as_before')
TOY = ('grpo', '--set', 'debug=true', '--chip', 'v5e:2x2')


def said(capsys, *words):
  """(exit code, what stands on stdout, the error's line)."""
  code = cli.main(['plan', *words])
  out, err = capsys.readouterr()
  errors = [line for line in err.splitlines() if line.startswith('sirl: error:')]
  return code, out, errors[0].removeprefix('sirl: error: ') if errors else ''


def test_a_plan_is_printed_and_written(capsys, tmp_path):
  file = tmp_path / 'new' / 'plan.json'
  code, out, _ = said(capsys, *TOY, '--mesh', 'data=2,tensor=2', '--json', str(file))
  assert code == 0
  assert 'grpo on v5e:2x2: 4 chips of 15.75 GiB, mesh data=2, fsdp=1, tensor=2' in out
  written = json.loads(file.read_text())
  assert written['chip'] == 'v5e:2x2'
  assert written['command'] in out


@pytest.mark.parametrize(
  ('words', 'says'),
  [
    (('grpo', '--chip', 'v5x:2x2'), "no such chip; did you mean 'v5p'?"),
    (('grpo', '--chip', 'v5e:32x32'), 'an axis of v5e has 1 to 16'),
    ((*TOY, '--mesh', 'data=3'), 'mesh.data=3, mesh.fsdp=-1, mesh.tensor=1: the product must be 4'),
    ((*TOY, '--mesh', 'dta=4'), 'dta'),
    (('grop', '--chip', 'v5e:2x2'), 'no experiment file grop'),
    (('grpo', '--set', 'lrr=1', '--chip', 'v5e:2x2'), 'lrr'),
  ],
)
def test_a_mistake_is_one_line(capsys, words, says):
  code, out, error = said(capsys, *words)
  assert (code, out) == (2, '')
  assert says in error
  assert '\n' not in error


def test_what_does_not_divide_stands_in_the_plan(capsys):
  code, out, _ = said(capsys, *TOY, '--set', 'prompts=6')
  assert code == 0
  assert 'note: prompts=6 cannot be split over 4 data shards' in out


def test_a_json_file_that_cannot_be_written_is_refused_before_the_work(capsys, tmp_path):
  (tmp_path / 'file').write_text('')
  code, out, error = said(capsys, *TOY, '--json', str(tmp_path / 'file' / 'plan.json'))
  assert (code, out) == (2, '')
  assert re.fullmatch(r'--json .*plan\.json cannot be written: .* is a file; name .*', error)


def test_an_experiment_that_is_no_recipe_is_told_what_a_plan_needs(capsys, tmp_path):
  file = tmp_path / 'own.py'
  file.write_text(
    'import dataclasses\nfrom sirl import config\n\n\n@dataclasses.dataclass(frozen=True, kw_only=True)\n'
    'class Config(config.Base):\n  pass\n\n\ndef build(c):\n  return None\n'
  )
  code, _, error = said(capsys, str(file), '--chip', 'v5e:2x2')
  assert code == 2
  assert error.startswith('a plan needs a method on a setting: build = settings.built(method)')


@pytest.mark.parametrize(
  ('word', 'package', 'says'),
  [
    ('v5e:2x2', 'libtpu', "needs the TPU compiler, libtpu: pip install '.[plan]'"),
    (
      'h100x8',
      'jax_cuda12_plugin',
      "the GPU compiler, jax-cuda12-plugin: pip install '.[plan-gpu]'",
    ),
  ],
)
def test_a_compiler_that_is_not_installed_is_named_with_its_extra(
  capsys, monkeypatch, tmp_path, word, package, says
):
  monkeypatch.setattr(topology, 'APART', tmp_path)
  there = topology.importlib.util.find_spec
  monkeypatch.setattr(
    topology.importlib.util, 'find_spec', lambda name: None if name == package else there(name)
  )
  for asked in ('--compile', '--search'):
    code, out, error = said(capsys, 'grpo', '--set', 'debug=true', '--chip', word, asked)
    assert (code, out) == (2, '')
    assert error.endswith(says)


# ---------------------------------------------------------------- the mesh, the search, the child


@pytest.mark.parametrize(
  ('axes', 'expected'),
  [
    ('data=2,fsdp=2', (2, 2, 1)),  # tensor never takes a rest by itself
    ('fsdp=-1', (1, -1, 1)),
    ('tensor=2', (1, -1, 2)),  # what is left goes to fsdp
    ('fsdp=2', (-1, 2, 1)),  # or to data where fsdp is named
    ('data=2, fsdp=1, tensor=2', (2, 1, 2)),
  ],
)
def test_axes_that_are_not_named_take_the_rest(axes, expected):
  mesh = plan.with_mesh(plans.of('grpo', *plans.TOY).config, axes).mesh
  assert (mesh.data, mesh.fsdp, mesh.tensor) == expected


def test_the_search_ranks_what_fits_and_leaves_alone_what_is_given():
  p, group = plans.of('grpo', *plans.TOY), chips.group('v5e:2x2')
  found = search.ranked(p, group)
  times = [each.estimate.seconds for each in found]
  assert times == pytest.approx(sorted(times), rel=0.01)
  assert found[0].numbers['microbatches'] == 1  # of equals, the nearest to the config
  assert {each.numbers['mesh'].tensor for each in found} == {1, 2}  # two kv heads
  given = search.ranked(p, group, fixed={'mesh', 'microbatches'})
  assert [each.numbers['mesh'].data for each in given] == [4]
  assert {each.numbers['microbatches'] for each in given} == {1}


def test_a_search_in_which_nothing_fits_says_how_much_a_chip_lacks(monkeypatch):
  monkeypatch.setitem(runtime_chips.MEMORY, 'TPU v5 lite', 2**17)
  with pytest.raises(
    ValueError, match=r'nothing fits on v5e:2x2: .* needs at least 495.5 KiB a'
  ) as raised:
    search.ranked(plans.of('grpo', *plans.TOY), chips.group('v5e:2x2'))
  assert str(raised.value).endswith('a chip has 128 KiB; take more chips, or a smaller model')


def test_a_child_that_fails_is_reported_and_the_rest_of_the_plan_stands():
  """The child reads another file than the plan did; it ends with that error."""
  asked = {'file': 'no_such_file', 'set': [], 'chip': 'v5e:2x2', 'program': programs.UPDATE}
  result = compiling.compiled(asked, 60)
  assert re.search(r'ended with code 1: .*no experiment file no_such_file', result['failed'])


def test_a_child_that_outlives_its_limit_is_reported():
  asked = {'file': 'grpo', 'set': [], 'chip': 'v5e:2x2', 'program': programs.UPDATE}
  said = compiling.compiled(asked, 0.01)
  assert said == {'failed': 'not compiled within 0 s; --limit gives it longer'}


def test_the_bytes_of_a_refusal_are_read():
  message = (
    'RESOURCE_EXHAUSTED: Ran out of memory on HBM, the total memory required for HLO temporaries '
    '(16.25G) exceeds available HBM (15.75G)'
  )
  assert compiling._size(message) == 16.25 * 2**30
  assert compiling._size('RESOURCE_EXHAUSTED: something else') is None
