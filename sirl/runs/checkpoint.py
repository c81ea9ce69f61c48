"""Checkpoints: one directory per serial, verified by digest. Restore skips damaged ones.

A checkpoint holds two items. `state` is the LoopState as a flat dict of arrays named by their path.
`meta` is a JSON document with the history, the pool's manifest, the memory of acquire and evaluate,
the config, versions and the SHA-256 of every array. The serial is round * steps_per_round + step,
so the end of a round has the serial of the next round's start. No random state is saved: keys are
functions of (seed, purpose, round, step).

Orbax commits atomically. But it restores flipped bytes without an error, casts other dtypes
silently, and does not fall back to an older step. This module handles all three.
"""

import dataclasses
import logging
import pathlib
import shutil

import jax
import jax.numpy as jnp
import orbax.checkpoint as ocp

from sirl import config as configs
from sirl.runs import digests, retention
from sirl.runtime import hosts
from sirl.types import Report

log = logging.getLogger(__name__)

LAYOUT = 2  # version of a checkpoint's contents and names; other versions are refused


def newest(workdir, config, like):
  """The LoopState of the newest checkpoint that verifies.

  Only reads, so it is safe while the run is active: it moves no damaged checkpoint.

  Args: as in `Store` and `Store.restore`.
  Raises: as in these, and ValueError if there is no checkpoint yet.
  """
  if not (pathlib.Path(workdir) / 'checkpoints').is_dir():
    raise ValueError(f'{workdir} has no checkpoint yet; let the run finish a round first')
  with Store(workdir, config, steps_per_round=config.steps_per_round, read_only=True) as store:
    found = store.restore(like)
  if found is None:
    raise ValueError(f'{workdir} has no checkpoint yet; let the run finish a round first')
  return found[0]


class Damaged(Exception):
  """A checkpoint that cannot be read back as it was written."""


