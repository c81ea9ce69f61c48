"""Checkpoints: restored bit for bit, damaged ones skipped, nothing deleted by accident."""

import dataclasses
import json
import logging
import math
import resource
import shutil

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from sirl import config
from sirl.runs import checkpoint
from sirl.types import Action, Decision, LoopState, Report, TrainState

STEPS = 4


@dataclasses.dataclass(frozen=True, kw_only=True)
class Numbers(config.Base):
  kl: float = 0.0
  steps_per_round: int = STEPS


def loop_state(serial, *, reference=False, selector=(), width=8):
  """A state whose arrays all depend on its serial.

  It includes -0.0, NaN payload bits and bfloat16.
  """
  key = jax.random.key(serial)
  params = {
    'embed': {'weight': jax.random.normal(key, (5, width))},
    'layers': {'0': {'scale': jnp.full((width,), -0.0, jnp.bfloat16)}},
  }
  optimizer = optax.adamw(1e-3)
  train = TrainState(
    step=jnp.int32(serial),
    params=params,
    opt_state=optimizer.init(params),
    others={'reference': jax.tree.map(jnp.copy, params)} if reference else {},
    skipped=jnp.int32(0),
  )
  return LoopState(
    {'policy': train},
    selector,
    jnp.int32(serial // STEPS),
    jnp.int32(serial % STEPS),
    jnp.float32(0.5),
  )


def same_bits(a, b):
  assert jax.tree.structure(a) == jax.tree.structure(b)
  for x, y in zip(jax.tree.leaves(a), jax.tree.leaves(b)):
    assert np.asarray(x).dtype == np.asarray(y).dtype
    assert np.asarray(x).tobytes() == np.asarray(y).tobytes()


def abstract(state):
  return jax.tree.map(lambda x: jax.ShapeDtypeStruct(jnp.shape(x), jnp.asarray(x).dtype), state)


def history(rounds):
  decision = Decision(Action.ROLLBACK, 'accuracy fell', round=-1)
  return [
    Report(i, {'heldout/plain': 0.1 * i, 'train/kl': float('nan')}, decision)
    for i in range(-1, rounds)
  ]


def store(workdir, **numbers):
  return checkpoint.Store(workdir, Numbers(**numbers), steps_per_round=STEPS, keep_rounds=3)


def fill(workdir, serials):
  with store(workdir) as s:
    for serial in serials:
      s.save(
        loop_state(serial), history(serial // STEPS), [{'file': 'round_0.jsonl', 'count': serial}]
      )


def folder(workdir, serial):
  return workdir / 'checkpoints' / f'{serial:08d}'


def test_nothing_saved_means_none(tmp_path):
  with store(tmp_path) as s:
    assert s.restore(loop_state(0)) is None


@pytest.mark.parametrize('like', [lambda state: state, abstract], ids=['arrays', 'abstract'])
def test_state_history_and_manifest_come_back_bit_for_bit(tmp_path, like):
  state = loop_state(5, reference=True, selector={'successes': jnp.arange(3.0)})
  state.learners['policy'].params['embed']['weight'] = (
    state.learners['policy'].params['embed']['weight'].at[0, 0].set(jnp.nan)
  )
  with store(tmp_path) as s:
    s.save(state, history(1), [{'file': 'a', 'count': 3}])
  with store(tmp_path) as s:
    restored, reports, manifest = s.restore(like(state))
  same_bits(state, jax.tree.map(jnp.asarray, restored))
  assert manifest == [{'file': 'a', 'count': 3}]
  assert [r.round for r in reports] == [-1, 0]
  assert reports[0].decision == Decision(Action.ROLLBACK, 'accuracy fell', round=-1)
  assert np.isnan(reports[0].metrics['train/kl'])


def test_a_memory_of_infinities_is_given_back_and_its_file_is_json_that_every_reader_takes(
  tmp_path,
):
  def refuse(word):
    raise ValueError(f'not JSON: {word}')

  memory = {'acquire': {}, 'evaluate': {'best': -math.inf, 'said': 'Infinity', 'none': None}}
  reports = [Report(-1, {'train/loss': math.inf}, Decision(Action.CONTINUE, 'x'))]
  with store(tmp_path) as s:
    s.save(dataclasses.replace(loop_state(4), memory=memory), reports, [])
  (meta,) = (tmp_path / 'checkpoints').glob('*/meta/metadata')
  assert json.loads(meta.read_text(), parse_constant=refuse)['body']['serial'] == 4
  with store(tmp_path) as s:
    state, history, _ = s.restore(loop_state(0))
  assert state.memory == memory
  assert history[0].metrics == {'train/loss': math.inf}


def test_what_stages_remember_comes_back_from_the_file_not_from_the_likeness(tmp_path):
  memory = {'acquire': {'seen': ['é', 1, None]}, 'evaluate': {'anchor': {'score': 0.1}}}
  state = dataclasses.replace(loop_state(4), memory=memory)
  with store(tmp_path) as s:
    s.save(state, [], [])
  blank = dataclasses.replace(loop_state(0), memory={'acquire': {}, 'evaluate': {}})
  with store(tmp_path) as s:
    assert s.restore(blank)[0].memory == memory
    assert s.restore_round(0, blank).memory == memory


def test_saving_survives_donation_of_the_saved_buffers(tmp_path):
  state = loop_state(1)
  expected = jax.tree.map(lambda x: np.array(x), state)
  clobber = jax.jit(lambda tree: jax.tree.map(lambda x: x * 0 + 7, tree), donate_argnums=0)
  with store(tmp_path) as s:
    s.save(state, [], [])
    clobber(state)
  with store(tmp_path) as s:
    restored, _, _ = s.restore(abstract(expected))
  same_bits(expected, jax.tree.map(np.asarray, restored))


def flip_a_byte(path):
  data = max(
    (p for p in path.rglob('*') if p.is_file() and 'state' in p.parts),
    key=lambda p: p.stat().st_size,
  )
  content = bytearray(data.read_bytes())
  content[len(content) // 2] ^= 0xFF
  data.write_bytes(content)


def truncate(path):
  data = max(
    (p for p in path.rglob('*') if p.is_file() and 'state' in p.parts),
    key=lambda p: p.stat().st_size,
  )
  data.write_bytes(data.read_bytes()[: data.stat().st_size // 2])


def delete_the_data(path):
  shutil.rmtree(path / 'state' / 'd')


def edit_the_history(path):
  meta = next(
    p for p in (path / 'meta').iterdir() if p.is_file() and 'accuracy fell' in p.read_text()
  )
  meta.write_text(meta.read_text().replace('accuracy fell', 'accuracy rose'))


def delete_the_meta(path):
  for file in (path / 'meta').iterdir():
    file.unlink()


DAMAGES = [flip_a_byte, truncate, delete_the_data, edit_the_history, delete_the_meta]


@pytest.mark.parametrize('damage', DAMAGES, ids=lambda f: f.__name__)
def test_damaged_newest_is_moved_aside_and_the_previous_one_used(tmp_path, damage, caplog):
  fill(tmp_path, [3, 5])
  damage(folder(tmp_path, 5))
  with caplog.at_level(logging.WARNING), store(tmp_path) as s:
    restored, _, manifest = s.restore(loop_state(0))
    assert 'checkpoint 5 does not verify' in caplog.text
    assert manifest[0]['count'] == 3
    same_bits(jax.tree.map(jnp.asarray, loop_state(3)), restored)
    assert not folder(tmp_path, 5).exists()
    assert (tmp_path / 'checkpoints_rejected' / '00000005.0').is_dir()
    s.save(loop_state(5), [], [])  # the recomputed one takes the free place
  with store(tmp_path) as s:
    same_bits(jax.tree.map(jnp.asarray, loop_state(5)), s.restore(loop_state(0))[0])


def test_no_flipped_byte_in_any_file_ever_gives_wrong_numbers(tmp_path):
  fill(tmp_path / 'whole', [3, 5])
  files = [p.relative_to(tmp_path) for p in folder(tmp_path / 'whole', 5).rglob('*') if p.is_file()]
  seen = []
  for i, file in enumerate(files):
    workdir = tmp_path / str(i)
    shutil.copytree(tmp_path / 'whole', workdir)
    path = workdir / file.relative_to('whole')
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 0xFF
    path.write_bytes(content)
    with store(workdir) as s:
      restored, _, manifest = s.restore(loop_state(0))
    serial = manifest[0]['count']
    same_bits(jax.tree.map(jnp.asarray, loop_state(serial)), restored)
    seen.append(serial)
  assert set(seen) == {3, 5}  # some files matter, some (markers, process-local copies) do not


def test_all_damaged_is_an_error_that_moves_nothing(tmp_path):
  fill(tmp_path, [3, 5])
  flip_a_byte(folder(tmp_path, 3))
  truncate(folder(tmp_path, 5))
  with store(tmp_path) as s, pytest.raises(OSError, match=r'none of the 2 checkpoints .* verifies'):
    s.restore(loop_state(0))
  assert folder(tmp_path, 3).exists()
  assert folder(tmp_path, 5).exists()


def test_changed_config_refuses_and_names_the_difference(tmp_path):
  fill(tmp_path, [3])
  message = (
    r'config differs from the checkpoint in: kl \(0.0 -> 0.01\). '
    r'Use a new workdir, or --set allow_changed_config=true'
  )
  with store(tmp_path, kl=0.01) as s, pytest.raises(ValueError, match=message):
    s.restore(loop_state(0))


def test_allowed_change_is_recorded_for_ever(tmp_path):
  fill(tmp_path, [3])
  with store(tmp_path, kl=0.01, allow_changed_config=True) as s:
    assert s.restore(loop_state(0)) is not None
    s.save(loop_state(4), [], [])
    s.save(loop_state(5), [], [])
  meta = json.loads(next((folder(tmp_path, 5) / 'meta').iterdir()).read_text())
  assert meta['body']['config_changes'] == [{'serial': 3, 'differences': ['kl (0.0 -> 0.01)']}]
  with store(tmp_path, kl=0.01) as s:
    assert s.restore(loop_state(0)) is not None


def test_a_round_before_an_accepted_change_can_be_restored(tmp_path):
  """The target of a rollback may have had other numbers. The config is checked only on a resume."""
  fill(tmp_path, [0, 4])
  with store(tmp_path, kl=0.01, allow_changed_config=True) as s:
    assert s.restore(loop_state(0)) is not None
    s.save(loop_state(8), [], [])
  with store(tmp_path, kl=0.01) as s:
    assert s.restore(loop_state(0)) is not None
    same_bits(jax.tree.map(jnp.asarray, loop_state(4)), s.restore_round(0, loop_state(0)))
    assert s.changes == [{'serial': 4, 'differences': ['kl (0.0 -> 0.01)']}]


@pytest.mark.parametrize(
  ('like', 'message'),
  [
    (
      loop_state(0, width=9),
      r'learners.policy.params.embed.weight is float32 \[5, 8\] there and float32 \[5, 9\] here',
    ),
    (
      loop_state(0, reference=True),
      'it lacks learners.policy.others.reference.embed.weight and 1 other arrays',
    ),
    (
      dataclasses.replace(loop_state(0), difficulty=jnp.int32(0)),
      r'difficulty is float32 \[\] there and int32 \[\] here',
    ),
  ],
  ids=['shape', 'structure', 'dtype'],
)
def test_another_model_is_refused_and_nothing_is_moved(tmp_path, like, message):
  fill(tmp_path, [3])
  with store(tmp_path) as s, pytest.raises(ValueError, match=message):
    s.restore(like)
  assert folder(tmp_path, 3).exists()


def test_a_random_key_in_the_state_is_refused(tmp_path):
  fill(tmp_path, [0])
  with store(tmp_path) as s, pytest.raises(ValueError, match='keys are addressed by counters'):
    s.restore(dataclasses.replace(loop_state(0), selector=jax.random.key(0)))


def test_kept_are_the_first_the_last_two_and_recent_round_ends(tmp_path):
  fill(tmp_path, range(23))  # rounds of 4 steps: ends at 0, 4, ..., 20
  kept = sorted(int(path.name) for path in (tmp_path / 'checkpoints').iterdir())
  assert kept == [0, 12, 16, 20, 21, 22]


def test_round_ends_can_be_restored_and_absent_ones_are_named(tmp_path):
  fill(tmp_path, [0, 4, 6, 8])
  with store(tmp_path) as s:
    same_bits(jax.tree.map(jnp.asarray, loop_state(4)), s.restore_round(0, loop_state(0)))
    same_bits(jax.tree.map(jnp.asarray, loop_state(0)), s.restore_round(-1, loop_state(0)))
    with pytest.raises(
      ValueError, match='no checkpoint of the end of round 7; kept rounds: -1, 0, 1'
    ):
      s.restore_round(7, loop_state(0))


def test_serials_must_increase(tmp_path):
  with store(tmp_path) as s:
    s.save(loop_state(4), [], [])
    with pytest.raises(
      ValueError, match=r'checkpoint serial 4 \(round 1, step 0\) is not above the last one, 4'
    ):
      s.save(loop_state(4), [], [])


def replaced(workdir, serial):
  return workdir / 'checkpoints_replaced' / f'{serial:08d}.0'


def with_other_weights(serial):
  return dataclasses.replace(loop_state(serial), learners=loop_state(0).learners)


def test_the_newest_can_be_replaced_and_only_the_newest(tmp_path):
  fill(tmp_path, [0, 4, 8])
  with store(tmp_path) as s:
    assert s.restore(loop_state(0)) is not None
    with pytest.raises(ValueError, match='checkpoint serial 4 is not that of the newest one, 8'):
      s.replace(with_other_weights(4), [], [])
    s.replace(with_other_weights(8), history(1), [{'file': 'a', 'count': 3}])
    assert not replaced(tmp_path, 8).exists()
    s.save(loop_state(9), [], [])
  shutil.rmtree(folder(tmp_path, 9))
  with store(tmp_path) as s:
    state, reports, manifest = s.restore(loop_state(0))
  same_bits(jax.tree.map(jnp.asarray, with_other_weights(8)), state)
  assert [report.round for report in reports] == [-1, 0]
  assert manifest == [{'file': 'a', 'count': 3}]


def cut_before_the_new_one_is_whole(workdir):
  shutil.rmtree(folder(workdir, 8))
  leftover = workdir / 'checkpoints' / '00000008.orbax-checkpoint-tmp'
  (leftover / 'state').mkdir(parents=True)


def cut_and_then_the_new_one_is_damaged(workdir):
  flip_a_byte(folder(workdir, 8))


def cut_before_the_old_one_is_removed(workdir):
  assert folder(workdir, 8).exists()


@pytest.mark.parametrize(
  ('cut', 'survivor'),
  [
    (cut_before_the_new_one_is_whole, loop_state),
    (cut_and_then_the_new_one_is_damaged, loop_state),
    (cut_before_the_old_one_is_removed, with_other_weights),
  ],
  ids=lambda f: f.__name__,
)
def test_a_kill_during_a_replacement_leaves_the_old_one_or_the_new_one(tmp_path, cut, survivor):
  fill(tmp_path, [0, 4, 8])
  old = shutil.copytree(folder(tmp_path, 8), tmp_path / 'old')
  with store(tmp_path) as s:
    s.replace(with_other_weights(8), [], [])
  replaced(tmp_path, 8).parent.mkdir()
  old.rename(replaced(tmp_path, 8))
  cut(tmp_path)
  for _ in range(2):
    with store(tmp_path) as s:
      restored, _, _ = s.restore(loop_state(0))
    same_bits(jax.tree.map(jnp.asarray, survivor(8)), restored)
    assert not replaced(tmp_path, 8).exists()


def test_leftovers_of_a_crash_are_cleaned_up(tmp_path):
  fill(tmp_path, [3])
  leftover = tmp_path / 'checkpoints' / '00000005.orbax-checkpoint-tmp'
  (leftover / 'state').mkdir(parents=True)
  (leftover / 'state' / 'half').write_text('half')
  with store(tmp_path) as s:
    assert s.restore(loop_state(0))[2][0]['count'] == 3
  assert not leftover.exists()


def test_a_failed_save_says_so_and_leaves_older_ones_intact(tmp_path):
  fill(tmp_path, [3])
  s = store(tmp_path)
  soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
  # As on a full disk, writing a file stops early.
  resource.setrlimit(resource.RLIMIT_FSIZE, (2**20, hard))
  try:
    with (
      pytest.raises(
        OSError, match=r'saving a checkpoint in .* failed.*Earlier checkpoints are intact'
      ),
      s,
    ):
      s.save(loop_state(5, width=100_000), [], [])
  finally:
    resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
  with store(tmp_path) as s:
    assert s.restore(loop_state(0))[2][0]['count'] == 3
