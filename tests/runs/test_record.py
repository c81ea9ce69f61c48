"""What a run writes: rows that repeat after a resume, readable samples, lines for a log."""

import io
import json
import math
import re

import jax.numpy as jnp
import numpy as np
import pytest

from sirl.runs import metrics, progress, reading, record, sinks
from sirl.tasks import Task
from sirl.types import Action, Decision, Outcome, Report, Rewards, Rollouts, Samples

from support import synthetic_run

STEPS = 3


def open_log(workdir, serial=0, **options):
  return record.Log(workdir, serial=serial, steps_per_round=STEPS, **options)


def lines(path):
  return [json.loads(line) for line in path.read_text().splitlines()]


def run_steps(log, first, last, *, reward=0.1):
  for serial in range(first, last):
    log.step(
      serial // STEPS, serial % STEPS, {'reward': np.float32(reward * serial), 'kl': jnp.nan}
    )


def outcome():
  tasks = [
    Task(id='a', prompt='1+1=', answer='2'),
    Task(id='b', prompt='say <b>hi</b>', answer=None),
  ]
  shape = (2, 2, 4)
  rollouts = Rollouts(
    tokens=jnp.zeros(shape, jnp.int32),
    valid=jnp.ones(shape, bool),
    action=jnp.zeros(shape, bool).at[..., 1:].set(True),
    logp=jnp.zeros(shape),
    truncated=jnp.array([[False, True], [False, False]]),
  )
  rewards = Rewards(
    total=np.array([[1.0, 0.0], [np.nan, 0.5]]),
    parts={'correct': jnp.array([[1.0, 0.0], [jnp.nan, jnp.nan]])},
  )
  return Outcome(Samples(tasks, [['2', '3\n4'], ['hi', '']], rollouts), rewards, {})


def test_a_row_holds_address_and_metrics_and_nan_is_null(tmp_path):
  log = open_log(tmp_path)
  log.step(2, 1, {'reward': jnp.float32(0.1), 'kl': jnp.nan})
  assert lines(tmp_path / 'steps.jsonl') == [
    {'round': 2, 'step': 1, 'serial': 7, 'reward': float(np.float32(0.1)), 'kl': None}
  ]
  assert math.isnan(log.round(2)[0]['kl'])
  assert log.round(1) == []


def test_infinite_numbers_are_words_in_every_file_and_numbers_again_when_read(tmp_path):
  def refuse(word):
    raise ValueError(f'not JSON: {word}')

  log = open_log(tmp_path)
  log.step(0, 0, {'loss': math.inf, 'kl': -math.inf, 'reward': math.nan})
  log.report(Report(0, {'train/loss': math.inf}, Decision(Action.STOP, 'train/loss is inf')))
  infinite = outcome()
  infinite.rewards.total[0, 0] = math.inf
  log.samples(0, infinite)
  for name in ('steps.jsonl', 'history.jsonl', 'samples/round_00000.jsonl'):
    for line in (tmp_path / name).read_text().splitlines():
      json.loads(line, parse_constant=refuse)
  run = reading.read(tmp_path)
  assert (run.steps[0]['loss'], run.steps[0]['kl']) == (math.inf, -math.inf)
  assert run.history[0].metrics['train/loss'] == math.inf
  assert [row['reward'] for row in run.samples[0]] == [math.inf, 0.0, None, 0.5]
  again = open_log(tmp_path, serial=1)  # what a resumed run averages is what was measured
  assert str(again.round(0)) == str(log.round(0))


def test_resume_cuts_back_to_the_committed_steps_and_a_torn_line_is_dropped(tmp_path):
  run_steps(open_log(tmp_path), 0, 6)
  before = (tmp_path / 'steps.jsonl').read_text()
  with open(tmp_path / 'steps.jsonl', 'a') as file:
    file.write('{"round": 2, "step": 0, "ser')

  log = open_log(tmp_path, serial=4)  # round 1, step 1: rows 0..3 are committed
  assert [row['serial'] for row in lines(tmp_path / 'steps.jsonl')] == [0, 1, 2, 3]
  assert [row['serial'] for row in log.round(1)] == [3]
  run_steps(log, 4, 6)
  assert (tmp_path / 'steps.jsonl').read_text() == before
  assert [row['serial'] for row in log.round(1)] == [3, 4, 5]


def test_rows_read_back_equal_rows_kept_in_memory(tmp_path):
  first = open_log(tmp_path)
  run_steps(first, 0, 2)
  again = open_log(tmp_path, serial=2)
  assert str(first.round(0)) == str(again.round(0))  # as text, because NaN is unequal to itself


