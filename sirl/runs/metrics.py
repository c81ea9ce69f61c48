"""The definitions of all metrics, used by docs/metrics.md and the report page.

A row of steps.jsonl holds the metrics of a GRO step, named as in TRL where TRL has the quantity. A
report in history.jsonl holds `train/<name>`, which sums up the round's steps, and the evaluators'
measurements. In the names, `{part}` is a part of the reward, `{k}` and `{n}` are numbers, `{set}`
is a set of tasks never trained on, `{refiner}` is a refiner, and `{name}` is the name given to a
monitor. `ERRORS` lists the metrics that come with a standard error.

`python -m sirl.runs.metrics > docs/metrics.md` writes the documentation.
"""

import math
import re

STEP = {
  'reward': 'Mean total reward over judged completions. What is optimised; shaped, so not an '
  'accuracy.',
  'reward_std': 'Mean over groups of the standard deviation (n - 1) of the total reward within the '
  'group. 0 means nothing to learn from. TRL\'s is over the whole batch.',
  'frac_reward_zero_std': 'Share of groups whose judged rewards are all equal: with a group '
  'baseline they give no gradient. Healthy below 0.8. `tied` on the console.',
  'rewards/{part}_error/mean': 'Share of completions whose scorer raised an exception; written by '
  'rewards.tolerant. Normal: 0.',
  'rewards/{part}/mean': 'Mean of one named, unweighted part over the completions it applied to.',
  'rewards/{part}/best': 'Mean over groups of the highest value of that part in the group. For a '
  'part of 0 and 1, the share of groups with any success.',
  'rewards/{part}/std': 'Standard deviation (n - 1, as in TRL) of that part over the completions '
  'it applied to; NaN for fewer than two.',
  'rewards/{part}/unjudged': 'Share of completions to which the part did not apply (NaN, which is '
  'not zero).',
  'judged_ratio': 'Share of completions that reached the optimizer: judged and kept.',
  'sampling/prompt_width': 'Columns that the prompts of the batch were padded to: max_prompt, or '
  'one of prompt_widths.',
  'sampling/slot_use': 'Continuous batching: share of the computed slot-turns that gave a token.',
  'sampling/acceptance': 'Speculative decoding: share of the tested guesses that held.',
  'sampling/accepted_per_round': 'Speculative decoding: tokens per pass and row that cost no pass '
  'of their own.',
  'sampling/rollouts_kept': 'Share of completions left after filtering (keep=), for example '
  'without tied groups.',
  'completions/mean_length': 'Tokens per completion chosen by the policy, end token included.',
  'completions/min_length': 'Shortest completion of the step, tokens.',
  'completions/max_length': 'Longest completion of the step, tokens.',
  'completions/clipped_ratio': 'Share of completions that ran into max_new without an end token '
  '(truncated). Healthy below 0.1. `truncated` on the console.',
  'completions/mean_terminated_length': 'Mean length of completions that ended by themselves, '
  'tokens; NaN when none did.',
  'entropy': 'Mean entropy of the policy at the completion tokens, nats. Near 0: it no longer '
  'explores. Rising fast: it falls apart.',
  'kl': 'Estimated KL divergence from the reference policy per token, nats; only with a reference.',
  'clip_ratio/low_mean': 'Share of tokens whose probability ratio was clipped from below.',
  'clip_ratio/high_mean': 'Share of tokens whose probability ratio was clipped from above.',
  'clip_ratio/region_mean': 'Share of tokens clipped on either side. 0 when every batch is used '
  'for one update only.',
  'loss': 'The scalar minimised. On policy it hovers around 0 by construction and says little.',
  'grad_norm': 'Euclidean norm of the gradient before clipping.',
  'learning_rate': 'Learning rate of the last update.',
  'advantage_abs_mean': 'Mean absolute advantage over completion tokens. 0: no learning signal.',
  'updates_skipped': 'Updates left out so far because loss or gradient was not finite, a running '
  'count. Normal: 0.',
  'step_tokens': 'Prompt and completion tokens of this step, a prompt once for each of its '
  'completions, padding excluded. TRL\'s num_tokens is their sum over the run.',
  'sampling/sampling_logp_difference/mean': 'Mean absolute difference between the log-prob at '
  'sampling and the learner\'s, nats.',
  'sampling/sampling_logp_difference/max': 'Largest such difference. Equal weights should agree to '
  '1e-5 in float32.',
  'step_time': 'Seconds of the whole step.',
  'time/acquire': 'Seconds spent acquiring tasks before the step, and preparing the selector.',
  'time/select': 'Seconds spent choosing tasks.',
  'time/generate': 'Seconds spent sampling completions, text conversion included.',
  'time/reward': 'Seconds that the step waited for the scores of its completions.',
  'time/optimize': 'Seconds spent updating weights.',
  'time/evaluate': 'Seconds spent on held-out tasks and monitors since the previous step. Those '
  'after a run\'s last step stand in no row.',
  'time/checkpoint': 'Seconds spent copying the state for a checkpoint since the previous step; '
  'again none for the last one.',
}  # fmt: skip

