"""Numbers out of range are refused where they are given, in one line that says what was expected."""

import dataclasses
import math

import numpy as np
import optax
import pytest

from experiments import gsm8k_grpo, quickstart_self_instruct, settings
from experiments.methods import dapo, grpo, gspo
from sirl import config, ranges, rewards
from sirl.acquisition import hygiene
from sirl.acquisition.procedural import procedural
from sirl.domains import mathematics
from sirl.evaluation import benchmarks, monitors, steering
from sirl.generation import demonstrate, explore, make_ask, make_logp, make_prompt_logp
from sirl.generation.engine import drafts, refill, sampling, speculative
from sirl.models import tabular, tokenizer
from sirl.ops import keys, stats
from sirl.optimization import Pieces, advantages, by_group, make_optimize, objectives, reference
from sirl.optimization.transforms import adamw
from sirl.refinement import voting
from sirl.rewards import heuristic
from sirl.selection import adaptive, selectors
from sirl.tasks import Task
from sirl.types import Sampler, SamplingParams

NAN, INF = math.nan, math.inf
NO_NUMBER = ('', '1', True, [1], 1j)
NOT_WHOLE = (-1, NAN, INF, 1.5, 2**40, np.float32(2), *NO_NUMBER)

CODEC = tokenizer.characters('ab')
MODEL = tabular.tabular(CODEC.vocab, 4)
LENGTHS = dict(max_prompt=2, max_new=2)
DECODING = dict(group_size=2, max_new=2, eos_ids=(1,), pad_id=0)
TASKS = [Task(id='a', prompt='b', answer='c')]
CREDIT, OBJECTIVE = by_group(advantages.raw), objectives.policy_gradient()


def update(**numbers):
  return make_optimize(MODEL, optax.sgd(1.0), CREDIT, OBJECTIVE, **numbers)


def choice(kind, **numbers):
  return lambda value, name: kind(**{**numbers, name: value})


