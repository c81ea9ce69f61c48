"""Quickstart: a model trained from nothing closes the loop on two-digit addition. Nothing is downloaded.

  sirl run experiments/quickstart.py [--set seed=1] [--set debug=true]

A character-level decoder of 0.6M parameters sees a few thousand solved sums (the warm start, its own run in
WORKDIR/warm) and answers about a third of new ones. Then the loop takes over: acquire new sums, select those near the
edge of its ability, generate eight answers each, reward the right ones, optimize, evaluate on held-out sums, steer.

Hardware: 2 CPU cores, about 4 minutes. Source: GRPO, Shao et al. 2024 (arXiv 2402.03300). Differs: no KL, one update per
rollout, so its clipped objective is plain policy gradient.
Other runs of this file with one choice changed: quickstart_rejection, quickstart_majority, quickstart_majority_careless,
quickstart_random, quickstart_curriculum, quickstart_self_instruct, my_reward.
"""

import dataclasses
import functools

import jax

from experiments import common
from sirl import config, gro, models, rewards
from sirl.acquisition import once, procedural
from sirl.domains import answers, mathematics
from sirl.evaluation import benchmarks, monitors, steering
from sirl.experiment import Experiment
from sirl.generation import demonstrate, explore, greedy, make_ask
from sirl.models import tokenizer
from sirl.ops import keys
from sirl.optimization import advantages, make_optimize, objectives, transforms
from sirl.refinement import voting
from sirl.selection import adaptive, selectors

CODEC = tokenizer.characters('0123456789+=')
CORRECT = functools.partial(mathematics.correct, extract=answers.exact)
CHECK = functools.partial(mathematics.casting_out_nines, extract=answers.exact)  # knows no answer
TASK = mathematics.addition(digits=2)  # '12+34='; each unit of difficulty adds a digit
MAX_PROMPT, MAX_NEW = 6, 5  # tokens: '99+99=', '198' and the end token, one to spare


@dataclasses.dataclass(frozen=True, kw_only=True)
class Config(config.Base):
  """Numbers of the run; each can be set with --set NAME=VALUE."""

  max_rounds: int = 12
  steps_per_round: int = 40
  checkpoint_every: int = 10
  prompts: int = 64  # P
  group_size: int = 8  # G
  lr: float = 5e-4  # falls linearly to 0 over lr_steps
  lr_steps: int = 480
  kl: float = 0.0  # weight of KL to the warm-started weights
  acquired: int = 560  # new sums per round
  heldout: int = 250  # sums never trained on, the same in every round
  width: int = 128
  layers: int = 3
  warm_goal: float = 0.28  # accuracy at which the warm start ends
  warm_rounds: int = 20  # and its limit, in rounds of 30 steps
  warm_prompts: int = 64
  warm_lr: float = 1e-3


def shrink(c: Config) -> Config:
  """The same run in about a minute: a smaller model, fewer and shorter rounds."""
  return dataclasses.replace(
    c, max_rounds=2, steps_per_round=4, checkpoint_every=2, prompts=8, group_size=4, acquired=40, heldout=16,
    width=32, layers=2, warm_rounds=1, warm_prompts=16,
  )  # fmt: skip


VERIFIED = rewards.weighted(correct=(1.0, rewards.per_completion(CORRECT, workers=1)))
POLICY_GRADIENT = objectives.policy_gradient()


def steer_by_accuracy():
  """Rules on held-out accuracy: stop on NaN, go back after a fall, ask when only the reward rises.

  A sound run ends with accuracy flat near 1 while the reward, on tasks sought near the edge, still gains some 0.05 in four
  rounds; a rise of 0.1 is seen only earlier, where accuracy gains as much and its error is some 0.02. A hack gains far more.
  """
  return steering.first_of(
    steering.stop_if_not_finite(),
    steering.rollback_if_regressed('heldout/pass@1', sems=4.0),
    steering.ask_if_hacking('train/reward', 'heldout/pass@1', patience=4, rise=0.1),
  )


