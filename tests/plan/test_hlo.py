"""The reader of optimized programs."""

import pathlib

import jax
import jax.numpy as jnp
import pytest

from sirl.plan import hlo

DATA = pathlib.Path(__file__).parent.parent / 'data'
SQUARE = jax.ShapeDtypeStruct((64, 64), jnp.float32)


def compiled(fn, *args):
  """A program of this machine's compiler."""
  return hlo.parse(jax.jit(fn).lower(*args).compile().as_text())


def paths(module, word):
  return {path for path, _, line in hlo.walk(module) if word in line}


def products(x, n):
  """A counted loop of 7 in a loop whose length is n."""
  inner = lambda x: jax.lax.scan(lambda x, _: (jnp.tanh(x @ x), None), x, length=7)[0]
  return jax.lax.while_loop(lambda s: s[1] < n, lambda s: (inner(s[0]), s[1] + 1), (x, 0))[0]


def test_a_counted_loop_is_told_from_one_that_depends_on_data():
  module = compiled(products, SQUARE, 3)
  assert paths(module, 'dot(') | paths(module, '__onednn') | paths(module, 'tanh(') == {(None, 7)}


def test_branches_are_told_apart():
  branches = lambda i, x: jax.lax.switch(i, (lambda x: x @ x, jnp.tanh, jnp.sin), x)
  module = compiled(branches, 1, SQUARE)
  assert paths(module, ' tanh(') == {('branch 1',)}
  assert paths(module, ' sine(') == {('branch 2',)}


@pytest.mark.parametrize(
  ('path', 'turns', 'expected'),
  [((), 9, 1), ((3, 5), 9, 15), ((3, None, 5), 9, 135), ((4, 'branch 1', 2), 9, 8)],
)
def test_a_path_runs_as_often_as_its_loops_together(path, turns, expected):
  assert hlo.times(path, turns) == expected


def test_a_gather_that_runs_beside_products_is_one_however_many_fusions_it_is_split_over():
  """The text names 13 all-gathers; the program has four, each of a matrix bf16 [4096, 4096]."""
  text = (DATA / 'tpu_gathers.hlo').read_text()
  assert text.count(' all-gather(') == 13
  (found,) = hlo.collectives(hlo.parse(text))
  assert found == hlo.Collective((3, 5), 'all-gather', 4, 4 * 4096 * 4096 * 2)


def test_estimates_are_summed_for_every_loop():
  module = hlo.parse((DATA / 'tpu_gathers.hlo').read_text())
  # Eight products [1024, 4096] x [4096, 4096] at 197 TFLOP/s and 1.5 GHz: 2,093,000 cycles at least.
  ((path, cycles),) = hlo.cycles(module).items()
  assert path == (3, 5)
  assert 1.0 < cycles / (8 * 2 * 1024 * 4096 * 4096 / 197e12 * 1.5e9) < 1.5


LINES = """
HloModule jit_f
%body (p: f32[8]) -> f32[8] {
  %p = f32[8,128]{1,0} parameter(0)
  %sum = f32[8,128]{1,0} all-reduce(%p), channel_id=1, to_apply=%add
  %both = (f32[8,128]{1,0}, bf16[4,2]{1,0}) all-reduce(%p, %q), channel_id=2, to_apply=%add
  %start = (f32[2,128]{1,0}, f32[8,128]{1,0}) all-gather-start(%p), channel_id=3
  %done = f32[8,128]{1,0} all-gather-done(%start)
  %moved = bf16[16,64,256]{2,1,0} transpose(%p), dimensions={1,0}
  %flags = pred[7]{0} copy(%x)
}
ENTRY %main (p: f32[8]) -> f32[8] {
  %w = f32[8] while(%t), condition=%cond, body=%body
}
%cond (p: s32[]) -> pred[] {
  %most = s32[] constant(6)
  ROOT %less = pred[] compare(%i, %most), direction=LT
}
"""


def test_bytes_of_a_collective_are_those_of_its_results():
  found = hlo.collectives(hlo.parse(LINES))
  sums, gather = 4 * 8 * 128 * 2 + 2 * 4 * 2, 4 * 8 * 128  # a start also names its operand
  assert found == [
    hlo.Collective((6,), 'all-reduce', 2, sums),
    hlo.Collective((6,), 'all-gather', 1, gather),
  ]


def test_copies_and_transposes_are_found_from_a_size_on():
  module = hlo.parse(LINES)
  size = 2 * 16 * 64 * 256
  assert [path for path, _ in hlo.copies(module, size)] == [(6,)]
  assert hlo.copies(module, size + 1) == []
  assert len(hlo.copies(module, 7)) == 2


def test_a_text_that_is_no_optimized_program_is_refused():
  with pytest.raises(ValueError, match=r'no ENTRY; give the text of compiled\.as_text\(\)'):
    hlo.parse('module @jit_f { func.func public @main() }')


def test_what_follows_a_kernel_with_line_breaks_in_its_metadata_is_read():
  """Such a kernel as the TPU's compiler prints it, shortened; its second line begins as an end."""
  module = hlo.parse(
    'ENTRY %main (x: f32[8]) -> f32[8] {\n'
    '  %x = f32[8]{0} parameter(0)\n'
    '  %splash = f32[8]{0} custom-call(%x), frontend_attributes={kernel_metadata={\n'
    '"xprof_metadata":"{\\"block_q\\": 512}"\n'
    '}}, metadata={op_name="splash"}\n'
    '  ROOT %y = f32[8]{0} add(%splash, %x), backend_config={"estimated_cycles":"7"}\n'
    '}\n'
  )
  assert len(module.computations['main']) == 3
  assert hlo.cycles(module) == {(): 7}
