"""The loop on a toy run: its files, the effect of each decision, resuming bit for bit."""

import dataclasses
import itertools
import json
import math
import re

import chex
import jax
import numpy as np
import pytest

from sirl import gro, loop, rewards
from sirl.evaluation import steering
from sirl.runs import checkpoint, digests, question, retention
from sirl.selection import selectors
from sirl.slots import Acquirer
from sirl.types import Action, Decision, Outcome, Samples

from support import compiles, toy

pytestmark = pytest.mark.usefixtures('quick_compiles')


class Killed(Exception):
  """Stands for the death of the process: nothing after it runs."""


def decide(reports):
  """Steering: one rollback, one change of difficulty, else nothing."""
  decided = {report.decision.action for report in reports if report.decision}
  if reports[-1].round == 1 and Action.ROLLBACK not in decided:
    return Decision(Action.ROLLBACK, 'a planned rollback', round=0)
  if reports[-1].round == 2 and Action.SET_DIFFICULTY not in decided:
    return Decision(Action.SET_DIFFICULTY, 'a planned change', difficulty=0.5)
  return None


def uninterrupted(build, tmp_path_factory):
  """A run, and its workdir."""
  workdir = tmp_path_factory.mktemp('whole')
  return loop.run(build(toy.Config(), steer=decide), workdir), workdir


@pytest.fixture(scope='module')
def whole(tmp_path_factory):
  return uninterrupted(toy.build, tmp_path_factory)


@pytest.fixture(scope='module')
def whole_of_two(tmp_path_factory):
  """With two learners, frozen weights, and stages that remember."""
  return uninterrupted(toy.build_whole, tmp_path_factory)


def same_bits(one, other):
  chex.assert_trees_all_equal(one, other)
  assert one.memory == other.memory


def rows(path):
  return [json.loads(line) for line in path.read_text().splitlines()]


def test_a_run_learns_and_leaves_its_records(whole):
  run, workdir = whole
  assert [report.round for report in run.history] == [-1, 0, 1, 2, 3]
  assert run.history[-1].metrics['heldout/pass@1'] > run.history[0].metrics['heldout/pass@1'] + 0.2
  steps = rows(workdir / 'steps.jsonl')
  assert [row['serial'] for row in steps] == list(range(16))
  assert {'reward', 'loss', 'entropy', 'kl', 'time/generate', 'rewards/correct/mean'} <= set(
    steps[0]
  )
  history = rows(workdir / 'history.jsonl')
  assert [row['decision']['action'] for row in history] == [
    'continue',
    'continue',
    'rollback',
    'set_difficulty',
    'continue',
  ]
  assert not [name for row in history for name in row['metrics'] if 'time' in name]
  assert 'prompt' in (workdir / 'samples' / 'round_00003.txt').read_text()


def test_difficulty_reaches_the_tasks_of_the_next_round(whole):
  run, workdir = whole
  assert float(run.state.difficulty) == 0.5
  ids = [row['id'] for row in rows(workdir / 'pool' / 'round_00003.jsonl')[1:]]
  assert ids == ['toy-32', 'toy-33', 'toy-34', 'toy-35']  # 4 * (3 + 10 * 0.5)


DEATHS = [[0], [1, 2, 3], [5], [6, 6, 6], [8, 11], [15]]


@pytest.mark.parametrize('deaths', DEATHS, ids=str)
def test_a_killed_run_resumes_bit_for_bit(whole, tmp_path, deaths):
  check_resumed(toy.build, whole, tmp_path, deaths)


@pytest.mark.parametrize(
  'deaths',
  [pytest.param(d, id=str(d), marks=[pytest.mark.all] * (i % 3 > 0)) for i, d in enumerate(DEATHS)],
)
def test_so_does_one_with_all_that_a_run_can_carry(whole_of_two, tmp_path, deaths):
  """The later deaths come after a rollback, so a resume must restore its effects too."""
  check_resumed(toy.build_whole, whole_of_two, tmp_path, deaths)


