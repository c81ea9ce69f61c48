"""What must not change a sample: batch layout, micro-batches, compilation. What must not recompile.

All tests use a small decoder of the real kind. Noise is addressed by task and sample, so only the
rounding of logits could change a sample. The seeds are fixed, and the tests count changed tokens:
none.
"""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from sirl import gro, models, rewards
from sirl.experiment import Learner
from sirl.generation import explore
from sirl.generation.engine import refill, sampling
from sirl.generation.engine.decode import static
from sirl.models import tokenizer
from sirl.ops import keys, logprobs
from sirl.optimization import Pieces, advantages, by_group, make_optimize, objectives
from sirl.tasks import Task

from support import compiles

CODEC = tokenizer.characters('0123456789+=')
MODEL = models.build(
  models.preset('toy', vocab=CODEC.vocab, width=32, layers=2, head_width=8, ffw=64)
)
PARAMS = jax.jit(MODEL.init)(keys.at(0, 'init'))
KEY = keys.at(0, 'gro', 0, 0)
SUMS = ['1+2=', '12+34=', '7=', '99+99=', '5+60=', '0=', '31+4=', '8+8=']
TASKS = [Task(id=f'sum-{text}', prompt=text) for text in SUMS]
G, MAX_PROMPT, MAX_NEW = 4, 6, 12
NUCLEUS = sampling.sampler(temperature=0.7, top_p=0.9)


def draw(tasks, *, group_size=G, max_prompt=MAX_PROMPT, max_new=MAX_NEW, sampler=None):
  """{(task id, sample): (completion tokens, their log-probs)}, and the Rollouts."""
  generate = explore(
    MODEL, CODEC, group_size=group_size, max_prompt=max_prompt, max_new=max_new, sampler=sampler
  )
  rollouts = generate({'policy': PARAMS}, tasks, KEY).rollouts
  tokens, logp = (np.asarray(x[..., max_prompt:]) for x in (rollouts.tokens, rollouts.logp))
  found = {}
  for p, task in enumerate(tasks):
    for g in range(group_size):
      # A task that occurs twice continues its sample numbers.
      sample = sum(known == task.id for known, _ in found)
      found[task.id, sample] = tokens[p, g], logp[p, g]
  return found, rollouts


def flips(whole, other):
  """(samples whose tokens differ, largest difference of log-probs in the other samples)."""
  assert other.keys() <= whole.keys()
  differ = [at for at in other if not np.array_equal(whole[at][0], other[at][0])]
  same = [at for at in other if at not in differ]
  return differ, max(np.abs(whole[at][1] - other[at][1]).max() for at in same)


# ---------------------------------------------------------------- sampling


@pytest.fixture(scope='module')
def whole():
  return draw(TASKS)[0]


LAYOUTS = {
  'another order': dict(tasks=TASKS[::-1]),
  'three of the tasks': dict(tasks=TASKS[2:5]),
  'half of every group': dict(tasks=TASKS, group_size=2),
  'a group in two halves': dict(tasks=[*TASKS[:4], *TASKS[:4]], group_size=2),
  'more room for prompts': dict(tasks=TASKS, max_prompt=9),
}


@pytest.mark.parametrize('layout', LAYOUTS)
def test_the_layout_of_a_batch_changes_no_sample(whole, layout):
  other, _ = draw(**LAYOUTS[layout])
  differ, gap = flips(whole, other)
  assert not differ
  assert gap < 1e-5
  assert len(other) >= 12


def test_samples_of_a_task_and_tasks_have_noise_of_their_own(whole):
  """A counter-check: without it the tests above could not fail."""
  texts = {tokens.tobytes() for tokens, _ in whole.values()}
  assert len(texts) > 0.9 * len(whole)
  other = {
    at: draw_
    for at, draw_ in draw([Task(id='another', prompt=SUMS[0]), *TASKS[1:]])[0].items()
    if at[0] == 'another'
  }
  assert flips(
    {('another', g): whole[TASKS[0].id, g] for g in range(G)},
    other | {('another', 0): whole[TASKS[0].id, 0]},
  )[0]


@pytest.mark.all
def test_compilation_changes_no_sample():
  tasks = TASKS[:2]
  compiled, _ = draw(tasks, group_size=2, max_new=4)
  with jax.disable_jit():
    plain, _ = draw(tasks, group_size=2, max_new=4)
  differ, gap = flips(compiled, plain)
  assert not differ
  assert gap < 1e-5


# ---------------------------------------------------------------- sampler and learner


@pytest.mark.parametrize(
  'sampler', [sampling.sampler(), NUCLEUS], ids=['plain', 'temperature and top-p']
)
def test_sampler_and_learner_give_a_token_the_same_log_prob(sampler):
  """Equal weights, one sampler given to both: below 1e-5 nats over some 500 tokens."""
  tasks = [Task(id=f'{i}', prompt=SUMS[i % len(SUMS)]) for i in range(16)]
  _, rollouts = draw(tasks, sampler=sampler)
  learner = jax.jit(
    lambda params: logprobs.token_stats(MODEL, params, rollouts, sampler=sampler).logp
  )
  action = np.asarray(rollouts.action)
  assert action.sum() > 400
  gap = np.abs(np.asarray(learner(PARAMS)) - np.asarray(rollouts.logp))[action]
  assert gap.max() < 1e-5
  entropy = -np.asarray(rollouts.logp)[action].mean()
  assert entropy > 1  # the tokens were far from certain

  # With the sampler on one side only, the gap is large enough to stop a run.
  if sampler is NUCLEUS:
    other = jax.jit(lambda params: logprobs.token_stats(MODEL, params, rollouts).logp)
    assert np.abs(np.asarray(other(PARAMS)) - np.asarray(rollouts.logp))[action].max() > 0.1


