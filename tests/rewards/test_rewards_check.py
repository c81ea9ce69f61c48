"""A function of another form is refused where it is wrapped, with the wrapper that takes it."""

import functools

import pytest

from sirl import rewards
from sirl.rewards import values


def of_text(task, text):
  return 1.0


def of_texts(task, texts):
  return [1.0] * len(texts)


def of_arrays(params, rollouts):
  return rollouts.action.sum(-1)


def of_trl(prompts, completions, **kwargs):
  return [1.0] * len(completions)


def of_verl(data_source, solution_str, ground_truth, extra_info=None):
  return 1.0


def of_verifiers(completion, answer):
  return 1.0


FORMS = {
  'per_completion': of_text,
  'per_group': of_texts,
  'on_device': of_arrays,
  'from_trl': of_trl,
  'from_verl': of_verl,
  'from_verifiers': of_verifiers,
}


@pytest.mark.parametrize('wrapper', FORMS)
@pytest.mark.parametrize('form', FORMS)
def test_a_wrapper_takes_its_own_form_and_names_that_of_another(wrapper, form):
  wrap, fn = getattr(rewards, wrapper), FORMS[form]
  if wrapper == form:
    wrap(fn)
    wrap(functools.partial(fn))
    return
  if (wrapper, form) == ('from_verifiers', 'from_trl'):
    return  # verifiers calls a function of whole groups by the same names
  with pytest.raises(ValueError, match=rf"rewards.{wrapper}: '{fn.__name__}' takes .*Use rewards.{form} for"):  # fmt: skip
    wrap(fn)


@pytest.mark.parametrize('wrapper', ['from_trl', 'from_verl', 'from_verifiers'])
def test_a_form_that_is_shown_is_one_that_is_taken(wrapper):
  with pytest.raises(ValueError, match='expected the names of one of these') as caught:
    getattr(rewards, wrapper)(lambda prompt_, answer_: 1.0)
  for line in str(caught.value).splitlines()[1:]:
    taken = line[line.index('(') : line.index(')') + 1]
    getattr(rewards, wrapper)(eval(f'lambda {taken[1:-1]}: 1.0'))


@pytest.mark.parametrize('wrapper', FORMS)
def test_a_reward_is_not_wrapped_again_and_the_right_order_is_said(wrapper):
  reward = rewards.tolerant(rewards.per_completion(of_text))
  with pytest.raises(ValueError, match=r'It is a reward already; .*rewards.tolerant\(rewards.per_completion\(fn\)\)'):  # fmt: skip
    getattr(rewards, wrapper)(reward)


@pytest.mark.parametrize('form', FORMS)
def test_tolerant_goes_around_a_reward_not_around_a_function(form):
  with pytest.raises(ValueError, match=rf'then rewards.tolerant\(rewards.{form}\(...\)\)'):
    rewards.tolerant(FORMS[form])


@pytest.mark.parametrize(
  ('fn', 'said'),
  [
    (lambda text: 1.0, r'takes \(text\), expected \(task, text\)'),
    (lambda: 1.0, r'takes \(\), expected \(task, text\)'),
    (lambda task, text, key: 1.0, r'takes \(task, text, key\), expected'),
  ],
)
def test_a_function_of_another_number_of_arguments_is_refused_before_the_run(fn, said):
  with pytest.raises(ValueError, match=said):
    rewards.per_completion(fn)


@pytest.mark.parametrize('wrapper', FORMS)
@pytest.mark.parametrize(
  ('fn', 'said'),
  [
    ('org/reward-model', "expected a function, got 'org/reward-model'"),
    ([of_trl, of_text], 'expected a function, .*; add several by rewards.weighted'),
    (None, 'expected a function, got None'),
  ],
)
def test_what_is_no_function_is_refused(wrapper, fn, said):
  with pytest.raises(ValueError, match=said):
    getattr(rewards, wrapper)(fn)


def test_a_reward_model_of_pytorch_is_refused_with_what_to_write():
  torch = pytest.importorskip('torch')
  with pytest.raises(ValueError, match='It is a PyTorch module; write a function'):
    rewards.from_trl(torch.nn.Linear(1, 1))


class Named:
  __name__ = 'cosine_scaled_reward'

  def __call__(self, task, text):
    return 1.0


class Unnamed:
  def __call__(self, task, text):
    return 1.0


def test_a_part_has_the_name_that_the_function_or_object_has_itself():
  renamed = functools.partial(of_text)
  renamed.__name__ = 'brief'
  names = {
    'of_text': of_text,
    'cosine_scaled_reward': Named(),
    'unnamed': Unnamed(),
    'reward': lambda task, text: 1.0,
    'brief': renamed,
  }
  assert {values.name_of(fn): fn for fn in names.values()} == names
  assert values.name_of(functools.partial(Named())) == 'cosine_scaled_reward'


@pytest.mark.parametrize(
  ('wrap', 'fn'),
  [
    (rewards.per_completion, lambda text, task: 1.0),
    (rewards.per_completion, lambda answer, gold: 1.0),
    (rewards.per_completion, lambda t, task: 1.0),
    (rewards.per_group, lambda texts, task: [1.0] * len(texts)),
    (rewards.on_device, lambda rollouts, params: rollouts.truncated),
  ],
)
def test_arguments_in_another_order_are_refused_since_they_are_passed_by_position(wrap, fn):
  with pytest.raises(ValueError, match='which are passed by position; write them in this order'):
    wrap(fn)


def test_arguments_of_other_names_are_passed_by_position_as_they_stand():
  rewards.per_completion(lambda example, output: 1.0)
  rewards.per_completion(functools.partial(lambda task, text, scale: scale, scale=2.0))
