"""An experiment file of pure Python and one small array, so that a run takes a second."""

import textwrap

EXPERIMENT = """
  import dataclasses
  import jax.numpy as jnp
  import numpy as np
  import optax
  from sirl import acquisition, config, evaluation
  from sirl.slots import Selector
  from sirl.types import Action, Decision, Model, Outcome, Rewards, Rollouts, Samples
  from sirl.experiment import Experiment, Learner
  from sirl.tasks import Task

  @dataclasses.dataclass(frozen=True, kw_only=True)
  class Config(config.Base):
    learning_rate: float = 0.1
    asks: bool = False
    interrupted: bool = False
    clip: tuple[float, float] = (0.2, 0.28)
    data: str = 'none'
    max_rounds: int = 2
    steps_per_round: int = 2

  def shrink(c):
    return dataclasses.replace(c, max_rounds=1, learning_rate=0.5)

  def acquire(weights, pool, context):
    return [Task(id='t', prompt='1+1=', answer='2')] if not len(pool) else []

  def step(learners, tasks, key):
    ones = jnp.ones((1, 1, 2), bool)
    rollouts = Rollouts(tokens=ones.astype(jnp.int32), valid=ones, action=ones, logp=jnp.zeros((1, 1, 2)),
                        truncated=jnp.zeros((1, 1), bool))
    rewards = Rewards(jnp.ones((1, 1)), {'correct': jnp.ones((1, 1))})
    moved = {name: state.replace(params={'w': state.params['w'] + 1}, step=state.step + 1)
             for name, state in learners.items()}
    return moved, Outcome(
      Samples(tasks[:1], [['2']], rollouts), rewards, {'reward': 1.0, 'entropy': 0.5, 'step_tokens': 2.0})

  def build(c):
    if c.interrupted:
      raise KeyboardInterrupt
    ask = Decision(Action.ASK_HUMAN, 'is this right?') if c.asks else None
    model = Model(init=lambda key: {'w': jnp.zeros(3)}, hidden=None, unembed=None, init_cache=None)
    selector = Selector(lambda: (), lambda state, pool, weights, key: state,
                        lambda state, pool, key, n: np.zeros(1, np.int32), lambda state, rows, rewards: state)
    measured = lambda weights, record, context: {
      'heldout/pass@1': 0.25 * (context.round + 1), 'heldout/pass@1_sem': 0.1}
    policy = Learner(model=model, params={'w': jnp.zeros(3)}, optimizer=optax.sgd(c.learning_rate))
    return Experiment(
      config=c, learners={'policy': policy}, acquire=acquisition.acquirer(acquire), selector=selector, step=step,
      evaluate=evaluation.evaluator(measured), steer=lambda reports: ask)

  def summary(history):
    return f'summary of {len(history)} reports'
"""


def write(path, *more):
  """Writes the file, with further lines at its end."""
  path.parent.mkdir(parents=True, exist_ok=True)
  path.write_text('\n'.join(map(textwrap.dedent, (EXPERIMENT, *more))))
  return path
