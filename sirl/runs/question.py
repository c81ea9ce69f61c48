"""Applies decisions to a run, asks a human and applies the answer."""

import dataclasses
import json

import jax.numpy as jnp

from sirl import config as configs
from sirl.runs.checkpoint import Store
from sirl.runtime import files, hosts
from sirl.types import Action, Decision, LoopState, Outcome


def is_final(history) -> bool:
  """Whether the last decision ends the run or waits for a human."""
  return bool(history) and history[-1].decision.action in (Action.STOP, Action.ASK_HUMAN)


def follow(decision: Decision, state: LoopState, store: Store) -> LoopState:
  """Applies a decision to the state.

  A rollback, or a stop that names a sound round, restores weights, optimizers, the selector and the
  memory of the task source. The round count, the pool and the memory of evaluators continue, so a
  retry uses other keys and other tasks than the path that failed.
  """
  if decision.action in (Action.ROLLBACK, Action.STOP) and decision.round is not None:
    past = store.restore_round(decision.round, state)
    memory = {**state.memory, 'acquire': past.memory['acquire']}
    return dataclasses.replace(state, learners=past.learners, selector=past.selector, memory=memory)
  if decision.action is Action.SET_DIFFICULTY:
    return dataclasses.replace(state, difficulty=jnp.float32(decision.difficulty))
  return state


def write(workdir, history, outcome: Outcome):
  """Writes `question.md`: why the run waits, metrics, ten samples, and the commands to answer."""
  report = history[-1]
  lines = [f'# Round {report.round}: {report.decision.reason}', '']
  answers = ('continue', 'stop', 'rollback=ROUND')
  lines += ['Answer with one of', '']
  lines += [f'    {configs.command("answer", workdir, answer)}' for answer in answers] + ['']
  lines += ['and run the experiment again.', '', '## Numbers', '']
  lines += [f'- {name}: {value:.4g}' for name, value in sorted(report.metrics.items())]
  lines += ['', '## Samples', '']
  totals = outcome.rewards.total
  shown = [
    (p, g) for g in range(len(outcome.samples.texts[0])) for p in range(len(outcome.samples.tasks))
  ][:10]
  for p, g in shown:
    task = outcome.samples.tasks[p]
    lines += [
      f'- `{task.text}` -> `{outcome.samples.texts[p][g]}` (reward {totals[p][g]:.3g}, answer '
      f'{task.answer})'
    ]
  files.atomic_write(workdir / 'question.md', '\n'.join(lines) + '\n')


def follow_answer(workdir, history, state, manifest, store):
  """Applies a human's answer, if there is one, to a run that waits.

  The human's decision replaces the question in the history, and is applied to the state. Both are
  saved at once in place of the checkpoint that asked, because no later round may follow.
  `answer.json` names the round that it answers, so it applies to that question only, even after
  another kill.
  """
  path = workdir / 'answer.json'
  asks = bool(history) and history[-1].decision.action is Action.ASK_HUMAN
  answer = json.loads(path.read_text()) if asks and path.exists() else {}
  if asks and answer.get('round') == history[-1].round:
    decision = Decision(
      Action(answer['action']),
      f'a human answered the question: {history[-1].decision.reason}',
      round=answer.get('to_round'),
      by='human',
    )
    history = [*history[:-1], dataclasses.replace(history[-1], decision=decision)]
    state = follow(decision, state, store)
    store.replace(state, history, manifest)
    asks = False
  if not asks and hosts.is_first():  # also if a kill came between the save and this line
    (workdir / 'question.md').unlink(missing_ok=True)
  return history, state
