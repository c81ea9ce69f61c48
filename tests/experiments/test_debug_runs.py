"""Every experiment runs from the command line with debug=true, and the choice that makes it different is in its numbers."""

import json

import pytest

from sirl import cli
from sirl.runtime import metrics, record, runs

pytestmark = pytest.mark.usefixtures('quick_compiles')

SMALL = [
  'max_rounds=1',
  'steps_per_round=2',
  'checkpoint_every=2',
  'prompts=4',
  'heldout=8',
  'acquired=8',
]
PARTS = {  # experiment -> reward parts it must report, and whether its tasks hold answers
  'quickstart_random': ({'coin', 'correct'}, True),
  'quickstart_rejection': ({'correct'}, True),
  'quickstart_majority': ({'vote', 'majority_ratio', 'parsed'}, False),
  'quickstart_majority_careless': ({'vote', 'majority_ratio', 'parsed'}, False),
  'quickstart_curriculum': ({'correct'}, True),
  'quickstart_self_instruct': ({'correct', 'written'}, False),
  'smollm2_addition': ({'correct', 'bare'}, True),
}


SLOW = (
  'quickstart_random',
  'quickstart_rejection',
  'quickstart_majority_careless',
)  # choices that other tests have


@pytest.mark.parametrize(
  'name', [pytest.param(name, marks=[pytest.mark.slow] * (name in SLOW)) for name in PARTS]
)
def test_experiment_runs_small_and_reports_its_parts(name, tmp_path, capsys):
  numbers = [item for number in ('debug=true', *SMALL) for item in ('--set', number)]
  code = cli.main(['run', f'experiments/{name}.py', *numbers, '--workdir', str(tmp_path)])
  assert code == cli.DONE, capsys.readouterr().err
  parts, answered = PARTS[name]
  rows = record.read_rows(tmp_path / 'steps.jsonl')
  assert len(rows) == 2
  found = {key.split('/')[1] for key in rows[0] if key.startswith('rewards/')}
  assert found == parts
  assert undescribed(runs.read(tmp_path)) == []
  assert (tmp_path / 'report.html').exists()
  lines = (tmp_path / 'pool' / 'round_00000.jsonl').read_text().splitlines()
  tasks = [json.loads(line) for line in lines[1:]]
  assert all((task['answer'] is not None) == answered for task in tasks)


def undescribed(run):
  """Numbers of a run, and of its warm start, that docs/metrics.md does not define, or whose interval it promises in vain."""
  reported = {name for report in run.history for name in report.metrics}
  wrong = [
    name for name in run.step_names if not (name in record.ADDRESS or metrics.describe(name))
  ]
  wrong += [name for name in reported if not metrics.describe(name, reported)]
  for name in reported:
    if metrics.beside(name, reported) == metrics.INTERVAL:
      wrong += [name + end for end in metrics.INTERVAL if name + end not in reported]
  return wrong + (undescribed(run.warm) if run.warm else [])