def test_history_is_cut_back_and_rewritten_from_the_checkpoint(tmp_path):
  reports = [
    Report(i, {'heldout/plain': 0.5, 'x': math.nan}, Decision(Action.CONTINUE, 'ok'))
    for i in range(-1, 3)
  ]
  log = open_log(tmp_path)
  for report in reports:
    log.report(report)
  (tmp_path / 'samples').mkdir()
  for i in range(3):
    (tmp_path / 'samples' / f'round_{i:05d}.txt').write_text('x')
  (tmp_path / 'samples' / '.round_00001.txt.4711.tmp').write_text('left by a kill')

  log = open_log(tmp_path, serial=2 * STEPS)  # rounds -1, 0, 1 are committed
  assert [row['round'] for row in lines(tmp_path / 'history.jsonl')] == [-1, 0, 1]
  assert [p.name for p in sorted((tmp_path / 'samples').iterdir())] == [
    'round_00000.txt',
    'round_00001.txt',
  ]
  log.rewrite(reports[:2])
  rows = lines(tmp_path / 'history.jsonl')
  assert [row['round'] for row in rows] == [-1, 0]
  assert rows[0]['metrics'] == {'heldout/plain': 0.5, 'x': None}
  assert rows[0]['decision'] == {
    'action': 'continue', 'reason': 'ok', 'round': None, 'difficulty': None, 'by': 'rule',
  }  # fmt: skip


def test_missing_committed_rows_are_said(tmp_path, caplog):
  open_log(tmp_path, serial=STEPS + 2)
  assert 'steps.jsonl holds 0 of the 2 committed steps of round 1' in caplog.text


def test_a_broken_line_in_the_middle_is_an_error_naming_it(tmp_path):
  (tmp_path / 'steps.jsonl').write_text(
    '{"serial": 0, "round": 0}\nnonsense\n{"serial": 1, "round": 0}\n'
  )
  with pytest.raises(ValueError, match=r'steps.jsonl, line 2 is not JSON'):
    open_log(tmp_path, serial=2)


def test_samples_are_json_for_programs_and_text_for_people(tmp_path):
  open_log(tmp_path).samples(3, outcome())
  rows = lines(tmp_path / 'samples' / 'round_00003.jsonl')
  assert rows[1] == {
    'round': 3, 'task': 'a', 'prompt': '1+1=', 'answer': '2', 'sample': 1, 'completion': '3\n4', 'reward': 0.0,
    'parts': {'correct': 0.0}, 'truncated': True, 'tokens': 3,
  }  # fmt: skip
  assert rows[2]['reward'] is None
  text = (tmp_path / 'samples' / 'round_00003.txt').read_text()
  for piece in (
    'prompt  (a)',
    'answer  2',
    'reward=1  correct=1',
    'TRUNCATED',
    '(nobody knows it)',
    '(empty)',
  ):
    assert piece in text


def test_sinks_get_every_step_and_round_and_a_missing_package_names_its_extra(tmp_path):
  seen = []
  log = open_log(tmp_path, sinks=[lambda serial, numbers: seen.append((serial, dict(numbers)))])
  log.step(1, 0, {'reward': 1.0})
  log.report(Report(1, {'heldout/plain': 0.5}))
  assert seen == [(3, {'reward': 1.0}), (6, {'heldout/plain': 0.5})]
  with pytest.raises(
    ValueError, match=r'a_package_nobody_has is not installed; run: pip install "sirl\[wandb\]"'
  ):
    sinks._optional('a_package_nobody_has', 'wandb')


def test_plain_progress_of_a_short_run_is_one_line_per_step_and_round(tmp_path):
  stream = io.StringIO()
  display = progress.open_display('quickstart', stream=stream)
  log = open_log(tmp_path, progress=display, max_rounds=5)
  row = {
    'reward': 0.25,
    'entropy': 1.5,
    'completions/mean_length': 3.2,
    'step_tokens': 100,
    'step_time': 0.5,
    'kl': math.nan,
  }
  log.step(2, 0, row)
  decision = Decision(Action.ROLLBACK, 'accuracy fell', round=1)
  log.report(
    Report(2, {'heldout/pass@1': 0.5, 'heldout/pass@1_sem': 0.1, 'heldout/greedy': 0.75}, decision)
  )
  display.close('interrupted')
  times, lines = zip(*(line.split(' ', 1) for line in stream.getvalue().splitlines()))
  assert all(re.fullmatch(r'\d\d:\d\d:\d\d', time) for time in times)
  assert list(lines) == [
    'quickstart',
    f'run {tmp_path.name}',
    'round 2/5  step 1/3  reward 0.250  entropy 1.500  length 3.2  200 tokens/s  0.5 s',
    'round 2 done  heldout/pass@1 0.500 [0.304, 0.696]  heldout/greedy 0.750  rollback to round 1: accuracy fell',
    'interrupted',
  ]


