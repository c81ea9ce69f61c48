"""The doctor reports problems of a run with their numbers, and none for a healthy run."""

import json

import pytest

from sirl.reporting import doctor

from support import synthetic_run
from support.synthetic_run import ROUNDS, STEPS

TOTAL = ROUNDS * STEPS


def always(**metrics):
  names = {name.replace('__', '/'): value for name, value in metrics.items()}
  return {'step': lambda row: row | names}


def changed(name, late, *, after=TOTAL // 2):
  return {'step': lambda row: row | ({name: late} if row['serial'] >= after else {})}


def accuracies(function):
  """Replaces held-out accuracy by a function of the round; standard errors stay."""

  def report(row):
    value = function(row['round'])
    names = {
      n: value
      for n in row['metrics']
      if n in ('heldout/pass@1', 'heldout/greedy', 'heldout/pass@8')
    }
    ends = {f'{n}_{end}': value for n in names for end in ('low', 'high')}
    return row | {'metrics': row['metrics'] | names | ends}

  return {'report': report}


def last_decision(action, reason):
  def report(row):
    return (
      row | {'decision': row['decision'] | {'action': action, 'reason': reason}}
      if row['round'] == ROUNDS - 1
      else row
    )

  return {'report': report}


def test_a_healthy_run_is_called_healthy_with_its_numbers(tmp_path):
  found = doctor.diagnose(synthetic_run.write(tmp_path))
  assert [f.severity for f in found] == ['healthy']
  for piece in (
    'heldout/pass@1 0.300 [0.260, 0.340] -> 0.759',
    'entropy 0.',
    'frac_reward_zero_std 0.30',
  ):
    assert piece in found[0].evidence
  assert doctor.render(found).startswith(
    'HEALTHY  nothing ails this run (finished all 10 rounds)\n'
  )


ILLNESSES = {
  'all right': (
    always(frac_reward_zero_std=1.0, rewards__correct__mean=1.0, entropy=0.001),
    'problem', 'groups are tied: all right', 'frac_reward_zero_std 1.00 and rewards/correct/mean 1.00', 'raise the difficulty',
  ),
  'all right but for the truth': (
    always(frac_reward_zero_std=1.0, rewards__correct__mean=1.0) | accuracies(lambda i: 0.1),
    'problem', 'groups are tied: the reward calls everything right', 'but heldout/pass@1 is 0.10', 'mend it',
  ),
  'all wrong': (
    always(frac_reward_zero_std=0.99, rewards__correct__mean=0.0),
    'problem', 'groups are tied: all wrong', 'rewards/correct/mean 0.00', 'warm-start',
  ),
  'no diversity': (
    always(frac_reward_zero_std=0.9, rewards__correct__mean=0.5),
    'warning', 'groups are tied: each agrees with itself', 'frac_reward_zero_std 0.90', 'temperature',
  ),
  'truncated': (
    always(completions__clipped_ratio=0.97),
    'problem', 'everything is truncated', 'completions/clipped_ratio 0.97', 'max_new',
  ),
  'some truncated': (
    always(completions__clipped_ratio=0.4),
    'warning', 'many completions are truncated', 'completions/clipped_ratio 0.40', 'max_new',
  ),
  'nothing parsed': (
    always(rewards__format__mean=0.0),
    'problem', 'nothing is parsed', 'rewards/format/mean 0.000', 'parser',
  ),
  'nothing parsed held out': (
    {'report': lambda row: row | {'metrics': row['metrics'] | {'heldout/parsed': 0.01}}},
    'problem', 'nothing is parsed', 'heldout/parsed 0.010', 'parser',
  ),
  'entropy gone': (
    changed('entropy', 0.002),
    'problem', 'entropy is gone', '-> 0.0020 nats per token while rewards/correct/mean is 0.', 'learning rate',
  ),
  'entropy explodes': (
    changed('entropy', 2.5),
    'problem', 'entropy explodes', '-> 2.50 nats per token', 'roll back',
  ),
  'reward alone': (
    accuracies(lambda i: 0.3 + 0.01 * (i % 2)),
    'problem', 'reward rises while held-out accuracy does not', 'train/reward +0.', 'gamed',
  ),
  'late hacking': (
    accuracies(lambda i: 0.3 + 0.1 * min(i, 2) - 0.03 * max(i - 2, 0)),
    'problem', 'reward rises while held-out accuracy does not', 'heldout/pass@1 -0.', 'gamed',
  ),
  'regressed': (
    accuracies(lambda i: 0.7 if i == 5 else 0.3 + 0.02 * i),
    'problem', 'held-out accuracy fell below its best', 'in round 5', 'rollback',
  ),
  'no gain': (
    accuracies(lambda i: 0.3),
    'warning', 'no measurable gain', 'heldout/pass@1 +0.000 ± 0.055 after 10 rounds', 'learning rate',
  ),
  'sampler': (
    always(sampling__sampling_logp_difference__mean=0.2),
    'problem', 'sampler and learner disagree', 'mean log-prob difference 2.0e-01', 'same sampler',
  ),
  'one skipped': (
    {'step': lambda row: row | {'updates_skipped': float(row['serial'] >= 30)}} ,
    'problem', 'updates were skipped', 'updates_skipped 1 in 40 steps', 'learning rate',
  ),
  'scorer': (
    always(rewards__correct_error__mean=0.05),
    'warning', "the scorer 'correct' raises errors", 'rewards/correct_error/mean 0.05', 'not judged',
  ),
  'unjudged': (
    always(rewards__correct__unjudged=0.8),
    'warning', "'correct' leaves many completions unjudged", 'rewards/correct/unjudged 0.80', 'without answers',
  ),
  'nothing judged': (
    always(judged_ratio=0.0),
    'problem', 'nothing reaches the optimizer', 'judged_ratio 0.000', 'keep=',
  ),
  'no gradient': (
    always(grad_norm=0.0),
    'problem', 'the gradient is zero', 'grad_norm 0.0e+00', 'advantages are zero',
  ),
  'longer': (
    changed('completions/mean_length', 40.0),
    'warning', 'completions have become longer', '-> 40.0 tokens', 'samples/',
  ),
  'shorter': (
    changed('completions/mean_length', 1.0),
    'warning', 'completions have become shorter', '-> 1.0 tokens', 'samples/',
  ),
  'question': (
    last_decision('ask_human', 'is this hacking?'),
    'note', 'the run waits for a human', 'is this hacking?', 'sirl answer',
  ),
}  # fmt: skip


@pytest.mark.parametrize(
  ('ill', 'severity', 'what', 'evidence', 'advice'), ILLNESSES.values(), ids=ILLNESSES
)
def test_an_illness_is_named_with_evidence_and_advice(
  tmp_path, ill, severity, what, evidence, advice
):
  found = doctor.diagnose(synthetic_run.write(tmp_path, **ill))
  named = [f for f in found if f.what.startswith(what)]
  assert len(named) == 1, found
  assert named[0].severity == severity
  assert evidence in named[0].evidence
  assert advice in named[0].advice
  if severity != 'note':
    assert all(f.severity != 'healthy' for f in found)


def test_the_weights_that_a_run_ends_with_are_judged_not_its_last_round(tmp_path):
  fell = lambda i: 0.7 if i == 5 else 0.3 + 0.01 * max(i, 0)
  back = lambda row: (
    row | {'decision': row['decision'] | {'action': 'stop', 'round': 5}}
    if row['round'] == ROUNDS - 1
    else row
  )
  illness = accuracies(fell)['report']
  workdir = synthetic_run.write(tmp_path, report=lambda row: back(illness(row)))
  found = doctor.diagnose(workdir)
  assert [f.what for f in found if 'fell below' in f.what or 'no measurable' in f.what] == []
  (healthy,) = [f for f in found if f.severity == 'healthy']
  assert 'heldout/pass@1 0.300 [0.300, 0.300] -> 0.700' in healthy.evidence


def test_low_entropy_of_a_model_that_is_right_is_no_illness(tmp_path):
  found = doctor.diagnose(
    synthetic_run.write(tmp_path, **always(entropy=0.001, rewards__correct__mean=0.97))
  )
  assert [f.what for f in found if 'entropy' in f.what] == []


def test_three_rollbacks_are_a_warning(tmp_path):
  def report(row):
    return (
      row | {'decision': row['decision'] | {'action': 'rollback', 'round': 0}}
      if row['round'] in (2, 5, 7)
      else row
    )

  (found,) = [
    f
    for f in doctor.diagnose(synthetic_run.write(tmp_path, report=report))
    if 'rollbacks' in f.what
  ]
  assert found.what == '3 rollbacks'
  assert 'the last in round 7' in found.evidence


def test_a_debug_run_is_said_to_be_one(tmp_path):
  workdir = synthetic_run.write(tmp_path)
  identity = json.loads((workdir / 'config.json').read_text())
  identity['config']['debug'] = True
  (workdir / 'config.json').write_text(json.dumps(identity))
  found = doctor.diagnose(workdir)
  assert ('note', 'this is a debug run') in [(f.severity, f.what) for f in found]


def test_before_the_first_step_it_says_so(tmp_path):
  (found,) = doctor.diagnose(tmp_path)
  assert (found.severity, found.what) == ('note', 'no GRO step yet')


def test_a_round_under_way_is_a_note_beside_the_verdict(tmp_path):
  workdir = synthetic_run.write(tmp_path)
  rows = (workdir / 'history.jsonl').read_text().splitlines(keepends=True)
  (workdir / 'history.jsonl').write_text(''.join(rows[:-1]))
  found = doctor.diagnose(workdir)
  assert (found[0].severity, found[0].what) == ('note', 'a round is under way')
  assert found[1].severity == 'healthy'


def test_problems_come_first(tmp_path):
  found = doctor.diagnose(
    synthetic_run.write(tmp_path, **always(completions__clipped_ratio=0.4, grad_norm=0.0))
  )
  assert [f.severity for f in found] == ['problem', 'warning']
  assert doctor.render(found).index('PROBLEM') < doctor.render(found).index('WARNING')
