"""What `import sirl` gives, and what it does not cost."""

import subprocess
import sys

import pytest

import sirl


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
