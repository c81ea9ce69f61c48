"""Comparing runs: which form a group, the intervals by hand, and what is refused."""

import math
import shutil

import matplotlib.image
import pytest

from sirl.reporting import compare

from support import synthetic_run

NAME = 'heldout/pass@1'
SETS = {'heldout': {'tasks': 200, 'sha256': 'a' * 64}}


def written(folder, experiment, seed, accuracy, *, sem=0.02, measured=None, config=None, **more):
  """A workdir of three rounds that begins at accuracy .3 and ends at the given one."""

  def report(row):
    value = 0.3 + (accuracy - 0.3) * (row['round'] + 1) / 3
    ends = {'': value, '_sem': sem, '_low': value - 0.05, '_high': value + 0.03}
    return row | {'metrics': {f'{NAME}{end}': number for end, number in ends.items()}}

  return synthetic_run.write(
    folder,
    rounds=3,
    report=report,
    config={'seed': seed, **(config or {})},
    experiment=f'experiments/methods/{experiment}.py',
    **({'measured': measured} if measured else {}),
    **more,
  )


def several(tmp_path, values, *, sem=0.005):
  """Workdirs of {experiment: {seed: accuracy}}."""
  return [
    written(tmp_path / f'{experiment}{seed}', experiment, seed, accuracy, sem=sem)
    for experiment, runs in values.items()
    for seed, accuracy in runs.items()
  ]


def only(differences):
  (difference,) = differences
  return difference


# ---------------------------------------------------------------- groups


def test_runs_that_differ_in_their_seed_alone_are_a_group_named_by_the_experiment(tmp_path):
  found = compare.compare(several(tmp_path, {'rloo': {0: 0.5, 2: 0.6, 1: 0.7}, 'grpo': {0: 0.6}}))
  assert [(row.name, row.seeds) for row in found.rows] == [('rloo', (0, 1, 2)), ('grpo', (0,))]
  assert found.rows[0].workdirs == tuple(str(tmp_path / f'rloo{i}') for i in range(3))


def test_names_hold_the_numbers_that_differ_and_no_others(tmp_path):
  runs = [
    written(
      tmp_path / f'{lr}{seed}',
      'grpo',
      seed,
      0.5,
      config={'lr': lr, 'task': task, 'kl': 0.0, 'clip': [0.2, 0.3]},
    )
    for lr, task in ((1e-4, 'addition'), (3e-4, 'chains'))
    for seed in range(2)
  ]
  found = compare.compare(runs)
  assert [row.name for row in found.rows] == [
    'grpo task=addition lr=0.0001',
    'grpo task=chains lr=0.0003',
  ]


def test_many_numbers_that_differ_are_named_below_the_tables(tmp_path):
  numbers = {f'number{i}': i for i in range(6)}
  more = {name: value + 1 for name, value in numbers.items()}
  runs = [
    written(tmp_path / f'{i}', 'grpo', 0, 0.5, config=c) for i, c in enumerate((numbers, more))
  ]
  found = compare.compare(runs)
  assert found.rows[1].name == 'grpo number0=1 number1=2 number2=3 number3=4'
  assert 'The groups also differ in number4, number5.' in compare.text(found)


def test_groups_get_names_of_their_own_where_only_the_last_of_many_numbers_differs(tmp_path):
  same = {f'number{i}': i for i in range(4)}
  runs = [
    written(tmp_path / '0', 'grpo', 0, 0.5, config=same | {'late': 0}),
    written(tmp_path / '1', 'grpo', 0, 0.5, config=same | {'late': 1}),
    written(tmp_path / '2', 'grpo', 0, 0.5, config={name: 9 for name in same} | {'late': 0}),
  ]
  names = [row.name for row in compare.compare(runs).rows]
  assert len(set(names)) == 3
  assert names[0].endswith('late=0')


def test_one_experiment_of_two_folders_is_two_groups(tmp_path):
  runs = [written(tmp_path / 'a', 'grpo', 0, 0.5), written(tmp_path / 'b', 'other/grpo', 0, 0.5)]
  names = [row.name for row in compare.compare(runs).rows]
  assert names == ['experiments/methods/grpo.py', 'experiments/methods/other/grpo.py']


def test_an_experiment_file_that_was_changed_between_seeds_is_noted(tmp_path):
  runs = [
    written(tmp_path / f'{seed}', 'grpo', seed, 0.5, source_sha256=str(seed)) for seed in (0, 1)
  ]
  found = compare.compare(runs)
  assert 'The experiment file of grpo was changed between its runs.' in found.notes
  assert 'All runs differ in their seed alone: there is one group and no difference.' in found.notes
  assert found.differences == ()


# ---------------------------------------------------------------- numbers


