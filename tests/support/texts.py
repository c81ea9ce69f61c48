"""Samples from texts, for tests of rewards."""

import jax
import jax.numpy as jnp
import numpy as np

from sirl.tasks import Task
from sirl.types import Rollouts, Samples


def samples_of(texts, tasks=None, step=None):
  """Samples of P x G texts, with two chosen tokens each."""
  p, g = len(texts), len(texts[0])
  tasks = tasks or [Task(id=f't{i}', prompt=f'{i}+{i}', answer=str(2 * i)) for i in range(p)]
  action = np.zeros((p, g, 4), bool)
  action[..., 1:3] = True  # prompt, two chosen tokens, padding
  tokens = np.arange(p * g * 4).reshape(p, g, 4)
  arrays = (tokens, np.ones_like(action), action, np.zeros(action.shape), np.zeros((p, g), bool))
  return Samples(tasks, texts, Rollouts(*map(jnp.asarray, arrays)), step=step)


def judged(reward, samples):
  """The Rewards of samples, from a reward that reads no weights."""
  return reward({'policy': None}, samples, jax.random.key(0))