def check_resumed(build, whole, tmp_path, deaths):
  """Args: deaths: the serials of GRO steps before which the process dies, one after another."""
  deaths, taken = list(deaths), []

  def mortal():
    serial = steps_seen['next']
    steps_seen['next'] += 1
    if deaths and serial == deaths[0]:
      taken.append(deaths.pop(0))
      raise Killed

  wanted = list(deaths)
  while True:
    committed = max((int(p.name) for p in (tmp_path / 'checkpoints').glob('0*')), default=0)
    steps_seen = {'next': committed}
    try:
      resumed = loop.run(build(toy.Config(), steer=decide, on_step=mortal), tmp_path)
      break
    except Killed:
      continue
  assert taken == wanted
  run, workdir = whole
  same_bits(resumed.state, run.state)
  assert resumed.history == run.history
  assert (tmp_path / 'history.jsonl').read_bytes() == (workdir / 'history.jsonl').read_bytes()
  untimed = lambda row: {k: v for k, v in row.items() if 'time' not in k}
  assert list(map(untimed, rows(tmp_path / 'steps.jsonl'))) == list(
    map(untimed, rows(workdir / 'steps.jsonl'))
  )
  for path in (workdir / 'samples').iterdir():
    assert (tmp_path / 'samples' / path.name).read_bytes() == path.read_bytes()


def test_a_finished_run_run_again_changes_nothing_and_may_be_extended(whole, tmp_path):
  config = toy.Config(max_rounds=2)
  first = loop.run(toy.build(config, steer=decide), tmp_path)
  again = loop.run(toy.build(config, steer=decide), tmp_path)
  chex.assert_trees_all_equal(again.state, first.state)
  longer = loop.run(toy.build(toy.Config(), steer=decide), tmp_path)
  chex.assert_trees_all_equal(longer.state, whole[0].state)


def test_a_workdir_that_is_a_file_is_refused_by_name(tmp_path):
  file = tmp_path / 'file'
  file.touch()
  with pytest.raises(
    OSError, match=f'workdir {file} cannot be written: it is a file; name another'
  ):
    loop.run(toy.build(toy.Config(), steer=decide), file)


def test_every_learner_is_trained_and_every_stage_remembers(whole_of_two):
  """A counter-check: otherwise the test above would hold for a run that carries nothing."""
  run, _ = whole_of_two
  experiment = toy.build_whole(toy.Config())
  policy, twin = (run.state.learners[name] for name in ('policy', 'twin'))
  start = {name: learner.params for name, learner in experiment.learners.items()}
  jax.tree.map(np.testing.assert_array_equal, policy.frozen, experiment.policy.frozen)
  jax.tree.map(np.testing.assert_array_equal, policy.others['reference'], start['policy'])
  assert list(policy.params) == ['delta']
  for moved, before in ((policy.params['delta'], start['policy']['delta']),
                        (twin.params, start['twin']), (twin.others['reference'], start['twin']),
                        (twin.others['reference'], twin.params)):  # fmt: skip
    assert np.abs(moved['logits'] - before['logits']).max() > 0.1
  assert (int(policy.step), int(twin.step)) == (12, 12)  # 16, and the 4 that were rolled back
  assert run.state.memory['acquire'] == {'extra': {'calls': 3}}
  assert [len(own['scores']) for own in run.state.memory['evaluate'].values()] == [5, 5]


def test_a_second_learner_reports_beside_the_first(whole_of_two):
  _, workdir = whole_of_two
  row = rows(workdir / 'steps.jsonl')[3]
  assert {name.removeprefix('twin/') for name in row if name.startswith('twin/')} >= {
    'loss', 'grad_norm', 'entropy', 'kl', 'learning_rate',
  }  # fmt: skip
  assert row['twin/loss'] != row['loss']


def test_a_rollback_brings_back_what_the_source_of_tasks_remembers_and_evaluators_go_on(
  whole_of_two,
):
  """Round 1 was rolled back to the end of round 0, so round 2 is the second call of the source."""
  run, workdir = whole_of_two
  assert run.history[2].decision.action is Action.ROLLBACK
  extra = [
    row['id']
    for i in range(4)
    for row in rows(workdir / 'pool' / f'round_{i:05d}.jsonl')[1:]
    if row['id'].startswith('extra')
  ]
  assert extra == ['extra-0-1', 'extra-1-2', 'extra-2-2', 'extra-3-3']
  scores = run.state.memory['evaluate']['twin']['scores']
  assert len(scores) == 5  # of round 1 too
  for n, report in enumerate(run.history, 1):
    assert report.metrics['monitor/twin'] == pytest.approx(np.mean(scores[:n]))