def test_means_and_interval_over_seeds_by_hand(tmp_path):
  found = compare.compare(several(tmp_path, {'rloo': {0: 0.5, 1: 0.6, 2: 0.7}, 'grpo': {5: 0.6}}))
  score = found.rows[0].scores[NAME]
  # Deviations -.1, 0, .1: variance .02 / 2, standard error .1 / sqrt 3; t of 2 degrees is 4.30.
  half = 4.30 * 0.1 / math.sqrt(3)
  assert score.before == pytest.approx(0.3)
  assert score.after == pytest.approx(0.6)
  assert (score.low, score.high) == pytest.approx((0.6 - half, 0.6 + half))
  alone = found.rows[1].scores[NAME]
  assert (alone.low, alone.high) == pytest.approx((0.6 - 0.05, 0.6 + 0.03))  # of the report itself


def test_paired_difference_by_hand(tmp_path):
  values = {'grpo': {0: 0.50, 1: 0.60, 2: 0.70}, 'rloo': {0: 0.55, 1: 0.66, 2: 0.74}}
  found = only(compare.compare(several(tmp_path, values)).differences)
  # Differences .05 .06 .04: mean .05, deviations 0 .01 -.01, so the standard error is .01 / sqrt 3.
  half = 4.30 * 0.01 / math.sqrt(3)
  assert (found.group, found.accuracy, found.pairs) == ('rloo', NAME, 3)
  assert found.value == pytest.approx(0.05)
  assert (found.low, found.high) == pytest.approx((0.05 - half, 0.05 + half))
  assert found.is_clear


def test_what_all_seeds_share_drops_out_of_a_paired_difference(tmp_path):
  values = {'grpo': {0: 0.50, 1: 0.60, 2: 0.70}, 'rloo': {0: 0.55, 1: 0.66, 2: 0.74}}
  moved = {name: {0: runs[0] + 0.2, 1: runs[1], 2: runs[2] - 0.1} for name, runs in values.items()}
  before = only(compare.compare(several(tmp_path / 'a', values)).differences)
  after = only(compare.compare(several(tmp_path / 'b', moved)).differences)
  assert (after.value, after.low, after.high) == pytest.approx(
    (before.value, before.low, before.high)
  )


def test_exchanging_the_groups_turns_the_sign(tmp_path):
  runs = several(tmp_path, {'grpo': {0: 0.50, 1: 0.62}, 'rloo': {0: 0.55, 1: 0.66}})
  there = only(compare.compare(runs).differences)
  back = only(compare.compare(runs[2:] + runs[:2]).differences)
  assert (back.value, back.low, back.high) == pytest.approx((-there.value, -there.high, -there.low))


def test_single_runs_are_compared_by_their_standard_errors(tmp_path):
  runs = [
    written(tmp_path / 'a', 'grpo', 0, 0.5, sem=0.03),
    written(tmp_path / 'b', 'rloo', 0, 0.6, sem=0.04),
  ]
  found = only(compare.compare(runs).differences)
  # sqrt(.03^2 + .04^2) = .05
  assert found.pairs == 0
  assert (found.value, found.low, found.high) == pytest.approx(
    (0.1, 0.1 - 1.96 * 0.05, 0.1 + 1.96 * 0.05)
  )


def test_groups_without_common_seeds_are_independent_with_the_larger_of_both_errors(tmp_path):
  values = {'grpo': {0: 0.5, 1: 0.7}, 'rloo': {2: 0.6}}
  found = only(compare.compare(several(tmp_path, values)).differences)
  # grpo: seeds give 12.71 * .1414 / sqrt 2 = 1.271, above 1.96 * .005 / sqrt 2; rloo: 1.96 * .005.
  half = math.hypot(1.271, 1.96 * 0.005)
  assert found.pairs == 0
  assert (found.value, found.low, found.high) == pytest.approx((0.0, -half, half))


def test_two_common_seeds_are_paired_and_the_third_is_named(tmp_path):
  values = {'grpo': {0: 0.5, 1: 0.6, 2: 0.9}, 'rloo': {0: 0.55, 1: 0.67}}
  found = compare.compare(several(tmp_path, values))
  # Differences .05 .07: mean .06, standard error .01; t of 1 degree is 12.71.
  difference = only(found.differences)
  assert (difference.pairs, difference.value) == (2, pytest.approx(0.06))
  assert difference.high == pytest.approx(0.06 + 0.1271)
  assert 'Seeds without a pair are left out of the difference of rloo: 2.' in found.notes


def test_pairs_that_differ_by_the_same_have_the_interval_of_their_standard_errors(tmp_path):
  values = {'grpo': {0: 0.5, 1: 0.6}, 'rloo': {0: 0.52, 1: 0.62}}
  found = only(compare.compare(several(tmp_path, values, sem=0.02)).differences)
  # Each group's mean has the standard error .02 / sqrt 2, their difference .02.
  assert (found.pairs, found.value) == (2, pytest.approx(0.02))
  assert (found.low, found.high) == pytest.approx((0.02 - 1.96 * 0.02, 0.02 + 1.96 * 0.02))
  assert not found.is_clear


