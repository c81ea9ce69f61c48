"""An advantage, credit or objective of another form is refused with the right form in the message."""

import jax.numpy as jnp
import optax
import pytest

from sirl.models import tabular
from sirl.optimization import advantages, by_group, contract, make_optimize, objectives

MODEL = tabular.tabular(4, 4)
STATS, EXPERIENCE = contract.made_up(
  group_size=4, prompt_width=2, width=8, named=('reference',), values=True
)
CREDIT, NLL = by_group(advantages.raw), objectives.nll()


def update(credit=CREDIT, objective=NLL):
  return make_optimize(MODEL, optax.sgd(1.0), credit, objective)


@pytest.mark.parametrize(
  ('give', 'message'),
  [
    (lambda: update(credit=advantages.normalized), r'credit: .*by_group\(normalized\)'),
    (lambda: update(credit=None), r'credit: got None; expected a function credit\(experience\)'),
    (lambda: update(objective=objectives.clipped), r'objective: .*call it: clipped\(\)'),
    (lambda: update(objective=lambda stats: 0), r'objective\(stats, experience\) -> \(scalar loss'),
    (lambda: by_group(lambda rewards: rewards), r'advantage\(rewards_PG, judged_PG\) -> float'),
    (lambda: by_group(advantages.accept), r'advantage\(rewards_PG, judged_PG\) -> float \[P, G\]'),
  ],
)
def test_a_function_with_other_arguments_is_refused_when_it_is_given(give, message):
  with pytest.raises(ValueError, match=message):
    give()


def only_the_loss(stats, experience):
  return jnp.sum(stats.logp)


def every_token(stats, experience):
  return -experience.advantages * stats.logp, {}


def a_vector_metric(stats, experience):
  return jnp.sum(stats.logp), {'share': experience.rewards}


@pytest.mark.parametrize(
  ('objective', 'message'),
  [
    (only_the_loss, r"'only_the_loss' returned an array of shape \[\]; .*Without metrics return"),
    (every_token, r"the loss of 'every_token' has shape \[2, 4, 8\]; expected a scalar. .*token_mean"),
    (a_vector_metric, r"share of 'a_vector_metric' has shape \[2, 4\]; expected a scalar"),
  ],
)  # fmt: skip
def test_an_objective_that_returns_something_else_is_told_the_form(objective, message):
  with pytest.raises(ValueError, match=message):
    contract.loss_of(objective, STATS, EXPERIENCE)


@pytest.mark.parametrize(
  'reduce', ['token_mean', 'sequence_mean_token_mean', 'sequence_mean_token_sum']
)
def test_sums_over_counts_add_up_whatever_the_cut(reduce):
  reduced = getattr(objectives, reduce)
  for objective in (
    objectives.policy_gradient(reduced),
    objectives.add(objectives.clipped(reduce=reduced), (0.1, objectives.kl(reduce=reduced))),
    objectives.sequence_clipped(reduce=reduced),
    objectives.nll(reduced),
  ):
    contract.check_sums(objective, STATS, EXPERIENCE)


def a_mean(stats, experience):
  return -(experience.advantages * stats.logp).mean(), {}


def its_own_count(stats, experience):
  loss = jnp.sum(-experience.advantages * stats.logp) / jnp.sum(experience.mask)
  return loss, {}


def a_mean_as_metric(stats, experience):
  return objectives.nll()(stats, experience)[0], {'entropy_seen': stats.entropy.mean()}


@pytest.mark.parametrize(
  ('objective', 'what'),
  [(a_mean, 'the loss'), (its_own_count, 'the loss'), (a_mean_as_metric, 'entropy_seen')],
)
def test_an_objective_that_divides_by_the_size_of_its_piece_is_refused(objective, what):
  """It would depend on micro-batches and shards, which are choices of memory and of machines."""
  with pytest.raises(
    ValueError, match=rf"{what} of '{objective.__name__}' .*in place of .mean\(\)"
  ):
    contract.check_sums(objective, STATS, EXPERIENCE)


@pytest.mark.parametrize(
  ('objective', 'reads'),
  [
    (objectives.clipped(), True),
    (objectives.sequence_clipped(), True),
    (objectives.policy_gradient(), False),
    (objectives.add(objectives.nll(), (0.1, objectives.kl())), False),
  ],
)
def test_a_ratio_is_seen_by_what_the_loss_depends_on(objective, reads):
  assert contract.check_sums(objective, STATS, EXPERIENCE) == reads


def a_constant(stats, experience):
  return 0.0, {}


def of_the_old_policy(stats, experience):
  return objectives.token_mean(experience.advantages * experience.old_logp, experience), {}


@pytest.mark.parametrize('objective', [a_constant, of_the_old_policy])
def test_a_loss_that_reads_nothing_of_the_weights_has_no_gradient(objective):
  assert not contract.has_gradient(objective, STATS, EXPERIENCE)


@pytest.mark.parametrize('group_size', [1, 4])
@pytest.mark.parametrize(
  'objective',
  [
    objectives.clipped(0.01, 0.01),  # it cuts the gradient of every token that has moved
    objectives.sequence_clipped(),
    objectives.policy_gradient(),
    objectives.nll(),
    objectives.add(a_constant, (0.1, objectives.kl())),
  ],
)
def test_a_loss_that_trains_has_a_gradient_also_on_the_smallest_batch(objective, group_size):
  made = contract.made_up(group_size=group_size, prompt_width=2, width=3, named=('reference',))
  assert contract.has_gradient(objective, *made)
