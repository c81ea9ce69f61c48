"""Every steering rule on tables of reports: where it fires, and where it must not."""

import dataclasses
import math

import pytest

from sirl.evaluation import steering
from sirl.runs import lineage
from sirl.types import Action, Decision, Report

NAN = math.nan
GO_ON = Decision(Action.CONTINUE, 'no rule fired')


def rounds(decisions=None, **columns):
  """Reports of rounds -1, 0, ... with one metric per column; decisions by round."""
  (length,) = {len(values) for values in columns.values()}
  names = {name: name.replace('__', '/') for name in columns}
  reports = []
  for i in range(length):
    metrics = {names[name]: values[i] for name, values in columns.items() if values[i] is not None}
    reports.append(Report(i - 1, metrics, (decisions or {}).get(i - 1, GO_ON)))
  return [*reports[:-1], dataclasses.replace(reports[-1], decision=None)]


def back_to(round):
  return Decision(Action.ROLLBACK, 'because', round=round)


def acts(rule, reports):
  decision = rule(reports)
  return None if decision is None else (decision.action, decision.round)


# ---------------------------------------------------------------- lineage


@pytest.mark.parametrize(
  ('decisions', 'length', 'path'),
  [
    ({}, 4, [-1, 0, 1, 2]),
    ({2: back_to(0)}, 5, [-1, 0, 3]),
    ({2: back_to(2)}, 5, [-1, 0, 1, 2, 3]),  # to where it stood
    ({1: back_to(-1)}, 4, [-1, 2]),
    ({1: back_to(0), 3: back_to(0)}, 6, [-1, 0, 4]),  # twice to the same round
    ({1: back_to(0), 4: back_to(2)}, 7, [-1, 0, 2, 5]),  # to a round of the second path
    ({1: back_to(0), 3: back_to(1)}, 6, [-1, 0, 4]),  # round 1 ended with the weights of round 0
  ],
)
def test_lineage_is_the_path_to_the_present_weights(decisions, length, path):
  reports = rounds(decisions, acc=[0.0] * length)
  assert [report.round for report in lineage.path(reports)] == path
  # In the round before, the weights were those from which the newest report continued.
  assert lineage.final(reports[:-1]) is lineage.path(reports)[-2]
  assert lineage.final(reports) is reports[-1]  # nothing was decided on it yet


def test_lineage_of_a_history_that_lost_its_beginning_starts_where_it_can():
  reports = rounds({2: back_to(0)}, acc=[0.0] * 5)[3:]
  assert [report.round for report in lineage.path(reports)] == [3]


def test_lineage_of_nothing_is_nothing():
  assert lineage.path([]) == []


# ---------------------------------------------------------------- first_of


def test_the_first_rule_that_speaks_decides():
  silent = lambda reports: None
  speaks = lambda word: lambda reports: Decision(Action.STOP, word)
  assert steering.first_of(silent, speaks('a'), speaks('b'))([]).reason == 'a'
  assert steering.first_of(silent)([]) is None
  assert steering.first_of()([]) is None


# ---------------------------------------------------------------- stop


@pytest.mark.parametrize(
  ('metrics', 'fires'),
  [
    ({'train/loss': 0.1, 'train/grad_norm': 1.0}, False),
    ({'train/loss': NAN}, True),
    ({'train/grad_norm': math.inf}, True),
    ({'heldout/pass@1_sem': NAN}, False),  # not one of the watched
    ({}, False),
  ],
)
def test_stop_if_not_finite(metrics, fires):
  decision = steering.stop_if_not_finite()([Report(3, {}, GO_ON), Report(4, metrics)])
  assert (decision is not None) == fires
  if fires:
    assert decision.action is Action.STOP
    assert decision.round == 3  # the last sound weights
    assert 'round 4' in decision.reason


def test_stop_if_not_finite_watches_what_it_is_told():
  rule = steering.stop_if_not_finite('monitor/kl')
  assert acts(rule, rounds(monitor__kl=[0.1, NAN])) == (Action.STOP, -1)


@pytest.mark.parametrize(
  ('values', 'sem', 'fires'),
  [
    ([0.5, 0.97], 0.01, True),
    ([0.5, 0.97], 0.03, False),
    ([0.97, 0.5], 0.01, False),
    ([0.5, NAN], 0.0, False),
  ],
)
def test_stop_when_reached(values, sem, fires):
  reports = rounds(acc=values, acc_sem=[sem] * 2)
  assert (steering.stop_when_reached('acc', 0.95)(reports) is not None) == fires


