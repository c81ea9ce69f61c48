"""Continuous batching: samples of plain decoding, no superfluous turn, no copied cache."""

import functools
import json
import pathlib
import subprocess
import sys
from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from sirl import models
from sirl.generation import explore, make_ask, texts
from sirl.generation.engine import refill, sampling
from sirl.generation.engine.decode import decode, static
from sirl.models import tabular, tokenizer
from sirl.tasks import Task
from sirl.types import SamplingParams

from support import enumeration as exact
from support.hlo import makers

# Two end tokens of 16: a completion ends with about one chance in eight at every token.
PAD, ENDS = 0, (1, 2)
MAX_NEW = 12
ASKED = SamplingParams(group_size=1, max_new=MAX_NEW, eos_ids=ENDS, pad_id=PAD)
MODEL = models.build(
  models.preset('toy', vocab=16, width=16, layers=1, heads=2, kv_heads=2, head_width=8, ffw=16)
)
PARAMS = jax.jit(MODEL.init)(jax.random.key(0))
ROOT = pathlib.Path(__file__).parents[2]  # the folder of all tests


def ragged(P, S=5, *, seed=0):
  """(tokens, valid) of prompts of 1 to S tokens, left-padded."""
  rng = np.random.default_rng(seed)
  valid = np.arange(S) >= S - rng.integers(1, S + 1, (P, 1))
  return np.where(valid, rng.integers(3, 16, (P, S)), PAD).astype(np.int32), valid


def draw(program, model, params, prompts, group_size, *, asked=ASKED, **slots):
  """Rollouts of the program. Args: slots: further arguments of `refill.decode`."""
  ids = [f'task {p}' for p in range(len(prompts[0]))]
  address = texts.address(ids, group_size)
  asked = replace(asked, group_size=group_size)
  return program(model, params, *prompts, address, jax.random.key(1), asked, **slots)


@functools.cache
def plain(P, G):
  return draw(decode, MODEL, PARAMS, ragged(P), G)


def check_same(rollouts, expected):
  for name in ('tokens', 'valid', 'action', 'truncated'):
    np.testing.assert_array_equal(getattr(rollouts, name), getattr(expected, name), name)
  np.testing.assert_allclose(rollouts.logp, expected.logp, atol=1e-5)
  assert rollouts.prompt_width == expected.prompt_width


