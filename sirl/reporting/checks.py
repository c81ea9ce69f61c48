"""The doctor's checks, one function each; `CHECKS` lists them in order.

A check takes a Run with at least one step and yields findings. The constants are its thresholds.
The checks of held-out accuracy are in heldout.py.
"""

import math
import re

from sirl import config as configs
from sirl.reporting.findings import Finding
from sirl.reporting.heldout import (
  lost_coverage,
  memorised,
  no_gain,
  regression,
  reward_without_outcome,
)
from sirl.reporting.numbers import (
  first,
  first_accuracy,
  outcome_name,
  part_means,
  recent,
  window,
)
from sirl.reporting.signal import (
  TIED_SOME,
  constant_parts,
  diversity,
  is_supervised,
  is_weak,
  learning_rate,
  weak_start,
)
from sirl.reporting.under_way import unfinished, warned
from sirl.reporting.updates import skipped_updates
from sirl.runs import changes, identity
from sirl.types import Action

TIED = 0.95  # share of groups whose rewards are all equal: a problem; TIED_SOME is a warning
ALL_RIGHT, ALL_WRONG = 0.9, 0.1  # outcome above, below which tied groups are right, wrong
TRUNCATED, TRUNCATED_SOME = 0.9, 0.3  # share of completions cut by length
PARSED, PARSED_SOME = 0.02, 0.3  # share of completions with an answer in the expected form, below
ENTROPY_GONE = 0.01  # nats per token, while the outcome is below ALL_RIGHT
ENTROPY_RISE = (2.0, 0.5)  # times the early entropy, and nats above it
GAP, GAP_SOME = 0.05, 1e-3  # mean |sampler - learner| log-prob, nats
ERRORS = 0.1  # share of completions whose scorer raised
UNJUDGED = 0.5  # share of completions that a part did not judge
NOTHING_JUDGED = 0.02  # share of completions that reach the optimizer, below
NO_GRADIENT = 1e-7  # gradient norm, below
DRIFT = 2.0  # factor by which the mean length may change
ROLLBACKS = 3


def ended_badly(run):
  """An error that ended the last attempt."""
  error = identity.last_error(run.workdir)
  if error:
    yield Finding(
      'problem', 'the last attempt ended with an error', error,
      'Mend it and start the run again'
      + (': it resumes from the newest checkpoint.' if run.history else '.'),
    )  # fmt: skip


def debugged(run):
  """Numbers shrunk to show that everything runs."""
  if run.config.get('debug'):
    yield Finding(
      'note', 'this is a debug run', 'debug=true',
      'Its numbers are too small to learn anything; tied groups and a zero gradient are what to '
      'expect of it.',
    )  # fmt: skip


def nothing_judged(run):
  """No completion reaches the optimizer, or no gradient comes back."""
  judged, norm = recent(run, 'judged_ratio'), recent(run, 'grad_norm')
  silent = unjudged_parts(run)
  if judged < NOTHING_JUDGED and silent:
    yield Finding(
      'problem', 'the reward judges nothing',
      ', '.join(f'{name} {share:.2f}' for name, share in silent.items()) + f' over {window(run)}',
      'No completion got a number. Does the function return one in every case? None means that it '
      'cannot judge, as for tasks without an answer.',
    )  # fmt: skip
  elif judged < NOTHING_JUDGED:
    yield Finding(
      'problem', 'nothing reaches the optimizer', f'judged_ratio {judged:.3f} over {window(run)}',
      'Every completion is unjudged or filtered out (keep=). See the findings on tied groups and '
      'scorers, or give the tasks answers.',
    )  # fmt: skip
  elif norm < NO_GRADIENT and not is_weak(run):
    yield Finding(
      'problem', 'the gradient is zero', f'grad_norm {norm:.1e} over {window(run)}',
      'All advantages are zero: look at tied groups, or at a learning signal that cancels.',
    )  # fmt: skip


def unjudged_parts(run):
  """{name: share} of the parts of the reward that leave nearly every completion unjudged."""
  names = [name for name in run.step_names if re.fullmatch(r'rewards/[^/]+/unjudged', name)]
  shares = {name: recent(run, name) for name in names}
  return {name: share for name, share in shares.items() if share > 1 - NOTHING_JUDGED}