@pytest.mark.parametrize(
  ('values', 'sem', 'fires'),
  [
    ([0.1, 0.5, 0.5, 0.5, 0.5], 0.02, True),
    ([0.1, 0.5, 0.51, 0.52, 0.52], 0.02, True),  # a gain of .02 within noise of .028
    ([0.1, 0.5, 0.5, 0.5, 0.56], 0.02, False),
    ([0.1, 0.5, 0.6, 0.5, 0.5], 0.02, False),  # the best lies within the last three
    ([0.10, 0.12, 0.14, 0.16, 0.18], 0.02, False),  # slow, but .06 over the window
    ([0.5, 0.5, 0.5], 0.02, False),  # too short to say
    ([0.1, 0.5, 0.5, 0.5, NAN], 0.02, False),  # not measured this round
    ([0.5, 0.5, 0.5, 0.5], 0.0, True),
    ([0.5, 0.5, 0.5, 0.6], 0.0, False),
  ],
)
def test_stop_after_plateau(values, sem, fires):
  reports = rounds(acc=values, acc_sem=[sem] * len(values))
  decision = steering.stop_after_plateau('acc', rounds=3)(reports)
  assert (decision is not None) == fires
  if fires:
    assert decision.action is Action.STOP
    assert 'last 3 rounds' in decision.reason


def test_a_plateau_does_not_count_the_path_that_was_left():
  reports = rounds({3: back_to(0)}, acc=[0.1, 0.5, 0.5, 0.5, 0.5, 0.5])
  assert steering.stop_after_plateau('acc', rounds=3)(reports) is None


COLLAPSE = steering.stop_if_collapsed({'entropy': (0.1, None), 'same': (None, 0.5)})


@pytest.mark.parametrize(
  ('entropy', 'same', 'action'),
  [
    ([1.0, 0.5], [0.1, 0.2], None),
    ([1.0, 0.05], [0.1, 0.2], (Action.STOP, -1)),
    ([1.0, 0.5, 0.5], [0.1, 0.2, 0.9], (Action.STOP, 0)),
    ([1.0, 0.1], [0.1, 0.5], None),  # on the limit is within
    ([1.0, NAN], [0.1, None], None),  # not measured
    ([0.01, 0.01], [0.9, 0.9], (Action.STOP, None)),  # it never was sound
  ],
)
def test_stop_if_collapsed(entropy, same, action):
  assert acts(COLLAPSE, rounds(entropy=entropy, same=same)) == action


def test_a_collapse_names_everything_outside_with_its_limit():
  reason = COLLAPSE(rounds(entropy=[1.0, 0.05], same=[0.1, 0.9])).reason
  assert reason == 'In round 0 entropy 0.05 is below 0.1 and same 0.9 is above 0.5.'


# ---------------------------------------------------------------- rollback


@pytest.mark.parametrize(
  ('values', 'sem', 'action'),
  [
    ([0.3, 0.5, 0.6, 0.3], 0.05, (Action.ROLLBACK, 1)),  # .3 > 3 * .0707
    ([0.3, 0.5, 0.6, 0.45], 0.05, None),  # .15 within 3 * .0707
    ([0.3, 0.5, 0.6, 0.7], 0.05, None),
    ([0.6, 0.2], 0.05, (Action.ROLLBACK, -1)),
    ([0.2], 0.05, None),
    ([0.6, 0.6, 0.2], 0.05, (Action.ROLLBACK, 0)),  # of equals the latest
    ([0.6, 0.5, NAN], 0.05, None),
    ([0.6, NAN, 0.2], 0.05, (Action.ROLLBACK, -1)),
  ],
)
def test_rollback_if_regressed(values, sem, action):
  reports = rounds(acc=values, acc_sem=[sem] * len(values))
  assert acts(steering.rollback_if_regressed('acc', sems=3.0), reports) == action


def test_a_regression_reason_is_a_sentence_with_its_numbers():
  decision = steering.rollback_if_regressed('acc')(rounds(acc=[0.6, 0.2], acc_sem=[0.05, 0.05]))
  assert decision.reason == (
    'acc fell from 0.6 +- 0.05 (round -1) to 0.2 +- 0.05 (round 0): 0.4 is more than 3 x 0.07071. Back to round -1.'
  )


