"""What every number means: the one table behind docs/metrics.md and the report page.

Rows of steps.jsonl carry the names of a GRO step; names follow TRL where TRL has the quantity. Reports in
history.jsonl carry `train/<name>`, the mean over the round's steps, and what evaluators measured. `{part}` stands for
the name of a reward's part, `{k}` for a number, `{set}` for a set of tasks never trained on. Beside `<name>` stand
`<name>_sem`, its standard error, and for accuracies `<name>_low` and `<name>_high`, a 95 % interval.

`python -m sirl.runtime.metrics > docs/metrics.md` writes the documentation.
"""

import math
import re

STEP = {
  'reward': 'Mean total reward over judged completions. What is optimised; shaped, so not an accuracy.',
  'reward_std': 'Mean over groups of the standard deviation (n - 1) of the total reward. 0 means nothing to learn from.',
  'frac_reward_zero_std': 'Share of groups whose judged rewards are all equal: with a group baseline they give no gradient. '
  'Healthy below 0.8.',
  'rewards/{part}_error/mean': 'Share of completions whose scorer raised an exception; written by rewards.tolerant. Normal: 0.',
  'rewards/{part}/mean': 'Mean of one named, unweighted part over the completions it applied to.',
  'rewards/{part}/std': 'Standard deviation of that part over all completions.',
  'rewards/{part}/unjudged': 'Share of completions to which the part did not apply (NaN, which is not zero).',
  'judged_ratio': 'Share of completions that reached the optimizer: judged and kept.',
  'sampling/rollouts_kept': 'Share of completions left after filtering (keep=), for example without tied groups.',
  'completions/mean_length': 'Tokens per completion chosen by the policy, end token included.',
  'completions/min_length': 'Shortest completion of the step, tokens.',
  'completions/max_length': 'Longest completion of the step, tokens.',
  'completions/clipped_ratio': 'Share of completions that ran into max_new without an end token (truncated). Healthy below 0.1.',
  'completions/mean_terminated_length': 'Mean length of completions that ended by themselves, tokens; 0 when none did.',
  'entropy': 'Mean entropy of the policy at the completion tokens, nats. Near 0: it no longer explores. Rising fast: it falls apart.',
  'kl': 'Estimated KL divergence from the reference policy per token, nats; only with a reference.',
  'clip_ratio/low_mean': 'Share of tokens whose probability ratio was clipped from below.',
  'clip_ratio/high_mean': 'Share of tokens whose probability ratio was clipped from above.',
  'clip_ratio/region_mean': 'Share of tokens clipped on either side. 0 when every batch is used for one update only.',
  'loss': 'The scalar minimised. On policy it hovers around 0 by construction and says little.',
  'grad_norm': 'Euclidean norm of the gradient before clipping.',
  'learning_rate': 'Learning rate of the last update.',
  'advantage_abs_mean': 'Mean absolute advantage over completion tokens. 0: no learning signal.',
  'updates_skipped': 'Updates left out so far because loss or gradient was not finite, a running count. Normal: 0.',
  'num_tokens': 'Prompt and completion tokens of the step, padding excluded.',
  'sampling/sampling_logp_difference/mean': 'Mean absolute difference between the log-prob at sampling and the learner\'s, nats.',
  'sampling/sampling_logp_difference/max': 'Largest such difference. Equal weights should agree to 1e-5 in float32.',
  'step_time': 'Seconds of the whole step.',
  'time/acquire': 'Seconds spent acquiring tasks before the step, and preparing the selector.',
  'time/select': 'Seconds spent choosing tasks.',
  'time/generate': 'Seconds spent sampling completions, text conversion included.',
  'time/reward': 'Seconds spent scoring completions.',
  'time/optimize': 'Seconds spent updating weights.',
  'time/evaluate': 'Seconds spent on held-out tasks and monitors after the previous round.',
  'time/checkpoint': 'Seconds spent copying the state for a checkpoint, since the previous step.',
}  # fmt: skip

