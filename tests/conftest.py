"""Shared by all tests: a CPU backend, a persistent compilation cache, the order of test files."""

import importlib.util
import os
import pathlib
import sys

os.environ.setdefault('JAX_PLATFORMS', 'cpu')
os.environ.setdefault('TF_CPP_MIN_LOG_LEVEL', '2')
ROOT = pathlib.Path(__file__).parent.parent
sys.path.insert(0, str(ROOT))

import jax

_CACHE = os.environ.get('SIRL_CACHE', str(ROOT / '.cache' / 'jax'))
jax.config.update('jax_compilation_cache_dir', _CACHE)
jax.config.update('jax_persistent_cache_min_compile_time_secs', 0)
jax.config.update('jax_persistent_cache_min_entry_size_bytes', -1)

import pytest


def pytest_configure():
  refuse_without_torch(importlib.util.find_spec)


def refuse_without_torch(find_spec):
  """`make test` requires torch, or the tests of model families would be skipped unnoticed."""
  if os.environ.get('SIRL_REQUIRE_TORCH') == '1' and find_spec('torch') is None:
    raise pytest.UsageError(
      "torch is missing, the oracle of the model families; run: pip install -e '.[dev,torch]', or unset SIRL_REQUIRE_TORCH"
    )


# Files that take minutes. They start first (make test keeps this order), so that no worker runs one
# alone at the end.
LONGEST = (
  'test_debug_runs', 'test_sharded', 'test_invariance', 'test_bad_input', 'test_speculative', 'test_compiled', 'test_transformer',
  'test_optimize', 'test_credit', 'test_refill',
)  # fmt: skip


def pytest_collection_modifyitems(items):
  place = {name: i for i, name in enumerate(LONGEST)}
  items.sort(key=lambda item: place.get(item.path.stem, len(LONGEST)))  # stable: files stay whole


@pytest.fixture(scope='module', autouse=True)
def _room_for_programs():
  """Drops compiled programs before a process runs out of memory maps, which would end it with a segmentation fault."""
  yield
  maps = pathlib.Path('/proc/self/maps')
  if maps.exists() and len(maps.read_bytes().splitlines()) > 30_000:  # Linux allows 65,530
    jax.clear_caches()


@pytest.fixture(scope='module')
def quick_compiles():
  """Compiles with few optimizations.

  For files whose time is mostly compilation and whose claims do not depend on the compiled program.
  """
  jax.config.update('jax_disable_most_optimizations', True)
  yield
  jax.config.update('jax_disable_most_optimizations', False)
