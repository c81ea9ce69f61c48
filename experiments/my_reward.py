"""A reward of your own in under ten lines: quickstart with partial credit for right digits.

  sirl run experiments/my_reward.py [--set debug=true]

If only the right answer earns a reward, a group of eight wrong answers teaches nothing. With
partial credit the policy learns to prefer the less wrong ones. The first part keeps the name
`correct`: selectors and monitors still read it, and the report shows both curves.
notebooks/write_a_reward.ipynb builds this file step by step. Nothing has to be registered: a file
with Config and build is an experiment. Hardware and time as for quickstart.
"""

import functools

from experiments import quickstart, settings
from sirl import rewards
from sirl.domains import answers, mathematics


def digits_right(task, text):
  """Share of digits in their place, counted from the units: 0.5 for '42' where 40 is right."""
  pairs = zip(reversed(text), reversed(task.answer))
  return sum(a == b for a, b in pairs) / max(len(text), len(task.answer))


CORRECT = functools.partial(mathematics.correct, extract=answers.exact)
REWARD = rewards.weighted(
  correct=(1.0, rewards.per_completion(CORRECT, workers=1)),
  digits=(0.2, rewards.per_completion(digits_right, workers=1)),
)
Config, build = quickstart.Config, settings.built(quickstart.method, reward=REWARD)