ROUND = {
  'train/{metric}': 'A step metric over the round: the mean of its steps, for a running count the '
  'last value. Seconds are left out, so histories repeat bit for bit.',
  '{set}/pass@{k}': 'Probability that at least one of k sampled answers is right, unbiased '
  'estimate (arXiv 2107.03374). pass@1 is the mean accuracy of sampled answers.',
  '{set}/maj@{k}': 'Accuracy of the most frequent answer among k samples.',
  '{set}/greedy': 'Accuracy of the answer decoded greedily, one per task.',
  '{set}/parsed': 'Share of sampled answers in which an answer was found at all.',
  '{set}/at_0': 'Share of tasks solved by no sample: out of reach, or broken.',
  '{set}/at_1': 'Share of tasks solved by every sample: nothing left to measure.',
  '{set}/gap': 'Accuracy on the frozen set minus accuracy on this fresh one; above 0 points to '
  'memorisation.',
  '{set}/plain': 'Accuracy of one sampled answer per task, without refinement.',
  '{set}/{refiner}': 'Accuracy of that refiner\'s answer, one per task: vote8 is the majority of '
  'eight samples; best8 the sample of eight that the domain\'s check scores highest. A check '
  'reads no answer and may accept a wrong one (for sums it casts out nines): it is no verifier.',
  '{set}/{refiner}_gain': 'What the refiner gains over plain answers, paired over tasks.',
  '{set}/{refiner}_gain_p': 'One-sided p-value of that gain, of the hypothesis that there is none.',
  '{set}/{refiner}_fixed': 'Share of tasks that the refiner turns from wrong to right.',
  '{set}/{refiner}_broken': 'Share of tasks that the refiner turns from right to wrong.',
}  # fmt: skip