def schedule(lengths, slots, block):
  """Number of slot-turns by the rules of `refill`.

  A block of rows enters when it has room. With an empty queue and few working rows, a quarter of
  the slots goes on. A row of n tokens takes n - 1 turns, because its first token comes from the
  prefill.
  """
  queue, working, computed = [int(n) - 1 for n in lengths], [], 0
  slots = min(slots, len(queue))
  while queue or working:
    while queue and slots - len(working) >= min(block, len(queue)):
      entering, queue = queue[:block], queue[block:]
      working += [left for left in entering if left]
    if slots >= 8 and not queue and len(working) <= slots // 4:
      return computed + max(working, default=0) * (slots // 4)
    computed += slots if working else 0
    working = [left - 1 for left in working if left > 1]
  return computed


# ---------------------------------------------------------------- samples


@pytest.mark.parametrize(
  ('P', 'G', 'slots', 'block'),
  [(4, 3, 5, 2), (4, 3, 100, None)],
  ids=['slots that do not divide the rows', 'more slots than rows'],
)
def test_samples_are_those_of_plain_decoding(P, G, slots, block):
  expected = plain(P, G)
  lengths = np.asarray(expected.action.sum(axis=-1)).ravel()
  assert len(set(lengths.tolist())) > 4  # ragged
  # Some reach the limit, some end by a token.
  assert 0 < np.asarray(expected.truncated).sum() < P * G
  rollouts, slot_turns = draw(refill.decode, MODEL, PARAMS, ragged(P), G, slots=slots, block=block)
  check_same(rollouts, expected)
  # The loops ran exactly as often as the lengths require.
  assert int(slot_turns) == schedule(lengths, slots, block or max(1, min(slots, P * G) // 8))


@pytest.mark.parametrize(('G', 'slots', 'block'), [(1, 3, 3), (3, 1, 1), (3, 7, 2), (3, 9, 5)])
def test_every_schedule_gives_the_samples_of_plain_decoding(G, slots, block):
  """On the tabular model, with truncation and a likely end.

  A row that ends with its first token leaves at once.
  """
  model = tabular.tabular(5, 1 + MAX_NEW)
  params = jax.tree.map(lambda x: x.at[..., 1].add(0.8), model.init(jax.random.key(3)))
  prompts = np.full((5, 1), 3, np.int32), np.ones((5, 1), bool)
  asked = replace(ASKED, sampler=sampling.sampler(temperature=0.9, top_k=3), eos_ids=(1,))
  expected = draw(decode, model, params, prompts, G, asked=asked)
  lengths = np.asarray(expected.action.sum(axis=-1)).ravel()
  assert lengths.min() == 1
  assert lengths.max() > 3
  rollouts, slot_turns = draw(
    refill.decode, model, params, prompts, G, slots=slots, block=block, asked=asked
  )
  check_same(rollouts, expected)
  assert int(slot_turns) == schedule(lengths, slots, block)


def test_one_token_takes_no_turn():
  prompts = np.full((4, 1), exact.PROMPT, np.int32), np.ones((4, 1), bool)
  asked = replace(ASKED, max_new=1, eos_ids=(exact.EOS,))
  params = exact.MODEL.init(jax.random.key(3))
  rollouts, slot_turns = draw(refill.decode, exact.MODEL, params, prompts, 2, slots=3, asked=asked)
  check_same(rollouts, draw(decode, exact.MODEL, params, prompts, 2, asked=asked))
  assert int(slot_turns) == 0


def test_equal_lengths_leave_no_slot_idle():
  """8 rows without end tokens in 4 slots take two rounds of MAX_NEW - 1 turns.

  All of the 2 * 4 * 11 slot-turns are used.
  """
  model = tabular.tabular(5, 1 + MAX_NEW)
  prompts = np.full((4, 1), 3, np.int32), np.ones((4, 1), bool)
  params = model.init(jax.random.key(0))
  rollouts, slot_turns = draw(
    refill.decode, model, params, prompts, 2, slots=4, block=2, asked=replace(ASKED, eos_ids=())
  )
  assert int(slot_turns) == 2 * 4 * 11
  assert refill.slot_use(rollouts, slot_turns) == (2 * 4 * 11, 2 * 4 * 11)


@pytest.mark.all
def test_explore_and_ask_give_the_same_texts_with_slots():
  codec = tokenizer.characters('ab')
  model = tabular.tabular(codec.vocab, 7)
  params = model.init(jax.random.key(0))
  sizes = dict(max_prompt=1, max_new=6)
  key = jax.random.key(2)
  tasks = [Task(id=f'{i}', prompt='ab'[i % 2]) for i in range(4)]
  samples, refilled = (
    explore(model, codec, group_size=3, decode=how, **sizes)({'policy': params}, tasks, key)
    for how in (static, refill.decoder(5))
  )
  assert refilled.texts == samples.texts
  check_same(refilled.rollouts, samples.rollouts)
  asked, again = (
    make_ask(model, codec, batch=4, decode=how, **sizes)(
      {'policy': params}, ['a', 'b', 'a'], key, 2
    )
    for how in (static, refill.decoder(5))
  )
  assert again == asked
  assert len({text for texts in asked for text in texts}) > 2


@pytest.mark.parametrize(
  ('slots', 'block', 'message'),
  [(0, None, 'slots=0; expected'), (4, 5, 'block=5; expected'), (4, 0, 'block=0; expected')],
)
def test_numbers_that_make_no_schedule_are_refused(slots, block, message):
  with pytest.raises(ValueError, match=message):
    draw(refill.decode, MODEL, PARAMS, ragged(2), 1, slots=slots, block=block)


# ---------------------------------------------------------------- the compiled program


@pytest.mark.all
@pytest.mark.parametrize('rewrites', [False, True], ids=['', 'a model that rewrites its cache'])
def test_no_turn_copies_the_cache(rewrites):
  """Only scatters make arrays of the cache's shape, and no memory is reserved for a second one."""

  def hidden(params, tokens, positions, mask, cache=None, start=None):
    x, new = MODEL.hidden(params, tokens, positions, mask, cache, start)
    return x, new if cache is None else jax.tree.map(lambda kv: kv[..., ::-1] + kv, new)

  slots, N = 6, 251
  model = MODEL._replace(hidden=hidden) if rewrites else MODEL
  lower, asked = refill.decode.lower, replace(ASKED, max_new=N)
  program = draw(lower, model, PARAMS, ragged(4), 3, asked=asked, slots=slots, block=2).compile()
  found = makers(program.as_text(), f'{slots},2,{5 + N},8')
  in_place = found <= {'scatter', 'fusion', 'parameter', 'get-tuple-element'}
  assert 'scatter' in found
  assert in_place == (not rewrites)
  cache_bytes = 2 * 4 * slots * 2 * (5 + N) * 8
  # One number per row and token, drawn before the loop; its hash needs a few words each.
  noise_bytes = 4 * 4 * 3 * N
  fits = program.memory_analysis().temp_size_in_bytes < cache_bytes + 11 * noise_bytes
  assert fits == (not rewrites)


# ---------------------------------------------------------------- several devices


def on_two_devices():
  """{mesh: (equal tokens, largest difference of log-probs)}, in a process of its own."""
  from sirl import config
  from sirl.runtime import hosts, sharding

  expected, found = plain(4, 3), {}
  for axis in ('data', 'fsdp'):
    mesh = sharding.make_mesh(config.Mesh(**{'data': 1, 'fsdp': 1, 'tensor': 1, axis: 2}))
    with jax.set_mesh(mesh):
      model = MODEL
      prompts = [hosts.global_rows(x) for x in ragged(4)]
      params = sharding.place(PARAMS, mesh)
      rollouts, _ = draw(refill.decode, model, params, prompts, 3, slots=4, block=2)
    same = bool((np.asarray(rollouts.tokens) == np.asarray(expected.tokens)).all())
    found[axis] = same, float(jnp.abs(np.asarray(rollouts.logp) - np.asarray(expected.logp)).max())
  print(json.dumps(found))


@pytest.mark.all
def test_a_mesh_changes_no_sample():
  code = (
    f'import sys; sys.path[:0] = [{str(ROOT.parent)!r}, {str(ROOT)!r}, {str(pathlib.Path(__file__).parent)!r}]\n'
    'import conftest, jax; jax.config.update("jax_num_cpu_devices", 2)\n'
    'import test_refill; test_refill.on_two_devices()\n'
  )
  done = subprocess.run([sys.executable, '-c', code], capture_output=True, text=True, timeout=600)
  assert done.returncode == 0, done.stderr[-3000:]
  found = json.loads(done.stdout.splitlines()[-1])
  assert set(found) == {'data', 'fsdp'}
  for same, gap in found.values():
    assert same
    assert gap < 1e-5
