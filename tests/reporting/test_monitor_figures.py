"""Monitors on the page: a panel for each family and unit, and the limits of alarms as lines."""

import re

import matplotlib.pyplot as plt
import pytest

from sirl.evaluation import steering
from sirl.reporting import monitor_figures, page
from sirl.runs import lineage, reading
from sirl.types import Report

from support import synthetic_run

MEASURED = {
  'monitor/distinct_1': 0.5, 'monitor/duplicate_share': 0.2, 'monitor/synthetic_share': 0.0,
  'monitor/feedback_agreement': 0.9, 'monitor/feedback_agreement_sem': 0.02,
  'monitor/entropy': 0.6, 'monitor/entropy_min': 0.5, 'monitor/kl': 0.1, 'monitor/kl_max': 0.2,
  'monitor/clipped_ratio': 0.1, 'monitor/frac_reward_zero_std': 0.3, 'monitor/length_ratio': 1.1,
  'monitor/steps_not_finite': 2.0, 'monitor/first_step_not_finite': 7.0,
  'monitor/consensus/parsed': 0.9, 'monitor/consensus/answer_entropy': 2.0,
  'monitor/consensus/distinct_answers': 3.0, 'monitor/of_my_own': 12.0,
}  # fmt: skip


def run_of(tmp_path, found=MEASURED, reason=None):
  def report(row):
    metrics = {} if row['round'] < 0 else found
    decision = row['decision'] | ({'reason': reason} if reason else {})
    return row | {'metrics': row['metrics'] | metrics, 'decision': decision}

  return reading.read(synthetic_run.write(tmp_path, report=report))


def axes_of(run, title):
  (panel,) = [panel for panel in monitor_figures.PANELS if panel.title == title]
  names = [n for n in monitor_figures.names_of(run) if re.fullmatch(panel.pattern, n)]
  figure, axes = plt.subplots()
  monitor_figures.draw(run, axes, panel, names)
  plt.close(figure)
  return axes


def test_each_panel_has_one_family_and_one_unit(tmp_path):
  drawn = monitor_figures.svgs(run_of(tmp_path))
  assert list(drawn) == [
    'Diversity', 'Feedback', 'Optimization: entropy', 'Optimization: KL', 'Optimization: signal',
    'Optimization: length', 'Optimization: not finite', 'Consensus: agreement',
    'Consensus: entropy of the answers', 'Consensus: different answers', 'of_my_own',
  ]  # fmt: skip
  for title, unit in (
    ('Diversity', 'share'),
    ('Optimization: entropy', 'nats per token'),
    ('Optimization: length', 'last step over first'),
    ('Consensus: different answers', 'answers per prompt'),
  ):
    assert f'>{unit}<' in drawn[title], title


def test_every_monitor_that_the_tables_define_has_a_panel():
  from sirl.runs import metrics

  for name in metrics.MONITOR:
    name = name.removeprefix('monitor/').replace('{n}', '2').replace('{name}', 'consensus')
    panels = [p for p in monitor_figures.PANELS if re.fullmatch(p.pattern, name)]
    assert len(panels) == (name not in monitor_figures.HIDDEN), name


def lines(axes):
  """Heights of the horizontal lines."""
  data = [line.get_ydata() for line in axes.get_lines() if line.get_linestyle() == '--']
  return sorted(float(y[0]) for y in data)


def test_limits_of_the_doctor_are_lines(tmp_path):
  assert lines(axes_of(run_of(tmp_path), 'Optimization: signal')) == [0.3, 0.8]
  assert lines(axes_of(run_of(tmp_path), 'Optimization: KL')) == []


def test_the_limit_of_a_rule_that_fired_is_a_line(tmp_path):
  rule = steering.rollback_if('monitor/kl', above=0.15)
  decision = rule([Report(-1, {}), Report(0, {'monitor/kl': 0.4})])
  axes = axes_of(run_of(tmp_path, reason=decision.reason), 'Optimization: KL')
  assert lines(axes) == [0.15]
  assert [text.get_text().strip() for text in axes.texts] == ['limit 0.15']


@pytest.mark.parametrize('limit', [0.5, 1e-5, -2.0, 100.0])
def test_a_limit_is_read_from_the_words_that_name_it(limit):
  said = lineage.outside(Report(3, {'monitor/kl': limit + 1}), 'monitor/kl', None, limit)
  assert lineage.limits_in(f'In round 3 {said}. Back to round 1.', 'monitor/kl') == [limit]
  assert lineage.limits_in(f'In round 3 {said}.', 'monitor/kl_max') == []


def test_a_monitor_that_never_had_a_number_is_left_out(tmp_path):
  nothing = {'monitor/kl': None, 'monitor/entropy': 0.5}
  drawn = monitor_figures.svgs(run_of(tmp_path, nothing))
  assert list(drawn) == ['Optimization: entropy']


def test_the_page_has_a_section_of_small_panels_only_where_there_are_monitors(tmp_path):
  text = page.page(run_of(tmp_path / 'with'))
  assert '<h2>Monitors</h2><div class="grid small">' in text
  assert 'Monitors' not in page.page(reading.read(synthetic_run.write(tmp_path / 'without')))