@pytest.mark.parametrize('action', [Action.ROLLBACK, Action.STOP])
def test_going_back_brings_back_every_learner_whole(tmp_path, action):
  """Weights, optimizer and reference of each learner, as they were at the end of round 0."""
  steer = lambda reports: Decision(action, 'planned', round=0) if reports[-1].round == 1 else None
  first = loop.run(toy.build_whole(toy.Config(max_rounds=1), steer=steer), tmp_path)
  back = loop.run(toy.build_whole(toy.Config(max_rounds=2), steer=steer), tmp_path)
  chex.assert_trees_all_equal(back.state.learners, first.state.learners)
  assert back.state.memory['acquire'] == first.state.memory['acquire'] == {'extra': {'calls': 1}}
  assert [len(own['scores']) for own in back.state.memory['evaluate'].values()] == [3, 3]


def remembering(memory):
  """The toy with an acquirer that keeps `memory`, and a list of the memories it received."""
  handed = []

  def acquired(state, weights, pool, context):
    handed.append(state)
    return toy.acquire(weights, pool, context), memory

  experiment = toy.build(toy.Config(max_rounds=2))
  return dataclasses.replace(experiment, acquire=Acquirer(lambda: memory, acquired)), handed


def test_a_memory_is_handed_on_as_a_checkpoint_gives_it_back(tmp_path):
  """Otherwise a resumed run would see other types than an uninterrupted one."""
  experiment, handed = remembering({1: ('a', 2.5), 'b': None})
  loop.run(experiment, tmp_path)
  assert handed == [{'1': ['a', 2.5], 'b': None}] * 2


def test_the_display_hears_each_stage_of_a_step_while_it_runs(tmp_path):
  heard = []

  class Display:
    begin = step = report = lambda self, *args, **kw: None

    def stage(self, name):
      heard.append(name)

  def judged(task, text):
    heard.append('(judging)')
    return toy.correct(task, text)

  reward = rewards.per_completion(judged, workers=1)
  config = toy.Config(max_rounds=1, steps_per_round=1, checkpoint_every=1)
  loop.run(toy.build(config, reward=reward), tmp_path, progress=Display())
  stages = [name for name, _ in itertools.groupby(heard)]
  assert stages == [
    'evaluate', 'acquire', 'select', 'generate', 'reward', '(judging)', 'optimize', 'select',
    'evaluate', 'checkpoint',
  ]  # fmt: skip


@pytest.mark.parametrize('memory', [{'a': np.float32(1)}, {1, 2}], ids=str)
def test_a_memory_that_no_checkpoint_could_hold_is_refused_by_its_stage(tmp_path, memory):
  with pytest.raises(ValueError, match='^acquire: its memory is no JSON .*not JSON serializable'):
    loop.run(remembering(memory)[0], tmp_path)


def contents(folder):
  return {path: path.read_bytes() for path in sorted(folder.rglob('*')) if path.is_file()}


def test_a_checkpoint_of_another_layout_is_refused_and_nothing_is_written(tmp_path):
  config = toy.Config(max_rounds=1)
  loop.run(toy.build(config), tmp_path)
  for path in (tmp_path / 'checkpoints').glob('0*'):
    made_old(path / retention.META)
  before = contents(tmp_path)
  with pytest.raises(ValueError, match='layout') as refused:
    loop.run(toy.build(config), tmp_path, accepted=lambda: pytest.fail('it was accepted'))
  assert re.fullmatch(
    r'checkpoint 4 in \S+ has layout 1, this version reads layout 2; it was written by sirl 0.0.9. '
    r'Finish the run with that version, or start in a new workdir',
    str(refused.value),
  )
  assert contents(tmp_path) == before


def made_old(path):
  """The JSON of a checkpoint from before layouts had a number, with its own digest."""
  body = json.loads(path.read_text())['body']
  del body['layout'], body['memory']
  body['versions']['sirl'] = '0.0.9'
  path.write_text(json.dumps({'body': body, 'sha256': digests.body_digest(body)}))