def test_only_rounds_whose_checkpoint_is_kept_are_gone_back_to():
  values = [0.1, 0.9, 0.6, 0.5, 0.4, 0.2]
  rule = lambda horizon: acts(
    steering.rollback_if_regressed('acc', horizon=horizon), rounds(acc=values)
  )
  assert rule(8) == (Action.ROLLBACK, 0)
  assert rule(2) == (Action.ROLLBACK, 2)
  assert acts(
    steering.rollback_if_regressed('acc', horizon=1), rounds(acc=[0.9, 0.1, 0.2, 0.1])
  ) == (
    Action.ROLLBACK,
    -1,  # the start of a run is always kept
  )


def test_a_path_that_was_left_is_no_benchmark():
  # Round 1 was a lucky .9 on a path rolled back to 0; from there .5 is no regression.
  reports = rounds({2: back_to(0)}, acc=[0.3, 0.5, 0.9, 0.1, 0.5])
  assert steering.rollback_if_regressed('acc')(reports) is None


def test_after_so_many_rollbacks_it_stops_at_the_same_round():
  reports = rounds({1: back_to(0), 2: back_to(0)}, acc=[0.3, 0.6, 0.1, 0.1, 0.1])
  assert acts(steering.rollback_if_regressed('acc', limit=3), reports) == (Action.ROLLBACK, 0)
  decision = steering.rollback_if_regressed('acc', limit=2)(reports)
  assert (decision.action, decision.round) == (Action.STOP, 0)
  assert 'rolled back 2 times already' in decision.reason


def test_reasons_say_one_round_and_one_time_not_1_rounds_and_1_times():
  reports = rounds({1: back_to(0)}, acc=[0.3, 0.6, 0.1, 0.1])
  stopped = steering.rollback_if_regressed('acc', limit=1)(reports)
  asked = steering.ask_every(1)(rounds(acc=[0.5] * 2))
  flat = steering.stop_after_plateau('acc', 1)(rounds(acc=[0.5, 0.5]))
  assert 'rolled back 1 time already' in stopped.reason
  assert '1 round since a human' in asked.reason
  assert 'in the last 1 round and' in flat.reason


@pytest.mark.parametrize(
  ('limits', 'values', 'action'),
  [
    ({'below': 0.5}, [0.9, 0.8, 0.4], (Action.ROLLBACK, 0)),
    ({'below': 0.5}, [0.9, 0.8, 0.6], None),
    ({'above': 0.5}, [0.1, 0.2, 0.6], (Action.ROLLBACK, 0)),
    ({'fall': 0.3}, [0.9, 0.8, 0.5], (Action.ROLLBACK, 0)),  # .9 - .3 = .6
    ({'fall': 0.3}, [0.9, 0.8, 0.65], None),
    ({'fall': 0.3}, [0.5, 0.9, 0.3], None),  # from the start, not from the best
    ({'rise': 0.3}, [0.1, 0.2, 0.45], (Action.ROLLBACK, 0)),
    ({'share': 0.8}, [0.5, 0.45, 0.39], (Action.ROLLBACK, 0)),  # .5 * .8 = .4
    ({'share': 0.8}, [0.5, 0.45, 0.41], None),
    ({'below': 0.5, 'fall': 0.1}, [0.9, 0.85, 0.7], (Action.ROLLBACK, 0)),  # the tighter of the two
    ({'below': 0.5}, [0.4, 0.3], (Action.STOP, None)),  # nothing sound to go back to
    ({'below': 0.5}, [0.9, 0.8, NAN], None),
    ({'below': 0.5}, [None, 0.8, 0.4], (Action.ROLLBACK, 0)),
    ({'below': 0.5}, [None, None], None),
  ],
)
def test_rollback_if(limits, values, action):
  assert acts(steering.rollback_if('agree', **limits), rounds(agree=values)) == action


def test_rollback_if_stops_when_it_has_gone_back_often_enough():
  reports = rounds({1: back_to(0)}, agree=[0.9, 0.8, 0.1, 0.1])
  assert acts(steering.rollback_if('agree', below=0.5, limit=1), reports) == (Action.STOP, 0)


