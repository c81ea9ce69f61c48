"""Likelihoods of tasks: those of the full forward pass, and of a table of known probabilities."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from sirl import models
from sirl.generation import likelihood, make_logp, make_prompt_logp
from sirl.models import tabular, tokenizer
from sirl.ops import prefill
from sirl.selection import scores
from sirl.tasks import Message, Task, turns

pytestmark = pytest.mark.usefixtures('quick_compiles')

CODEC = tokenizer.characters('ab=')  # pad 0, eos 1, a 2, b 3, = 4
MODEL = models.build(models.preset('toy', vocab=CODEC.vocab, width=16, layers=2, head_width=8))
TASKS = [
  Task(id='t0', prompt='ab=', answer='b'),
  Task(id='t1', prompt='b=', answer=None),
  Task(id='t2', prompt='=', answer='abba'),
  Task(id='t3', prompt='aab=', answer=''),
  Task(id='t4', prompt='ba=', answer='ab'),
]


@pytest.fixture(scope='module')
def params():
  return MODEL.init(jax.random.key(0))


@jax.jit
def next_token_logp(params, tokens):
  """Log-probs [N, T, V] of the token after each position, from one pass over right-padded texts."""
  valid = tokens != CODEC.pad_id
  x, _ = MODEL.hidden(params, tokens, prefill.positions(valid), prefill.causal_mask(valid))
  return jax.nn.log_softmax(MODEL.unembed(params, x), axis=-1)


def by_full_forward(params, ids, first):
  """Mean log-prob of ids[first:], nan if there are none."""
  logp = np.asarray(next_token_logp(params, jnp.asarray([ids + [CODEC.pad_id] * (12 - len(ids))])))
  scored = [logp[0, t - 1, ids[t]] for t in range(first, len(ids))]
  return np.mean(scored) if scored else np.nan


def test_an_answer_scores_as_in_the_full_forward_pass(params):
  logp = make_logp(MODEL, CODEC, max_prompt=6, max_new=5, batch=2)({'policy': params}, TASKS)
  assert logp.dtype == np.float32
  for task, value in zip(TASKS, logp):
    if task.answer is None:
      assert np.isnan(value)
      continue
    prompt = CODEC.render(turns(task.prompt))
    ids = [*prompt, *CODEC.encode(task.answer), CODEC.eos_ids[0]]
    assert value == pytest.approx(by_full_forward(params, ids, len(prompt)), abs=1e-5)


def test_a_prompt_scores_as_in_the_full_forward_pass(params):
  logp = make_prompt_logp(MODEL, CODEC, max_prompt=6, batch=3)({'policy': params}, TASKS)
  expected = [by_full_forward(params, CODEC.render(turns(task.prompt)), 1) for task in TASKS]
  assert np.isnan(logp).tolist() == [False, False, True, False, False]  # nothing stands before '='
  np.testing.assert_allclose(logp, expected, atol=1e-5)


def test_perplexity_is_that_of_a_known_table():
  # After '=' at position 0: 'a' with 1/2; after 'a' at position 1: 'b' with 1/4; after 'b' at
  # position 2: the end with 1/8.
  probs = np.full((3, 5, 5), np.nan, np.float32)
  probs[0, 4] = [0.1, 0.1, 0.5, 0.2, 0.1]
  probs[1, 2] = [0.25, 0.25, 0.125, 0.25, 0.125]
  probs[2, 3] = [0.5, 0.125, 0.125, 0.125, 0.125]
  logits = {'logits': jnp.log(jnp.asarray(probs))}
  logp = make_logp(tabular.tabular(5, 3), CODEC, max_prompt=1, max_new=3, batch=1)
  score = scores.perplexity(logp)({'policy': logits}, [Task(id='t', prompt='=', answer='ab')])
  np.testing.assert_allclose(score, [(1 / 2 * 1 / 4 * 1 / 8) ** (-1 / 3)], rtol=1e-6)  # 4


def test_any_number_of_tasks_runs_one_program(params):
  likelihood._mean_logp.clear_cache()
  logp = make_logp(MODEL, CODEC, max_prompt=6, max_new=5, batch=2)
  weights = {'policy': params}
  whole = logp(weights, TASKS)
  alone = [logp(weights, [task])[0] for task in TASKS]
  np.testing.assert_array_equal(whole, alone)
  assert logp(weights, []).shape == (0,)
  assert likelihood._mean_logp._cache_size() == 1


@pytest.mark.parametrize(
  ('make', 'arguments', 'message'),
  [
    (make_logp, {'max_new': 4}, 'answer of task t2 has 5 tokens with its end token, max_new is 4'),
    (
      make_logp,
      {'max_new': 5, 'max_prompt': 3},
      'prompt of task t3 has 4 tokens, max_prompt is 3',
    ),
    (make_prompt_logp, {'max_prompt': 3}, 'prompt of task t3 has 4 tokens, max_prompt is 3'),
  ],
)
def test_a_text_over_its_limit_is_named(params, make, arguments, message):
  logp = make(MODEL, CODEC, **{'max_prompt': 6, 'batch': 2} | arguments)
  with pytest.raises(ValueError, match=message):
    logp({'policy': params}, TASKS)


@pytest.mark.parametrize('make', [make_logp, make_prompt_logp])
def test_other_weights_are_read_by_their_name(params, make):
  sizes = {'max_prompt': 6, 'batch': 2} | ({'max_new': 5} if make is make_logp else {})
  weights = {'policy': params, 'reference': MODEL.init(jax.random.key(1))}
  found = make(MODEL, CODEC, of='reference', **sizes)(weights, TASKS)
  own = make(MODEL, CODEC, **sizes)
  np.testing.assert_array_equal(found, own({'policy': weights['reference']}, TASKS))
  assert np.nanmin(np.abs(found - own(weights, TASKS))) > 1e-4
  with pytest.raises(ValueError, match='teacher'):
    make(MODEL, CODEC, of='teacher', **sizes)(weights, TASKS)


def test_a_conversation_scores_as_its_rendered_turns(params):
  said = (Message('user', 'ab'), Message('assistant', 'b'), Message('user', 'a='))
  tasks = [Task(id='one', prompt=said, answer='b'), Task(id='two', prompt='abba=', answer='b')]
  for logp in (
    make_logp(MODEL, CODEC, max_prompt=6, max_new=5, batch=2),
    make_prompt_logp(MODEL, CODEC, max_prompt=6, batch=2),
  ):
    first, second = logp({'policy': params}, tasks)
    assert first == pytest.approx(second, abs=1e-6)
    assert np.isfinite(second)