# (name of the number, function that takes it and the name, bad values besides NOT_WHOLE)
WHOLE = [
  ('seed', lambda value, name: keys.at(value, 'gro', 0), ()),
  ('top_k', choice(sampling.sampler), (0,)),
  ('group_size', choice(SamplingParams, **DECODING), (0, None)),
  ('max_new', choice(SamplingParams, **DECODING), (0, None)),
  ('pad_id', choice(SamplingParams, **DECODING), (None,)),
  ('group_size', choice(lambda **n: explore(MODEL, CODEC, **{**LENGTHS, **n})), (0, None)),
  ('max_prompt', choice(lambda **n: explore(MODEL, CODEC, group_size=2, max_new=2, **n)), (0,)),
  ('max_prompt', choice(lambda **n: demonstrate(CODEC, max_new=2, **n)), (0, None)),
  ('max_new', choice(lambda **n: demonstrate(CODEC, max_prompt=2, **n)), (0, None)),
  ('batch', choice(lambda **n: make_ask(MODEL, CODEC, **LENGTHS, **n)), (0, None)),
  ('max_new', choice(lambda **n: make_ask(MODEL, CODEC, max_prompt=2, **n)), (0, None)),
  ('batch', choice(lambda **n: make_logp(MODEL, CODEC, **LENGTHS, **n)), (0, None)),
  ('max_prompt', choice(lambda **n: make_prompt_logp(MODEL, CODEC, **n)), (0, None)),
  ('slots', choice(refill.decoder), (0, None)),
  ('width', choice(lambda **n: speculative.decoder(drafts.prompt_lookup(), **n)), (0, None)),
  ('ngram', choice(drafts.prompt_lookup), (0, None)),
  ('epochs', choice(update), (0, None)),
  ('minibatches', choice(update), (0, None)),
  ('microbatches', choice(Pieces), (0, None)),
  ('rows', choice(Pieces), (0,)),
  ('chunk', choice(Pieces), (0,)),
  ('warmup', choice(adamw, learning_rate=0.1), (None,)),
  ('total', choice(adamw, learning_rate=0.1), (0,)),
  ('total', choice(adamw, learning_rate=0.1, warmup=4), (3, 4)),
  ('capacity', choice(adaptive.success_rate), (0, None)),
  ('horizon', choice(steering.stop_if_not_finite), (0, 9, None)),
  ('rounds', choice(steering.ask_every), (0, None)),
  ('rounds', choice(lambda **n: steering.stop_after_plateau('m', **n)), (0, None)),
  ('patience', choice(lambda **n: steering.ask_if_hacking('m', 'n', **n)), (0, None)),
  ('limit', choice(lambda **n: steering.rollback_if_regressed('m', **n)), (None,)),
  ('cooldown', choice(lambda **n: steering.harder_if_saturated('m', 0.5, **n)), (None,)),
  ('samples', choice(lambda **n: benchmarks.sampled('h', TASKS, None, None, **n)), (0, None)),
  ('samples', choice(lambda **n: monitors.consensus(TASKS, None, None, same=None, **n)), (0, 1, None)),
  ('digits', choice(mathematics.addition), (0, None)),
  ('terms', choice(mathematics.chain_sum), (0, 1, None)),
  ('per_round', choice(lambda **n: procedural(mathematics.addition(), **n)), (0, None)),
  ('n', lambda value, name: voting.self_consistency(None, value, None, None), (0, None)),
  ('train', choice(lambda **n: heuristic.majority_vote(None, same=None, **n)), (0,)),
  ('workers', choice(lambda **n: rewards.per_group(lambda task, texts: texts, **n)), (0, None)),
  ('length', lambda value, name: tabular.tabular(4, value), (0, None)),
]  # fmt: skip
REAL = [
  ('temperature', choice(sampling.sampler), (-1, None)),
  ('temperature', lambda value, name: SamplingParams(**DECODING, sampler=Sampler(value)), (0, -1, None)),
  ('top_p', choice(sampling.sampler), (0, -1, 1.5)),
  ('min_p', choice(sampling.sampler), (0, -1, 1.5)),
  ('learning_rate', choice(adamw), (-1, None)),
  ('b1', choice(adamw, learning_rate=0.1), (-1, 1, None)),
  ('b2', choice(adamw, learning_rate=0.1), (-1, 1, None)),
  ('weight_decay', choice(adamw, learning_rate=0.1), (-1, None)),
  ('clip', choice(adamw, learning_rate=0.1), (0, -1)),
  ('dual', choice(objectives.clipped), (-1, 1)),
  ('length', choice(objectives.sequence_mean_token_sum_norm), (0, -1, None)),
  ('weight', lambda value, name: objectives.add(OBJECTIVE, (value, OBJECTIVE)), (None,)),
  ('threshold', choice(advantages.accept), (None,)),
  ('decay', choice(reference.ema), (-1, 1.5, None)),
  ('target', choice(adaptive.success_rate), (-1, 1.5, None)),
  ('decay', choice(adaptive.success_rate), (-1, 0, 1.5, None)),
  ('fraction', choice(selectors.top_fraction), (-1, 0, 1.5, None)),
  ('temperature', choice(selectors.softmax), (-1, 0, None)),
  ('above', lambda value, name: steering.stop_when_reached('m', value), (None,)),
  ('sems', choice(lambda **n: steering.rollback_if_regressed('m', **n)), (None,)),
  ('share', choice(lambda **n: steering.rollback_if('m', below=0.1, **n)), ()),
  ('step', choice(lambda **n: steering.harder_if_saturated('m', 0.5, **n)), (0, -1, None)),
  ('threshold', choice(lambda **n: monitors.feedback(None, **n)), (None,)),
  ('max_overlap', choice(lambda **n: hygiene.dissimilar(None, **n)), (0, -1, 1.5, None)),
  ('penalty', choice(heuristic.repetition), (-1, None)),
  ('p', choice(heuristic.random_reward), (-1, 1.5, None)),
  ('difficulty', choice(lambda **n: Task(id='a', prompt='b', **n)), (None,)),
  ('confidence', choice(lambda **n: stats.rate([0.5, 1.0], **n)), (0, 1, None)),
]  # fmt: skip


def cases(table, shared):
  for name, give, others in table:
    for value in (*shared, *others):
      yield pytest.param(name, give, value, id=f'{name}={value!r}')


@pytest.mark.parametrize(
  ('name', 'give', 'value'), [*cases(WHOLE, NOT_WHOLE), *cases(REAL, (NAN, INF, *NO_NUMBER))]
)
def test_a_number_out_of_range_is_one_line_with_its_name_and_what_was_expected(name, give, value):
  with pytest.raises(ValueError, match=rf'^(\w+: )?{name}=.*; expected an? [^\n]*$'):
    give(value, name)


