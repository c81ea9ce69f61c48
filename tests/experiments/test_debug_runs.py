"""Every experiment runs with debug=true, and its numbers show its distinguishing choice."""

import json
import re

import pytest

from sirl import cli
from sirl.commands import DONE
from sirl.runs import metrics, reading, record

pytestmark = pytest.mark.usefixtures('quick_compiles')

SMALL = ['max_rounds=1', 'steps_per_round=2', 'checkpoint_every=2', 'prompts=4', 'heldout=8']
ACQUIRED = [*SMALL, 'acquired=8']
# experiment -> (numbers, reward parts to report with their weights in the total, whether its tasks
# hold answers). The parts are None if the roles have their own totals, or if not every total is
# kept.
RUNS = {
  'quickstart': (ACQUIRED, {'correct': 1.0}, True),
  'my_reward': (ACQUIRED, {'correct': 1.0, 'digits': 0.2}, True),
  'quickstart_random': (ACQUIRED, {'coin': 1.0, 'correct': 0.0}, True),
  'quickstart_rejection': (ACQUIRED, {'correct': None}, True),
  'quickstart_majority': (ACQUIRED, {'vote': 1.0, 'majority_ratio': 0.0, 'parsed': 0.0}, False),
  'quickstart_majority_careless': (ACQUIRED, {'vote': 1.0, 'majority_ratio': 0.0, 'parsed': 0.0}, False),
  'quickstart_curriculum': (ACQUIRED, {'correct': 1.0}, True),
  'quickstart_self_instruct': (ACQUIRED, {'correct': None, 'written': None}, False),
  'smollm2_addition': (ACQUIRED, {'correct': 1.0}, True),  # on the toy, which reads bare sums
  'gsm8k_grpo': (SMALL, {'correct': 1.0, 'format': 0.1}, True),
}  # fmt: skip
# After its warm start some answers of a group are right, so there is something to learn.
LEARNS = 'gsm8k_grpo'


@pytest.mark.all
@pytest.mark.parametrize('name', RUNS)
def test_experiment_runs_small_and_reports_its_parts(name, tmp_path, capsys):
  small, weights, answered = RUNS[name]
  numbers = [item for number in ('debug=true', *small) for item in ('--set', number)]
  code = cli.main(['run', f'experiments/{name}.py', *numbers, '--workdir', str(tmp_path)])
  said = capsys.readouterr()
  assert code == DONE, said.err
  assert 'pass@1, sampled' in said.out
  rows = record.read_rows(tmp_path / 'steps.jsonl')
  assert len(rows) == 2
  for row in rows:
    found = {key.split('/')[1]: row[key] for key in row if re.match('rewards/.*/mean', key)}
    assert found.keys() == weights.keys()
    if None not in weights.values():
      total = sum(weight * found[part] for part, weight in weights.items())
      assert row['reward'] == pytest.approx(total, abs=1e-6)
    assert row['sampling/sampling_logp_difference/max'] < 1e-5
  if name == LEARNS:
    assert max(row['grad_norm'] for row in rows) > 0.01
    assert rows[-1]['updates_skipped'] == 0
  assert undescribed(reading.read(tmp_path)) == []
  assert (tmp_path / 'report.html').exists()
  lines = (tmp_path / 'pool' / 'round_00000.jsonl').read_text().splitlines()
  tasks = [json.loads(line) for line in lines[1:]]
  assert all((task['answer'] is not None) == answered for task in tasks)


def undescribed(run):
  """Numbers of a run and its warm start that docs/metrics.md does not define.

  Also those whose interval it promises but which have none.
  """
  reported = {name for report in run.history for name in report.metrics}
  wrong = [
    name for name in run.step_names if not (name in record.ADDRESS or metrics.describe(name))
  ]
  wrong += [name for name in reported if not metrics.describe(name, reported)]
  for name in reported:
    if metrics.beside(name, reported) == metrics.INTERVAL:
      wrong += [name + end for end in metrics.INTERVAL if name + end not in reported]
  return wrong + (undescribed(run.warm) if run.warm else [])
