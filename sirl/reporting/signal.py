"""The doctor's checks of what there is to learn from: a start, a reward, a learning rate, variety."""

import math

from sirl.reporting.findings import Finding
from sirl.reporting.numbers import WINDOW, first, first_accuracy, outcome_name, part_means, recent
from sirl.reporting.numbers import window as last_steps
from sirl.runs import lineage
from sirl.runtime import plural

RIGHT, BEST = 'rewards/correct/mean', 'rewards/correct/best'
TIED_SOME = 0.8  # share of groups whose rewards are all equal, above
WEAK = 0.05  # share of right completions, from the first step to the last, below
WEAK_GROUPS = 0.25  # share of groups with any success, below
UNIFORM = 0.9  # entropy, as a share of that of a uniform draw from the vocabulary
SAME = 1e-8  # range of a part's values that counts as none
RATE_GONE = 1e-3  # of the run's highest learning rate
REPEATED = (0.5, 0.2)  # share of the completions that are not right, and its rise
DISTINCT = 0.5  # of the first distinct-n, below
LONG = 0.1  # share of duplicates that short answers exceed
LONGER = 1.5  # factor of the mean length, above which distinct-n cannot be compared
CONSTANT = (0.5, 0.2)  # share of the commonest answer over all prompts, and its rise


def is_supervised(run):
  """Whether groups are single completions, as demonstrations are, so that nothing compares them."""
  return 'reward_std' in run.step_names and math.isnan(recent(run, 'reward_std'))


def is_weak(run):
  """Whether hardly any completion was right, before training and ever since.

  Only the part `correct` tells: another reward may be small for other reasons.
  """
  held = first_accuracy(run)
  shares = [first(run, RIGHT), recent(run, RIGHT)]  # NaN where nothing says right or wrong
  shares += [r.metrics[held] for r in lineage.measured(run.history, held)] if held else []
  return all(share < WEAK for share in shares) and not recent(run, BEST) >= WEAK_GROUPS


def vocabulary_of(run):
  """How many tokens the policy chooses from; None where config.json does not say."""
  return run.identity.get('models', {}).get('policy', {}).get('vocab')


def draws_at_random(run):
  """Whether the policy draws its tokens nearly uniformly; False where its vocabulary is unknown."""
  vocabulary = vocabulary_of(run)
  return bool(vocabulary) and recent(run, 'entropy') > UNIFORM * math.log(vocabulary)


def weak_start(run):
  """A policy that knows too little for the reward to say anything."""
  if not is_weak(run):
    return
  groups = recent(run, BEST)
  said = [f'{RIGHT} {first(run, RIGHT):.3f} -> {recent(run, RIGHT):.3f}']
  if not math.isnan(groups):
    said.append(f'{groups:.2f} of the groups hold any success over {last_steps(run)}')
  now, vocabulary = recent(run, 'entropy'), vocabulary_of(run)
  if vocabulary and not math.isnan(now):
    uniform = math.log(vocabulary)
    drawn = ', nearly a uniform draw' if draws_at_random(run) else ''
    said.append(
      f'entropy {now:.2f} nats per token, of at most log({vocabulary}) = {uniform:.2f}{drawn}'
    )
  yield Finding(
    'problem', 'the start is too weak for this reward', '; '.join(said),
    'A reward that is hardly ever earned teaches nothing. Give the policy a longer warm start '
    '(warm_goal, warm_rounds) or a stronger model, take easier tasks, or give partial credit for '
    'what is nearly right. Read samples/ first: a wrong format or scorer looks the same.',
  )  # fmt: skip


def constant_parts(run):
  """Parts of the reward that gave the same value to every completion of the last round."""
  if is_supervised(run):
    return
  last = [row for row in run.steps if row['round'] == run.steps[-1]['round']]
  # Of the part that says right or wrong, `tied_groups` and `weak_start` say more.
  said = {outcome_name(run)} if recent(run, 'frac_reward_zero_std') > TIED_SOME else set()
  for name in part_means(run):
    if name in said:
      continue
    means = [row.get(name, math.nan) for row in last]
    spreads = [row.get(f'{name.removesuffix("/mean")}/std', math.nan) for row in last]
    # A NaN compares as False: an unjudged part is not constant.
    if not (max(means) - min(means) <= SAME and all(spread <= SAME for spread in spreads)):
      continue
    part, value = name.split('/')[1], means[0]
    advice = (
      'Nothing earns it. Read samples/: does the check look for something that the prompt holds '
      'already, such as a tag that the chat template opens?'
      if value <= 0
      else 'Everything earns it, so it adds nothing to learning: leave it out, or ask for more.'
    )
    yield Finding(
      'warning' if value <= 0 else 'note', f'the part {part!r} of the reward is constant',
      f'{value:.3g} for every completion of round {last[-1]["round"]}, in '
      f'{plural.counted(len(last), "step")}', advice,
    )  # fmt: skip