def build(
  c: Config,
  *,
  reward=VERIFIED,
  keep=gro.everything,
  advantage=advantages.normalized,
  objective=POLICY_GRADIENT,
  with_answers=True,
  selector=None,
  steer=None,
) -> Experiment:
  """The experiment, with its main choices as keywords."""
  model = models.build(
    models.preset('toy', vocab=CODEC.vocab, width=c.width, layers=c.layers, head_width=c.width // 4)
  )
  heldout, development, reserve = unseen(c)
  taken = [*heldout, *development, *reserve]
  ask = make_ask(model, CODEC, max_prompt=MAX_PROMPT, max_new=MAX_NEW, batch=c.heldout)
  ask_greedy = greedy(model, CODEC, max_prompt=MAX_PROMPT, max_new=MAX_NEW, batch=c.heldout)
  optimizer = transforms.adamw(c.lr, warmup=10, total=c.lr_steps, schedule='linear')

  return Experiment(
    config=c,
    model=model,
    params=warm_start(c, model, development, taken),
    optimizer=optimizer,
    reference=True,  # the warm-started weights, for the curve of KL
    acquire=procedural.procedural(TASK, per_round=c.acquired, answers=with_answers, exclude=taken),
    selector=selector or adaptive.success_rate(target=0.5),
    step=gro.make_step(
      generate=explore(
        model, CODEC, group_size=c.group_size, max_prompt=MAX_PROMPT, max_new=MAX_NEW
      ),
      reward=reward,
      optimize=make_optimize(
        model,
        optimizer,
        advantage,
        objectives.add(objective, (c.kl, objectives.kl())),
      ),
      keep=keep,
    ),
    evaluate=benchmarks.merge(
      benchmarks.with_gap(
        benchmarks.merge(
          benchmarks.sampled(
            'heldout', heldout, CORRECT, ask, samples=8, ks=(1, 8), extract=answers.exact
          ),
          benchmarks.fresh(
            'fresh', drawn_from(reserve, c.heldout), CORRECT, ask, samples=8, ks=(1,)
          ),
        )
      ),
      benchmarks.greedy('heldout', heldout, CORRECT, ask_greedy),
      benchmarks.refined(
        'refined',
        heldout,
        CORRECT,
        plain=voting.first(ask),
        vote8=voting.self_consistency(ask, 8, answers.exact),
        best8=voting.best_of_n(ask, 8, CHECK),
      ),
      monitors.standard(CORRECT if with_answers else None),
      *([] if with_answers else [consensus_of(heldout, ask)]),
    ),
    steer=steer or steer_by_accuracy(),
  )


def unseen(c: Config):
  """Three disjoint sets that nothing trains on: held out, to end the warm start by, and to draw fresh sums from."""
  heldout = procedural.fixed_set(TASK, n=c.heldout, seed=0, namespace='heldout')
  development = procedural.fixed_set(
    TASK, n=c.heldout, seed=0, namespace='development', exclude=heldout
  )
  reserve = procedural.fixed_set(
    TASK, n=2 * c.heldout, seed=0, namespace='reserve', exclude=[*heldout, *development]
  )
  return heldout, development, reserve


def warm_start(c: Config, model, development, taken) -> Experiment:
  """Supervised learning on demonstrations until the goal: the same loop with another generate, reward and objective."""
  solved = procedural.fixed_set(TASK, n=4000, seed=0, namespace='warm', exclude=taken)
  optimizer = transforms.adamw(c.warm_lr, warmup=20)
  ask = make_ask(model, CODEC, max_prompt=MAX_PROMPT, max_new=MAX_NEW, batch=c.heldout)
  return Experiment(
    config=dataclasses.replace(
      c, max_rounds=c.warm_rounds, steps_per_round=30, checkpoint_every=30, prompts=c.warm_prompts
    ),
    model=model,
    params=model.init(keys.at(c.seed, 'init')),
    optimizer=optimizer,
    acquire=once(solved),
    selector=selectors.uniform(),
    step=gro.make_step(
      generate=demonstrate(CODEC, max_prompt=MAX_PROMPT, max_new=MAX_NEW),
      reward=rewards.per_completion(common.demonstrated, workers=1),
      optimize=make_optimize(model, optimizer, advantages.raw, objectives.nll()),
    ),
    evaluate=benchmarks.sampled('development', development, CORRECT, ask, samples=8, ks=(1, 8)),
    steer=steering.first_of(
      steering.stop_if_not_finite(),
      steering.stop_when_reached('development/pass@1', above=c.warm_goal, sems=0.0),
    ),
  )


def drawn_from(reserve, n):
  """Other sums every round, none of them trained on: the frozen set beside them shows what being looked at has given it."""

  def make(context):
    rows = jax.random.choice(context.key, len(reserve), (n,), replace=False)
    return [reserve[int(row)] for row in rows]

  return make


def consensus_of(heldout, ask):
  """For runs without answers: what the policy says to fixed prompts, beside what the warm-started weights said."""
  return monitors.consensus(heldout, ask, answers.exact, start=lambda record: record.reference)


summary = common.before_and_after