class Store:
  """The checkpoints of one workdir; a context manager that waits for the last save on exit.

  It keeps the last two checkpoints, the ends of the last `keep_rounds` rounds, and serial 0 for
  ever (see `retention`).
  """

  def __init__(
    self, workdir, config, *, steps_per_round, keep_rounds=retention.ROUNDS, read_only=False
  ):
    self.config = config
    self.steps_per_round = steps_per_round
    self.folder = pathlib.Path(workdir).absolute() / 'checkpoints'
    self.rejected = self.folder.with_name('checkpoints_rejected')
    self.replaced = self.folder.with_name('checkpoints_replaced')
    self.changes = []  # config differences accepted so far, oldest first
    self.read_only = read_only
    if not read_only:
      self._put_back()
    options = ocp.CheckpointManagerOptions(
      preservation_policy=retention.Kept(steps_per_round, keep_rounds),
      step_format_fixed_length=8,
      cleanup_tmp_directories=not read_only,  # leftovers of a crash during a save
      enable_async_checkpointing=not read_only,
      read_only=read_only,
    )
    self.manager = ocp.CheckpointManager(self.folder, options=options)

  def __enter__(self):
    return self

  def __exit__(self, kind, *_):
    if kind is None:
      self.close()
      return
    try:  # the pending error is the one to show; only log a second one
      self.close()
    except Exception as error:
      log.error('closing the checkpoints failed as well: %s', digests.first_line(error))

  def close(self):
    """Waits for the current save. Raises OSError if it failed."""
    self._wait()
    self.manager.close()

  def save(self, state, history, manifest):
    """Saves at serial state.round * steps_per_round + state.step; returns once the data is copied.

    Writing continues in the background. `close` or the next `save` waits for it and raises its
    error.

    Args:
      state: LoopState of arrays.
      history: list of Reports.
      manifest: JSON list that describes the pool's files.
    Raises: OSError when this or the previous save failed (older checkpoints stay); ValueError when
      the serial does not increase.
    """
    self._wait()
    serial = self._serial(state)
    last = max(self.manager.all_steps(), default=-1)
    if serial <= last:
      raise ValueError(
        f'checkpoint serial {serial} (round {int(state.round)}, step {int(state.step)}) is not '
        f'above the last one, {last}; rounds never decrease, not even on a rollback'
      )
    self._write(serial, state, history, manifest)

  def replace(self, state, history, manifest):
    """Replaces the newest checkpoint, of the same serial; returns once the new one verifies.

    Until then the old one is in `checkpoints_replaced`. After a kill, the next Store restores the
    old one, unless the new one was already complete.

    Args: as in `save`.
    Raises: OSError when the save failed; the next Store finds the old checkpoint. ValueError when
      the serial is not that of the newest checkpoint.
    """
    self._wait()
    serial = self._serial(state)
    newest = max(self.manager.all_steps(), default=-1)
    if serial != newest:
      raise ValueError(f'checkpoint serial {serial} is not that of the newest one, {newest}')
    self._move([serial], self.replaced)
    self._write(serial, state, history, manifest)
    self._wait()
    try:
      self._load_state(serial, self._load_meta(serial), state)
    except Damaged as error:
      self._move_aside({serial: str(error)})
      raise self._failed(error) from error
    self._forget_replaced()

  def restore(self, like):
    """The newest checkpoint that verifies: (LoopState, list of Reports, pool manifest), or None.

    Returns None when there is no checkpoint. Damaged newer ones are logged and moved to
    `checkpoints_rejected`, never deleted.

    Args: like: LoopState of arrays or ShapeDtypeStructs. Shapes and dtypes must equal the
      checkpoint's; a leaf's sharding says where it is placed.
    Raises: ValueError when the config or the arrays differ from the checkpoint's; OSError when
      checkpoints exist and none verifies.
    """
    serials = sorted(self.manager.all_steps(), reverse=True)
    damaged = {}
    for serial in serials:
      try:
        body = self._load_meta(serial)
        changes = self._accepted_changes(body)
        state = self._load_state(serial, body, like)
      except Damaged as error:
        damaged[serial] = str(error)
        log.warning('checkpoint %d does not verify: %s', serial, error)
        continue
      if not self.read_only:
        self._move_aside(damaged)
        if damaged and self._put_back():
          self.manager.reload()
          return self.restore(like)
        self._forget_replaced()
      self.changes = changes
      history = [Report.from_json(row) for row in body['history']]
      return state, history, body['pool']
    if serials:
      reasons = '; '.join(f'{serial}: {reason}' for serial, reason in damaged.items())
      raise OSError(
        f'none of the {len(serials)} checkpoints in {self.folder} verifies ({reasons}). Nothing '
        'was changed; restore the folder from a backup, or start in a new workdir'
      )
    return None

  def restore_round(self, round, like):
    """The LoopState saved at the end of a round; -1 is the state before round 0.

    The config of that checkpoint may differ from the current one: `restore` has accepted the
    changes.
    Raises: ValueError when that round's end is not kept; OSError when it is damaged.
    """
    self._wait()
    serial = (round + 1) * self.steps_per_round
    kept = self.manager.all_steps()
    if serial not in kept:
      ends = retention.round_ends(kept, self.steps_per_round)
      raise ValueError(
        f'no checkpoint of the end of round {round}; kept rounds: '
        f'{", ".join(map(str, ends)) or "none"}'
      )
    try:
      return self._load_state(serial, self._load_meta(serial), like)
    except Damaged as error:
      raise OSError(
        f'the checkpoint of the end of round {round} in {self.folder} does not verify: {error}'
      ) from error

  def _serial(self, state):
    return int(state.round) * self.steps_per_round + int(state.step)

  def _write(self, serial, state, history, manifest):
    # A copy, because the caller donates these buffers to its next step during the write.
    leaves = {name: jnp.copy(jnp.asarray(leaf)) for name, leaf in digests.flat(state).items()}
    body = {
      'layout': LAYOUT,
      'serial': serial,
      'steps_per_round': self.steps_per_round,
      'config': configs.dump(self.config),
      'config_changes': self.changes,
      'versions': digests.versions(),
      'leaves': digests.described(leaves),
      'history': [digests.report_json(report) for report in history],
      'pool': list(manifest),
      'memory': digests.packed(dict(state.memory)),
    }
    meta = {'body': body, 'sha256': digests.body_digest(body)}
    arguments = ocp.args.Composite(
      state=ocp.args.StandardSave(leaves), meta=ocp.args.JsonSave(meta)
    )
    try:
      saved = self.manager.save(serial, args=arguments, force=True)
    except Exception as error:
      raise self._failed(error) from error
    if not saved:
      raise OSError(f'checkpoint {serial} was not saved in {self.folder}: orbax declined it')

  def _load_state(self, serial, body, like):
    wanted = {name: digests.abstract(leaf) for name, leaf in digests.flat(like).items()}
    digests.check_leaves(body['leaves'], wanted, serial)
    arguments = ocp.args.Composite(state=ocp.args.StandardRestore(wanted))
    try:
      leaves = self.manager.restore(serial, args=arguments)['state']
    # Missing, truncated or undecodable files.
    except (OSError, ValueError, KeyError, TypeError) as error:
      raise Damaged(f'its arrays cannot be read ({digests.first_line(error)})') from error
    found = digests.described(leaves)
    wrong = [name for name in wanted if found[name]['sha256'] != body['leaves'][name]['sha256']]
    if wrong:
      raise Damaged(f'the digests of {len(wrong)} of {len(wanted)} arrays differ, first {wrong[0]}')
    state = jax.tree.unflatten(jax.tree.structure(like), [leaves[name] for name in wanted])
    return dataclasses.replace(state, memory=digests.unpacked(body['memory']))

  def _load_meta(self, serial):
    try:
      meta = self.manager.restore(serial, args=ocp.args.Composite(meta=ocp.args.JsonRestore()))[
        'meta'
      ]
      body, digest = meta['body'], meta['sha256']
    except (OSError, ValueError, KeyError, TypeError) as error:
      raise Damaged(f'its JSON cannot be read ({digests.first_line(error)})') from error
    if digests.body_digest(body) != digest:
      raise Damaged('the digest of its JSON differs')
    if body.get('layout', 1) != LAYOUT:
      raise ValueError(
        f'checkpoint {serial} in {self.folder} has layout {body.get("layout", 1)}, this version '
        f'reads layout {LAYOUT}; it was written by sirl {body["versions"]["sirl"]}. Finish the run '
        'with that version, or start in a new workdir'
      )
    return body

  def _accepted_changes(self, body):
    """The checkpoint's list of config changes, with the current ones if allowed.

    Raises: ValueError if the config differs and may not.
    """
    differences = configs.differences(body['config'], self.config)
    if body['steps_per_round'] != self.steps_per_round and not differences:
      differences = [f'steps_per_round ({body["steps_per_round"]} -> {self.steps_per_round})']
    if not differences:
      return body['config_changes']
    if not self.config.allow_changed_config:
      raise ValueError(
        f'config differs from the checkpoint in: {", ".join(differences)}. '
        'Use a new workdir, or --set allow_changed_config=true'
      )
    if body['steps_per_round'] != self.steps_per_round:
      raise ValueError(
        f'steps_per_round cannot change within a workdir ({body["steps_per_round"]} -> '
        f'{self.steps_per_round}): it numbers the checkpoints. Use a new workdir'
      )
    log.info('resuming with a changed config: %s', ', '.join(differences))
    return [*body['config_changes'], {'serial': body['serial'], 'differences': differences}]

  def _move_aside(self, damaged):
    for serial, target in self._move(damaged, self.rejected).items():
      log.warning('moved the damaged checkpoint %d to %s', serial, target)

  def _move(self, serials, place):
    """Moves checkpoints into a folder beside theirs.

    Returns {serial: its new path} on the first process, {} on the others.
    """
    if not serials:
      return {}
    targets = {}
    if hosts.is_first():
      place.mkdir(exist_ok=True)
      for serial in serials:
        source = next(
          path for path in self.folder.iterdir() if path.name.isdigit() and int(path.name) == serial
        )
        numbers = (n for n in range(10**6) if not (place / f'{source.name}.{n}').exists())
        targets[serial] = place / f'{source.name}.{next(numbers)}'
        shutil.move(source, targets[serial])
    hosts.barrier('checkpoints moved')
    self.manager.reload()
    return targets

  def _put_back(self):
    """Restores old checkpoints whose replacement is missing; returns whether there were any."""
    waiting = sorted(self.replaced.glob('[0-9]*'))
    absent = [path for path in waiting if not (self.folder / path.stem).exists()]
    hosts.barrier('replaced checkpoints seen')
    if hosts.is_first():
      for path in absent:
        path.rename(self.folder / path.stem)
    hosts.barrier('replaced checkpoints put back')
    return bool(absent)

  def _forget_replaced(self):
    if hosts.is_first():
      shutil.rmtree(self.replaced, ignore_errors=True)

  def _wait(self):
    try:
      self.manager.wait_until_finished()
    except Exception as error:
      raise self._failed(error) from error

  def _failed(self, error):
    return OSError(
      f'saving a checkpoint in {self.folder} failed: {digests.first_line(error)}. Earlier '
      'checkpoints are intact; free some space or fix the folder and run the same command again'
    )