@pytest.mark.parametrize(
  ('steps', 'rounds', 'seconds', 'shown'),
  [
    (16, 30, 0.1, [0, *range(9, 480, 10)]),  # 480 steps: the first, and every tenth
    (4, 2, 0.1, [*range(8)]),
    (100, None, 0.1, [0, *range(1, 100, 2)]),  # a run without an end: by the steps of a round
    (16, 30, 300.0, [*range(480)]),  # slow steps are never silent for long
  ],
)
def test_a_log_of_many_steps_has_about_fifty_lines_and_every_report(
  monkeypatch, steps, rounds, seconds, shown
):
  now, stream = [0.0], io.StringIO()
  monkeypatch.setattr(progress.time, 'monotonic', lambda: now[0])
  display = progress.Plain('quickstart', stream)
  display.begin('run', steps_per_round=steps, max_rounds=rounds)
  for serial in range(steps * (rounds or 1)):
    now[0] += seconds
    display.step({'round': serial // steps, 'step': serial % steps, 'serial': serial})
    if serial % steps == steps - 1:
      display.report(Report(serial // steps, {}))
  lines = stream.getvalue().splitlines()
  found = [re.search(r' round (\d+)(?:/\d+)?  step (\d+)/', line) for line in lines]
  assert [int(m[1]) * steps + int(m[2]) - 1 for m in found if m] == shown
  assert sum(line.endswith(' done') for line in lines) == (rounds or 1)
  assert ('a line for every 10 steps' in lines[1]) == (steps == 16)


def test_a_terminal_gets_a_live_table(tmp_path):
  class Terminal(io.StringIO):
    def isatty(self):
      return True

  stream = Terminal()
  display = progress.open_display('quickstart', stream=stream)
  log = open_log(tmp_path, progress=display)
  log.stage('generate')
  log.step(0, 1, {'reward': 0.25})
  log.report(Report(0, {'heldout/pass@1': 0.5, 'heldout/pass@1_sem': 0.1, 'train/reward': 0.3}))
  display.close('interrupted')
  for piece in ('quickstart', 'heldout/pass@1', '0.500 [0.304, 0.696]', 'reward 0.250', 'step 2/3'):
    assert piece in stream.getvalue()
  assert 'interrupted' in stream.getvalue()
  assert 'done' not in stream.getvalue()


def test_the_display_estimates_the_end_from_the_steps_after_the_one_that_compiles(monkeypatch):
  now = [100.0]
  monkeypatch.setattr(progress.time, 'monotonic', lambda: now[0])
  pace = progress.Pace(12)
  now[0] = 160.0
  pace.step(4)  # a resumed run; this step compiled
  assert pace.left() is None
  now[0] = 180.0
  pace.step(6)  # 10 seconds each; steps 7 to 11 are left
  assert pace.left() == 50
  now[0] = 187.0
  assert pace.left() == 43
  assert [progress.duration(x) for x in (43, 700, 9000)] == ['43 s', '12 min', '2.5 h']
  endless = progress.Pace()
  endless.step(0)
  endless.step(1)
  assert endless.left() is None


def test_a_terminal_shows_the_stage_that_runs_and_how_long_the_run_goes_on(monkeypatch):
  now = [0.0]
  monkeypatch.setattr(progress.time, 'monotonic', lambda: now[0])
  display = progress.Terminal('quickstart', io.StringIO())
  display.begin('run', steps_per_round=3, max_rounds=2)
  for serial, now[0] in ((0, 60.0), (1, 70.0)):
    display.step({'round': 0, 'step': serial, 'serial': serial})
  display.stage('reward')
  now[0] = 78.0
  words = str(display._now())
  display.close()
  assert words.startswith('reward 8s  round 0/2  step 2/3')
  assert words.endswith('78 s since the start  about 32 s left at most')


def test_the_documentation_is_the_table(request):
  documented = request.config.rootpath / 'docs' / 'metrics.md'
  assert documented.read_text() == metrics.markdown(), (
    'run: python -m sirl.runs.metrics > docs/metrics.md'
  )


def test_every_metric_of_a_recorded_run_is_described(tmp_path):
  run = reading.read(synthetic_run.write(tmp_path))
  for name in run.step_names:
    assert name in record.ADDRESS or metrics.describe(name), name
  for report in run.history:
    for name in report.metrics:
      assert metrics.describe(name, report.metrics), name


REPORTED = ('refined/plain', 'refined/vote8', 'refined/vote8_gain', 'refined/vote8_gain_sem')


@pytest.mark.parametrize(
  ('name', 'meaning'),
  [
    ('train/kl', "Estimated KL .* Mean over the round's steps."),
    ('train/updates_skipped', "Updates left out.* Value after the round's last step."),
    ('train/rewards/correct/mean_sem', 'Standard error of train/rewards/correct/mean.'),
    ('heldout/pass@8_low', 'Lower end of the 95 % interval of heldout/pass@8.'),
    ('refined/vote8', "Accuracy of that refiner's answer"),
    ('refined/vote8_sem', 'Standard error of refined/vote8.'),
    ('refined/vote8_gain_sem', 'Standard error of refined/vote8_gain.'),
    ('refined/vote8_gain_p', 'One-sided p-value'),
    ('monitor/distinct_4', 'Distinct over all n-grams'),
    ('monitor/consensus/vote_margin_sem', 'Standard error of monitor/consensus/vote_margin.'),
  ],
)
def test_a_name_means_what_the_table_says(name, meaning):
  assert re.match(meaning, metrics.describe(name, REPORTED))


@pytest.mark.parametrize(
  'name',
  [
    'rewardz',
    'train/rewardz',
    'monitor/anything',
    'my/number',  # no gain beside it, so no refiner
    'heldout/at_0_sem',  # never written
    'train/kl_sem',
    'heldout/greedy_sem_sem',
  ],
)
def test_what_nobody_writes_is_not_described(name):
  assert metrics.describe(name, REPORTED) is None
