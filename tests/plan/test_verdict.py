"""What compiled programs mean for a run."""

import pytest

from sirl.plan import chips, verdict

V5E = chips.group('v5e:2x2')  # two links of 50 GB/s a chip, 15.75 GiB
GiB = chips.GiB


def of(name='sampler', beside=0.0, turns=100, blocks=8, **result):
  given = {'fits': True, 'peak': 2 * GiB, 'loops': [], 'collectives': [], **result}
  return verdict.of(name, given, V5E, beside=beside, turns=turns, blocks=blocks)


def test_a_token_loop_counts_its_turns_and_the_rest_counts_once():
  v = of(loops=[[[], 0.5], [[None], 0.01], [[24], 0.002]], turns=100)
  assert v.compute_s == pytest.approx(0.5 + 100 * 0.01 + 24 * 0.002)
  assert v.turn_s == 0.01


def test_a_decoder_with_a_queue_admits_a_block_at_a_time():
  """The loop of the queue steps by a block, so the constant of its condition is not its runs.

  The turns of all blocks are given together. The loop behind the queue is for the slowest rows.
  """
  loops = [[[], 0.5], [[2048], 0.003], [[2048, 24], 0.001], [[2048, None], 0.01], [[None], 0.004]]
  v = of(loops=loops, turns=100, blocks=8)
  assert v.compute_s == pytest.approx(0.5 + 8 * 0.003 + 8 * 24 * 0.001 + 100 * 0.01)
  assert v.turn_s == 0.01


def test_loops_of_an_update_multiply():
  v = of('update', loops=[[[4, 32], 0.02], [[4], 0.1]], turns=100)
  assert v.compute_s == pytest.approx(4 * 32 * 0.02 + 4 * 0.1)
  assert v.turn_s is None


def test_a_chip_sends_three_quarters_of_a_gather_and_twice_that_of_a_sum():
  moved = [[[4], 'all-gather', 2, 1000], [[4, 32], 'all-reduce', 1, 1000]]
  v = of('update', collectives=moved)
  assert [(each.kind, each.runs, each.sent) for each in v.collectives] == [
    ('all-reduce', 128, 128 * 2 * 750),
    ('all-gather', 4, 4 * 750),
  ]  # those that send most first
  assert v.sent == 128 * 1500 + 3000
  assert v.interconnect_s == pytest.approx(v.sent / 100e9)


def test_what_lies_beside_a_program_counts_too():
  assert of(peak=10 * GiB, beside=5 * GiB).fits
  v = of(peak=10 * GiB, beside=6 * GiB)
  assert (v.fits, v.peak) == (False, 16 * GiB)


def test_a_refusal_of_the_compiler_names_what_was_needed():
  v = of(fits=False, full=16 * GiB, beside=1 * GiB)
  assert (v.fits, v.peak, v.compute_s) == (False, 17 * GiB, None)
  assert of(fits=False, full=None).peak is None


def test_a_program_that_was_not_compiled_is_no_verdict_and_says_why():
  v = verdict.of('update', {'failed': 'not compiled within 9 s'}, V5E, beside=0, turns=1, blocks=1)
  assert (v.fits, v.why, v.collectives) == (None, 'not compiled within 9 s', ())


def test_a_kernel_without_an_estimate_counts_at_the_peak_of_the_chip():
  """Two seconds of v5e's 197 TFLOP/s on each of four chips, beside one second of the compiler's."""
  found = of('update', loops=[[[], 1.0]], kernel_flops=4 * 2 * 197e12)
  assert (found.kernels_s, found.compute_s) == (2.0, 3.0)