def learning_rate(run):
  """Steps at a learning rate of zero, by lr=0, or near it, as after the end of a schedule."""
  rates = [abs(row.get('learning_rate', math.nan)) for row in run.steps]
  highest = max((rate for rate in rates if not math.isnan(rate)), default=math.nan)
  if highest == 0:
    yield Finding(
      'warning', 'the learning rate is 0', 'learning_rate 0 in every step',
      'No step changed the weights, so every round measures the start. Set lr above 0.',
    )  # fmt: skip
    return
  late = rates[-max(WINDOW, len(rates) // 20) :]
  if len(late) < len(rates) and all(rate < RATE_GONE * highest for rate in late):
    yield Finding(
      'warning', 'the learning rate is near zero',
      f'learning_rate at most {max(late):.1e} in the last {len(late)} steps, {highest:.1e} before',
      'These steps learned nothing: the schedule has ended. Set lr_steps to the steps of the whole '
      'run, with allow_changed_config=true in this workdir.',
    )  # fmt: skip


def diversity(run):
  """Completions, texts or answers that have become the same."""
  yield from repeated(run)
  reports = lineage.measured(run.trained, 'monitor/duplicate_share')
  distinct = sorted({n for r in reports for n in r.metrics if n.startswith('monitor/distinct_')})
  if distinct and len(reports) > 1:
    name, now = distinct[-1], run.final.metrics
    then, value = reports[0].metrics.get(name, math.nan), now.get(name, math.nan)
    length = recent(run, 'completions/mean_length') / first(run, 'completions/mean_length')
    duplicates = now.get('monitor/duplicate_share', math.nan)
    if value < DISTINCT * then and duplicates < LONG and not length > LONGER:
      yield Finding(
        'warning', 'texts have become alike', f'{name} {then:.2f} -> {value:.2f}',
        'The policy writes the same phrases everywhere: compare samples/ of the first and the last '
        'round; lower the learning rate, or add an entropy bonus or KL.',
      )  # fmt: skip
  for name in [
    n for n in (run.final.metrics if run.final else {}) if n.endswith('/answer_concentration')
  ]:
    then, value = run.history[0].metrics.get(name, math.nan), run.final.metrics[name]
    if value > CONSTANT[0] and value > then + CONSTANT[1]:
      yield Finding(
        'problem', 'the policy gives one answer to everything', f'{name} {then:.2f} -> {value:.2f}',
        'A vote among its own samples rewards a constant reply: roll back, and add a rule such as '
        'steering.rollback_if on the entropy of the answers.',
      )  # fmt: skip


def repeated(run):
  """Completions of a task that repeat one another more than right answers explain."""
  name = outcome_name(run)

  def share(report):
    """Share of the completions beyond the right ones that are duplicates."""
    right = report.metrics.get(f'train/{name}', math.nan)
    copies = report.metrics.get('monitor/duplicate_share', math.nan)
    return (copies - right) / (1 - right) if right < 1 else math.nan

  rows = [r for r in run.trained if not math.isnan(share(r))]
  if len(rows) < 2 or run.final not in rows:
    return
  then, now = share(rows[0]), share(run.final)
  if now > REPEATED[0] and now > then + REPEATED[1]:
    copies = run.final.metrics['monitor/duplicate_share']
    yield Finding(
      'warning', 'completions of a task repeat one another',
      f'monitor/duplicate_share {copies:.2f} while train/{name} is '
      f'{run.final.metrics[f"train/{name}"]:.2f}',
      'Wrong answers are copies of one another, so a group holds few tries: raise the temperature, '
      'lower the learning rate, or add an entropy bonus or KL.',
    )  # fmt: skip
