"""Decisions and questions: what a decision does to a run, and how a human is asked and answers."""

import dataclasses
import json

import jax.numpy as jnp

from sirl.runs.checkpoint import Store
from sirl.runtime import files, hosts
from sirl.types import Action, Decision, LoopState, Outcome


def is_final(history) -> bool:
  """The last decision ends the run, or waits for a human."""
  return bool(history) and history[-1].decision.action in (Action.STOP, Action.ASK_HUMAN)


def follow(decision: Decision, state: LoopState, store: Store) -> LoopState:
  """What a decision does to the state.

  A rollback, or a stop that names a sound round, brings back weights, optimizers, the selector and what the source of tasks
  remembers. The round count, the pool and what evaluators remember go on: a retry draws other noise and other tasks than
  the path that failed.
  """
  if decision.action in (Action.ROLLBACK, Action.STOP) and decision.round is not None:
    past = store.restore_round(decision.round, state)
    memory = {**state.memory, 'acquire': past.memory['acquire']}
    return dataclasses.replace(state, learners=past.learners, selector=past.selector, memory=memory)
  if decision.action is Action.SET_DIFFICULTY:
    return dataclasses.replace(state, difficulty=jnp.float32(decision.difficulty))
  return state


def write(workdir, history, outcome: Outcome):
  """`question.md`: why the run waits, the numbers, ten samples, and the commands that answer it."""
  report = history[-1]
  lines = [f'# Round {report.round}: {report.decision.reason}', '']
  lines += ['Answer with one of', '', f'    sirl answer {workdir} continue']
  lines += [f'    sirl answer {workdir} stop', f'    sirl answer {workdir} rollback=ROUND', '']
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
      f'- `{task.text}` -> `{outcome.samples.texts[p][g]}` (reward {totals[p][g]:.3g}, answer {task.answer})'
    ]
  files.atomic_write(workdir / 'question.md', '\n'.join(lines) + '\n')


def follow_answer(workdir, history, state, manifest, store):
  """A waiting run with an answer: the human's decision takes the place of the question and is followed.

  Both are committed at once, in the place of the checkpoint that asked: there may be no later round to do it.
  `answer.json` holds the round it answers, so it is applied to that question only, also after another kill.
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
  if not asks and hosts.is_first():  # also after a kill between the commit and this line
    (workdir / 'question.md').unlink(missing_ok=True)
  return history, state