# ---------------------------------------------------------------- whole steps


def shortness(task, text):
  return -float(len(text)) + 0.1 * text.count(task.prompt[0])


def step_of(microbatches, *, decode=static, slices=1, prompt_widths=(), minibatches=1, **cuts):
  """A GRO step with plain SGD, whose update is linear in the gradient."""
  return gro.make_step(
    generate=explore(
      MODEL,
      CODEC,
      group_size=G,
      max_prompt=MAX_PROMPT,
      max_new=MAX_NEW,
      decode=decode,
      prompt_widths=prompt_widths,
    ),
    slices=slices,
    reward=rewards.per_completion(shortness, workers=1),
    optimize=make_optimize(
      MODEL,
      optax.sgd(0.1),
      by_group(advantages.centered),
      objectives.policy_gradient(),
      minibatches=minibatches,
      pieces=Pieces(microbatches=microbatches, **cuts),
    ),
  )


def fresh():
  """The learners before the first step."""
  return {'policy': gro.start(Learner(model=MODEL, params=PARAMS, optimizer=optax.sgd(0.1)))}


def two_steps(microbatches):
  """Weights after one step, and the tokens of both."""
  step, learners, tokens, weights = step_of(microbatches), fresh(), [], None
  for s in range(2):
    learners, outcome = step(learners, TASKS, keys.at(0, 'gro', 0, s))
    tokens.append(np.asarray(outcome.samples.rollouts.tokens))
    weights = jax.tree.map(np.array, learners['policy'].params) if weights is None else weights
  return weights, tokens


@pytest.mark.all
def test_micro_batches_change_no_sample_and_weights_by_rounding_only():
  weights, tokens = two_steps(1)
  largest = lambda tree: max(np.abs(leaf).max() for leaf in jax.tree.leaves(tree))
  moved = largest(jax.tree.map(np.subtract, weights, PARAMS))
  assert moved > 0.01 * largest(weights)
  assert (tokens[0] != tokens[1]).any()
  for microbatches in (2, 4):
    other, others = two_steps(microbatches)
    assert largest(jax.tree.map(np.subtract, other, weights)) < 1e-6 * largest(weights)
    for mine, theirs in zip(tokens, others):
      np.testing.assert_array_equal(theirs, mine)


@pytest.mark.all
def test_prompt_widths_change_no_sample_and_compile_once_each():
  """Batches of short and of long prompts in turn; two slices of a batch have one width."""
  step, learners, counts = step_of(1, prompt_widths=(3,), slices=2), fresh(), []
  whole = step_of(1, slices=2)
  compiled = compiles.watched()
  for s, texts in enumerate([SUMS, ['7=', '0='] * 4, SUMS[::-1], ['8=', '1+'] * 4]):
    tasks = [Task(id=f'{s} {i}', prompt=text) for i, text in enumerate(texts)]
    before = len(compiled)
    before_it = jax.tree.map(jnp.copy, learners)
    learners, outcome = step(learners, tasks, keys.at(2, 'gro', 0, s))
    counts.append(len(compiled) - before)
    columns = 3 if s % 2 else MAX_PROMPT
    assert outcome.samples.rollouts.prompt_width == columns
    assert outcome.metrics['sampling/prompt_width'] == columns
    expected = whole(before_it, tasks, keys.at(2, 'gro', 0, s))[1]
    assert outcome.samples.texts == expected.samples.texts
    assert outcome.metrics['loss'] == pytest.approx(expected.metrics['loss'], abs=1e-6)
  assert counts[0] > 0
  assert counts[1] > 0
  assert counts[2:] == [0, 0]


def test_a_step_fetches_its_numbers_at_once(monkeypatch):
  """Besides tokens and texts there is one transfer for all metrics and rewards."""
  fetched = []
  fetch = jax.device_get
  monkeypatch.setattr(jax, 'device_get', lambda tree: fetched.append(tree) or fetch(tree))
  _, outcome = step_of(1)(fresh(), TASKS, KEY)
  assert len(fetched) == 1
  assert len(jax.tree.leaves(fetched[0])) > 15
  assert all(isinstance(value, float) for value in outcome.metrics.values())


@pytest.mark.parametrize(
  'choices',
  [
    pytest.param(dict(microbatches=2), id='plain'),
    pytest.param(
      dict(
        minibatches=2, microbatches=1, rows=8, widths=(3, 6), decode=refill.decoder(6), slices=2
      ),
      id='minibatches, refilled slots, slices, rows by length',
      marks=pytest.mark.all,
    ),
  ],
)
def test_a_second_step_compiles_nothing(choices):
  """Other tasks, prompts and answers of other lengths: the same programs."""
  compiled = compiles.watched()
  step, learners = step_of(**choices), fresh()
  counts, lengths = [0], []
  for s, texts in enumerate([SUMS, ['3=', *SUMS[::-1][:7]], ['1+1='] * 8]):
    tasks = [Task(id=f'{s} {i}', prompt=text) for i, text in enumerate(texts)]
    learners, outcome = step(learners, tasks, keys.at(1, 'gro', 0, s))
    counts.append(len(compiled))
    lengths.append(np.asarray(outcome.samples.rollouts.action).sum(axis=-1))
  assert counts[1] > 0  # the listener works
  assert counts[1:] == [counts[1]] * 3
  assert len(np.unique(lengths)) > 4
  assert (lengths[0] != lengths[1]).any()
