"""A file is either the old one or the new one, whenever the writing is interrupted."""

import os
import stat

import pytest

from sirl.evaluation import steering
from sirl.runs import checkpoint, retention
from sirl.runtime import files

from support.read_only import read_only


@pytest.mark.parametrize('content', ['zwei\n', b'\x00\xff'], ids=['text', 'bytes'])
def test_a_write_replaces_and_leaves_no_temporary_file(tmp_path, content):
  path = tmp_path / 'deep' / 'file'
  files.atomic_write(path, 'one')
  files.atomic_write(path, content)
  assert path.read_bytes() == (content if isinstance(content, bytes) else content.encode())
  assert [p.name for p in path.parent.iterdir()] == ['file']


def test_an_interrupted_write_leaves_the_old_file(tmp_path, monkeypatch):
  files.atomic_write(tmp_path / 'file', 'old')

  def interrupted(descriptor):
    raise KeyboardInterrupt

  monkeypatch.setattr(os, 'fsync', interrupted)
  with pytest.raises(KeyboardInterrupt):
    files.atomic_write(tmp_path / 'file', 'new')
  assert (tmp_path / 'file').read_text() == 'old'
  assert files.leftovers(tmp_path) == []


def test_a_special_file_is_not_replaced_but_refused(tmp_path):
  """As the device to which a user sends what he does not want to keep."""
  os.mkfifo(tmp_path / 'pipe')
  (tmp_path / 'link').symlink_to(tmp_path / 'pipe')
  (tmp_path / 'folder').mkdir()
  for name, what in (('pipe', 'a device, a pipe'), ('link', 'a device'), ('folder', 'a folder')):
    for write in (
      lambda path: files.atomic_write(path, 'x'),
      lambda path: files.check_file(path, 'page'),
    ):
      with pytest.raises(
        OSError, match=f'{name} cannot be written: it is {what}.*name another file'
      ):
        write(tmp_path / name)
  assert stat.S_ISFIFO(os.stat(tmp_path / 'pipe').st_mode)
  assert files.leftovers(tmp_path) == []


def test_what_a_kill_leaves_is_found(tmp_path):
  (tmp_path / '.file.4711.tmp').write_text('hal')
  (tmp_path / 'file').write_text('whole')
  assert [path.name for path in files.leftovers(tmp_path)] == ['.file.4711.tmp']


# ---------------------------------------------------------------- places that take no file


def test_a_place_that_takes_no_file_says_why_and_what_to_do(tmp_path):
  (tmp_path / 'file').touch()
  (tmp_path / 'link').symlink_to(tmp_path / 'nowhere')
  (tmp_path / 'closed').mkdir()
  check = lambda name: files.check_folder(tmp_path / name, 'workdir', 'take another --workdir')
  for name, why in (
    ('file', 'it is a file'),
    ('file/deep/er', f'{tmp_path}/file is a file'),
    ('link', 'it is no folder'),
  ):
    with pytest.raises(OSError, match='cannot be written') as caught:
      check(name)
    assert str(caught.value) == (
      f'workdir {tmp_path}/{name} cannot be written: {why}; take another --workdir'
    )
  with read_only(tmp_path / 'closed'), pytest.raises(OSError, match='closed takes no file .Perm'):
    check('closed/deep')
  check('closed/deep')
  assert list((tmp_path / 'closed').iterdir()) == []  # a check leaves nothing


def test_a_folder_where_a_file_is_to_be_written_is_named(tmp_path):
  with pytest.raises(
    OSError, match='--png .* cannot be written: it is a folder; name another file'
  ):
    files.check_file(tmp_path, '--png')
  files.check_file(tmp_path / 'new' / 'x.png', '--png')
  assert list(tmp_path.iterdir()) == []


def test_a_rollback_may_go_as_far_as_checkpoints_are_kept(tmp_path):
  """After round r is measured, the newest checkpoint is the end of round r - 1.

  The horizon counts back from r.
  """
  assert steering.KEPT == retention.ROUNDS
  ends = [type('Checkpoint', (), {'step': 4 * i})() for i in range(21)]  # ends of rounds -1 .. 19
  kept = retention.Kept(4, retention.ROUNDS).should_preserve(ends, context=None)
  rounds = [i - 1 for i, keep in enumerate(kept) if keep]
  assert rounds == [-1, *range(20 - steering.KEPT, 20)]
  assert checkpoint.Store.__init__.__kwdefaults__['keep_rounds'] == retention.ROUNDS
