"""What ails a run, in words: each check reads the recorded numbers and says what it saw and what to do.

A check is a function of a Run that yields findings; `CHECKS` lists them. Thresholds are the constants below. Early
and recent values are means over the first and the last WINDOW steps.
"""

import dataclasses
import math
import re

from sirl.runs import identity, lineage, metrics, reading
from sirl.types import Action

WINDOW = 20  # steps
TIED, TIED_SOME = 0.95, 0.8  # share of groups whose rewards are all equal: problem, warning
ALL_RIGHT, ALL_WRONG = 0.9, 0.1  # outcome above, below which tied groups are right, wrong
TRUNCATED, TRUNCATED_SOME = 0.9, 0.3  # share of completions cut by length
PARSED, PARSED_SOME = 0.02, 0.3  # share of completions with an answer in the expected form, below
ENTROPY_GONE = 0.01  # nats per token, while the outcome is below ALL_RIGHT
ENTROPY_RISE = (2.0, 0.5)  # times the early entropy, and nats above it
GAP, GAP_SOME = 0.05, 1e-3  # mean |sampler - learner| log-prob, nats
SKIPPED = 0.01  # share of updates left out as not finite
ERRORS = 0.1  # share of completions whose scorer raised
UNJUDGED = 0.5  # share of completions that a part did not judge
NOTHING_JUDGED = 0.02  # share of completions that reach the optimizer, below
NO_GRADIENT = 1e-7  # gradient norm, below
DRIFT = 2.0  # factor by which the mean length may change
HACK_ROUNDS = 5  # reports that a slope needs
HACK_SHARE = 0.25  # held-out gain per reward gain, below which reward rises alone
HACK_RISE = 0.05  # reward that must have been gained
REGRESSED, REGRESSED_SOME = 4.0, 2.0  # standard errors below the best report
NO_GAIN_ROUNDS = 5  # rounds after which a gain should show
ROLLBACKS = 3

SEVERITIES = ('problem', 'warning', 'note', 'healthy')


@dataclasses.dataclass(frozen=True)
class Finding:
  """One thing seen in a run, with the numbers that show it and what to do."""

  severity: str  # one of SEVERITIES
  what: str
  evidence: str
  advice: str


def diagnose(workdir):
  """Findings about a workdir, worst first; a healthy run has one finding that says so with its numbers.

  Raises: FileNotFoundError when there is no such folder, ValueError when its files are not readable.
  """
  return examine(reading.read(workdir))


def examine(run):
  """Findings about a Run, worst first."""
  if not run.steps:
    return [*ended_badly(run), no_steps(run)]
  found = [finding for check in CHECKS for finding in check(run)]
  if not any(finding.severity in ('problem', 'warning') for finding in found):
    found.append(healthy(run))
  return sorted(found, key=lambda finding: SEVERITIES.index(finding.severity))


def render(findings):
  """Findings as text for a terminal."""
  blocks = []
  for found in findings:
    lines = [f'{found.severity.upper():8} {found.what}', f'         {found.evidence}']
    blocks.append('\n'.join([*lines, f'         -> {found.advice}'] if found.advice else lines))
  return '\n\n'.join(blocks)


# ---------------------------------------------------------------- checks


def no_steps(run):
  """Before the first GRO step there is nothing to judge."""
  done = 'the baseline was measured' if run.history else 'no report either'
  warm = f', the warm start has {len(run.warm.steps)} steps' if run.warm else ''
  return Finding(
    'note', 'no GRO step yet', f'steps.jsonl is empty; {done}{warm}',
    'The first step compiles for a while. If no process is running, start the run again: it resumes.',
  )  # fmt: skip


def ended_badly(run):
  """An error that ended the last attempt."""
  error = identity.last_error(run.workdir)
  if error:
    yield Finding(
      'problem', 'the last attempt ended with an error', error,
      'Mend it and start the run again: it resumes from the newest checkpoint.',
    )  # fmt: skip


def debugged(run):
  """Numbers shrunk to show that everything runs."""
  if run.config.get('debug'):
    yield Finding(
      'note', 'this is a debug run', 'debug=true',
      'Its numbers are too small to learn anything; tied groups and a zero gradient are what to expect of it.',
    )  # fmt: skip


def nothing_judged(run):
  """No completion reaches the optimizer, or no gradient comes back."""
  judged, norm = recent(run, 'judged_ratio'), recent(run, 'grad_norm')
  if judged < NOTHING_JUDGED:
    yield Finding(
      'problem', 'nothing reaches the optimizer', f'judged_ratio {judged:.3f} over {window(run)}',
      'Every completion is unjudged or filtered out (keep=). See the findings on tied groups and scorers, or give the tasks answers.',
    )  # fmt: skip
  elif norm < NO_GRADIENT:
    yield Finding(
      'problem', 'the gradient is zero', f'grad_norm {norm:.1e} over {window(run)}',
      'All advantages are zero: look at tied groups, or at a learning signal that cancels.',
    )  # fmt: skip


