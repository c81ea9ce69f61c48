"""Curated tasks from real files of each kind, which the tests write."""

import dataclasses
import gzip
import json

import pytest

from sirl.acquisition import curated
from sirl.domains import answers
from sirl.tasks import Task, content_id

ROWS = [
  {'question': 'Six times seven?', 'answer': '6*7=<<6*7=42>>42\n#### 42', 'level': 1},
  {'question': 'Ünïcode \u2028 café?', 'answer': 'So\n#### 1,080', 'level': 2},
  {'question': 'Minus one?', 'answer': '#### -1', 'level': 3},
]


def write(path, rows):
  path.write_text(
    '\n'.join(row if isinstance(row, str) else json.dumps(row) for row in rows) + '\n'
  )
  return path


def check_gsm8k(tasks, name):
  assert [task.prompt for task in tasks] == [row['question'] for row in ROWS]
  assert [task.answer for task in tasks] == ['42', '1080', '-1']
  assert [task.id for task in tasks] == [content_id(name, row['question']) for row in ROWS]
  assert {task.origin for task in tasks} == {'curated'}
  assert [task.meta for task in tasks] == [{'level': 1}, {'level': 2}, {'level': 3}]


# ---------------------------------------------------------------- JSON lines


def test_jsonl_round_trip(tmp_path):
  path = write(tmp_path / 'gsm8k.jsonl', [ROWS[0], '', *ROWS[1:]])
  check_gsm8k(curated.jsonl(path, parse=curated.gsm8k_answer, meta=('level',)), 'gsm8k')


def test_jsonl_gzipped_and_with_byte_order_mark(tmp_path):
  data = '\ufeff' + '\n'.join(map(json.dumps, ROWS))
  (tmp_path / 'gsm8k.jsonl.gz').write_bytes(gzip.compress(data.encode()))
  check_gsm8k(
    curated.jsonl(tmp_path / 'gsm8k.jsonl.gz', parse=curated.gsm8k_answer, meta=('level',)), 'gsm8k'
  )


def test_fields_may_be_functions_and_answers_numbers_or_unknown(tmp_path):
  path = write(tmp_path / 'x.jsonl', [{'a': 1, 'b': 2, 'sum': 3}, {'a': 2, 'b': 0.5, 'sum': None}])
  tasks = curated.jsonl(
    path, prompt=lambda row: f'{row["a"]}+{row["b"]}=', answer='sum', name='sums'
  )
  assert [(task.prompt, task.answer) for task in tasks] == [('1+2=', '3'), ('2+0.5=', None)]
  assert tasks[0].id.startswith('sums-')
  assert curated.jsonl(path, prompt='a', answer=None)[0].answer is None


def test_limit_reads_no_further(tmp_path):
  path = write(tmp_path / 'x.jsonl', [*ROWS[:2], 'not json'])
  assert len(curated.jsonl(path, limit=2)) == 2
  with pytest.raises(ValueError, match='limit=0; expected an int of at least 1, or None'):
    curated.jsonl(path, limit=0)


GOOD = {'question': 'q', 'answer': '#### 1'}


@pytest.mark.parametrize(
  ('row', 'message'),
  [
    ('{"question": "q"', r'x.jsonl, line 2: not JSON in UTF-8'),
    ('[1, 2]', r'x.jsonl, line 2: list \[1, 2\]; expected one JSON object a line'),
    ({'query': 'q'}, r"x.jsonl, line 2: no field 'question'; the row has 'query'"),
    ({'question': ' ', 'answer': '1'}, r'line 2: empty prompt'),
    ({'question': None, 'answer': '1'}, r'line 2: empty prompt'),
    (
      {'question': ['q'], 'answer': '1'},
      r"line 2: prompt is list \['q'\]; expected text or a number",
    ),
    ({'question': 'q', 'answer': True}, r'line 2: answer is bool True'),
    ('{"question": NaN, "answer": "#### 1"}', r'line 2: empty prompt'),
    ('{"question": "q", "answer": Infinity}', r'line 2: answer cannot be written .*: inf'),
    ('{"question": "q \\ud83d", "answer": "1"}', r'line 2: prompt cannot be .* surrogates not'),
    ('{"question": "q", "answer": "1", "answer": "2"}', r"line 2: .*'answer' is given twice"),
    ({'question': 'q', 'answer': 'no mark'}, r"line 2: gsm8k_answer finds no answer in 'no mark'"),
  ],
)
def test_bad_rows_raise_with_file_and_line(tmp_path, row, message):
  path = write(tmp_path / 'x.jsonl', [GOOD, row, GOOD])
  with pytest.raises(ValueError, match=message):
    curated.jsonl(path, parse=curated.gsm8k_answer)