MONITOR = {
  'monitor/synthetic_share': 'Share of the pool\'s tasks that a model wrote (origin synthetic).',
  'monitor/distinct_{n}': 'Distinct over all n-grams of words in the texts of the round\'s last '
  'step (arXiv 1510.03055). Falls with diversity, but also as texts get longer or more: compare '
  'rounds of one run.',
  'monitor/duplicate_share': 'Share of the last step\'s completions that repeat an earlier one of '
  'their group word for word.',
  'monitor/feedback_agreement': 'Share of the last step\'s completions that reward and verifier '
  'accept both or reject both; only tasks with an answer.',
  'monitor/false_positive': 'Share of wrong completions, by the verifier, that the reward accepts.',
  'monitor/false_negative': 'Share of right completions, by the verifier, that the reward rejects. '
  'Training helps only while false_positive + false_negative < 1.',
  'monitor/entropy': 'entropy of the round\'s last step.',
  'monitor/kl': 'kl of the round\'s last step.',
  'monitor/clipped_ratio': 'completions/clipped_ratio of the round\'s last step.',
  'monitor/frac_reward_zero_std': 'frac_reward_zero_std of the round\'s last step.',
  'monitor/entropy_min': 'Lowest entropy of a step of the round: a collapse that its mean would '
  'hide.',
  'monitor/kl_max': 'Highest kl of a step of the round.',
  'monitor/steps_not_finite': 'Steps of the round whose loss or gradient was not finite. Absent '
  'where there were none.',
  'monitor/first_step_not_finite': 'The first of them, counted from 0 within the round.',
  'monitor/length_ratio': 'Mean completion length of the round\'s last step over that of its '
  'first.',
  'monitor/{name}/answer_concentration': 'Share of the commonest answer over all different prompts '
  'of a fixed set: 1 for a policy that gives the same reply to everything.',
  'monitor/{name}/answer_entropy': 'Entropy of the answers over all these prompts, nats: 0 for a '
  'constant reply.',
  'monitor/{name}/majority_ratio': 'Mean share of a prompt\'s winning answer among its samples.',
  'monitor/{name}/vote_margin': 'That share minus the runner-up\'s: where it is small, a majority '
  'label is a coin toss.',
  'monitor/{name}/distinct_answers': 'Mean number of different answers among a prompt\'s samples.',
  'monitor/{name}/parsed': 'Share of these samples in which an answer was found at all.',
  'monitor/{name}/anchor_agreement': 'Share of prompts whose winning answer is still that of the '
  'starting weights. Below its value before training, where only chance disagrees, it is drift.',
}  # fmt: skip

SECTIONS = {
  'Of a GRO step (`steps.jsonl`)': STEP,
  'Of a round (`history.jsonl`)': ROUND,
  'Warning signs of a round (`history.jsonl`)': MONITOR,
}
METRICS = STEP | ROUND | MONITOR
CUMULATIVE = ('updates_skipped',)  # step metrics whose last value a round reports