def tied_groups(run):
  """Groups without differences teach nothing; why depends on the outcome they agree on."""
  share = recent(run, 'frac_reward_zero_std')
  if not share > TIED_SOME or is_supervised(run):
    return
  name = outcome_name(run)
  outcome = recent(run, name)
  evidence = f'frac_reward_zero_std {share:.2f} and {name} {outcome:.2f} over {window(run)}'
  severity = 'problem' if share > TIED else 'warning'
  heldout_name = first_accuracy(run)
  held = run.final.metrics.get(heldout_name, math.nan) if run.final else math.nan
  if outcome >= ALL_RIGHT and held < outcome / 2:
    yield Finding(
      'problem', 'groups are tied: the reward calls everything right',
      f'{evidence}, but {heldout_name} is {held:.2f}',
      'The reward cannot tell right from wrong: read samples/ and mend it.',
    )  # fmt: skip
  elif outcome <= ALL_WRONG and held > 2 * max(outcome, ALL_WRONG):
    yield Finding(
      severity, 'groups are tied: all wrong', f'{evidence}, but {heldout_name} is {held:.2f}',
      'Either the reward refuses answers that the check accepts, or the training tasks are far '
      'harder than the held-out ones: read samples/.',
    )  # fmt: skip
  elif outcome >= ALL_RIGHT:
    yield Finding(
      severity, 'groups are tied: all right', evidence,
      'The tasks are too easy now: raise the difficulty, or stop here.',
    )  # fmt: skip
  elif outcome <= ALL_WRONG and is_weak(run):
    return  # `weak_start` says more
  elif outcome <= ALL_WRONG:
    yield Finding(
      severity, 'groups are tied: all wrong', evidence,
      'The tasks are too hard to ever be solved: make them easier, warm-start the model, or '
      'enlarge the group. Read samples/ first: a wrong format or scorer looks the same.',
    )  # fmt: skip
  else:
    yield Finding(
      severity, 'groups are tied: each agrees with itself', evidence,
      'Completions of one task hardly differ: raise the temperature, look at the entropy, or '
      'check that the reward can tell answers apart.',
    )  # fmt: skip


def truncation(run):
  """Completions that never end."""
  share = recent(run, 'completions/clipped_ratio')
  if share > TRUNCATED_SOME:
    amount = 'everything is' if share > TRUNCATED else 'many completions are'
    yield Finding(
      'problem' if share > TRUNCATED else 'warning', f'{amount} truncated',
      f'completions/clipped_ratio {share:.2f} over {window(run)}',
      'Completions hit max_new before an end token: raise max_new, check the end tokens, or '
      'reward ending.',
    )  # fmt: skip


def parsing(run):
  """Answers that cannot be found in the text."""
  shares = {name: recent(run, name) for name in part_means(run, '[^/]*(pars|format|boxed)[^/]*')}
  if run.final:
    heldout = run.final.metrics
    shares |= {name: value for name, value in heldout.items() if name.endswith('/parsed')}
  for name, share in shares.items():
    if share < PARSED_SOME:
      what = 'nothing is parsed' if share < PARSED else 'few answers are parsed'
      yield Finding(
        'problem' if share < PARSED else 'warning', what, f'{name} {share:.3f}',
        'The model does not write answers in the form the check looks for: show the form in the '
        'prompt, reward it, or widen the parser.',
      )  # fmt: skip