def tied_groups(run):
  """Groups without differences teach nothing; why depends on the outcome they agree on."""
  share = recent(run, 'frac_reward_zero_std')
  if not share > TIED_SOME:
    return
  name = outcome_name(run)
  outcome = recent(run, name)
  evidence = f'frac_reward_zero_std {share:.2f} and {name} {outcome:.2f} over {window(run)}'
  severity = 'problem' if share > TIED else 'warning'
  measured_name = first_accuracy(run)
  held = run.final.metrics.get(measured_name, math.nan) if run.final else math.nan
  if outcome >= ALL_RIGHT and held < outcome / 2:
    yield Finding(
      'problem', 'groups are tied: the reward calls everything right', f'{evidence}, but {measured_name} is {held:.2f}',
      'The reward cannot tell right from wrong: read samples/ and mend it.',
    )  # fmt: skip
  elif outcome >= ALL_RIGHT:
    yield Finding(
      severity,
      'groups are tied: all right',
      evidence,
      'The tasks are too easy now: raise the difficulty, or stop here.',
    )
  elif outcome <= ALL_WRONG:
    yield Finding(
      severity, 'groups are tied: all wrong', evidence,
      'The tasks are too hard to ever be solved: make them easier, warm-start the model, or enlarge the group. '
      'Read samples/ first: a wrong format or scorer looks the same.',
    )  # fmt: skip
  else:
    yield Finding(
      severity, 'groups are tied: each agrees with itself', evidence,
      'Completions of one task hardly differ: raise the temperature, look at the entropy, or check that the reward can tell answers apart.',
    )  # fmt: skip


def truncation(run):
  """Completions that never end."""
  share = recent(run, 'completions/clipped_ratio')
  if share > TRUNCATED_SOME:
    what = 'everything is truncated' if share > TRUNCATED else 'many completions are truncated'
    yield Finding(
      'problem' if share > TRUNCATED else 'warning', what, f'completions/clipped_ratio {share:.2f} over {window(run)}',
      'Completions hit max_new before an end token: raise max_new, check the end tokens, or reward ending.',
    )  # fmt: skip


def parsing(run):
  """Answers that cannot be found in the text."""
  names = [
    n for n in run.step_names if re.fullmatch(r'rewards/[^/]*(pars|format|boxed)[^/]*/mean', n)
  ]
  names = [n for n in names if not n.endswith('_error/mean')]
  shares = {name: recent(run, name) for name in names}
  if run.final:
    measured = run.final.metrics
    shares |= {name: value for name, value in measured.items() if name.endswith('/parsed')}
  for name, share in shares.items():
    if share < PARSED_SOME:
      what = 'nothing is parsed' if share < PARSED else 'few answers are parsed'
      yield Finding(
        'problem' if share < PARSED else 'warning', what, f'{name} {share:.3f}',
        'The model does not write answers in the form the check looks for: show the form in the prompt, reward it, or widen the parser.',
      )  # fmt: skip


def entropy(run):
  """Exploration that has stopped, or a policy that dissolves."""
  early, now = first(run, 'entropy'), recent(run, 'entropy')
  outcome = recent(run, outcome_name(run))
  if now < ENTROPY_GONE and not outcome >= ALL_RIGHT:
    yield Finding(
      'problem', 'entropy is gone', f'entropy {early:.3f} -> {now:.4f} nats per token while {outcome_name(run)} is {outcome:.2f}',
      'The policy repeats itself and cannot improve: lower the learning rate, clip higher, add an entropy bonus or KL, or roll back.',
    )  # fmt: skip
  factor, rise = ENTROPY_RISE
  if now > factor * early and now > early + rise:
    yield Finding(
      'problem', 'entropy explodes', f'entropy {early:.2f} -> {now:.2f} nats per token',
      'The policy falls apart: lower the learning rate, clip the gradient, add KL to the reference, or roll back.',
    )  # fmt: skip


