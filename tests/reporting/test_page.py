"""The report page: one self-contained file with every section, for finished and running runs."""

import html.parser
import re

import matplotlib.image
import pytest
from matplotlib.figure import Figure

from sirl.reporting import figures, page
from sirl.runs import reading

from support import synthetic_run

SECTIONS = [
  'Before and after',
  'Diagnosis',
  'Curves',
  'Samples',
  'Decisions',
  'Config',
  'What the metrics mean',
]
CURVES = [
  'Held-out accuracy', 'Reward by part', 'Entropy', 'Completion length', 'KL to the reference', 'Groups without signal',
  'Truncated and clipped', 'Sampler against learner', 'Gradient norm', 'Time by stage',
]  # fmt: skip


class Page(html.parser.HTMLParser):
  """A parser that checks closing tags and collects titles and anything to fetch or execute."""

  def __init__(self, text):
    super().__init__()
    self.open, self.titles, self.fetched, self.scripts = [], [], [], 0
    self.feed(text)

  def handle_starttag(self, tag, attributes):
    if tag not in ('meta', 'br', 'path', 'use', 'rect', 'circle', 'line'):
      self.open.append(tag)
    self.scripts += tag == 'script'
    names = ('src', 'href', 'xlink:href')
    self.fetched += [
      value for name, value in attributes if name in names and not value.startswith('#')
    ]

  def handle_endtag(self, tag):
    if tag in self.open:
      assert self.open.pop() == tag, f'{tag} closes something else'

  def handle_data(self, data):
    if self.open and self.open[-1] in ('h2', 'h3'):
      self.titles.append(data)


def page_of(workdir):
  path = page.write(workdir)
  assert path == workdir / 'report.html'
  return path.read_text()


def roll_back(row):
  if row['round'] == 4:
    row['decision'] |= {'action': 'rollback', 'reason': 'accuracy <fell>', 'round': 2}
  return row


def test_a_page_is_one_file_with_every_section_and_curve(tmp_path):
  text = page_of(synthetic_run.write(tmp_path, report=roll_back, warm=True))
  page = Page(text)
  assert page.open == []
  assert page.fetched == []
  assert page.scripts == 0
  assert not re.search(r'https?://|url\((?!#)|@import', text)
  for title in [*SECTIONS, *CURVES, 'Warm start']:
    assert title in page.titles, title


def test_before_and_after_stand_with_intervals_and_change(tmp_path):
  text = page_of(synthetic_run.write(tmp_path))
  # accuracy(0) = .3, accuracy(10) = .3 + .5 (1 - e^-2.5) = .759; two sems of .02 make 1.96 * .0283
  # = .055
  row = re.search(r'<tr><td><code>heldout/pass@1</code>.*?</tr>', text).group()
  assert re.findall(r'class="number">(.*?)<', row) == [
    '0.300 [0.260, 0.340]', '0.759 [0.719, 0.799]', '+0.459 ± 0.055', '0.759 (round 9)',
  ]  # fmt: skip


def test_a_run_that_was_brought_back_shows_the_weights_it_ended_with(tmp_path):
  def stop(row):
    if row['round'] == 9:
      row['decision'] |= {'action': 'stop', 'reason': 'it fell', 'round': 2}
    return row

  text = page_of(synthetic_run.write(tmp_path, report=stop))
  row = re.search(r'<tr><td><code>heldout/pass@1</code>.*?</tr>', text).group()
  # accuracy(3) = .3 + .5 (1 - e^-.75) = .564; the best was later, on weights that were rolled back.
  assert re.findall(r'class="number">(.*?)<', row) == [
    '0.300 [0.260, 0.340]', '0.564 [0.524, 0.604]', '+0.264 ± 0.055', '0.759 (round 9)',
  ]  # fmt: skip
  assert '<th class="number">round 2</th>' in text
  assert 'those at the end of round 2: the decision in round 9 brought them back' in text


def test_a_run_brought_back_to_its_start_has_no_two_columns_of_one_name(tmp_path):
  def stop(row):
    row['decision'] |= (
      {'action': 'stop', 'reason': 'it fell', 'round': -1} if row['round'] == 9 else {}
    )
    return row

  text = page_of(synthetic_run.write(tmp_path, report=stop))
  head = re.findall(r'<th class="number">(.*?)</th>', text)
  assert head[:4] == ['before', 'now, as before', 'change', 'best']


