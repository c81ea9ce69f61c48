"""A domain, a method or a setting of a user's own: what has another form is told when it is given."""

import dataclasses

import pytest

from experiments import settings
from experiments.methods import grpo
from sirl import recipe
from sirl.acquisition import procedural
from sirl.tasks import Task, content_id

TASK = Task(id='t', prompt='1+1=', answer='2')
SPLITS = {'train': [TASK], 'heldout': [TASK]}


def generator(rng, index, difficulty):
  prompt = f'{rng.integers(0, 100)}+1='
  return Task(id=content_id('own', prompt), prompt=prompt)


@pytest.mark.parametrize(
  ('fields', 'message'),
  [
    ({'generatr': generator}, "Domain has no 'generatr'; did you mean 'generator'?"),
    (
      {'generator': lambda rng: TASK},
      r"generator: '<lambda>' does not take 3 arguments; expected generator\(rng, index, difficulty",
    ),
    ({'generator': lambda digits=2: generator}, r'generator: .* If it makes one, call it'),
    ({'generator': [TASK]}, r'generator: got a list; expected a function generator\(rng, index, '),
    ({'generator': generator, 'correct': lambda text: 1.0}, r'expected correct\(task, text\) -> 1'),
    ({'generator': generator, 'check': lambda text: 1.0}, r'expected check\(task, text\) -> 1'),
    ({'generator': generator, 'extract': lambda task, text: text}, r'expected extract\(text\) -> '),
    ({'generator': generator, 'same': lambda answer: True}, r'expected same\(answer, other\)'),
    ({'generator': generator, 'solution': 'answer'}, "solution: got 'answer'; expected a function"),
    (
      {'generator': generator, 'baselines': {'zero': lambda: '0'}},
      r'expected baseline\(task\) -> ',
    ),
    ({'generator': generator, 'alphabet': ['1', '+']}, r"alphabet=\['1', '\+'\]; expected a text"),
    ({'splits': [TASK]}, "domain own: splits=a list; expected {'train': tasks, 'heldout': tasks}"),
    ({'splits': {'train': [TASK], 'test': [TASK]}}, "splits has train, test; expected {'train'"),
    ({'splits': SPLITS | {'train': ['1+1=']}}, r"splits\['train'\] holds '1\+1='; expected a Task"),
    (
      {'splits': SPLITS | {'train': iter([TASK])}},
      r"splits\['train'\]=.*; expected a list of Task",
    ),
  ],
)
def test_a_field_of_a_domain_of_another_form_is_told_with_the_form(fields, message):
  with pytest.raises(ValueError, match=message):
    recipe.Domain(name='own', **fields)


@pytest.mark.parametrize(
  ('make', 'message'),
  [
    (lambda: recipe.Domain(generator=generator), 'Domain needs name=$'),
    (lambda: recipe.Method(objectiv=None), "Method has no 'objectiv'; did you mean 'objective'?"),
    (lambda: recipe.Setting(heldot=[]), "Setting has no 'heldot'; did you mean 'heldout'?"),
    (lambda: settings.built(grpo.method, rewrd=1), "has no 'rewrd'; did you mean 'reward'?"),
    (lambda: settings.built(grpo.method, domian=1), "has no 'domian'; did you mean 'domain'?"),
    (
      lambda: settings.built(lambda c: None),
      r'expected method\(config, setting\) -> recipe.Method',
    ),
    (
      lambda: settings.built(grpo.method, domain=recipe.Domain(name='own', generator=generator)),
      r'domain: got a Domain; expected a function domain\(config\) -> recipe.Domain',
    ),
    (lambda: settings.built(grpo.method, domain=lambda: 0), r'expected domain\(config\) -> recipe'),
    (
      lambda: settings.built(grpo.method, setting=3),
      r'setting: got 3; expected a function setting',
    ),
    (lambda: settings.built(grpo.method, summary='x'), r'expected a function summary\(history\)'),
  ],
)
def test_a_misspelt_name_or_another_form_is_told_when_a_file_is_loaded(make, message):
  with pytest.raises(ValueError, match=message):
    make()


def built(method=grpo.method, **parts):
  build = settings.built(method, **parts)
  return build(build.configured(grpo.Config, ['debug=true']))


