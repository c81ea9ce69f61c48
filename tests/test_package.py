"""What `import sirl` gives, and what it must not load."""

import subprocess
import sys

import pytest

import sirl

import conftest


def test_the_names_of_a_notebook_are_there_and_say_what_they_are():
  for name in sirl.__all__:
    value = getattr(sirl, name)
    assert value.__name__ == name
    assert value.__doc__
    assert value.__module__.startswith('sirl.')
  assert set(sirl.__all__) <= set(dir(sirl))


def test_another_name_is_no_attribute():
  with pytest.raises(AttributeError, match="module 'sirl' has no attribute 'trainer'"):
    sirl.trainer  # noqa: B018


def test_importing_it_loads_no_other_library():
  program = 'import sys, sirl; sys.exit(bool({"jax", "numpy", "orbax"} & set(sys.modules)))'
  assert subprocess.run([sys.executable, '-c', program], check=False).returncode == 0


@pytest.mark.parametrize(
  ('asked', 'installed', 'refused'), [('1', False, True), ('1', True, False), ('', False, False)]
)
def test_make_test_does_not_skip_what_needs_torch(monkeypatch, asked, installed, refused):
  monkeypatch.setenv('SIRL_REQUIRE_TORCH', asked)
  found = lambda name: object() if installed else None
  if not refused:
    return conftest.refuse_without_torch(found)
  with pytest.raises(pytest.UsageError, match=r'torch is missing.*pip install -e'):
    conftest.refuse_without_torch(found)
