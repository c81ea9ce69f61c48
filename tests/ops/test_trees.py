"""A tree of weights in two parts, one of which is trained."""

import pytest

from sirl.ops import trees


def test_merged_is_one_tree_of_two_that_share_inner_nodes():
  frozen = {'layers': {'0': {'q': {'weight': 1}}, '1': {'norm': 2}}, 'embed': 3}
  trained = {'layers': {'0': {'q': {'lora': 4}}}, 'head': 5}
  assert trees.merged(frozen, trained) == {
    'layers': {'0': {'q': {'weight': 1, 'lora': 4}}, '1': {'norm': 2}},
    'embed': 3,
    'head': 5,
  }
  assert (frozen['layers']['0']['q'], trained['layers']['0']['q']) == ({'weight': 1}, {'lora': 4})
  assert trees.merged(None, trained) is trained


@pytest.mark.parametrize('trained', [{'a': {'b': 2}}, {'a': {'b': {'c': 2}}}, {'a': 2}])
def test_an_array_is_either_frozen_or_trained(trained):
  with pytest.raises(ValueError, match='is both frozen and trained; every array belongs to one'):
    trees.merged({'a': {'b': 1}}, trained)