def reward_without_outcome(run):
  """Reward that rises while held-out accuracy does not: the sign of a gamed reward."""
  name = first_accuracy(run)
  if name is None:
    return
  reports = [
    r
    for r in run.trained
    if all(math.isfinite(r.metrics.get(n, math.nan)) for n in ('train/reward', name))
  ]
  for rows in (reports, reports[-2 * HACK_ROUNDS :]):
    if len(rows) < HACK_ROUNDS:
      return
    gain, gain_error = lineage.slope(rows, 'train/reward')
    truth, truth_error = lineage.slope(rows, name)
    rounds = rows[-1].round - rows[0].round
    rises = gain - gain_error > 0 and gain * rounds > HACK_RISE
    if rises and truth + truth_error < HACK_SHARE * gain:
      yield Finding(
        'problem', 'reward rises while held-out accuracy does not',
        f'per round over rounds {rows[0].round} to {rows[-1].round}: train/reward {gain:+.4f} ± {gain_error:.4f}, '
        f'{name} {truth:+.4f} ± {truth_error:.4f}',
        'The reward is being gamed or rewards something else: read samples/, compare reward and check on them, then mend the reward and roll back.',
      )  # fmt: skip
      return


def regression(run):
  """The accuracy of the present weights against the best one."""
  name = first_accuracy(run)
  rows = measured(run, name)
  last = run.final
  if len(rows) < 2 or last not in rows:
    return
  best = max(rows, key=lambda r: r.metrics[name])
  fall, error = best.metrics[name] - last.metrics[name], difference_error(best, last, name)
  if fall > REGRESSED_SOME * error and fall > 0:
    round = 'before training' if best.round < 0 else f'in round {best.round}'
    yield Finding(
      'problem' if fall > REGRESSED * error else 'warning', 'held-out accuracy fell below its best',
      f'{name} {metrics.with_interval(last.metrics, name)} now, {metrics.with_interval(best.metrics, name)} {round}',
      f'Take the weights of that round (rollback), lower the learning rate, or add a rollback rule on {name}.',
    )  # fmt: skip


def no_gain(run):
  """Rounds of training without a measurable gain."""
  name = first_accuracy(run)
  rows = measured(run, name)
  if len(rows) <= NO_GAIN_ROUNDS or run.final not in rows:
    return
  before, after = rows[0], run.final
  gain = after.metrics[name] - before.metrics[name]
  error = difference_error(before, after, name)
  if abs(gain) <= metrics.Z95 * error:
    yield Finding(
      'warning', 'no measurable gain', f'{name} {gain:+.3f} ± {metrics.Z95 * error:.3f} after {len(rows) - 1} rounds',
      'Either it does not learn (learning rate, signal in the reward) or the held-out set is too small to see it.',
    )  # fmt: skip


def sampler_gap(run):
  """Log-probs of sampler and learner that disagree."""
  mean, largest = (recent(run, f'sampling/sampling_logp_difference/{n}') for n in ('mean', 'max'))
  if mean > GAP_SOME:
    yield Finding(
      'problem' if mean > GAP else 'warning', 'sampler and learner disagree',
      f'mean log-prob difference {mean:.1e} nats, largest {largest:.1e}, over {window(run)}',
      'Give both the same sampler, weights and precision; in bfloat16 a small gap remains.',
    )  # fmt: skip


def skipped_updates(run):
  """Updates that were not finite; a step may hold several."""
  skipped = last_value(run, 'updates_skipped')
  if skipped > 0:
    share = skipped / len(run.steps)
    yield Finding(
      'problem' if share > SKIPPED else 'warning', 'updates were skipped because they were not finite',
      f'updates_skipped {skipped:.0f} in {len(run.steps)} steps',
      'Lower the learning rate or clip the gradient; weights and optimizer were left as they were.',
    )  # fmt: skip


def scorers(run):
  """Scorers that raise, and parts that do not judge."""
  for name in run.step_names:
    value = recent(run, name)
    if re.fullmatch(r'rewards/.*(_error/mean|/errors)', name) and value > 0:
      part = name.split('/')[1].removesuffix('_error')
      yield Finding(
        'problem' if value > ERRORS else 'warning', f'the scorer {part!r} raises errors', f'{name} {value:.3g} over {window(run)}',
        'Those completions are not judged. The log names the task and the text: reproduce it and mend the scorer.',
      )  # fmt: skip
    if re.fullmatch(r'rewards/.+/unjudged', name) and value > UNJUDGED:
      yield Finding(
        'warning', f'{name.split("/")[1]!r} leaves many completions unjudged', f'{name} {value:.2f} over {window(run)}',
        'Tasks without answers, or a scorer that gives None: unjudged completions teach nothing.',
      )  # fmt: skip