def test_rollback_if_tells_where_the_metric_began():
  reason = steering.rollback_if('agree', fall=0.3)(rounds(agree=[0.9, 0.4])).reason
  assert reason == 'In round 0 agree 0.4 is below 0.6 (it began at 0.9). Back to round -1.'


# ---------------------------------------------------------------- difficulty


def harder(to):
  return Decision(Action.SET_DIFFICULTY, 'because', difficulty=to)


@pytest.mark.parametrize(
  ('decisions', 'values', 'difficulty'),
  [
    ({}, [0.5, 0.95], 1.0),
    ({}, [0.95, 0.5], None),
    ({}, [0.5, 0.91], None),  # above .9, but not by a standard error
    ({}, [0.5, NAN], None),
    ({1: harder(2.0)}, [0.5, 0.5, 0.95, 0.95], None),  # the round after a change is not judged
    ({1: harder(2.0)}, [0.5, 0.5, 0.95, 0.95, 0.95], 3.0),
    (
      {0: harder(2.0), 2: back_to(1)},
      [0.5, 0.95, 0.5, 0.1, 0.95],
      3.0,
    ),  # a rollback keeps the difficulty
    ({0: harder(4.0)}, [0.5, 0.95, 0.5, 0.95], None),  # the highest already
    ({0: harder(3.5)}, [0.5, 0.95, 0.5, 0.95], 4.0),
  ],
)
def test_harder_if_saturated(decisions, values, difficulty):
  reports = rounds(decisions, acc=values, acc_sem=[0.02] * len(values))
  decision = steering.harder_if_saturated('acc', above=0.9, highest=4.0)(reports)
  assert (decision and decision.difficulty) == difficulty
  assert decision is None or decision.action is Action.SET_DIFFICULTY


def test_a_metric_without_an_error_saturates_by_its_value():
  # One step a round leaves the error of train/reward undefined.
  reports = rounds(reward=[0.5, 0.95], reward_sem=[NAN, NAN])
  assert steering.harder_if_saturated('reward', above=0.9)(reports).difficulty == 1.0


@pytest.mark.parametrize(
  ('decisions', 'values', 'difficulty'),
  [
    ({0: harder(3.0)}, [0.9, 0.5, 0.5, 0.05], 2.0),
    ({}, [0.5, 0.05], None),
    ({0: harder(3.0)}, [0.9, 0.5, 0.5, 0.2], None),
  ],
)
def test_easier_if_hopeless(decisions, values, difficulty):
  decision = steering.easier_if_hopeless('acc', below=0.1)(rounds(decisions, acc=values))
  assert (decision and decision.difficulty) == difficulty


# ---------------------------------------------------------------- ask


@pytest.mark.parametrize(
  ('proxy', 'truth', 'fires'),
  [
    ([0.1, 0.2, 0.3, 0.4], [0.5, 0.4, 0.3, 0.2], True),
    ([0.1, 0.2, 0.3, 0.4], [0.5, 0.5, 0.5, 0.5], True),  # flat is enough
    ([0.1, 0.2, 0.3, 0.4], [0.3, 0.3, 0.3, 0.3], True),
    ([0.1, 0.2, 0.3, 0.4], [0.2, 0.3, 0.4, 0.5], False),
    ([0.4, 0.3, 0.2, 0.1], [0.5, 0.4, 0.3, 0.2], False),  # both fall: not hacking
    ([0.4, 0.4, 0.4, 0.41], [0.5, 0.5, 0.5, 0.4], False),  # the proxy hardly moves
    ([0.1, 0.3, 0.4], [0.5, 0.4, 0.3], False),  # shorter than patience
    ([None, 0.2, 0.3, 0.4], [0.5, 0.4, 0.3, 0.2], False),  # no reward before training
    ([None, 0.1, 0.2, 0.3, 0.4], [0.6, 0.5, 0.4, 0.3, 0.2], True),
    ([0.1, 0.2, 0.3, NAN], [0.5, 0.4, 0.3, 0.2], False),
  ],
)
def test_ask_if_hacking(proxy, truth, fires):
  decision = steering.ask_if_hacking('reward', 'acc', patience=3)(rounds(reward=proxy, acc=truth))
  assert (decision is not None) == fires
  assert decision is None or decision.action is Action.ASK_HUMAN


