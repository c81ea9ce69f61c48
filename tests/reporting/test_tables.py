"""Text tables: before and after of a run, and the runs in a folder."""

import os

import pytest

from sirl.reporting import tables
from sirl.runs import reading
from sirl.types import Report

from support import synthetic_run

NOW = 1_000_000.0


def written(folder, seconds, **more):
  """A workdir whose last write was so many seconds before NOW."""
  workdir = synthetic_run.write(folder, **more)
  for path in workdir.iterdir():
    os.utime(path, (NOW - seconds, NOW - seconds))
  return workdir


def cells(text):
  """{name: cells} of a table whose cells are at least two spaces apart."""
  rows = [[cell.strip() for cell in line.split('  ') if cell.strip()] for line in text.splitlines()]
  return {row[0]: row[1:] for row in rows[2:]}


def test_runs_stand_with_their_numbers_status_accuracy_and_age(tmp_path):
  config = {'task': 'chains', 'model': 'toy', 'seed': 3}
  written(tmp_path / 'a', 300, config=config, experiment='experiments/methods/grpo.py')
  found = cells(tables.runs(tmp_path, now=NOW))
  assert found == {
    'a': [
      'grpo', 'chains', 'toy', '3', '10 of 10', 'finished all 10 rounds', 'heldout/pass@1',
      '0.300 -> 0.759 [0.719, 0.799]', '5 min',
    ]
  }  # fmt: skip


def test_runs_of_a_sweep_are_listed_and_warm_starts_are_not(tmp_path):
  written(tmp_path / 'alone', 0, warm=True)
  for seed in range(2):
    written(tmp_path / 'sweep' / f'seed={seed}', 7200, config={'seed': seed})
  written(tmp_path / 'far' / 'too' / 'deep', 0)
  found = cells(tables.runs(tmp_path, now=NOW))
  assert list(found) == ['alone', 'sweep/seed=0', 'sweep/seed=1']
  assert found['sweep/seed=1'][-1] == '2 h'


def test_the_folder_of_a_run_lists_that_run(tmp_path):
  written(tmp_path / 'mine', 5 * 86400, warm=True)
  found = cells(tables.runs(tmp_path / 'mine', now=NOW))
  (row,) = found.values()
  assert row[-1] == '5 d'


def test_a_run_under_way_and_one_that_failed_say_so(tmp_path):
  workdir = written(tmp_path / 'young', 0)
  for name in ('history.jsonl', 'steps.jsonl'):
    (workdir / name).unlink()
  failed = written(tmp_path / 'failed', 0)
  (failed / 'error.txt').write_text('out of memory\n')
  found = cells(tables.runs(tmp_path, now=NOW))
  assert found['young'][4:6] == ['0 of 10', 'unfinished: 0 rounds of at most 10 reported']
  assert found['young'][6:8] == ['–', '–']
  assert found['failed'][5] == 'finished all 10 rounds, last attempt failed'


def test_damaged_runs_are_shown_and_do_not_stop_the_others(tmp_path):
  (written(tmp_path / 'a', 0) / 'config.json').write_text('{"torn')
  (written(tmp_path / 'b', 0) / 'history.jsonl').write_text('{"round": 0}\n')
  (written(tmp_path / 'c', 0) / 'config.json').write_text('[]')
  (written(tmp_path / 'd', 0) / 'steps.jsonl').write_text('{\n{}\n')
  written(tmp_path / 'e', 0)
  text = tables.runs(tmp_path, now=NOW)
  for name, reason in (('a', 'is not JSON'), ('b', 'KeyError'), ('c', 'list'), ('d', 'line 1')):
    (line,) = [line for line in text.splitlines() if line.startswith(f'{name} is damaged: ')]
    assert reason in line
  assert text.count('damaged, see below') == 4
  assert 'finished all 10 rounds' in text


def test_an_empty_folder_says_how_to_start_a_run(tmp_path):
  assert tables.runs(tmp_path) == (
    f'no run in {tmp_path}; start one: sirl run FILE --workdir {tmp_path}/NAME, or give the '
    'folder that holds your runs'
  )
  with pytest.raises(FileNotFoundError, match='no folder'):
    tables.runs(tmp_path / 'none')


def test_before_and_after_hold_the_change(tmp_path):
  history = reading.read(synthetic_run.write(tmp_path)).history
  text = tables.before_and_after(history)
  line = next(line for line in text.splitlines() if line.startswith('pass@1, sampled'))
  # accuracy(0) = .3, accuracy(10) = .3 + .5 (1 - e^-2.5) = .759
  assert line.split()[2:] == [
    '0.300',
    '[0.260,',
    '0.340]',
    '0.759',
    '[0.719,',
    '0.799]',
    '+0.459',
    'heldout/pass@1',
  ]
  assert text.endswith('10 rounds; last decision: continue, no rule fired')


def test_a_row_says_which_metric_it_shows_and_a_check_is_not_called_a_verifier():
  measured = {'heldout/maj@8': 0.5, 'refined/best8': 0.6, 'refined/vote8': 0.5}
  rows = tables.headline([Report(-1, measured, None)])
  assert rows == {'majority of 8': 'heldout/maj@8', 'best of 8 by check': 'refined/best8'}
  text = tables.before_and_after([Report(-1, measured, None)])
  assert [line.split()[-1] for line in text.splitlines()[2:4]] == list(rows.values())


def test_a_debug_run_is_marked_and_one_round_is_not_called_rounds(tmp_path):
  written(tmp_path / 'a', 0, rounds=1, config={'debug': True, 'max_rounds': 1})
  written(tmp_path / 'b', 0, rounds=1, config={'max_rounds': 3})
  found = cells(tables.runs(tmp_path, now=NOW))
  assert found['a'][5] == 'finished its one round, a debug run'
  assert found['b'][5] == 'unfinished: 1 round of at most 3 reported'
  history = reading.read(tmp_path / 'a').history
  assert tables.before_and_after(history).splitlines()[-1].startswith('1 round; last decision')


def test_columns_begin_below_each_other():
  assert tables.aligned([['a', 'head', 'x'], ['longer', 'b']]) == (
    'a       head  x\n---------------\nlonger  b'
  )


def test_a_run_of_no_rounds_has_no_after_and_no_change(tmp_path):
  history = reading.read(synthetic_run.write(tmp_path, rounds=0)).history
  lines = tables.before_and_after(history).splitlines()
  assert lines[0].split() == ['held-out', 'before', 'metric']
  assert lines[2].split() == ['pass@1,', 'sampled', '0.300', '[0.260,', '0.340]', 'heldout/pass@1']
  assert lines[-1] == 'no round was trained'