def length_drift(run):
  """Completions that grow or shrink a lot."""
  early, now = first(run, 'completions/mean_length'), recent(run, 'completions/mean_length')
  if now > DRIFT * early or now < early / DRIFT:
    yield Finding(
      'warning', f'completions have become {"longer" if now > early else "shorter"}', f'mean length {early:.1f} -> {now:.1f} tokens',
      'Fine if the task calls for it; else a reward or an aggregation favours length. Read samples/ of the first and the last round.',
    )  # fmt: skip


def decisions(run):
  """What steering had to do."""
  actions = [r.decision.action for r in run.history if r.decision is not None]
  rollbacks = actions.count(Action.ROLLBACK)
  if rollbacks >= ROLLBACKS:
    yield Finding(
      'warning', f'{rollbacks} rollbacks', f'in {len(run.trained)} rounds, the last in round '
      f'{max(r.round for r in run.history if r.decision and r.decision.action is Action.ROLLBACK)}',
      'The run keeps failing the same way: lower the learning rate or mend the reward before running on.',
    )  # fmt: skip
  if actions and actions[-1] is Action.ASK_HUMAN:
    yield Finding(
      'note', 'the run waits for a human', run.history[-1].decision.reason,
      f'Read question.md, then: sirl answer {run.workdir} continue|stop|rollback=ROUND, and run again.',
    )  # fmt: skip


def unfinished(run):
  """Steps after the last report. Whether a process is alive cannot be read from files."""
  row = run.steps[-1]
  reported = run.history[-1].round if run.history else None
  if reported is None or row['round'] > reported:
    yield Finding(
      'note', 'a round is under way', f'the last row is round {row["round"]}, step {row["step"]}; its report is not written yet',
      'If no process is running, the same command resumes the run.',
    )  # fmt: skip


CHECKS = (
  ended_badly,
  debugged,
  nothing_judged,
  tied_groups,
  truncation,
  parsing,
  entropy,
  reward_without_outcome,
  regression,
  no_gain,
  sampler_gap,
  skipped_updates,
  scorers,
  length_drift,
  decisions,
  unfinished,
)


def healthy(run):
  """The numbers of a run that nothing ails."""
  name = first_accuracy(run)
  words = []
  if name and len(run.history) > 1:
    before, after = run.history[0].metrics, run.final.metrics
    words.append(
      f'{name} {metrics.with_interval(before, name)} -> {metrics.with_interval(after, name)}'
    )
  for step_metric, form in (
    ('reward', '.3f'),
    ('entropy', '.3f'),
    ('completions/mean_length', '.1f'),
  ):
    early, now = first(run, step_metric), recent(run, step_metric)
    if math.isfinite(now):
      words.append(f'{step_metric} {early:{form}} -> {now:{form}}')
  for step_metric in ('frac_reward_zero_std', 'completions/clipped_ratio'):
    if math.isfinite(recent(run, step_metric)):
      words.append(f'{step_metric} {recent(run, step_metric):.2f}')
  return Finding('healthy', f'nothing ails this run ({run.status()})', '; '.join(words), '')


# ---------------------------------------------------------------- numbers


def recent(run, name):
  """Mean of a step metric over the last WINDOW steps; NaN when it was never measured there."""
  return reading.mean(row.get(name) for row in run.steps[-WINDOW:])


def first(run, name):
  """Mean over the first WINDOW steps, but at most the first half of the run."""
  return reading.mean(
    row.get(name) for row in run.steps[: max(1, min(WINDOW, len(run.steps) // 2))]
  )


def last_value(run, name):
  """The newest value of a step metric, NaN without one."""
  return next((row[name] for row in reversed(run.steps) if row.get(name) is not None), math.nan)


def window(run):
  """'the last 20 steps'."""
  n = min(WINDOW, len(run.steps))
  return f'the last {n} steps' if n > 1 else 'the only step'


def outcome_name(run):
  """The step metric that says right or wrong: the part named correct, else a single part, else the total."""
  names = run.step_names
  if 'rewards/correct/mean' in names:
    return 'rewards/correct/mean'
  parts = [
    n for n in names if re.fullmatch(r'rewards/.+/mean', n) and not n.endswith('_error/mean')
  ]
  return parts[0] if len(parts) == 1 else 'reward'


def first_accuracy(run):
  """The first held-out accuracy that reports hold; None without one."""
  names = run.accuracy_names
  held = [name for name in names if name.startswith('heldout/')]
  return next(iter(held or names), None)


def measured(run, name):
  """Reports that hold a finite value of a metric; none for the name None."""
  return [r for r in run.history if name and math.isfinite(r.metrics.get(name, math.nan))]


def difference_error(a, b, name):
  """Standard error of the difference between two reports; 0 where a report holds none."""
  return math.hypot(*(r.metrics.get(f'{name}_sem', 0.0) for r in (a, b)))
