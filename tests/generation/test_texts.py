"""Texts for the decoder: padding, addresses of the noise, and ids that fit the model."""

import numpy as np
import pytest

from sirl.generation import texts
from sirl.models import tabular, tokenizer

CODEC = tokenizer.characters('ab')


def test_a_codec_with_ids_beyond_the_embedding_is_refused():
  model = tabular.tabular(4, 3)
  texts.check_fit(model, CODEC)
  with pytest.raises(ValueError, match='ids up to 4 but the model only 4 rows'):
    texts.check_fit(model, CODEC._replace(vocab=5))
  with pytest.raises(ValueError, match='ids up to 40'):
    texts.check_fit(model, CODEC._replace(eos_ids=(1, 40)))


def test_prompts_are_padded_on_the_left():
  tokens, valid = texts.encode(CODEC, ['ab', 'b'], 3)
  np.testing.assert_array_equal(tokens, [[0, 2, 3], [0, 0, 3]])
  np.testing.assert_array_equal(valid, [[False, True, True], [False, False, True]])


@pytest.mark.parametrize(
  ('prompts', 'columns'), [(['a', 'b'], 2), (['ab', 'b'], 2), (['aba', 'b'], 4), (['ababa'], 6)]
)
def test_a_batch_has_the_first_width_that_holds_its_longest_prompt(prompts, columns):
  tokens, valid = texts.encode(CODEC, prompts, 6, widths=(4, 2, 9))
  whole, where = texts.encode(CODEC, prompts, 6)
  np.testing.assert_array_equal(tokens, whole[:, 6 - columns :])
  np.testing.assert_array_equal(valid, where[:, 6 - columns :])
  assert valid.sum() == where.sum()


def test_a_prompt_over_its_limit_is_named():
  with pytest.raises(ValueError, match='task t7 has 3 tokens, max_prompt is 2; raise max_prompt'):
    texts.encode(CODEC, ['aba'], 2, ['t7'])
  with pytest.raises(ValueError, match='encodes to no token'):
    texts.encode(CODEC, [''], 2)


def test_an_id_standing_twice_continues_its_numbering():
  ids, first = texts.address(['x', 'y', 'x', 'x'], 8)
  np.testing.assert_array_equal(first, [0, 0, 8, 16])
  assert ids[0] == ids[2] == ids[3] != ids[1]


def test_completions_leave_out_end_tokens_and_padding():
  tokens = np.asarray([[[2, 2, 3, 1, 0]]])
  action = np.asarray([[[False, True, True, True, False]]])
  assert texts.completions(CODEC, tokens, action) == [['ab']]