def test_bytes_that_are_no_text_and_functions_that_fail_name_the_line(tmp_path):
  (tmp_path / 'x.jsonl').write_bytes(json.dumps(GOOD).encode() + b'\n{"question": "\xff"}\n')
  with pytest.raises(ValueError, match=r'line 2: not JSON in UTF-8 .*0xff'):
    curated.jsonl(tmp_path / 'x.jsonl')

  def first_choice(row):
    return row['choices'][0]

  with pytest.raises(ValueError, match=r"line 1: first_choice raised KeyError: 'choices'"):
    curated.jsonl(tmp_path / 'x.jsonl', answer=first_choice)


@pytest.mark.parametrize('read', [curated.jsonl, curated.parquet])
def test_missing_file(tmp_path, read):
  with pytest.raises(ValueError, match=r'nowhere.dat does not exist'):
    read(tmp_path / 'nowhere.dat')


def test_empty_file_and_folder(tmp_path):
  (tmp_path / 'x.jsonl').write_text('\n')
  with pytest.raises(ValueError, match=r'x.jsonl holds no rows'):
    curated.jsonl(tmp_path / 'x.jsonl')
  with pytest.raises(ValueError, match=r'is a folder; jsonl reads one file'):
    curated.jsonl(tmp_path)


@pytest.mark.parametrize(
  ('text', 'answer'),
  [('a #### 1\nb\n#### 1,234,567 ', '1234567'), ('####-3', '-3'), ('42', None), ('#### ', None)],
)
def test_gsm8k_answer(text, answer):
  assert curated.gsm8k_answer(text) == answer


# ---------------------------------------------------------------- answers that lack or differ


@pytest.mark.parametrize('missing', ['null', 'NaN', '""', '" "'])
def test_a_missing_answer_is_unknown_however_it_is_written(tmp_path, missing, caplog):
  rows = [GOOD, f'{{"question": "r", "answer": {missing}}}']
  path = write(tmp_path / 'x.jsonl', rows)
  with caplog.at_level('INFO', 'sirl'):
    assert [task.answer for task in curated.jsonl(path)] == ['#### 1', None]
  assert 'x.jsonl, line 2: no answer, and so in 1 of 2 rows' in caplog.text
  assert caplog.records[-1].levelname == 'INFO'  # rows without answers were asked for
  with pytest.raises(ValueError, match=r'x\.jsonl, line 2: no answer, .*; give each row an answer'):
    curated.jsonl(path, answered=True)


def test_a_row_without_the_field_has_no_answer_as_one_with_null_has_none(tmp_path, caplog):
  path = write(tmp_path / 'x.jsonl', [GOOD, {'question': 'r'}])
  with caplog.at_level('INFO', 'sirl'):
    assert [task.answer for task in curated.jsonl(path)] == ['#### 1', None]
  assert 'x.jsonl, line 2: no answer, and so in 1 of 2 rows' in caplog.text
  with pytest.raises(ValueError, match=r'line 2: no answer, .*--set unanswered=true'):
    curated.jsonl(path, answered=True)