def test_plain_functions_and_learners_without_a_policy_are_refused_with_what_to_do():
  experiment = toy.build(toy.Config())
  plain = lambda weights, record, context: {}
  for change, message in (
    (
      {'acquire': toy.acquire},
      r'acquire: got acquire; expected a slots.Acquirer\(init, acquire\); .* acquisition.acquirer\(acquire\)',
    ),
    ({'evaluate': plain}, r'evaluate: got <lambda>; .* evaluation.evaluator\(<lambda>\)'),
    (
      {'learners': {'twin': experiment.policy}},
      r"learners=\['twin'\]: expected one named 'policy'",
    ),
    ({'learners': {}}, r"learners=\[\]: expected one named 'policy'"),
  ):
    with pytest.raises(ValueError, match=message):
      dataclasses.replace(experiment, **change)


def test_rollback_brings_back_weights_but_takes_another_path(tmp_path):
  snapshots = {}

  def steer(reports):
    if reports[-1].round == 1 and len(reports) == 3:
      return Decision(Action.ROLLBACK, 'planned', round=-1)
    return None

  experiment = toy.build(toy.Config(max_rounds=3, lr=0.05), steer=steer)
  step = experiment.step

  def watched(learners, batch, key):
    snapshots.setdefault(len(snapshots), np.asarray(learners['policy'].params['logits']))
    return step(learners, batch, key)

  loop.run(dataclasses.replace(experiment, step=watched), tmp_path)
  np.testing.assert_array_equal(snapshots[8], snapshots[0])  # round 2 starts where round 0 started
  assert (snapshots[9] != snapshots[1]).any()  # and draws other noise


def test_a_rollback_goes_past_a_config_change_that_was_accepted(tmp_path):
  def steer(reports):
    return Decision(Action.ROLLBACK, 'planned', round=0) if reports[-1].round == 2 else None

  run = lambda **numbers: loop.run(toy.build(toy.Config(**numbers), steer=steer), tmp_path)
  first = run(max_rounds=1)
  run(max_rounds=2, lr=0.1, allow_changed_config=True)
  rolled_back = run(max_rounds=3, lr=0.1)
  chex.assert_trees_all_equal(rolled_back.state.learners, first.state.learners)


def test_a_run_that_asks_waits_for_the_answer_and_follows_it(tmp_path):
  ask = lambda reports: (
    Decision(Action.ASK_HUMAN, 'a rule wants to know') if reports[-1].round == 0 else None
  )
  build = lambda: toy.build(toy.Config(max_rounds=3), steer=ask)
  waiting = loop.run(build(), tmp_path)
  assert question.is_final(waiting.history)
  asked = (tmp_path / 'question.md').read_text()
  assert 'a rule wants to know' in asked
  assert 'sirl answer' in asked
  chex.assert_trees_all_equal(loop.run(build(), tmp_path).state, waiting.state)  # still waiting
  assert (tmp_path / 'question.md').read_text() == asked

  (tmp_path / 'answer.json').write_text(json.dumps({'round': 0, 'action': 'continue'}))
  done = loop.run(build(), tmp_path)
  assert [report.round for report in done.history] == [-1, 0, 1, 2]
  assert done.history[1].decision.by == 'human'
  assert not (tmp_path / 'question.md').exists()