@pytest.mark.parametrize('side', ['low', 'high'])
@pytest.mark.parametrize('kind', [objectives.clipped, objectives.sequence_clipped])
def test_a_clip_is_not_negative_and_may_be_infinite_to_turn_it_off(kind, side):
  kind(**{side: INF})
  for value in (-0.1, NAN, None):
    with pytest.raises(ValueError, match=rf'{side}=.*; expected a number of at least 0'):
      kind(**{side: value})


def test_seeds_that_would_share_their_random_numbers_are_refused():
  """Keys read 32 bits of a seed, so 2**32 would repeat the run of seed 0, and -1 that of 2**32 - 1."""
  for seed in (2**32, 10**20, -1):
    with pytest.raises(ValueError, match=rf'seed={seed}; expected an int in \[0, 4294967295\]'):
      config.Base(seed=seed)


# ---------------------------------------------------------------- the numbers of a run

BAD = (-1, NAN, INF, 1.5, None, '', True, 2**40, np.float32(-1))
# Fields that take some of BAD, and which.
TAKEN = {
  'temperature': (1.5, 2**40), 'max_logp_gap': (1.5, 2**40), 'lr': (1.5, 2**40),
  'kl': (1.5, 2**40), 'warm_lr': (1.5, 2**40), 'clip': (1.5, 2**40), 'rows': (None,),
}  # fmt: skip


@pytest.mark.parametrize(
  ('method', 'numbers'),
  [
    (grpo, ()),
    (dapo, ('task=jsonl',)),
    (gspo, ('model=weights/some', 'task=gsm8k')),
    (quickstart_self_instruct, ()),
    (gsm8k_grpo, ()),
  ],
)
def test_every_number_of_a_run_has_a_range(method, numbers):
  c = method.build.configured(method.Config, numbers)
  for field in dataclasses.fields(c):
    now = getattr(c, field.name)
    if isinstance(now, str) or dataclasses.is_dataclass(now):
      continue
    taken = (True,) if isinstance(now, bool) else TAKEN.get(field.name, ())
    bad = [value for value in BAD if not any(value is x for x in taken)]
    if isinstance(now, tuple):
      bad = [(value, *now[1:]) for value in (-1, NAN, None, '', True)] + [1, None, '']
    for value in bad:
      with pytest.raises(ValueError, match=rf'^{field.name}(\[0\])?=.*; expected an? [^\n]*$'):
        dataclasses.replace(c, **{field.name: value})


def test_a_number_stated_anew_keeps_the_range_of_its_base():
  @dataclasses.dataclass(frozen=True, kw_only=True)
  class Config(grpo.Config):
    group_size: int = 4
    lr: float = 1e-3
    own: float = 0.5

  c = settings.built(grpo.method).configured(Config, ('own=-1',))
  assert c.own == -1.0
  for name in ('group_size', 'lr'):
    with pytest.raises(ValueError, match=f'{name}=-1.*; expected'):
      dataclasses.replace(c, **{name: -1})


def test_numpy_numbers_become_plain_ones_so_the_run_has_the_same_identity():
  c = config.Base(seed=np.int64(3), max_logp_gap=np.float32(0.5))
  assert type(c.seed) is int
  assert type(c.max_logp_gap) is float
  assert config.digest(c) == config.digest(config.Base(seed=3, max_logp_gap=0.5))


@pytest.mark.parametrize(
  ('hint', 'value', 'message'),
  [
    (ranges.Count | None, 0, 'n=0; expected an int of at least 1, or None'),
    (tuple[ranges.Count, ...], (2, 0), r'n\[1\]=0; expected an int of at least 1'),
    (tuple[float, float], (1.0,), r'n=\(1.0,\); expected a tuple of 2'),
    (ranges.Share, 1.5, r'n=1.5; expected a number in \[0, 1\]'),
    (ranges.Positive, 0, 'n=0; expected a finite number above 0'),
    (bool, 1, 'n=1; expected a bool'),
  ],
)
def test_a_message_says_the_whole_range(hint, value, message):
  with pytest.raises(ValueError, match=f'^{message}$'):
    ranges.fitted('n', value, hint)


def test_fields_of_other_types_are_left_alone():
  assert ranges.fitted('n', {'a': 1}, dict[str, int]) == {'a': 1}
  assert ranges.fitted('n', 'x', int | str) == 'x'