BESIDE = {
  '_sem': 'Standard error of',
  '_low': 'Lower end of the 95 % interval of',
  '_high': 'Upper end of the 95 % interval of',
}
SEM, INTERVAL = ('_sem',), tuple(BESIDE)
# The error metrics that a report holds beside a metric, given enough data; other metrics have none.
ERRORS = {
  'reward': SEM,  # in a report: train/reward_sem
  'rewards/{part}_error/mean': SEM,
  'rewards/{part}/mean': SEM,
  '{set}/pass@{k}': INTERVAL,
  '{set}/maj@{k}': INTERVAL,
  '{set}/greedy': INTERVAL,
  '{set}/parsed': SEM,
  '{set}/gap': SEM,
  '{set}/plain': INTERVAL,
  '{set}/{refiner}': INTERVAL,
  '{set}/{refiner}_gain': INTERVAL,
  'monitor/feedback_agreement': SEM,
  'monitor/false_positive': SEM,
  'monitor/false_negative': SEM,
  'monitor/{name}/answer_concentration': SEM,
  'monitor/{name}/majority_ratio': SEM,
  'monitor/{name}/vote_margin': SEM,
  'monitor/{name}/distinct_answers': SEM,
  'monitor/{name}/parsed': SEM,
  'monitor/{name}/anchor_agreement': SEM,
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
Z95 = 1.96  # half the width of a 95 % interval, in standard errors


def accuracies(metrics):
  """Names of the accuracies in a report, in its order: pass@1, pass@8, greedy, ... of every set."""
  return [
    name
    for name in metrics
    if not name.startswith(('train/', 'monitor/'))
    and not name.endswith(NOT_ACCURACIES)
    and (f'{name}_low' in metrics or f'{name}_sem' in metrics or name.endswith('/greedy'))
  ]


def interval(metrics, name):
  """(low, high) of a metric's 95 % interval; (NaN, NaN) if the report has none."""
  value, sem = metrics.get(name, math.nan), metrics.get(f'{name}_sem', math.nan)
  low, high = metrics.get(f'{name}_low', math.nan), metrics.get(f'{name}_high', math.nan)
  return (low, high) if not math.isnan(low) else (value - Z95 * sem, value + Z95 * sem)


def with_interval(metrics, name):
  """'0.512 [0.470, 0.553]', without the interval if there is none; 'none' without a value."""
  value, (low, high) = metrics.get(name, math.nan), interval(metrics, name)
  if math.isnan(value):
    return 'none'
  return f'{value:.3f}' if math.isnan(low) else f'{value:.3f} [{low:.3f}, {high:.3f}]'


def describe(name, names=()):
  """The definition of a metric as it appears in a file; None for an unknown name.

  Args: names: the other names in that file. A refiner is recognised by the gain beside its
    accuracy.
  """
  for suffix, what in BESIDE.items():
    number = name.removesuffix(suffix)
    if number != name and suffix in beside(number, names):
      return f'{what} {number}.'
  template = _template(name, names)
  if not template or not name.startswith('train/'):
    return METRICS.get(template)
  over = (
    "Value after the round's last step."
    if template in CUMULATIVE
    else "Mean over the round's steps."
  )
  return f'{STEP[template]} {over}'


def beside(name, names=()):
  """Suffixes of the error metrics that belong to a report's metric: (), SEM or INTERVAL.

  Arguments as in `describe`.
  """
  return ERRORS.get(_template(name, names), ())


def markdown():
  """The text of docs/metrics.md."""
  lines = [
    '# Metrics',
    '',
    'Generated by `python -m sirl.runs.metrics > docs/metrics.md`; do not edit by hand.',
    '',
    'A row of `steps.jsonl` begins with `round`, `step` and `serial` = round * steps_per_round + '
    'step. `{part}` is the name of a',
    "reward's part, `{set}` a set of tasks that never enter the pool: `heldout` is frozen, `fresh` "
    'is drawn anew in every round,',
    '`refined` holds the tasks of `heldout` again, answered through refiners, and `development` ends '
    'a warm start. `NaN` (null in',
    'the files) means that the quantity does not exist in that step or round, which is not zero: '
    'nothing was counted that it',
    'could be the mean of, as when every completion of a step is unjudged or left out. A name that '
    'is not here is defined by its',
    'experiment.',
    '',
    'Where the last column says so, a report holds beside `<name>` its standard error `<name>_sem` '
    'and the ends of its 95 %',
    'interval, `<name>_low` and `<name>_high`: over the steps of the round for `train/reward` and '
    '`train/rewards/{part}/mean`,',
    'else with tasks as clusters. The errors of all shares follow one rule, `stats.rate`, and those '
    'of a gain',
    '`stats.paired_difference`. So a share of 0 has an interval too. An error that cannot be '
    'computed is absent or NaN.',
  ]
  for title, table in SECTIONS.items():
    errors = table is not STEP
    lines += ['', f'## {title}', '', '| name | meaning |' + ' beside it |' * errors]
    lines += ['|---|---|' + '---|' * errors]
    for name, meaning in table.items():
      suffixes = ', '.join(f'`{suffix}`' for suffix in ERRORS.get(name, ()))
      lines += [f'| `{name}` | {meaning} |' + f' {suffixes} |' * errors]
  return '\n'.join(lines) + '\n'


def _template(name, names=()):
  """The table entry that a name matches, from STEP for train/...; '' if there is none."""
  inner = name.removeprefix('train/')
  for template in METRICS if inner == name else STEP:
    if template == '{set}/{refiner}' and f'{name}_gain' not in names:
      continue
    if re.fullmatch(re.sub(r'\\\{(\w+)\\\}', _group, re.escape(template)), inner):
      return template
  return ''


def _group(match):
  return {'k': r'\d+', 'n': r'\d+'}.get(match[1], '[^/]+')


if __name__ == '__main__':
  print(markdown(), end='')