@pytest.mark.parametrize(
  'answer', [Decision(Action.ASK_HUMAN, '?'), Decision(Action.CONTINUE, 'go on', by='human')]
)
def test_after_an_answer_the_window_begins_anew(answer):
  grow = lambda n: [0.1 * i for i in range(n)]
  fall = lambda n: [0.9 - 0.1 * i for i in range(n)]
  rule = steering.ask_if_hacking('reward', 'acc', patience=3)
  asked = lambda n: rule(rounds({2: answer}, reward=grow(n), acc=fall(n))) is not None
  assert [asked(n) for n in (5, 6, 7, 8)] == [False, False, False, True]


@pytest.mark.parametrize(
  ('decisions', 'length', 'fires'),
  [
    ({}, 3, False),
    ({}, 4, True),  # rounds 0, 1, 2
    ({1: Decision(Action.CONTINUE, 'fine', by='human')}, 5, False),
    ({1: Decision(Action.CONTINUE, 'fine', by='human')}, 6, True),
    ({1: Decision(Action.STOP, 'rule')}, 5, True),  # a rule's decision is no human's
  ],
)
def test_ask_every(decisions, length, fires):
  assert (steering.ask_every(3)(rounds(decisions, acc=[0.5] * length)) is not None) == fires


# ---------------------------------------------------------------- all rules


RULES = [
  steering.stop_if_not_finite(),
  steering.stop_when_reached('acc', 0.99),
  steering.stop_after_plateau('acc', 8),
  steering.stop_if_collapsed({'entropy': (0.05, None)}),
  steering.rollback_if_regressed('acc'),
  steering.rollback_if('agree', fall=0.3),
  steering.harder_if_saturated('acc', 0.9),
  steering.easier_if_hopeless('acc', 0.05),
  steering.ask_if_hacking('reward', 'acc'),
]


@pytest.mark.parametrize('rule', RULES, ids=lambda rule: rule.__qualname__.split('.')[0])
def test_no_rule_disturbs_a_healthy_run(rule):
  n = 8
  healthy = rounds(
    acc=[0.3 + 0.06 * i for i in range(n)],
    acc_sem=[0.02] * n,
    reward=[None] + [0.3 + 0.06 * i for i in range(1, n)],
    entropy=[1.0 - 0.05 * i for i in range(n)],
    agree=[0.9 - 0.02 * i for i in range(n)],
  )
  assert all(rule(healthy[: i + 1]) is None for i in range(n))


@pytest.mark.parametrize(
  'rule', [*RULES, steering.ask_every(5)], ids=lambda rule: rule.__qualname__.split('.')[0]
)
def test_no_rule_speaks_before_training_or_without_its_metric(rule):
  assert rule([Report(-1, {})]) is None
  assert rule([Report(-1, {}, GO_ON), Report(0, {})]) is None


@pytest.mark.parametrize(
  ('make', 'said'),
  [
    (lambda: steering.stop_after_plateau('acc', 0), 'rounds=0'),
    (lambda: steering.rollback_if_regressed('acc', horizon=0), 'horizon=0'),
    (lambda: steering.stop_if_not_finite(horizon=9), r'horizon=9; expected an int in \[1, 8\]'),
    (lambda: steering.rollback_if('acc'), 'no limit for acc'),
    (lambda: steering.stop_if_collapsed({'kl': (None, None)}), 'kl has no limit'),
    (lambda: steering.harder_if_saturated('acc', 0.9, step=0), 'step=0'),
    (lambda: steering.ask_if_hacking('a', 'b', patience=0), 'patience=0'),
    (lambda: steering.ask_every(0), 'rounds=0'),
  ],
)
def test_a_rule_that_could_never_work_is_refused(make, said):
  with pytest.raises(ValueError, match=said):
    make()


def test_a_second_learner_that_is_not_finite_stops_the_run_too():
  sound = {'train/loss': 0.1, 'train/grad_norm': 1.0, 'train/reward': 0.5, 'train/twin/loss': 0.2}
  reports = [Report(0, sound), Report(1, {**sound, 'train/twin/loss': math.nan})]
  decision = steering.stop_if_not_finite()(reports)
  assert (decision.action, decision.round) == (Action.STOP, 0)
  assert decision.reason == 'In round 1 train/twin/loss is nan.'
