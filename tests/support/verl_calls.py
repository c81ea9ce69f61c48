"""Records how verl calls a reward function and what it makes of the result: data/verl_rewards.json.

  pip install --no-deps verl==0.9.1 ray tensordict hydra-core omegaconf ... ; python tests/support/verl_calls.py

verl is not installed for the tests, because it brings ray and older releases of transformers. The
file holds, for verl's own functions, their arguments, some inputs and what they return; and, for its
reward managers, the keyword arguments of a call and the reward that follows from each kind of result.
"""

import importlib
import importlib.metadata
import inspect
import json
import pathlib

ROWS = [  # data source, answer, completions
  ('openai/gsm8k', '72', ['6*12 is 72\n#### 72', '#### 1,072', 'so 72', '#### 71']),
  (
    'lighteval/MATH',
    '\\frac{1}{2}',
    ['\\boxed{\\frac12}', '\\boxed{\\frac{1}{3}}', '1/2', '\\boxed{'],
  ),
  ('aime2024', '33', ['Answer: 33', 'Answer: \\boxed{33}', '33', 'Answer: 34']),
]
FILES = {'gsm8k': 0, 'math_reward': 1, 'math_dapo': 2, 'prime_math': 1}  # file -> row
MANAGERS = {
  'naive': 'NaiveRewardManager',
  'batch': 'BatchRewardManager',
  'dapo': 'DAPORewardManager',
}
RESULTS = [1.0, True, 0, {'score': 0.5, 'acc': True, 'pred': 'x'}]  # what a user's function returns


def plain(value):
  return json.loads(
    json.dumps(value, default=lambda x: x.tolist() if hasattr(x, 'tolist') else str(x))
  )


class Letters:
  """A tokenizer of single characters, as much as the managers use of one."""

  eos_token = '\x00'

  def decode(self, ids, skip_special_tokens=True):
    return ''.join(chr(int(i)) for i in ids if int(i))


def data(torch, proto, texts, source, answer):
  width = max(map(len, texts))
  rows = torch.tensor([[ord(c) for c in text.ljust(width, '\x00')] for text in texts])
  prompts = torch.full((len(texts), 2), ord('q'))
  n = len(texts)
  objects = lambda make: [make(i) for i in range(n)]
  return proto.DataProto.from_dict(
    tensors={
      'prompts': prompts,
      'responses': rows,
      'attention_mask': torch.cat([torch.ones_like(prompts), (rows > 0).long()], 1),
    },
    non_tensors={
      'data_source': array([source] * n),
      'reward_model': array(objects(lambda i: {'style': 'rule', 'ground_truth': answer})),
      'extra_info': array(objects(lambda i: {'index': i})),
    },
  )


def array(values):
  import numpy as np

  made = np.empty(len(values), object)
  made[:] = values
  return made


def functions():
  scores = importlib.import_module('verl.utils.reward_score')
  found = {'default_compute_score': (scores.default_compute_score, range(len(ROWS)))}
  for name, row in FILES.items():
    module = importlib.import_module(f'verl.utils.reward_score.{name}')
    found[f'{name}.compute_score'] = (module.compute_score, [row])
  batch = importlib.import_module('verl.utils.reward_score.math_batch')
  found['math_batch.compute_score_batched'] = (batch.compute_score_batched, [1])
  return found


def recorded(fn, rows):
  """The arguments of a function, and what it returns for each completion."""
  parameters = inspect.signature(fn).parameters.values()
  cases = []
  for source, answer, texts in (ROWS[row] for row in rows):
    given = {'data_source': source, 'solution_str': texts, 'ground_truth': answer, 'extra_info': {}}
    if 'solution_strs' in inspect.signature(fn).parameters:
      n = len(texts)
      found = fn([source] * n, texts, [answer] * n, [{}] * n)
    else:
      first = 'data_source' in inspect.signature(fn).parameters
      found = [fn(source, t, answer) if first else fn(t, answer) for t in texts]
    cases.append({**given, 'returned': plain(found)})
  return {
    'arguments': [
      [p.name, p.kind.name, None if p.default is p.empty else repr(p.default)] for p in parameters
    ],
    'cases': cases,
  }


def managed(torch, name, kind):
  """The calls of one reward manager, and the rewards that follow from RESULTS."""
  source, answer, texts = ROWS[0]
  seen = []

  def one(**given):
    seen.append(plain(given))
    return RESULTS[len(seen) - 1]

  def many(**given):
    seen.append(plain(given))
    return RESULTS

  module = importlib.import_module(f'verl.workers.reward_manager.{name}')
  manager = getattr(module, kind)(Letters(), 0, many if name == 'batch' else one)
  proto = importlib.import_module('verl')
  made = manager(data(torch, proto, texts, source, answer), return_dict=True)
  rewards = made['reward_tensor'].sum(-1).tolist()
  return {'calls': seen, 'returned': plain(RESULTS), 'rewards': rewards}


def main():
  import torch

  found = {
    'made': f'verl {importlib.metadata.version("verl")}, torch {torch.__version__}; tests/support/verl_calls.py',
    'functions': {name: recorded(fn, rows) for name, (fn, rows) in functions().items()},
    'managers': {name: managed(torch, name, kind) for name, kind in MANAGERS.items()},
  }
  path = pathlib.Path(__file__).parents[1] / 'data' / 'verl_rewards.json'
  path.write_text(json.dumps(found, indent=1, ensure_ascii=False) + '\n')


if __name__ == '__main__':
  main()
