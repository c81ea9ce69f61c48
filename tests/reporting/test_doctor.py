"""The doctor reports problems of a run with their numbers, and none for a healthy run."""

import json

import pytest

from sirl.reporting import doctor
from sirl.runs import reading

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


def monitored(function):
  """Adds metrics of a round, a function of its number."""
  return {'report': lambda row: row | {'metrics': row['metrics'] | function(row['round'])}}


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
    always(frac_reward_zero_std=0.99, rewards__correct__mean=0.0) | accuracies(lambda i: 0.1),
    'problem', 'groups are tied: all wrong', 'rewards/correct/mean 0.00', 'warm-start',
  ),
  'all wrong but for the truth': (
    always(frac_reward_zero_std=0.99, rewards__correct__mean=0.0),
    'problem', 'groups are tied: all wrong', 'but heldout/pass@1 is 0.76', 'refuses answers that the check accepts',
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
  'never finite': (
    {'step': lambda row: row | {'loss': None, 'grad_norm': float('nan'), 'updates_skipped': row['serial'] + 1.0}},
    'problem', 'no update was ever finite', 'updates_skipped 40, from step 0 on', 'no learning rate mends it',
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
  'knows nothing': (
    always(rewards__correct__mean=0.004, rewards__correct__best=0.03, frac_reward_zero_std=0.97, entropy=2.55)
    | accuracies(lambda i: 0.004),
    'problem', 'the start is too weak for this reward',
    '0.03 of the groups hold any success over the last 20 steps; entropy 2.55 nats per token, of at most '
    'log(13) = 2.56, nearly a uniform draw', 'partial credit',
  ),
  'tag that the prompt opens': (
    always(rewards__format__mean=0.0, rewards__format__std=0.0),
    'warning', "the part 'format' of the reward is constant", '0 for every completion of round 9, in 4 steps',
    'chat template',
  ),
  'earned by everything': (
    always(rewards__format__mean=1.0, rewards__format__std=0.0),
    'note', "the part 'format' of the reward is constant", '1 for every completion of round 9', 'adds nothing',
  ),
  'schedule ended': (
    changed('learning_rate', 1.6e-11),
    'warning', 'the learning rate is near zero', 'at most 1.6e-11 in the last 20 steps, 1.0e-03 before', 'lr_steps',
  ),
  'rate of zero': (
    always(learning_rate=0.0),
    'warning', 'the learning rate is 0', 'learning_rate 0 in every step', 'Set lr above 0',
  ),
  'memorised': (
    monitored(lambda i: {'fresh/gap': 0.03 * i, 'fresh/gap_sem': 0.02}),
    'problem', 'held-out accuracy is above that on fresh tasks', 'fresh/gap +0.270 ± 0.039', 'fresh tasks',
  ),
  'surer of less': (
    monitored(lambda i: {'heldout/pass@8': 0.9 - 0.02 * (i + 1), 'heldout/pass@8_sem': 0.01}),
    'warning', 'the policy solves fewer different tasks', 'heldout/pass@8 0.900', 'entropy bonus',
  ),
  'copies': (
    monitored(lambda i: {'train/rewards/correct/mean': 0.5, 'monitor/duplicate_share': 0.5 + 0.04 * i}),
    'warning', 'completions of a task repeat one another', 'monitor/duplicate_share 0.86', 'temperature',
  ),
  'phrases': (
    monitored(lambda i: {'monitor/duplicate_share': 0.0, 'monitor/distinct_1': 0.5, 'monitor/distinct_4': 0.9 - 0.06 * i}),
    'warning', 'texts have become alike', 'monitor/distinct_4 0.90 -> 0.36', 'samples/',
  ),
  'one answer': (
    monitored(lambda i: {'monitor/consensus/answer_concentration': 0.1 + 0.08 * i}),
    'problem', 'the policy gives one answer to everything', '0.02 -> 0.82', 'roll back',
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
  healthy = doctor.healthy(reading.read(workdir))
  assert 'heldout/pass@1 0.300 [0.300, 0.300] -> 0.700' in healthy.evidence


@pytest.mark.parametrize(
  ('round', 'severity', 'evidence'),
  [
    (None, 'note', 'heldout/pass@1 0.76 lies above the goal.'),
    (5, 'warning', 'the goal. It keeps the weights from the end of round 5.'),
    (-1, 'warning', 'the goal. It keeps the weights from before training.'),
  ],
)
def test_a_rule_that_stopped_the_run_is_a_warning_where_it_took_earlier_weights(
  tmp_path, round, severity, evidence
):
  stop = last_decision('stop', 'heldout/pass@1 0.76 lies above the goal.')['report']

  def report(row):
    row = stop(row)
    return row | {'decision': row['decision'] | {'round': round}} if row['round'] > 8 else row

  found = doctor.diagnose(synthetic_run.write(tmp_path, report=report))
  (stopped,) = [f for f in found if f.what == 'a rule stopped the run']
  assert stopped.severity == severity
  assert stopped.evidence.endswith(evidence)
  assert any(f.severity == 'healthy' for f in found) == (severity == 'note')


def test_a_reward_that_returns_nothing_is_the_one_cause_that_is_named(tmp_path):
  nothing = {name: None for name in ('entropy', 'kl', 'reward', 'frac_reward_zero_std')}
  nothing |= {'judged_ratio': 0.0, 'grad_norm': 0.0, 'rewards/correct/mean': None}
  nothing |= {'rewards/correct/unjudged': 1.0, 'rewards/format/unjudged': 1.0}
  workdir = synthetic_run.write(tmp_path, step=lambda row: row | nothing)
  (found,) = doctor.diagnose(workdir)
  assert (found.severity, found.what) == ('problem', 'the reward judges nothing')
  assert 'rewards/correct/unjudged 1.00' in found.evidence
  assert 'Does the function return one in every case?' in found.advice


UNABLE = {
  'rewards/correct/mean': 0.0, 'rewards/correct/best': 0.0, 'frac_reward_zero_std': 1.0, 'grad_norm': 0.0,
}  # fmt: skip
NO_UPDATE = {
  'never': (0, 'no update was ever finite', 'step 0, the loss came first', 'root of a number'),
  'mostly': (
    4,
    'updates were skipped because',
    'in 40 steps; in step 4, the loss',
    'learning rate',
  ),
}


@pytest.mark.parametrize(
  ('begins', 'what', 'evidence', 'advice'), NO_UPDATE.values(), ids=NO_UPDATE
)
def test_where_nothing_could_be_learned_a_weak_start_is_no_second_finding(
  tmp_path, begins, what, evidence, advice
):
  def step(row):
    broken = row['serial'] >= begins
    skipped = {'updates_skipped': max(row['serial'] + 1.0 - begins, 0.0)}
    return row | UNABLE | skipped | ({'loss': None, 'grad_norm': None} if broken else {})

  zero = accuracies(lambda i: 0.0)
  found = doctor.diagnose(synthetic_run.write(tmp_path, step=step, **zero))
  problems = [f for f in found if f.severity == 'problem']
  assert len(problems) == 1, found
  assert problems[0].what.startswith(what)
  assert evidence in problems[0].evidence
  assert advice in problems[0].advice
  assert 'may follow from it (the start is too weak for this reward' in problems[0].advice
  assert not any('warm start' in f.advice for f in found)


@pytest.mark.parametrize(
  ('first', 'broken', 'advice'),
  [
    ('the advantages', {'advantage_abs_mean': None, 'loss': None}, 'divide by a spread'),
    ('the gradient', {'grad_norm': None}, 'no finite gradient'),
    ('the log-probs', {'sampling/sampling_logp_difference/max': 'Infinity', 'loss': None}, 'dtype'),
  ],
)
def test_advice_on_updates_that_are_not_finite_is_about_what_came_first(
  tmp_path, first, broken, advice
):
  ill = lambda row: row | broken | {'updates_skipped': row['serial'] + 1.0}
  found = doctor.diagnose(synthetic_run.write(tmp_path, step=ill))
  (never,) = [f for f in found if f.what == 'no update was ever finite']
  assert f'in step 0, {first} came first' in never.evidence
  assert advice in never.advice


FOLLOW = {
  'answers in another form are called wrong': (
    {'rewards/format/mean': 0.0, 'entropy': 0.9}, 'nothing is parsed',
    'the start is too weak for this reward',
  ),
  'answers that are cut are called wrong': (
    {'completions/clipped_ratio': 0.97, 'entropy': 0.9}, 'everything is truncated',
    'the start is too weak for this reward',
  ),
  'who draws at random does not end': (
    {'completions/clipped_ratio': 0.97, 'entropy': 2.55}, 'the start is too weak for this reward',
    'everything is truncated',
  ),
  'a scorer that raises judges nothing': (
    {'rewards/correct_error/mean': 1.0, 'rewards/correct/unjudged': 1.0, 'judged_ratio': 0.0, 'entropy': None,
     'rewards/correct/mean': None},
    "the scorer 'correct' raises errors", 'the reward judges nothing',
  ),
}  # fmt: skip


@pytest.mark.parametrize(('metrics', 'cause', 'follower'), FOLLOW.values(), ids=FOLLOW)
def test_what_follows_from_a_cause_is_named_in_its_advice_and_is_no_finding_of_its_own(
  tmp_path, metrics, cause, follower
):
  ill = always(**UNABLE | metrics) | accuracies(lambda i: 0.0)
  found = doctor.diagnose(synthetic_run.write(tmp_path, **ill))
  (first,) = [f for f in found if f.what == cause]
  assert follower in first.advice
  assert follower not in [f.what for f in found]


def test_a_weak_start_after_a_warning_of_the_build_sends_to_the_warning_first(tmp_path):
  ill = always(**UNABLE) | accuracies(lambda i: 0.0)
  workdir = synthetic_run.write(tmp_path, **ill)
  (workdir / 'warnings.txt').write_text('the reward pays a right answer no more than a wrong one\n')
  (weak,) = [f for f in doctor.diagnose(workdir) if 'too weak' in f.what]
  assert weak.advice.startswith('First mend what was warned of before the first step.')


def test_entropies_of_0_in_files_of_steps_without_completions_are_no_collapse(tmp_path):
  old = {'judged_ratio': 0.0, 'entropy': 0.0, 'grad_norm': 0.0}
  found = doctor.diagnose(synthetic_run.write(tmp_path, step=lambda row: row | old))
  assert [f.what for f in found] == ['nothing reaches the optimizer']


def test_a_weak_start_is_said_once_and_not_as_tied_groups_or_a_missing_gain_too(tmp_path):
  ill = always(
    rewards__correct__mean=0.0, rewards__correct__std=0.0, rewards__correct__best=0.0,
    frac_reward_zero_std=1.0, grad_norm=0.0,
  )  # fmt: skip
  nothing = lambda i: {'train/reward': 0.0, 'heldout/pass@1': 0.0, 'heldout/pass@8': 0.0}
  found = doctor.diagnose(synthetic_run.write(tmp_path, **ill | monitored(nothing)))
  assert [f.what for f in found if f.severity == 'problem'] == [
    'the start is too weak for this reward'
  ]
  others = ('tied', 'gain', 'constant', 'gradient')
  assert [f.what for f in found if any(word in f.what for word in others)] == []


def test_a_policy_that_lost_what_it_knew_did_not_start_too_weak(tmp_path):
  ill = changed('rewards/correct/mean', 0.0) | accuracies(lambda i: 0.3 if i < 3 else 0.0)
  found = [f.what for f in doctor.diagnose(synthetic_run.write(tmp_path, **ill))]
  assert 'held-out accuracy fell below its best' in found
  assert 'the start is too weak for this reward' not in found


def test_a_reward_that_is_small_or_negative_by_design_is_no_weak_start(tmp_path):
  def scored(row):
    row = {name: value for name, value in row.items() if not name.startswith('rewards/')}
    return row | {'reward': -2.0, 'rewards/brief/mean': -2.0, 'rewards/brief/std': 0.1}

  without = lambda row: row | {'metrics': {'train/reward': -2.0}}
  found = doctor.diagnose(synthetic_run.write(tmp_path, step=scored, report=without))
  assert [f.severity for f in found] == ['healthy']


def test_demonstrations_are_no_tied_groups_and_no_constant_reward(tmp_path):
  alone = always(
    reward_std=None, frac_reward_zero_std=1.0, rewards__format__mean=1.0, rewards__format__std=0.0
  )
  (found,) = doctor.diagnose(synthetic_run.write(tmp_path, **alone))
  assert found.severity == 'healthy'


def test_a_schedule_that_falls_to_the_end_of_the_run_is_no_illness(tmp_path):
  falling = lambda row: row | {'learning_rate': 1e-3 * (1 - row['serial'] / TOTAL)}
  (found,) = doctor.diagnose(synthetic_run.write(tmp_path, step=falling))
  assert found.severity == 'healthy'


def test_right_answers_that_are_alike_are_no_loss_of_diversity(tmp_path):
  # Short answers: when a task is solved, its right completions are copies of one another.
  def report(i):
    right = synthetic_run.accuracy(i + 1)
    return {'train/rewards/correct/mean': right, 'monitor/duplicate_share': right - 0.1}

  found = doctor.diagnose(synthetic_run.write(tmp_path, **monitored(report)))
  assert [f.severity for f in found] == ['healthy']


def test_a_measurement_without_an_error_is_compared_as_exact_whether_absent_or_null(tmp_path):
  def fell(row):
    value = 0.7 if row['round'] == 5 else 0.65
    error = {'heldout/pass@1_sem': None} if row['round'] % 2 else {}
    return row | {'metrics': {'heldout/pass@1': value} | error}

  found = [f.what for f in doctor.diagnose(synthetic_run.write(tmp_path, report=fell))]
  assert 'held-out accuracy fell below its best' in found


def test_a_run_of_no_rounds_is_called_that(tmp_path):
  workdir = synthetic_run.write(tmp_path, rounds=0)
  (found,) = doctor.diagnose(workdir)
  assert (found.severity, found.what) == ('note', 'this run has no rounds')
  assert reading.read(workdir).status() == 'no rounds: max_rounds=0'


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
