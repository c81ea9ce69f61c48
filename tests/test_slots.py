"""A value of another form than its slot is refused, with the form in the message."""

import dataclasses

import optax
import pytest

from experiments import measures
from sirl import gro, rewards
from sirl.acquisition import acquirer
from sirl.evaluation import evaluator
from sirl.selection import adaptive, selectors

from support import toy


def step(**changes):
  reward = rewards.per_completion(toy.correct)
  optimize = toy.update_of(toy.MODEL, optax.sgd(1.0))
  generate = lambda weights, tasks, key: None
  return gro.make_step(**{'generate': generate, 'reward': reward, 'optimize': optimize, **changes})


def run(**changes):
  return dataclasses.replace(toy.build(toy.Config()), **changes)


@pytest.mark.parametrize(
  ('give', 'message'),
  [
    (lambda: step(keep=selectors.informative), r'keep: .*call it: informative\(\)'),
    (lambda: step(generate=lambda tasks: tasks), r'generate\(weights, tasks, key\) -> Samples'),
    (lambda: step(generate=lambda tasks, weights, key: 0), r'generate: .* in another order, but'),
    (lambda: step(optimize=None), r'optimize: got None'),
    (lambda: evaluator(lambda record: {}), r'evaluate\(weights, record, context\) -> \{metric'),
    (lambda: evaluator(extra=lambda w, r, c: {}), r'evaluator extra: got <lambda>; .*Evaluator\('),
    (lambda: acquirer(lambda pool: []), r'acquire\(weights, pool, context\) -> list of Task'),
    (lambda: acquirer(extra=toy.acquire), r'acquirer extra: got acquire; .*Acquirer\('),
    (lambda: run(selector=adaptive.success_rate), r'selector: .*call it: success_rate\(\)'),
    (lambda: run(selector=lambda pool, n: [0]), r'slots.Selector\(init, prepare, select, update\)'),
    (lambda: run(steer=measures.steer_without_answers), r'steer: .*steer_without_answers\(\)'),
    (lambda: run(steer=lambda state, report: None), r'steer\(reports\) -> Decision, or None'),
  ],
)
def test_a_value_of_another_form_is_refused_when_it_is_given(give, message):
  with pytest.raises(ValueError, match=message):
    give()


def test_partials_lambdas_and_functions_of_any_arguments_fit():
  step(keep=lambda *arguments: arguments[0])
  run(steer=lambda reports, limit=3: None)