ROUND = {
  'train/{name}': 'Mean of a step metric over the round\'s steps; seconds are never averaged, so histories repeat bit for bit.',
  '{set}/pass@{k}': 'Probability that at least one of k sampled answers is right, unbiased estimate (arXiv 2107.03374). '
  'pass@1 is the mean accuracy of sampled answers.',
  '{set}/maj@{k}': 'Accuracy of the most frequent answer among k samples.',
  '{set}/greedy': 'Accuracy of the answer decoded greedily, one per task.',
  '{set}/plain': 'Accuracy of one sampled answer per task, without refinement.',
  '{set}/parsed': 'Share of sampled answers in which an answer was found at all.',
  '{set}/at_0': 'Share of tasks solved by no sample: out of reach, or broken.',
  '{set}/at_1': 'Share of tasks solved by every sample: nothing left to measure.',
  '{set}/gap': 'Accuracy on the frozen set minus accuracy on this fresh one; above 0 points to memorisation.',
  '{set}/{name}_gain': 'What a refiner gains over plain answers, paired over tasks.',
  '{set}/{name}_gain_p': 'p-value of that gain.',
  '{set}/{name}_fixed': 'Share of tasks that the refiner turns from wrong to right.',
  '{set}/{name}_broken': 'Share of tasks that the refiner turns from right to wrong.',
  'heldout/{name}': 'Accuracy of that refiner, or another number, on the frozen held-out tasks, which never enter the pool.',
  'fresh/{name}': 'The same on tasks made anew for this round.',
  'monitor/{name}': 'A warning sign of one risk of self-improvement; see sirl/evaluation/monitors.py.',
}  # fmt: skip

METRICS = STEP | ROUND

BESIDE = {
  '_sem': 'Standard error of',
  '_low': 'Lower end of the 95 % interval of',
  '_high': 'Upper end of the 95 % interval of',
}
NOT_ACCURACIES = (
  *BESIDE,
  '_gain',
  '_gain_p',
  '_fixed',
  '_broken',
  '/parsed',
  '/at_0',
  '/at_1',
  '/gap',
)
Z95 = 1.96  # half width of a 95 % interval in standard errors


def accuracies(metrics):
  """Names of the accuracies among a report's numbers, in their order: pass@1, pass@8, greedy, ... of every set."""
  return [
    name
    for name in metrics
    if not name.startswith(('train/', 'monitor/'))
    and not name.endswith(NOT_ACCURACIES)
    and (f'{name}_low' in metrics or f'{name}_sem' in metrics or name.endswith('/greedy'))
  ]


def interval(metrics, name):
  """(low, high) of a number's 95 % interval; NaN twice where the report holds none."""
  value, sem = metrics.get(name, math.nan), metrics.get(f'{name}_sem', math.nan)
  low, high = metrics.get(f'{name}_low', math.nan), metrics.get(f'{name}_high', math.nan)
  return (low, high) if not math.isnan(low) else (value - Z95 * sem, value + Z95 * sem)


def with_interval(metrics, name):
  """'0.512 [0.470, 0.553]', or what of it exists."""
  value, (low, high) = metrics.get(name, math.nan), interval(metrics, name)
  if math.isnan(value):
    return 'none'
  return f'{value:.3f}' if math.isnan(low) else f'{value:.3f} [{low:.3f}, {high:.3f}]'


def describe(name):
  """The definition of a metric as it appears in a file, None for a name the table does not know."""
  for suffix, what in BESIDE.items():
    if name.endswith(suffix) and describe(name.removesuffix(suffix)):
      return f'{what} {name.removesuffix(suffix)}.'
  if name.startswith('train/') and (inner := _match(name.removeprefix('train/'), STEP)):
    return f'{inner} Mean over the round\'s steps.'  # fmt: skip
  return _match(name, METRICS)


def markdown():
  """The whole table as the text of docs/metrics.md."""
  lines = [
    '# Metrics',
    '',
    'Generated by `python -m sirl.runtime.metrics > docs/metrics.md`; do not edit by hand.',
    'Beside a sampled mean `<name>` a report holds its standard error `<name>_sem`, and beside an accuracy the ends of a',
    '95 % interval, `<name>_low` and `<name>_high`. `NaN` (null in the files) means',
    'that the quantity does not exist in that step, which is not zero.',
  ]
  for title, table in (
    ('Of a GRO step (`steps.jsonl`)', STEP),
    ('Of a round (`history.jsonl`)', ROUND),
  ):
    lines += ['', f'## {title}', '', '| name | meaning |', '|---|---|']
    lines += [f'| `{name}` | {meaning} |' for name, meaning in table.items()]
  return '\n'.join(lines) + '\n'


def _match(name, table):
  if name in table:
    return table[name]
  for template, meaning in table.items():
    pattern = re.sub(r'\\\{(\w+)\\\}', _group, re.escape(template))
    if '{' in template and re.fullmatch(pattern, name):
      return meaning
  return None


def _group(match):
  return {'k': r'\d+', 'name': '.+'}.get(match[1], '[^/]+')


if __name__ == '__main__':
  print(markdown(), end='')
