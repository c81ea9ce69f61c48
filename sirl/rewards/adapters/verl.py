"""Reward functions written for verl, unchanged."""

from collections.abc import Callable, Mapping

from sirl.rewards import calls, values
from sirl.rewards.check import accepted, arguments_of, check_keywords
from sirl.rewards.scores import batched, each
from sirl.slots import Reward

# What verl's own files call the completion and the ground truth.
TEXTS = ('solution_str', 'predict_str', 'model_output', 'completion')
TRUTHS = ('ground_truth', 'test_cases')
EXTRA = {'num_turns': None, 'rollout_reward_scores': {}}  # what verl adds to extra_info
FORMS = {
  '(data_source, solution_str, ground_truth, extra_info)': "verl's dispatcher, and its managers",
  '(solution_str, ground_truth)': 'one file of verl.utils.reward_score, by its other names too',
  '(data_sources, solution_strs, ground_truths, extra_infos)': 'batched: called once a step',
}
PLURAL = ('data_sources', 'solution_strs', 'ground_truths', 'extra_infos')


def from_verl(
  compute_score: Callable,
  *,
  data_source: str | None = None,
  workers: int = 32,
  run: calls.Executor | None = None,
  **reward_kwargs,
) -> Reward:
  """Reward from a function written for verl. Its arguments tell which of verl's forms it has.

    (data_source, solution_str, ground_truth, extra_info)      verl's dispatcher, and its managers
    (solution_str, ground_truth)                               one file of verl.utils.reward_score
    (data_sources, solution_strs, ground_truths, extra_infos)  batched: called once a step

  Everything is passed by keyword, and only what the function takes. It returns a number, a tuple
  that begins with one, or a dict with 'score' whose other numbers become parts; a batched one a
  list of these. ground_truth is meta['ground_truth'], else meta['reward_model']['ground_truth'] as
  in verl's files, else the task's answer. extra_info is meta['extra_info'], else the whole meta.

  Args:
    data_source: as in verl's data files; by default the task's meta['data_source'], else its
      family, the name in its id.
    workers: number of calls at a time, in threads.
    run: where the function runs, such as `calls.processes(timeout=10)`; see `calls`.
    reward_kwargs: further keyword arguments, as verl passes reward_kwargs of its config.
  Raises: ValueError for a function that takes other arguments.
  """
  names = arguments_of(compute_score) or []
  many = 'solution_strs' in names
  texts = TEXTS if {*TRUTHS} & {*names} else TEXTS[:-1]  # `completion` alone is of verifiers
  check_keywords(compute_score, 'from_verl', (*texts, *PLURAL), FORMS)
  text_name = next((name for name in TEXTS if name in names), 'solution_str')
  truth_name = next((name for name in TRUTHS if name in names), 'ground_truth')
  keys = PLURAL if many else ('data_source', text_name, truth_name, 'extra_info')
  try:
    taken = accepted(compute_score, {**dict.fromkeys(keys), **reward_kwargs})
  except TypeError as error:
    raise ValueError(f'rewards.from_verl: {error}; give it by from_verl(fn, name=value)') from error
  if unknown := [name for name in reward_kwargs if name not in taken]:
    raise ValueError(
      f'rewards.from_verl: {values.name_of(compute_score)!r} takes ({", ".join(names)}), it has no '
      f'argument {", ".join(unknown)}'
    )

  def arguments(*rows):
    """The keyword arguments for one value of each key; for several, lists of them."""
    given = {key: list(column) if many else column[0] for key, column in zip(keys, zip(*rows))}
    return accepted(compute_score, {**given, **reward_kwargs})

  name = values.name_of(compute_score)
  executor = run or calls.threads(1 if many else workers)
  if not many:
    row = lambda task, text: arguments(_row(task, text, data_source))
    first = lambda fn, rows: [_first(result, data_source) for result in executor(fn, rows)]
    return each(compute_score, row, name=name, run=first)

  def score(samples):
    pairs = zip(samples.tasks, samples.texts)
    rows = [_row(task, text, data_source) for task, texts in pairs for text in texts]
    (result,) = executor(compute_score, [arguments(*rows)])
    if isinstance(result, Exception):
      raise result
    return [_first(found, data_source) for found in values.listed(result, len(rows))], {}

  return batched(score, name=name)


def _row(task, text, data_source):
  """(data source, text, ground truth, extra_info) of a completion."""
  meta = task.meta
  nested = meta.get('reward_model')
  nested = nested if isinstance(nested, Mapping) else {}
  extra = meta.get('extra_info', meta)
  extra = {} if extra is None else extra  # an empty cell of a table
  if not isinstance(extra, Mapping):
    raise ValueError(f"task {task.id!r}: meta['extra_info'] is {extra!r}; expected a mapping")
  return (
    data_source or meta.get('data_source') or task.family,
    text,
    meta.get('ground_truth', nested.get('ground_truth', task.answer)),
    {**EXTRA, **extra},
  )


def _first(result, data_source):
  """The score of a tuple such as (score, matched, answer), as verl's dispatcher reads it.

  NaN beside the score of a dict is a number that does not apply, as in verl's logs.
  """
  if isinstance(result, Exception) and 'data_source=' in str(result) and data_source is None:
    result.add_note(
      "data_source is the task's meta['data_source'], else its family, the name in its id; "
      "from_verl(fn, data_source='...') sets it"
    )
  if isinstance(result, Mapping):
    unknown = {name for name, value in result.items() if name != 'score' and values.is_nan(value)}
    return {name: None if name in unknown else value for name, value in result.items()}
  return result[0] if isinstance(result, tuple) and result else result
