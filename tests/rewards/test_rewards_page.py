"""docs/rewards.md is true: its code runs, and it names what there is."""

import pathlib
import re

import pytest

from sirl import rewards

PAGE = (pathlib.Path(__file__).parents[2] / 'docs' / 'rewards.md').read_text()
BLOCKS = re.findall(r'^```python\n(.*?)^```$', PAGE, re.MULTILINE | re.DOTALL)


@pytest.mark.parametrize(
  'block',
  [pytest.param(b, marks=pytest.mark.all) if 'from trl' in b else b for b in BLOCKS],
)
def test_every_block_of_code_runs(block):
  if 'from trl' in block:
    pytest.importorskip('trl')
  exec(block, {})


def test_every_name_of_the_library_is_one():
  names = {*re.findall(r'\brewards\.(\w+)', re.sub(r'trl\.rewards\.?\w*', '', PAGE))}
  assert len(names) > 8
  assert names - {'md'} <= {*rewards.__all__}