@pytest.mark.parametrize('last', [0.0, 0.0005])
def test_seeds_that_solve_nothing_or_almost_nothing_keep_the_errors_of_their_measurements(
  tmp_path, last
):
  values = {'grpo': {0: 0.0, 1: 0.0, 2: 0.0}, 'rloo': {0: 0.0, 1: 0.0, 2: last}}
  found = compare.compare(several(tmp_path, values))
  # The seeds alone would leave 4.30 * .0005 / sqrt 3 / sqrt 3 = .0007, or nothing at all.
  half = 1.96 * 0.005 / math.sqrt(3)
  assert found.rows[1].scores[NAME].high == pytest.approx(last / 3 + half)
  difference = only(found.differences)
  assert difference.high - difference.value == pytest.approx(math.sqrt(2) * half)
  assert not difference.is_clear


def test_without_any_error_there_is_no_interval_and_no_verdict(tmp_path):
  bare = lambda row: row | {'metrics': {'heldout/greedy': 0.5 + 0.1 * row['round']}}
  runs = [synthetic_run.write(tmp_path / f'{i}', report=bare, config={'lr': i}) for i in range(2)]
  found = compare.compare(runs)
  assert math.isnan(only(found.differences).low)
  assert 'cannot tell' in compare.text(found)
  compare.picture(found, tmp_path / 'picture.png')


def test_the_weights_that_a_run_ends_with_are_compared_not_its_last_round(tmp_path):
  def stop(row):
    row = row | {'metrics': {f'{NAME}{end}': 0.1 * row['round'] + 0.3 for end in ('', '_sem')}}
    if row['round'] == 3:
      row['decision'] |= {'action': 'stop', 'round': 1}
    return row

  back = synthetic_run.write(tmp_path / 'a', rounds=4, report=stop)
  found = compare.compare([back, written(tmp_path / 'b', 'rloo', 0, 0.6)])
  assert found.rows[0].scores[NAME].after == pytest.approx(0.4)  # of round 1
  assert found.rows[0].scores[NAME].before == pytest.approx(0.2)


def test_cost_is_the_sum_over_steps(tmp_path):
  found = compare.compare(several(tmp_path, {'grpo': {0: 0.5}, 'rloo': {0: 0.5}}))
  assert found.rows[0].steps == (12,)
  assert found.rows[0].tokens == (12 * 500.0,)
  assert '6,000' in compare.text(found)


def test_only_what_all_runs_measured_is_compared_and_heldout_comes_first(tmp_path):
  def more(row):
    names = {'fresh/pass@1': 0.4, 'fresh/pass@1_sem': 0.1}
    return row | {'metrics': names | row['metrics']}

  a = synthetic_run.write(tmp_path / 'a', report=more)
  b = synthetic_run.write(tmp_path / 'b', report=more, config={'lr': 1.0})
  assert compare.compare([a, b]).accuracies == (
    'heldout/pass@1', 'heldout/pass@8', 'heldout/greedy', 'fresh/pass@1',
  )  # fmt: skip
  assert compare.compare([a, b, written(tmp_path / 'c', 'rloo', 0, 0.5)]).accuracies == (NAME,)


# ---------------------------------------------------------------- text and picture


def test_the_text_says_how_it_compared_and_what_cannot_be_told(tmp_path):
  values = {
    'grpo': {0: 0.50, 1: 0.60, 2: 0.70},
    'rloo': {0: 0.55, 1: 0.66, 2: 0.74},
    'dapo': {0: 0.60, 1: 0.50, 2: 0.70},
    'gspo': {0: 0.20},
  }
  text = compare.text(compare.compare(several(tmp_path, values)))
  rows = {line.split()[0]: line for line in text.split(NAME)[1].splitlines()[2:6]}
  assert rows['grpo'].endswith('0.300   0.600 [0.352, 0.848]')
  assert rows['rloo'].split('  ')[-3:] == ['+0.050 [+0.025, +0.075]', 'paired, 3 seeds', 'higher']
  assert rows['dapo'].endswith('paired, 3 seeds  cannot tell')
  assert rows['gspo'].endswith('unpaired         lower')
  assert max(map(len, text.splitlines())) <= 100


def test_letters_stand_for_long_names(tmp_path):
  config = {'model': 'weights/a-model-with-a-long-name'}
  runs = [
    written(tmp_path / '0', 'grpo', 0, 0.5, config=config),
    written(tmp_path / '1', 'grpo', 0, 0.6, config={'model': 'toy'}),
  ]
  found = compare.compare(runs)
  text = compare.text(found)
  assert '\nA  grpo model=weights/a-model-with-a-long-name  0 ' in text
  assert '\nB  grpo model=toy ' in text
  assert 'minus A' in text
  assert text.count('long-name') == 1
  assert [compare._letters(i) for i in (0, 25, 26, 27, 52)] == ['A', 'Z', 'AA', 'AB', 'BA']