def test_a_field_of_answers_that_no_row_has_is_refused_with_the_way_out(tmp_path, caplog):
  """Which is to name the right field, or none."""
  path = write(tmp_path / 'x.jsonl', [{'question': 'q'}, {'question': 'r'}])
  with pytest.raises(ValueError, match='--set answer= says that there are none') as caught:
    curated.jsonl(path, answered=True)
  assert "line 1: no field 'answer'; the row has 'question', and none of 2 rows has it" in (
    str(caught.value)
  )
  assert [task.answer for task in curated.jsonl(path)] == [None, None]
  (record,) = caplog.records
  assert 'so no task has an answer' in record.getMessage()


def test_a_misspelt_field_of_answers_is_no_file_without_answers(tmp_path):
  path = write(tmp_path / 'x.jsonl', [GOOD])
  with pytest.raises(ValueError, match="no field 'anwser'; .*did you mean 'answer'"):
    curated.jsonl(path, answer='anwser')


def test_a_file_without_any_answer_needs_none(tmp_path, caplog):
  path = write(tmp_path / 'x.jsonl', [{'question': q, 'answer': None} for q in 'qr'])
  assert [task.answer for task in curated.jsonl(path, answered=True)] == [None, None]
  assert not caplog.records


def test_different_answers_to_one_question_are_counted_with_their_places(tmp_path, caplog):
  answers = [('q', 1), ('r', 1), ('q', 2), ('q', 3), ('r', 1)]
  path = write(tmp_path / 'x.jsonl', [{'question': q, 'answer': n} for q, n in answers])
  assert len(curated.jsonl(path)) == 5
  (record,) = caplog.records
  assert 'x.jsonl: 3 of 5 rows repeat a question, and a run takes the first' in record.getMessage()
  assert '1 of 2 questions occur with different answers' in record.getMessage()
  assert "x.jsonl, line 1: '1', and" in record.getMessage()
  assert "x.jsonl, line 3: '2'" in record.getMessage()


def test_answers_that_differ_in_spelling_alone_do_not_contradict_each_other(tmp_path, caplog):
  rows = [('q', '1'), ('q', '1.0'), ('r', '\\frac12'), ('r', '0.5'), ('s', '2'), ('s', None)]
  path = write(tmp_path / 'x.jsonl', [{'question': q, 'answer': a} for q, a in rows])
  curated.jsonl(path, same=answers.same)
  said = caplog.records[-1].getMessage()
  assert '3 of 6 rows repeat a question' in said
  assert '1 of 3 questions occur with different answers, for example' in said
  assert "line 5: '2', and" in said


def test_rows_that_repeat_a_question_are_counted_though_their_answers_agree(tmp_path, caplog):
  path = write(
    tmp_path / 'x.jsonl', [{'question': f'q{n % 24}', 'answer': n % 24} for n in range(30)]
  )
  assert len(curated.jsonl(path)) == 30
  (record,) = caplog.records
  assert record.getMessage() == (
    f'{path}: 6 of 30 rows repeat a question, and a run takes the first of each'
  )


def test_fields_that_are_kept_hold_what_a_pool_can_write(tmp_path):
  good = write(tmp_path / 'good.jsonl', ['{"question": "q", "answer": 3, "score": [NaN, 0.5]}'])
  (task,) = curated.jsonl(good, meta=('score',))
  assert (task.answer, task.meta) == ('3', {'score': [None, 0.5]})
  bad = write(tmp_path / 'bad.jsonl', ['{"question": "q", "answer": 3, "score": -Infinity}'])
  with pytest.raises(ValueError, match=r'bad\.jsonl, line 1: score cannot be written'):
    curated.jsonl(bad, meta=('score',))


def test_a_task_knows_its_place_and_is_the_same_without(tmp_path):
  (task,) = curated.jsonl(write(tmp_path / 'x.jsonl', [GOOD]))
  assert task.label == f"'q' ({tmp_path / 'x.jsonl'}, line 1)"
  again = Task.from_json(json.loads(json.dumps(dataclasses.asdict(task))))
  assert (again, again.place) == (task, '')