def own(c):
  return recipe.Domain(name='own', splits={'train': [], 'heldout': [TASK]})


@pytest.mark.parametrize(
  ('parts', 'message'),
  [
    ({'domain': lambda c: None}, r'domain returned None .*return.*expected domain\(config\)'),
    ({'setting': lambda c: None}, r'setting returned None .*expected setting\(config\)'),
    ({'method': lambda c, s: None}, r'method returned None .*expected method\(config, setting\)'),
    ({'small': {'max_runds': 1}}, r"small: Config \(.*\) has no 'max_runds'; did you mean 'max_r"),
    ({'domain': own}, r"domain own: splits\['train'\] is empty; give it a task"),
  ],
)
def test_what_a_function_of_a_file_returns_is_told_with_what_was_expected(parts, message):
  with pytest.raises(ValueError, match=message):
    built(**parts)


def test_the_training_split_is_told_to_the_run_unless_the_method_finds_its_own_tasks():
  splits = {'train': [dataclasses.replace(TASK, id=f't{n}', prompt=f'{n}+1=') for n in range(4)]}
  domain = lambda c: recipe.Domain(name='own', splits={**splits, 'heldout': [TASK]})
  assert built(domain=domain).training['train'] == splits['train']
  apart = lambda c, s: dataclasses.replace(grpo.method(c, s), acquire=lambda *_: [])
  assert built(apart, domain=domain).training == {}


@pytest.mark.parametrize(
  ('fields', 'message'),
  [
    (
      {'optimizer': 1e-3},
      r'optimizer: got 0.001; expected an optax.GradientTransformation, such as',
    ),
    ({'objective': 0.5}, r'objective: got 0.5; expected a function objective\(stats, experience\)'),
    ({'sampler': 0.7}, r'sampler: got 0.7; expected a types.Sampler'),
    ({'teachers': ['a']}, r"teachers: got \['a'\]; expected {name: a model's weights}"),
    ({'teachers': {'big': 'path'}}, r"teachers: 'big' is 'path'; expected a model's weights"),
    ({'learners': {'critic': 1}}, r"learners: 'critic' is 1; expected a Learner"),
    ({'others': 3}, r'others: got 3; expected {name: a function optimize\(state, rollouts'),
    ({'acquirers': 3}, r'acquirers: got 3; expected {name: a slots.Acquirer}'),
    ({'evaluators': 3}, r'evaluators: got 3; expected {name: a slots.Evaluator}'),
    ({'parts': 'correct'}, r"parts: got 'correct'; expected a sequence of names, such as"),
    ({'answers': 'no'}, r"answers: got 'no'; expected True or False"),
    ({'reward': 'correct'}, r"reward: got 'correct'; expected a reward \(weights, samples, key\)"),
  ],
)
def test_a_field_of_a_method_of_another_form_is_named_with_what_was_expected(fields, message):
  with pytest.raises(ValueError, match=f'^{message}'):
    built(lambda c, s: dataclasses.replace(grpo.method(c, s), **fields))


@pytest.mark.parametrize(
  ('made', 'message'),
  [
    (
      lambda: None,
      r'generator returned None .*expected generator\(rng, index, difficulty\) -> Task',
    ),
    (lambda: '1+1=', r"generator returned '1\+1='; expected generator"),
    (lambda: Task(id=3, prompt='1'), r'id=3: expected a text; tasks.content_id\(name, prompt\)'),
    (lambda: Task(id='t', prompt=3), 'prompt=3: expected a text, or a sequence of tasks.Message'),
    (lambda: Task(prompt='1'), r'Task needs id=; tasks.content_id\(name, prompt\) makes one'),
  ],
)
def test_what_a_generator_gives_in_place_of_a_task_is_told(made, message):
  with pytest.raises(ValueError, match=message):
    procedural.fixed_set(lambda rng, index, difficulty: made(), n=1, seed=0, namespace='x')


def test_a_misspelt_field_of_a_changed_method_is_told():
  method = recipe.Method(credit=1, objective=2)
  assert dataclasses.replace(method, credit=3).credit == 3
  with pytest.raises(ValueError, match="Method has no 'crediit'; did you mean 'credit'?"):
    dataclasses.replace(method, crediit=3)
