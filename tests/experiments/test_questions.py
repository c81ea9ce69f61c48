"""Questions of your own: any names of fields, answers in the usual forms, errors with their line."""

import json

import pyarrow
import pytest
from pyarrow import parquet

from experiments import gsm8k_grpo, questions

ROWS = [{'question': f'What is {n}+{n}?', 'answer': 2 * n} for n in range(8)]


def write(path, rows):
  path.write_text(''.join(json.dumps(row) + '\n' for row in rows))
  return path


def domain_of(path, *numbers, make=questions.jsonl):
  numbers = ['debug=true', f'task={make.__name__}', f'data={path}', *numbers]
  return make(gsm8k_grpo.build.configured(gsm8k_grpo.Config, numbers))


def answers_of(domain):
  return {
    task.prompt.split('\n')[0]: task.answer for tasks in domain.splits.values() for task in tasks
  }


@pytest.mark.parametrize(
  ('form', 'numbers'),
  [
    (lambda n: n, ()),
    (str, ()),
    (lambda n: f'It is\n#### {n}', ()),
    (lambda n: f'It is\n#### {n}', ('parse=marked',)),
    (lambda n: f'So $\\boxed{{{n}}}$.', ()),
    (lambda n: f'So $\\boxed{{{n}}}$.', ('parse=boxed',)),
    (lambda n: f' {n} ', ('parse=plain',)),
  ],
)
def test_answers_are_numbers_texts_or_the_end_of_a_solution(form, numbers, tmp_path):
  rows = [{'problem': row['question'], 'solution': form(row['answer'])} for row in ROWS]
  path = write(tmp_path / 'x.jsonl', rows)
  domain = domain_of(path, 'question=problem', 'answer=solution', *numbers)
  assert answers_of(domain) == {row['question']: str(row['answer']) for row in ROWS}
  assert len(domain.splits['heldout']) == 2


@pytest.mark.parametrize(
  ('answer', 'others', 'message'),
  [
    (None, 5, r'x\.jsonl, line 6: no answer, and so in 1 of 8 rows; give each row an answer'),
    ('', 5, r'x\.jsonl, line 6: no answer'),
    ('ten', '#### 5', r'line 6: parse=marked \(what follows ####; --set parse= .* finds no answer in .ten'),
    ('ten\n#### 10', 5, r'line 6: parse=plain \(the whole field, .* finds no answer in .ten'),
    ([10], 5, r'x\.jsonl, line 6: answer is list \[10\]; expected text or a number'),
  ],
)  # fmt: skip
def test_an_answer_of_another_form_fails_at_reading_with_its_line(
  answer, others, message, tmp_path
):
  rows = [row | {'answer': others} for row in ROWS]
  rows[5]['answer'] = answer
  with pytest.raises(ValueError, match=message):
    domain_of(write(tmp_path / 'x.jsonl', rows))


def test_a_wrong_parse_is_refused_by_name(tmp_path):
  with pytest.raises(ValueError, match='parse=mark: expected one of auto, marked, boxed, plain'):
    domain_of(write(tmp_path / 'x.jsonl', ROWS), 'parse=mark')


def test_rows_may_lack_answers_if_that_is_allowed_and_the_first_answer_decides(tmp_path):
  rows = [row | {'answer': f'#### {row["answer"]}' if n else None} for n, row in enumerate(ROWS)]
  path = write(tmp_path / 'x.jsonl', rows)
  domain = domain_of(path, 'unanswered=true')
  assert answers_of(domain)['What is 0+0?'] is None
  assert answers_of(domain)['What is 7+7?'] == '14'
  assert all(task.answer is not None for task in domain.splits['heldout'])
  unlabelled = domain_of(path, 'answer=')
  assert set(answers_of(unlabelled).values()) == {None}


def test_rows_without_a_field_of_answers_are_read_when_the_config_says_so(tmp_path):
  rows = [{'question': row['question']} for row in ROWS]
  path = write(tmp_path / 'x.jsonl', rows)
  with pytest.raises(ValueError, match='--set answer= says that there are none'):
    domain_of(path)
  for number in ('answer=', 'unanswered=true'):
    assert set(answers_of(domain_of(path, number)).values()) == {None}
  some = write(tmp_path / 'y.jsonl', [ROWS[0], *rows[1:]])
  with pytest.raises(ValueError, match='line 2: no answer, and so in 7 of 8 rows; .*unanswered=tr'):
    domain_of(some)
  assert answers_of(domain_of(some, 'unanswered=true'))['What is 0+0?'] == '0'


def test_of_two_answers_to_one_question_the_first_is_kept_and_a_warning_counts(tmp_path, caplog):
  domain = domain_of(write(tmp_path / 'x.jsonl', [*ROWS, ROWS[0] | {'answer': 99}]))
  assert answers_of(domain)['What is 0+0?'] == '0'
  assert '1 of 8 questions occur with different answers' in caplog.text


def test_a_held_out_question_that_a_folder_repeats_is_measured_once(tmp_path, caplog):
  write(tmp_path / 'train.jsonl', [*ROWS[:4], *ROWS[:2]])
  write(tmp_path / 'test.jsonl', [*ROWS[4:], ROWS[4]])
  splits = domain_of(tmp_path, make=questions.gsm8k).splits
  assert [task.answer for task in splits['train']] == ['0', '2', '4', '6']
  assert [task.answer for task in splits['heldout']] == ['8', '10', '12', '14']
  assert '2 of 6 rows repeat a question' in caplog.text
  assert '1 of 5 rows repeat a question' in caplog.text


def test_tasks_know_their_lines(tmp_path):
  domain = domain_of(write(tmp_path / 'x.jsonl', ROWS))
  places = {task.place for tasks in domain.splits.values() for task in tasks}
  assert places == {f'{tmp_path / "x.jsonl"}, line {n}' for n in range(1, 9)}


def test_a_folder_of_both_splits_as_parquet_is_read_by_split(tmp_path):
  rows = [{'problem': row['question'], 'answer': f'#### {row["answer"]}'} for row in ROWS]
  for split, part in (('train', rows[:5]), ('test', rows[5:])):
    name = f'{split}-00000-of-00001.parquet'
    parquet.write_table(pyarrow.Table.from_pylist(part), tmp_path / name)
  splits = domain_of(tmp_path, 'question=problem', make=questions.gsm8k).splits
  assert [task.answer for task in splits['train']] == ['0', '2', '4', '6', '8']
  assert [task.answer for task in splits['heldout']] == ['10', '12', '14']


def test_both_splits_are_read_in_the_form_of_the_first(tmp_path):
  write(tmp_path / 'train.jsonl', [{'question': 'q', 'answer': '#### 1'}])
  write(tmp_path / 'test.jsonl', [{'question': 'r', 'answer': 'one'}])
  with pytest.raises(ValueError, match=r'test\.jsonl, line 1: parse=marked .* finds no answer'):
    domain_of(tmp_path, make=questions.gsm8k)
