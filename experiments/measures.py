"""What the settings measure after every round, and the steering rules that use it."""

import jax

from sirl.evaluation import benchmarks, evaluator, monitors, steering
from sirl.refinement import voting


def measured(domain, sets, ask, ask_greedy, with_answers, *, samples, own):
  """The Evaluator: held-out accuracy, and monitors.

  Args:
    domain: the recipe.Domain; sets: the task sets of `settings.unseen`.
    ask, ask_greedy: an Ask that samples, and one that decodes greedily.
    with_answers: whether the method reads answers; if not, no monitor reads one.
    samples: completions per held-out task.
    own: whether the model was trained from nothing. It is then small enough for more measurements.
  """
  heldout, verify = sets['heldout'], domain.verify
  evaluates = []
  if all(task.answer is not None for task in heldout):
    sampled = benchmarks.sampled(
      'heldout',
      heldout,
      verify,
      ask,
      samples=samples,
      ks=(1, samples),
      extract=domain.extract,
      same=domain.same,
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
    {}
    if with_answers
    else {'consensus': monitors.consensus(heldout, ask, domain.extract, same=domain.same)}
  )
  return evaluator(benchmarks.merge(*evaluates), **consensus)


def refined(domain, heldout, ask):
  """The gain at inference of voting over eight answers, and of the one that the check prefers.

  A check reads no answer and may accept a wrong one, as casting out nines does.
  """
  best = {} if domain.check is None else {'best8': voting.best_of_n(ask, 8, domain.check)}
  vote = voting.self_consistency(ask, 8, domain.extract, domain.same)
  return benchmarks.refined(
    'refined', heldout, domain.verify, plain=voting.first(ask), vote8=vote, **best
  )


def drawn_from(reserve, n):
  """context -> n random tasks of the reserve, drawn anew in every round.

  The held-out set is the same in every round, and rules that read its accuracy choose among rounds.
  Their choice may fit this set by chance. Accuracy on fresh tasks shows how much was chance.
  """

  def make(context):
    rows = jax.random.choice(context.key, len(reserve), (n,), replace=False)
    return [reserve[int(row)] for row in rows]

  return make


def steer_by_accuracy(*, words, own):
  """Rules on held-out accuracy.

  Every run stops on NaN and rolls back after a fall of accuracy. Runs on text questions (`words`)
  and of models trained from nothing (`own`) ask a human when the reward rises and accuracy does
  not. With `own` the reward must rise by more than 0.1. The selector of such a run keeps to tasks
  that are half solved. So the reward of a sound run still gains about 0.05 in four rounds when
  accuracy is already near 1.
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
  """Rules on the policy's replies to fixed prompts; they read no accuracy."""
  return steering.first_of(
    steering.stop_if_not_finite(),
    steering.rollback_if('monitor/consensus/answer_entropy', fall=0.5, limit=1),
    steering.rollback_if('monitor/consensus/anchor_agreement', share=0.8, limit=1),
    steering.rollback_if('monitor/consensus/parsed', below=0.8, limit=1),
  )