def test_a_run_under_way_is_noted(tmp_path):
  runs = several(tmp_path, {'grpo': {0: 0.5}, 'rloo': {0: 0.6}})
  rows = (runs[1] / 'history.jsonl').read_text().splitlines(keepends=True)
  (runs[1] / 'history.jsonl').write_text(''.join(rows[:-1]))
  text = compare.text(compare.compare(runs))
  assert f'{runs[1]} is unfinished: 2 rounds of at most 3 reported.' in text.replace('\n', ' ')
  assert 'The runs have trained for different numbers of rounds.' in text


def test_the_picture_lies_in_a_folder_of_its_own(tmp_path):
  runs = several(tmp_path, {'grpo': {0: 0.5, 1: 0.6}, 'rloo': {0: 0.6, 1: 0.65}})
  path = tmp_path / 'no' / 'folder' / 'compare.png'
  compare.picture(compare.compare(runs), path)
  picture = matplotlib.image.imread(path)
  assert picture.shape[1] == 1600
  assert picture[..., :3].std() > 0.01
  compare.picture(compare.compare(runs[:2]), path)  # one group: the curves alone
  assert matplotlib.image.imread(path).shape[1] == 960


# ---------------------------------------------------------------- refusals


def test_one_workdir_is_refused(tmp_path):
  for runs in ([], [written(tmp_path / 'a', 'grpo', 0, 0.5)]):
    with pytest.raises(ValueError, match='give at least two runs to compare'):
      compare.compare(runs)


def test_a_workdir_without_a_report_is_refused(tmp_path):
  runs = several(tmp_path, {'grpo': {0: 0.5}, 'rloo': {0: 0.6}})
  (runs[1] / 'history.jsonl').write_text('')
  with pytest.raises(
    ValueError, match='rloo0 holds no report yet .*; wait for the first evaluation'
  ):
    compare.compare(runs)


def test_the_same_run_twice_is_refused(tmp_path):
  run = written(tmp_path / 'a', 'grpo', 0, 0.5)
  shutil.copytree(run, tmp_path / 'b')
  for again in (run, tmp_path / 'b'):
    with pytest.raises(ValueError, match='the same experiment with the same numbers and seed 0'):
      compare.compare([run, again])


def test_runs_that_measured_other_tasks_are_refused_with_their_sets(tmp_path):
  other = {'heldout': {'tasks': 250, 'sha256': 'b' * 64}}
  runs = [
    written(tmp_path / 'a', 'grpo', 0, 0.5, measured=SETS),
    written(tmp_path / 'b', 'rloo', 0, 0.6, measured=other),
    written(tmp_path / 'c', 'rloo', 1, 0.6, measured=SETS),
  ]
  with pytest.raises(ValueError, match='different tasks under the name heldout') as refused:
    compare.compare(runs)
  message = str(refused.value)
  assert f'200 tasks, sha256 aaaaaaaaaaaa, in {runs[0]}, {runs[2]}' in message
  assert f'250 tasks, sha256 bbbbbbbbbbbb, in {runs[1]}' in message
  assert 'run them again with the same task' in message
  assert '\n' not in message


def test_runs_of_one_set_are_compared_also_with_one_that_does_not_say_what_it_measured(tmp_path):
  runs = [
    written(tmp_path / 'a', 'grpo', 0, 0.5, measured=SETS),
    written(tmp_path / 'b', 'rloo', 0, 0.6, measured=SETS | {'fresh': {'tasks': 1, 'sha256': 'c'}}),
    written(tmp_path / 'c', 'gspo', 0, 0.6),
  ]
  assert len(compare.compare(runs).differences) == 2


def test_runs_with_no_accuracy_in_common_are_refused(tmp_path):
  other = lambda row: row | {'metrics': {'fresh/greedy': 0.5}}
  runs = [
    written(tmp_path / 'a', 'grpo', 0, 0.5),
    synthetic_run.write(tmp_path / 'b', report=other),
  ]
  with pytest.raises(ValueError, match='no accuracy in common: .*a measured heldout/pass@1; .*b '):
    compare.compare(runs)


def test_a_damaged_workdir_is_refused_in_one_line(tmp_path):
  runs = several(tmp_path, {'grpo': {0: 0.5}, 'rloo': {0: 0.6}})
  (runs[1] / 'history.jsonl').write_text('{"round": 0}\n')
  with pytest.raises(ValueError, match="rloo0 is damaged: KeyError: 'metrics'"):
    compare.compare(runs)
