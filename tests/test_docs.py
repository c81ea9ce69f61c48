"""Code in docs/ is true: whole files run, excerpts occur in the files they name."""

import dataclasses
import inspect
import pathlib
import re
import shlex

import pytest

from experiments import settings
from sirl import cli, commands, recipe
from sirl.evaluation import steering
from sirl.runs import record

ROOT = pathlib.Path(__file__).parent.parent
TEXT = ''.join((ROOT / 'docs' / f'{name}.md').read_text() for name in ('architecture', 'domain'))
BLOCKS = re.findall(r'^```python\n(.*?)^```$', TEXT, re.MULTILINE | re.DOTALL)
FILES = {
  match[1]: block for block in BLOCKS if (match := re.match(r'# (\w+\.py)\n', block))
}  # fmt: skip
EXCERPTS = {
  match[1]: block[match.end() :]
  for block in BLOCKS
  if (match := re.match(r'# from (\S+\.py)\n', block))
}
TINY = (
  'debug=true', 'max_rounds=1', 'steps_per_round=2', 'heldout=4', 'prompts=4', 'acquired=8', 'width=16', 'layers=1',
  'warm_prompts=4',
)  # fmt: skip


def test_every_block_says_what_it_is():
  assert len(FILES) + len(EXCERPTS) == len(BLOCKS)
  assert {'my_domain.py', 'my_monitor.py', 'words.py', 'short_words.py'} <= FILES.keys()


def test_lines_of_code_are_short():
  commands_shown = re.findall(r'^```bash\n(.*?)^```$', TEXT, re.MULTILINE | re.DOTALL)
  for line in ''.join([*BLOCKS, *commands_shown]).splitlines():
    assert len(line) <= 100, line


def test_every_command_is_one():
  said = re.findall(r'^sirl .*$', TEXT, re.MULTILINE)
  assert len(said) > 5
  for line in said:
    arguments = cli.parser().parse_args(shlex.split(line, comments=True)[1:])
    for number in getattr(arguments, 'set', []):
      assert '=' in number


def test_every_argument_of_built_is_one():
  known = {field.name for field in dataclasses.fields(recipe.Method)}
  known |= inspect.signature(settings.built).parameters.keys()
  said = re.findall(r'settings\.built\([\w.]+, (\w+)=', TEXT)
  assert {'reward', 'selector', 'evaluate', 'domain', 'setting'} <= set(said) <= known
  rule = re.search(r'`steer=(steering\..*?)`', TEXT)
  assert callable(eval(rule[1], {'steering': steering}))


@pytest.mark.parametrize('name', EXCERPTS)
def test_an_excerpt_stands_in_its_file(name):
  source = (ROOT / name).read_text()
  place = 0
  for piece in EXCERPTS[name].split('...\n'):
    found = source.find(piece, place)
    assert found >= 0, f'{name} does not hold, in this order:\n{piece}'
    place = found + len(piece)


@pytest.mark.parametrize(
  'path',
  sorted(set(re.findall(r'\b(?:sirl|experiments|docs|tests|launch)/[\w/.]*\w/?', TEXT))),
)
def test_every_path_exists(path):
  assert (ROOT / path).exists()


@pytest.mark.usefixtures('quick_compiles')
@pytest.mark.all
@pytest.mark.parametrize('name', FILES)
def test_a_whole_file_runs_outside_the_clone(name, tmp_path, monkeypatch, capsys):
  monkeypatch.chdir(ROOT)
  file = tmp_path / 'elsewhere' / name
  file.parent.mkdir()
  for each, code in FILES.items():  # a file may import one beside it
    (file.parent / each).write_text(code)
  numbers = [word for number in TINY for word in ('--set', number)]
  code = cli.main(['run', str(file), *numbers, '--workdir', str(tmp_path / 'run')])
  assert code == commands.DONE, capsys.readouterr().err
  rows = record.read_rows(tmp_path / 'run' / 'steps.jsonl')
  assert len(rows) == 2
  last = record.read_rows(tmp_path / 'run' / 'history.jsonl')[-1]['metrics']
  for metric in set(re.findall(r"'(monitor/\w+)'", FILES[name])):
    assert metric in last