def test_decisions_are_told_with_reason_and_target(tmp_path):
  text = page_of(synthetic_run.write(tmp_path, report=roll_back))
  assert 'accuracy &lt;fell&gt;' in text
  assert 'to the end of round 2' in text
  assert 'Every decision' in text
  assert 'finished all 10 rounds' in text


def test_samples_are_shown_as_text_and_never_become_markup(tmp_path):
  text = page_of(synthetic_run.write(tmp_path))
  assert '<script' not in text
  assert '&lt;script&gt;alert(1)&lt;/script&gt; &amp; more' in text
  assert 'truncated' in text
  assert '<h3>Round 0</h3>' in text
  assert '<h3>Round 9</h3>' in text


def test_a_running_workdir_with_one_round_or_none_is_reported(tmp_path):
  one = page_of(synthetic_run.write(tmp_path / 'one', rounds=1))
  assert 'Held-out accuracy' in one
  assert 'finished its one round' in one

  started = synthetic_run.write(tmp_path / 'started', rounds=1)
  for name in ('history.jsonl', 'config.json'):
    (started / name).unlink()
  with open(started / 'steps.jsonl', 'a') as file:
    file.write('{"torn": ')  # the run is writing
  text = page_of(started)
  assert 'No report yet' in text
  assert 'unfinished: 0 rounds' in text


def test_a_run_of_no_rounds_shows_what_it_measured_once(tmp_path):
  text = page_of(synthetic_run.write(tmp_path, rounds=0))
  assert 'no rounds: max_rounds=0' in text
  assert 'finished' not in text
  head = re.search(r'<h2>Before and after</h2>.*?</tr>', text).group()
  assert re.findall(r'class="number">(.*?)<', head) == ['before']


def test_log_probs_that_agree_to_the_bit_are_drawn_at_0(tmp_path):
  exact = {f'sampling/sampling_logp_difference/{name}': 0.0 for name in ('mean', 'max')}
  run = reading.read(synthetic_run.write(tmp_path, step=lambda row: row | exact))
  axes = Figure().subplots()
  assert figures.gap(run, axes)
  assert {value for line in axes.get_lines() for value in line.get_ydata()} == {0.0}
  assert axes.get_ylim()[0] == 0


def test_an_empty_workdir_is_a_clear_error(tmp_path):
  with pytest.raises(ValueError, match='holds no step and no report yet'):
    page.write(tmp_path)
  assert list(tmp_path.iterdir()) == []


def test_metrics_are_defined_and_unknown_ones_are_said_to_be_the_experiments_own(tmp_path):
  text = page_of(synthetic_run.write(tmp_path, step=lambda row: row | {'my_number': 1.0}))
  assert '<code>my_number</code></td><td>Defined by this experiment.' in text
  assert 'Share of groups whose judged rewards are all equal' in text


def test_metrics_that_are_missing_or_nan_leave_a_page(tmp_path):
  bare = lambda row: (
    {k: row[k] for k in ('round', 'step', 'serial')} | {'reward': None, 'entropy': float('inf')}
  )
  text = page_of(synthetic_run.write(tmp_path, step=bare, report=lambda row: row | {'metrics': {}}))
  assert 'This run measured no accuracy.' in text
  assert 'Reward by part' not in text


def test_a_step_that_compiles_is_named_and_does_not_flatten_the_others(tmp_path):
  slow = lambda row: row | ({'time/optimize': 60.0} if row['serial'] == 2 else {})
  assert 'step 3: 60.7 s' in page_of(synthetic_run.write(tmp_path / 'slow', step=slow))
  assert 'step 3:' not in page_of(synthetic_run.write(tmp_path / 'even'))


def test_the_main_figure_is_a_picture_in_a_folder_of_its_own(tmp_path):
  page.figure(synthetic_run.write(tmp_path / 'run'), tmp_path / 'no' / 'folder' / 'curves.png')
  picture = matplotlib.image.imread(tmp_path / 'no' / 'folder' / 'curves.png')
  assert picture.shape[:2] == (960, 1600)
  assert picture[..., :3].std() > 0.01
