r"""Our programs and Tunix's, compiled for the same chips that are not here, side by side.

  make -C experiments/benchmarks tunix-compiler
  python -m experiments.benchmarks.compiled [--chip v5e:2x2] [--meshes data,fsdp] [--limit 1800]

Both have the shape of Qwen2.5-0.5B, float32 weights, bfloat16 computation, and the numbers of
gsm8k_grpo: 128 x 16 completions of 256 + 1024 tokens a step, all decoded at once, 4 minibatches.
Seconds are the compiler's estimates, not a chip's. It has none for kernels, which count at the peak
of the chip. Tunix's step is 64 or 128 micro-steps with the completions of two prompts or one.
With one iteration it takes the current log-probs for the old ones; `old log-probs` is the pass that
computes them, which is part of our update.
"""

import argparse
import pathlib

from experiments.defaults import PretrainedText as Numbers
from sirl.plan import chips, compiling, verdict
from sirl.plan.chips import GiB

ROOT = pathlib.Path(__file__).parents[2]
PYTHON = ROOT / '.peers' / 'tunix' / 'bin' / 'python'
EXPERIMENT = 'gsm8k_grpo'
# The remat is that of its own examples; its sampler raises an error with it. A flash of 0 is
# attention as einsums, its default; else the block of its flash attention, which must divide the
# tokens of a row.
EINSUM, FLASH = {'remat': 'BLOCK', 'flash': 0}, {'remat': 'BLOCK', 'flash': 640}
PROMPTS = {'data': 1, 'fsdp': 2}  # of a micro-step, the most that fit, unless a row says less
ROWS = (  # name, our program with --set, or the request for Tunix
  ('sampler, ours', 'sampler', ['slots=0']),
  ('sampler, Tunix', None, {'program': 'sampler', 'remat': 'NONE', 'flash': 0}),
  ('update, ours', 'update', ['widths=()']),
  ('update, Tunix', None, {'program': 'update'} | FLASH),
  ('update, Tunix, its default attention', None, {'program': 'update', 'prompts': 1} | EINSUM),
  ('old log-probs, Tunix', None, {'program': 'logps'} | FLASH),
)


def ours(program, sets, mesh, chip, seconds):
  """The verdict on one of our programs. Args: sets: of --set; mesh: 'data' or 'fsdp'."""
  axes = {'data': 1, 'fsdp': 1, 'tensor': 1} | {mesh: -1}
  sets = [*sets, *(f'mesh.{axis}={size}' for axis, size in axes.items())]
  request = {'file': EXPERIMENT, 'set': sets, 'chip': chip.name, 'program': program}
  return judged(program, compiling.compiled(request, seconds), chip)


def tunix(request, mesh, chip, seconds, python=PYTHON):
  """The verdict on one of Tunix's programs, for a step.

  Args: request: 'program', 'remat' and 'flash', see `compiled_tunix.py`; python: of its environment.
  """
  c = Numbers()
  program, completions = request['program'], c.prompts * c.group_size
  prompts = c.prompts if program == 'sampler' else request.get('prompts', PROMPTS[mesh])
  rows = prompts * c.group_size
  request = request | {
    'chip': chip.name, 'mesh': mesh, 'prompt': c.max_prompt, 'new': c.max_new, 'rows': rows,
    'micro_steps': completions // c.minibatches // rows, 'group_size': c.group_size,
  }  # fmt: skip
  command = [str(python), '-m', 'experiments.benchmarks.compiled_tunix']
  found = compiling.answer(command, request, [str(ROOT)], seconds)
  return judged(program, repeated(found, completions // rows), chip)


def repeated(result, times):
  """The result of a program that the host calls so often. One call alone stays as it is."""
  if times == 1 or not result.get('fits'):
    return result
  inside = lambda found: [[(times, *path), *rest] for path, *rest in found]
  return result | {
    'loops': inside(result['loops']),
    'collectives': inside(result['collectives']),
    'kernel_flops': times * result['kernel_flops'],
  }


def judged(program, result, chip):
  """A `verdict.Verdict`; memory is that of the program alone."""
  return verdict.of(program, result, chip, beside=0, turns=Numbers().max_new, blocks=1)


def line(name, mesh, v):
  """One row of the table: a turn of the token loop in ms, or a step in s."""
  if not v.fits:
    return f'| {name} | {mesh} | {v.why or "does not fit"} | | | | | |'
  sampler = v.turn_s is not None
  runs, unit, size = (Numbers().max_new, 'ms a turn', 1e3) if sampler else (1, 's a step', 1)
  compute = v.turn_s if sampler else v.compute_s - v.kernels_s
  parts = compute, v.kernels_s / runs, v.interconnect_s / runs
  times = ' | '.join(f'{size * seconds:.2f}' for seconds in (sum(parts), *parts))
  return f'| {name}, {unit} | {mesh} | {times} | {v.sent / runs / 1e9:.2f} | {v.peak / GiB:.2f} |'


def main(given=None):
  """Compiles one program after the other and prints the table."""
  parser = argparse.ArgumentParser()
  parser.add_argument('--chip', default='v5e:2x2')
  parser.add_argument('--meshes', default='data,fsdp')
  parser.add_argument('--limit', type=float, default=1800, help='seconds for one program')
  given = parser.parse_args(given)
  if not PYTHON.exists():
    parser.error(f'{PYTHON} is missing: make -C experiments/benchmarks tunix-compiler')
  chip = chips.group(given.chip)
  print('| program | mesh | all | compute | kernels | links | GB sent | peak GiB |')
  print('|---|---|---|---|---|---|---|---|')
  for name, program, how in ROWS:
    for mesh in given.meshes.split(','):
      if program:
        found = ours(program, how, mesh, chip, given.limit)
      else:
        found = tunix(how, mesh, chip, given.limit)
      print(line(name, mesh, found), flush=True)


if __name__ == '__main__':
  main()
