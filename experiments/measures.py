"""What the settings measure after every round, and the rules that follow from it."""

import jax

from sirl.evaluation import benchmarks, evaluator, monitors, steering
from sirl.refinement import voting


def measured(domain, sets, ask, ask_greedy, with_answers, *, samples, own):
  """The Evaluator: held-out accuracy, and monitors, which read answers only if the method does.

  Args: sets: of `settings.unseen`; with_answers: whether the method reads answers; own: whether the model was trained from
  nothing, and so is small enough to be asked more.
  """
  heldout, verify = sets['heldout'], domain.verify
  evaluates = []
  if all(task.answer is not None for task in heldout):
    sampled = benchmarks.sampled(
      'heldout', heldout, verify, ask, samples=samples, ks=(1, samples), extract=domain.extract
    )
    if own and 'reserve' in sets:
      new = drawn_from(sets['reserve'], len(heldout))
      fresh = benchmarks.fresh('fresh', new, verify, ask, samples=samples, ks=(1,))
      sampled = benchmarks.with_gap(benchmarks.merge(sampled, fresh))
    evaluates += [sampled, benchmarks.greedy('heldout', heldout, verify, ask_greedy)]
    if own and 'reserve' in sets:
      evaluates.append(refined(domain, heldout, ask))
  evaluates.append(monitors.standard(verify if with_answers else None))
  consensus = (
    {} if with_answers else {'consensus': monitors.consensus(heldout, ask, domain.extract)}
  )
  return evaluator(benchmarks.merge(*evaluates), **consensus)


def refined(domain, heldout, ask):
  """What voting and choosing among eight answers gain at inference."""
  best = {} if domain.check is None else {'best8': voting.best_of_n(ask, 8, domain.check)}
  vote = voting.self_consistency(ask, 8, domain.extract)
  return benchmarks.refined(
    'refined', heldout, domain.verify, plain=voting.first(ask), vote8=vote, **best
  )


def drawn_from(reserve, n):
  """n tasks of the reserve, others in every round. The frozen held-out set is looked at again and again: the gap between the
  two shows what that has given it.
  """

  def make(context):
    rows = jax.random.choice(context.key, len(reserve), (n,), replace=False)
    return [reserve[int(row)] for row in rows]

  return make


def steer_by_accuracy(*, words, own):
  """Rules on held-out accuracy: stop on NaN, go back after a fall, ask when only the reward rises.

  On tasks near the edge of ability the reward of a sound run still gains some 0.05 in four rounds while accuracy is flat near
  1. Earlier both rise together. So the rule on hacking asks for a rise of 0.1 where tasks are sought that way.
  """
  if words:
    return steering.first_of(
      steering.stop_if_not_finite(),
      steering.rollback_if_regressed('heldout/pass@1', sems=3.0),
      steering.ask_if_hacking('train/reward', 'heldout/pass@1', patience=4),
      steering.stop_after_plateau('heldout/pass@1', rounds=10),
    )
  regressed = steering.rollback_if_regressed('heldout/pass@1', sems=4.0)
  if own:
    hacking = steering.ask_if_hacking('train/reward', 'heldout/pass@1', patience=4, rise=0.1)
    return steering.first_of(steering.stop_if_not_finite(), regressed, hacking)
  reached = steering.stop_when_reached('heldout/pass@1', above=0.95)
  return steering.first_of(steering.stop_if_not_finite(), regressed, reached)


def steer_without_answers():
  """Rules on what the policy says to fixed prompts; no accuracy is read."""
  return steering.first_of(
    steering.stop_if_not_finite(),
    steering.rollback_if('monitor/consensus/answer_entropy', fall=0.5, limit=1),
    steering.rollback_if('monitor/consensus/anchor_agreement', share=0.8, limit=1),
    steering.rollback_if('monitor/consensus/parsed', below=0.8, limit=1),
  )
