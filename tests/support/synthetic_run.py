"""Writes a workdir by hand: a healthy run of ROUNDS rounds, in which tests then create faults."""

import json
import math

ROUNDS, STEPS = 10, 4
SEM = 0.02


def healthy_step(serial):
  """One row of steps.jsonl of a run that learns: accuracy from .3 towards .8."""
  right = accuracy(serial / STEPS)
  return {
    'round': serial // STEPS, 'step': serial % STEPS, 'serial': serial,
    'reward': right + 0.1, 'reward_std': 0.3, 'frac_reward_zero_std': 0.3, 'judged_ratio': 1.0,
    'rewards/correct/mean': right, 'rewards/correct/best': min(1.0, right + 0.2), 'rewards/correct/std': 0.4, 'rewards/correct/unjudged': 0.0,
    'rewards/format/mean': 0.95, 'rewards/format/std': 0.2, 'rewards/format/unjudged': 0.0,
    'entropy': 0.8 - 0.5 * right, 'kl': 0.001 * serial, 'grad_norm': 0.5, 'loss': 0.0, 'learning_rate': 1e-3,
    'completions/mean_length': 4.0, 'completions/min_length': 2.0, 'completions/max_length': 6.0,
    'completions/mean_terminated_length': 4.0, 'completions/clipped_ratio': 0.02, 'step_tokens': 500.0,
    'sampling/sampling_logp_difference/mean': 1e-7, 'sampling/sampling_logp_difference/max': 1e-6,
    'updates_skipped': 0.0, 'step_time': 1.0, 'time/generate': 0.6, 'time/reward': 0.1, 'time/optimize': 0.3,
  }  # fmt: skip


def healthy_report(round):
  """One row of history.jsonl."""
  right = accuracy(round + 1)
  metrics = {'train/reward': right + 0.1, 'train/reward_sem': 0.01} if round >= 0 else {}
  for name, value in (('pass@1', right), ('pass@8', right + 0.1), ('greedy', right + 0.05)):
    metrics |= {
      f'heldout/{name}': value, f'heldout/{name}_sem': SEM,
      f'heldout/{name}_low': value - 2 * SEM, f'heldout/{name}_high': value + 2 * SEM,
    }  # fmt: skip
  decision = {
    'action': 'continue',
    'reason': 'no rule fired',
    'round': None,
    'difficulty': None,
    'by': 'rule',
  }
  return {'round': round, 'metrics': metrics | {'heldout/parsed': 0.99}, 'decision': decision}


def accuracy(rounds):
  """.3 at the start, .8 in the end."""
  return 0.3 + 0.5 * (1 - math.exp(-rounds / 4))


def sample_rows(round):
  """Two groups of two completions, one of which contains markup that a page must escape."""
  row = {
    'round': round,
    'prompt': '1+1=',
    'answer': '2',
    'parts': {'correct': 1.0, 'format': None},
    'tokens': 2,
  }
  texts = ['2', '<script>alert(1)</script> & more']
  return [
    row | {'task': f't{p}', 'sample': g, 'completion': text, 'reward': 1.0 - g, 'truncated': g == 1}
    for p in range(2)
    for g, text in enumerate(texts)
  ]


def write(
  workdir,
  *,
  rounds=ROUNDS,
  step=lambda row: row,
  report=lambda row: row,
  warm=False,
  config=None,
  **identity,
):
  """Writes a workdir and returns it.

  Args:
    step, report: change rows before they are written.
    config: numbers besides those written here.
    identity: other entries of config.json.
  """
  workdir.mkdir(parents=True, exist_ok=True)
  lines = lambda rows: ''.join(json.dumps(row) + '\n' for row in rows)
  (workdir / 'steps.jsonl').write_text(lines(step(healthy_step(i)) for i in range(rounds * STEPS)))
  (workdir / 'history.jsonl').write_text(
    lines(report(healthy_report(i)) for i in range(-1, rounds))
  )
  (workdir / 'samples').mkdir(exist_ok=True)
  for i in {0, rounds - 1}:
    (workdir / 'samples' / f'round_{i:05d}.jsonl').write_text(lines(sample_rows(i)))
  numbers = {'seed': 0, 'max_rounds': rounds, 'steps_per_round': STEPS, 'mesh': {'data': -1}}
  identity = {
    'config': numbers | (config or {}),
    'experiment': 'experiments/quickstart.py',
    'git_revision': None,
    'versions': {'jax': '0.10.2'},
    'models': {'policy': {'vocab': 13}},
    **identity,
  }
  (workdir / 'config.json').write_text(json.dumps(identity))
  if warm:
    write(workdir / 'warm', rounds=1)
  return workdir
