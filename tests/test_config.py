"""Overrides, hashes and sweeps of a config."""

import dataclasses
from typing import ClassVar

import pytest

from sirl import config, recipe


@dataclasses.dataclass(frozen=True, kw_only=True)
class Config(config.Base):
  lr: float = 1e-3
  clip: tuple[float, float] = (0.2, 0.28)
  note: str | None = None
  widths: tuple[int, ...] = ()
  limit: float | None = None


def test_overrides_take_the_annotated_type():
  changed = config.override(
    Config(), ['seed=3', 'mesh.fsdp=2', 'lr=1', 'clip=(0.1,0.2)', 'note=a=b', 'debug=true']
  )
  assert changed == Config(
    seed=3, mesh=config.Mesh(fsdp=2), lr=1.0, clip=(0.1, 0.2), note='a=b', debug=True
  )
  assert type(changed.lr) is float
  assert config.override(changed, ['note=none']).note is None
  assert config.override(Config(), ['widths=(8,16)', 'clip=[1,2]', 'limit=1']) == Config(
    widths=(8, 16), clip=(1.0, 2.0), limit=1.0
  )
  assert config.override(Config(limit=1.0), ['limit=none', 'widths=()']) == Config()


def test_a_number_with_a_range_may_be_none_where_its_type_says_so():
  given = config.override(recipe.Config(), ['rows=4'])
  assert (given.rows, config.override(given, ['rows=none']).rows) == (4, None)


@pytest.mark.parametrize(
  ('assignment', 'message'),
  [
    ('sed=1', "did you mean 'seed'"),
    ('seed', 'expected NAME=VALUE'),
    ('seed=1.5', 'expected int, got float'),
    ('seed=x', 'expected int'),
    ('mesh=2', 'set one of mesh.data'),
    ('seed.x=1', 'single value'),
    ('prompts=0', 'prompts=0; expected an int of at least 1'),
    ('checkpoint_every=0', 'checkpoint_every=0; expected an int of at least 1'),
    ('steps_per_round=-1', 'steps_per_round=-1; expected an int of at least 1'),
    (
      'clip=("a","b")',
      r"--set clip=\(\"a\",\"b\"\): expected tuple\[float, float\], got str 'a'; for example "
      r"--set 'clip=\(0.2, 0.28\)'",
    ),
    (
      'clip=(1,)',
      r"expected tuple\[float, float\], got 1 value; for example --set 'clip=\(0.2, 0.28\)'",
    ),
    ('clip=(1,2,3)', 'got 3 values; for example'),
    ('clip=(0.1,1e400)', r"got inf, which is not finite; for example --set 'clip=\(0.2, 0.28\)'"),
    ('clip=0.2', r'expected tuple\[float, float\], got float 0.2; for example'),
    ('widths=(8,1.5)', r'expected tuple\[int, ...\], got float 1.5'),
    (
      'lr=1e400',
      'lr=1e400: expected float, got inf, which is not finite; for example --set lr=0.001',
    ),
    ('lr=-1e400', 'lr=-1e400: expected float, got -inf'),
    (
      'limit=1e400',
      r'limit=1e400: expected float \| None, got inf, which is not finite; for example --set limit=none',
    ),
    ('lr=nan', 'lr=nan: expected float, got nan, which is not finite; for example --set lr=0.001'),
    ('lr=inf', 'lr=inf: expected float, got inf'),
    ('lr=1' + '0' * 400, 'expected float, got a number too large'),
    (
      'max_logp_gap=-1',
      'max_logp_gap=-1.0; expected a finite number of at least 0',
    ),
  ],
)
def test_a_wrong_override_says_what_was_expected(assignment, message):
  with pytest.raises(ValueError, match=message):
    config.override(Config(), [assignment])


def test_a_config_may_have_constants_and_functions_besides_its_fields():
  @dataclasses.dataclass(frozen=True, kw_only=True)
  class Own(Config):
    beta: float = 0.1
    LARGEST: ClassVar[int] = 3

    @property
    def twice(self):
      return 2 * self.beta

    def shrunk(self):
      return dataclasses.replace(self, beta=0.0)

  class Other(Own):
    LEAST: ClassVar[int] = 1

  config.check_class(Own)
  config.check_class(Other)


def test_a_gap_that_is_no_number_is_refused():
  with pytest.raises(ValueError, match='max_logp_gap=nan; expected a finite number of at least 0'):
    Config(max_logp_gap=float('nan'))


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