@pytest.mark.parametrize(
  ('answer', 'round'),
  [({'action': 'rollback', 'to_round': 0}, 0), ({'action': 'stop'}, 1)],
  ids=['rollback', 'stop'],
)
def test_an_answer_after_the_last_round_is_committed(tmp_path, answer, round):
  """Once followed, the answer is in the checkpoint. answer.json is not needed or followed again."""
  ask = lambda reports: Decision(Action.ASK_HUMAN, 'the end?') if reports[-1].round == 1 else None
  experiment = lambda: toy.build(toy.Config(max_rounds=2), steer=ask)
  waiting = loop.run(experiment(), tmp_path)
  with checkpoint.Store(tmp_path, toy.Config(max_rounds=2), steps_per_round=4) as store:
    wanted = store.restore_round(round, waiting.state).learners

  (tmp_path / 'answer.json').write_text(json.dumps({'round': 1} | answer))
  answered = loop.run(experiment(), tmp_path)
  chex.assert_trees_all_equal(answered.state.learners, wanted)
  (tmp_path / 'answer.json').unlink()
  again = loop.run(experiment(), tmp_path)
  chex.assert_trees_all_equal(again.state, answered.state)
  assert again.history == answered.history
  assert again.history[-1].decision.by == 'human'
  assert not (tmp_path / 'question.md').exists()
  assert [path.name for path in sorted((tmp_path / 'checkpoints').iterdir())][-1] == '00000008'
  with checkpoint.Store(tmp_path, toy.Config(max_rounds=2), steps_per_round=4) as store:
    chex.assert_trees_all_equal(store.restore(again.state)[0].learners, wanted)


def test_a_question_that_was_answered_does_not_stay_behind(tmp_path):
  """The process may die between the checkpoint with the answer and the removal of the question."""
  config = toy.Config(max_rounds=1)
  loop.run(toy.build(config), tmp_path)
  (tmp_path / 'question.md').write_text('an old question')
  loop.run(toy.build(config), tmp_path)
  assert not (tmp_path / 'question.md').exists()


def test_a_run_is_accepted_once_its_checkpoints_are_found_to_be_its_own(tmp_path):
  """After a kill during the warm start, only the warm start has checkpoints, so they decide."""
  seen = []

  def dies():
    if seen:
      raise Killed

  build = lambda lr, on_step: toy.build(
    toy.Config(lr=lr, max_rounds=1), params=toy.build(toy.Config(lr=lr), on_step=on_step)
  )
  with pytest.raises(Killed):
    loop.run(build(0.3, dies), tmp_path, accepted=lambda: seen.append('first'))
  with pytest.raises(ValueError, match=r'lr \(0.3 -> 0.1\)'):
    loop.run(build(0.1, dies), tmp_path, accepted=lambda: seen.append('another'))
  loop.run(build(0.3, lambda: None), tmp_path, accepted=lambda: seen.append('resumed'))
  loop.run(build(0.3, lambda: None), tmp_path, accepted=lambda: seen.append('finished'))
  assert seen == ['first', 'resumed']  # nothing is left to compute in a finished run


def test_sampler_and_learner_that_disagree_stop_the_run(tmp_path):
  with pytest.raises(ValueError, match=r'sampler and learner disagree.*same sampler'):
    loop.run(toy.build(toy.Config(temperature=0.5)), tmp_path)


def test_a_reward_without_return_ends_the_run_at_its_first_step(tmp_path):
  """It would train a whole round on nothing. Here there is no trial before, as there is in recipes."""
  steps = []
  experiment = toy.build(
    toy.Config(),
    reward=rewards.per_completion(lambda task, text: None),
    on_step=lambda: steps.append(1),
  )
  with pytest.raises(
    ValueError, match='every completion .* unjudged; does the reward return a number'
  ):
    loop.run(experiment, tmp_path)
  assert len(steps) == 1


def test_a_rule_that_returns_something_else_is_told_the_form(tmp_path):
  experiment = toy.build(toy.Config(), steer=lambda reports: 'stop')
  with pytest.raises(
    ValueError, match=r"steer returned 'stop'; expected steer\(reports\) -> Decision"
  ):
    loop.run(experiment, tmp_path)


def test_a_step_that_is_not_finite_is_named_in_the_log_and_in_the_decision(tmp_path, caplog):
  seen = []

  def reward(task, text):
    # Their sum is infinite in float32.
    return 3e38 if len(seen) == 6 else float(text == task.answer)

  experiment = toy.build(
    toy.Config(),
    reward=rewards.per_completion(reward),
    on_step=lambda: seen.append(1),
    steer=steering.stop_if_not_finite(),
  )
  experiment = dataclasses.replace(experiment, selector=selectors.uniform())
  with caplog.at_level('WARNING'):
    history = loop.run(experiment, tmp_path).history
  assert history[-1].round == 1
  assert history[-1].metrics['train/updates_skipped'] == 1
  decision = history[-1].decision
  assert decision.action is Action.STOP
  assert decision.reason == (
    'In round 1 train/loss is inf and train/grad_norm is nan and train/reward is inf and 1 of its steps was not '
    'finite, the first is step 1.'
  )
  [line] = [r.getMessage() for r in caplog.records if 'not finite' in r.getMessage()]
  assert line.startswith('round 1, step 1 is not finite: loss is inf, grad_norm is nan; ')
  assert re.search(r'largest sampler-learner difference \d.* nats; tasks toy-\d', line), line
  assert 'monitor/steps_not_finite' not in history[1].metrics


