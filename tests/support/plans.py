"""Plans for tests: gsm8k_grpo with its 0.5B model, which is read from no file, and the toy."""

import functools
import os

import jax
import pytest

from sirl import experiment_file
from sirl.plan import chips, plan, programs, topology

TOY = ('debug=true',)


@functools.cache
def of(file, *given):
  """The programs of an experiment."""
  module = experiment_file.load(experiment_file.find(file))
  return programs.of(module.build, experiment_file.configured(module, given))


@functools.cache
def estimated(file, chip, *given):
  """The plan without compiling."""
  about = {'name': file, 'file': file, 'assignments': given}
  return plan.estimated(of(file, *given), chips.group(chip), **about)


@pytest.fixture
def as_before():
  """Restores what `topology.prepare` sets for the process."""
  kept = {name: os.environ.get(name) for name in topology.ENVIRONMENT}
  cache, platforms = jax.config.jax_enable_compilation_cache, jax.config.jax_platforms
  yield
  jax.config.update('jax_enable_compilation_cache', cache)
  jax.config.update('jax_platforms', platforms)
  for name, value in kept.items():
    os.environ.pop(name, None) if value is None else os.environ.update({name: value})
