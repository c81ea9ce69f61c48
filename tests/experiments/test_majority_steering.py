"""The rules of majority vote on invented histories.

They read no accuracy, leave a sound run alone and catch a drifting one.
"""

import ast
import inspect

import pytest

from experiments import measures
from sirl.types import Action, Decision, Report

RULE = measures.steer_without_answers()


def decide(agreements, entropies=None, parsed=None):
  """The decisions of a run whose rounds -1, 0, ... have these numbers; a rollback is followed."""
  reports, decisions = [], []
  for i, agreement in enumerate(agreements):
    metrics = {
      'train/loss': 0.1,
      'train/grad_norm': 1.0,
      'train/reward': 0.6 + 0.05 * i,
      'monitor/consensus/anchor_agreement': agreement,
      'monitor/consensus/answer_entropy': entropies[i] if entropies else 4.8,
      'monitor/consensus/parsed': parsed[i] if parsed else 1.0,
    }
    report = Report(i - 1, metrics, None)
    decision = RULE([*reports, report]) if i else None
    decisions.append((decision.action, decision.round) if decision else None)
    reports.append(Report(i - 1, metrics, decision or Decision(Action.CONTINUE, 'no rule fired')))
  return decisions[1:]


def test_a_policy_that_improves_is_left_alone():
  assert decide([0.9, 0.8, 0.9, 0.8, 0.9]) == [None] * 4


def test_drift_is_rolled_back_once_and_then_stopped_with_the_sound_weights():
  back, stop = (Action.ROLLBACK, -1), (Action.STOP, -1)
  assert decide([0.6, 0.2, 0.3]) == [back, stop]
  assert decide([0.5, 0.3, 0.2]) == [back, stop]


@pytest.mark.parametrize(
  'numbers',
  [dict(entropies=[4.8, 4.2]), dict(parsed=[1.0, 0.7])],
  ids=['prompts begin to get the same reply', 'replies without an answer'],
)
def test_other_signs_of_collapse_are_rolled_back(numbers):
  assert decide([0.8, 0.8], **numbers) == [(Action.ROLLBACK, -1)]


def test_no_rule_reads_an_accuracy():
  tree = ast.parse(inspect.getsource(measures.steer_without_answers))
  names = {node.value for node in ast.walk(tree) if isinstance(node, ast.Constant)}
  read = {name for name in names if isinstance(name, str) and '/' in name}
  assert read
  assert all(name.startswith('monitor/consensus/') for name in read)
