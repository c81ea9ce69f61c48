"""Overrides, hashes and sweeps of a config."""

import dataclasses

import pytest

from sirl import config


@dataclasses.dataclass(frozen=True, kw_only=True)
class Config(config.Base):
  lr: float = 1e-3
  clip: tuple[float, float] = (0.2, 0.28)
  note: str | None = None


def test_overrides_take_the_annotated_type():
  changed = config.override(
    Config(), ['seed=3', 'mesh.fsdp=2', 'lr=1', 'clip=(0.1,0.2)', 'note=a=b', 'debug=true']
  )
  assert changed == Config(
    seed=3, mesh=config.Mesh(fsdp=2), lr=1.0, clip=(0.1, 0.2), note='a=b', debug=True
  )
  assert type(changed.lr) is float
  assert config.override(changed, ['note=none']).note is None


@pytest.mark.parametrize(
  ('assignment', 'message'),
  [
    ('sed=1', "did you mean 'seed'"),
    ('seed', 'expected NAME=VALUE'),
    ('seed=1.5', 'expected int, got float'),
    ('seed=x', 'expected int'),
    ('mesh=2', 'set one of mesh.data'),
    ('seed.x=1', 'single value'),
    ('prompts=0', 'prompts=0; expected at least 1'),
    ('checkpoint_every=0', 'checkpoint_every=0; expected at least 1'),
    ('steps_per_round=-1', 'steps_per_round=-1; expected at least 1'),
  ],
)
def test_a_wrong_override_says_what_was_expected(assignment, message):
  with pytest.raises(ValueError, match=message):
    config.override(Config(), [assignment])


def test_the_hash_covers_what_changes_the_numbers_and_nothing_else():
  base = config.digest(Config())
  assert config.digest(Config(max_rounds=99, checkpoint_every=1, allow_changed_config=True)) == base
  assert config.digest(Config(lr=2e-3)) != base
  differences = config.differences(config.dump(Config()), Config(lr=2e-3, mesh=config.Mesh(data=2)))
  assert differences == ['lr (0.001 -> 0.002)', 'mesh.data (-1 -> 2)']


def test_sweeps_are_lists_of_overrides():
  assert config.product(seed=range(2), lr=(0.1, 0.2)) == [
    ['seed=0', 'lr=0.1'],
    ['seed=0', 'lr=0.2'],
    ['seed=1', 'lr=0.1'],
    ['seed=1', 'lr=0.2'],
  ]
  assert config.paired(seed=(0, 1), lr=(0.1, 0.2)) == [['seed=0', 'lr=0.1'], ['seed=1', 'lr=0.2']]
  with pytest.raises(ValueError, match='one length'):
    config.paired(seed=(0, 1), lr=(0.1,))