def test_another_config_is_refused_and_named(whole):
  _, workdir = whole
  with pytest.raises(ValueError, match=r'lr \(0.3 -> 0.1\)'):
    loop.run(toy.build(toy.Config(lr=0.1), steer=decide), workdir)


def test_a_warm_start_is_a_run_of_its_own(tmp_path):
  warm = toy.build(toy.Config(max_rounds=1))
  run = loop.run(toy.build(toy.Config(max_rounds=1), params=warm), tmp_path)
  warmed = loop.run(warm, tmp_path / 'warm')
  assert run.history[0].metrics['heldout/pass@1'] > warmed.history[0].metrics['heldout/pass@1']
  chex.assert_trees_all_equal(
    run.state.learners['policy'].others['reference'], warmed.state.learners['policy'].params
  )


def test_a_warm_start_without_rounds_is_left_out_and_not_called_short_of_its_goal(tmp_path, caplog):
  warm = toy.build(toy.Config(max_rounds=0))
  left_out = loop.run(toy.build(toy.Config(max_rounds=0), params=warm), tmp_path)
  assert not (tmp_path / 'warm').exists()
  assert 'did not reach its goal' not in caplog.text
  learner = warm.learners['policy']
  chex.assert_trees_all_equal(
    left_out.state.learners['policy'].params, gro.start(learner, learner.params).params
  )


def test_a_warm_start_of_a_trained_part_is_resumed(tmp_path):
  """The warm start hands on the trained part. The frozen part is the learner's own."""
  warm = lambda: toy.build_whole(toy.Config(max_rounds=1))
  build = lambda rounds: toy.build_whole(toy.Config(max_rounds=rounds), params=warm())
  first = loop.run(build(1), tmp_path)
  warmed = loop.run(warm(), tmp_path / 'warm')
  started = first.state.learners['policy'].others['reference']
  chex.assert_trees_all_equal(started, warmed.state.learners['policy'].params)
  same_bits(loop.run(build(1), tmp_path).state, first.state)
  assert int(loop.run(build(2), tmp_path).state.round) == 2


def test_after_the_first_round_nothing_compiles(tmp_path):
  compiled, counts = compiles.watched(), []
  experiment = toy.build(toy.Config(max_rounds=3), on_step=lambda: counts.append(len(compiled)))
  loop.run(experiment, tmp_path)
  assert counts[1] > 0  # the listener works
  assert counts[-1] == counts[5], 'a program was compiled after the first step of the second round'


@pytest.mark.parametrize(
  ('gap', 'advantage', 'loss', 'first'),
  [
    (0.0, 0.5, 1.0, 'the gradient'),
    (0.0, 0.5, math.nan, 'the loss'),
    (0.0, math.nan, math.nan, 'the advantages'),
    (math.inf, math.nan, math.nan, 'the log-probs'),
  ],
)
@pytest.mark.parametrize('learner', ['', 'twin/'])
def test_a_step_that_is_not_finite_names_the_quantity_that_came_first(
  gap, advantage, loss, first, learner, caplog
):
  sound = {'loss': 1.0, 'grad_norm': 1.0, 'advantage_abs_mean': 0.5}
  broken = {
    'loss': loss,
    'grad_norm': math.nan,
    'advantage_abs_mean': advantage,
    'sampling/sampling_logp_difference/max': gap,
  }
  metrics = sound | {f'{learner}{name}': value for name, value in broken.items()}
  loop.warn_if_not_finite(0, 0, Outcome(Samples([], [], None), None, metrics))  # ty: ignore[invalid-argument-type]
  assert f'grad_norm is nan; {first} came first; ' in caplog.text