def entropy(run):
  """Exploration that has stopped, or a policy that dissolves."""
  if recent(run, 'judged_ratio') < NOTHING_JUDGED:
    return  # there was nothing to take the entropy of
  early, now = first(run, 'entropy'), recent(run, 'entropy')
  name = outcome_name(run)
  outcome = recent(run, name)
  if now < ENTROPY_GONE and not outcome >= ALL_RIGHT:
    yield Finding(
      'problem', 'entropy is gone',
      f'entropy {early:.3f} -> {now:.4f} nats per token while {name} is {outcome:.2f}',
      'The policy repeats itself and cannot improve: lower the learning rate, clip higher, add an '
      'entropy bonus or KL, or roll back.',
    )  # fmt: skip
  factor, rise = ENTROPY_RISE
  if now > factor * early and now > early + rise:
    yield Finding(
      'problem', 'entropy explodes', f'entropy {early:.2f} -> {now:.2f} nats per token',
      'The policy falls apart: lower the learning rate, clip the gradient, add KL to the '
      'reference, or roll back.',
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


def scorers(run):
  """Scorers that raise, and parts that do not judge."""
  said = [*unjudged_parts(run)] if recent(run, 'judged_ratio') < NOTHING_JUDGED else []
  for name in run.step_names:
    value = recent(run, name)
    if re.fullmatch(r'rewards/.*(_error/mean|/errors)', name) and value > 0:
      part = name.split('/')[1].removesuffix('_error')
      said += [f'rewards/{part}/unjudged'] * (value > ERRORS)  # what raises is not judged
      yield Finding(
        'problem' if value > ERRORS else 'warning', f'the scorer {part!r} raises errors',
        f'{name} {value:.3g} over {window(run)}',
        'Those completions are not judged. The log names the task and the text: reproduce it and '
        'mend the scorer.',
      )  # fmt: skip
  for name in run.step_names:
    value = recent(run, name)
    if re.fullmatch(r'rewards/.+/unjudged', name) and value > UNJUDGED and name not in said:
      yield Finding(
        'warning', f'{name.split("/")[1]!r} leaves many completions unjudged',
        f'{name} {value:.2f} over {window(run)}',
        'Tasks without answers, or a scorer that gives None: unjudged completions teach nothing.',
      )  # fmt: skip


def length_drift(run):
  """Completions that grow or shrink a lot."""
  early, now = first(run, 'completions/mean_length'), recent(run, 'completions/mean_length')
  if now > DRIFT * early or now < early / DRIFT:
    yield Finding(
      'warning', f'completions have become {"longer" if now > early else "shorter"}',
      f'mean length {early:.1f} -> {now:.1f} tokens',
      'Fine if the task calls for it; else a reward or an aggregation favours length. Read '
      'samples/ of the first and the last round.',
    )  # fmt: skip


def decisions(run):
  """What steering had to do."""
  decided = [r for r in run.history if r.decision is not None]
  rollbacks = [r.round for r in decided if r.decision.action is Action.ROLLBACK]
  if len(rollbacks) >= ROLLBACKS:
    yield Finding(
      'warning', f'{len(rollbacks)} rollbacks',
      f'in {len(run.trained)} rounds, the last in round {max(rollbacks)}',
      'The run keeps failing the same way: lower the learning rate or mend the reward before '
      'running on.',
    )  # fmt: skip
  if run.is_stopped:
    last = decided[-1].decision
    end = f'the end of round {last.round}' if last.round != -1 else 'before training'
    kept = '' if last.round is None else f' It keeps the weights from {end}.'
    yield Finding(
      # A rule that stops at a goal, or on a plateau, keeps the newest weights.
      'note' if last.round is None else 'warning',
      f'a {last.by} stopped the run', f'{last.reason}{kept}', '',
    )  # fmt: skip
  if decided and decided[-1].decision.action is Action.ASK_HUMAN:
    yield Finding(
      'note', 'the run waits for a human', decided[-1].decision.reason,
      f'Read question.md, then: {configs.command("answer", run.workdir, "continue")} (or stop, or '
      'rollback=ROUND), and run again.',
    )  # fmt: skip


def changed(run):
  """What was changed while the run went on: config.json shows only its last state."""
  if run.changes:
    n = len(run.changes)
    yield Finding(
      'note', f'{n} change{"s" * (n > 1)} between rounds, earlier rounds ran without',
      '; '.join(changes.in_words(row) for row in run.changes),
      'Compare rounds before and after a change as two runs.',
    )  # fmt: skip


CHECKS = (
  ended_badly,
  debugged,
  warned,
  skipped_updates,
  nothing_judged,
  weak_start,
  tied_groups,
  truncation,
  parsing,
  entropy,
  diversity,
  reward_without_outcome,
  regression,
  memorised,
  lost_coverage,
  no_gain,
  learning_rate,
  sampler_gap,
  scorers,
  constant_parts,
  length_drift,
  decisions,
  changed,
  unfinished,
)
