"""Sets of real numbers: intervals and points in one normal form, so that [1,2] and [2,3] together are [1,3]."""

import itertools
import math

from sirl.domains.answers import algebra, names, quantities
from sirl.domains.answers.algebra import Unread
from sirl.domains.answers.values import Brackets, Items, Named, Quantity, Union

_MOST = 20  # intervals of a union
_ENDS = (quantities.quantity('-\\infty'), quantities.quantity('\\infty'))
ALL = Brackets('()', _ENDS)


def same(a, b):
  """Whether two values are the same set of reals; None if one is not read as intervals with known ends."""
  regions = _merged(a), _merged(b)
  if None in regions:
    return None
  return len(regions[0]) == len(regions[1]) and all(map(_same_interval, *regions))


def _same_interval(a, b):
  return a[1] == b[1] and a[3] == b[3] and _same_end(a[0], b[0]) and _same_end(a[2], b[2])


def _same_end(a, b):
  return a[0] == b[0] and (math.isinf(a[0]) or algebra.equal(a[1], b[1]))


def _merged(value):
  """Intervals (low, low is in, high, high is in) in order, those that touch made one."""
  intervals = _intervals(value)
  if intervals is None or len(intervals) > _MOST:
    return None
  merged = []
  for low, low_in, high, high_in in sorted(intervals, key=lambda i: (i[0][0], not i[1])):
    if low[0] > high[0] or (low[0] == high[0] and not (low_in and high_in)):
      return None  # an empty interval is a slip
    if merged:
      last_low, last_low_in, last_high, last_in = merged[-1]
      if low[0] < last_high[0] or (low[0] == last_high[0] and (low_in or last_in)):
        if high[0] == last_high[0]:
          merged[-1] = (last_low, last_low_in, high, high_in or last_in)
        elif high[0] > last_high[0]:
          merged[-1] = (last_low, last_low_in, high, high_in)
        continue
    merged.append((low, low_in, high, high_in))
  return merged


def _intervals(value):
  if isinstance(value, Union):
    parts = [_intervals(item) for item in value.items]
    return None if None in parts else [interval for part in parts for interval in part]
  if isinstance(value, Items):
    ends = [_end(item) for item in value.items]
    return None if None in ends else [(end, True, end, True) for end in ends]
  if not isinstance(value, Brackets) or len(value.items) != 2 or '<' in value.brackets:
    return None
  low, high = map(_end, value.items)
  if low is None or high is None:
    return None
  return [(low, value.brackets[0] == '[', high, value.brackets[1] == ']')]


def _end(item):
  """(its number to 60 digits, its exact value), or (inf, None); None for letters and units."""
  if not isinstance(item, Quantity) or item.unit:
    return None
  infinite = item.tree.operands[0] if item.tree.kind == 'neg' else item.tree
  if infinite.operands == ('infty',):
    return (-math.inf if item.tree.kind == 'neg' else math.inf), None
  number = algebra.approximate(item.value)
  return None if number is None else (number, item.value)


# ---------------------------------------------------------------- sets by what they leave out or hold


def all_but(points):
  """The reals without some points, as a union of intervals."""
  points = points.items if isinstance(points, Items) else ()
  known = [
    point
    for point in points
    if isinstance(point, Quantity) and algebra.approximate(point.value) is not None
  ]
  if not known or len(known) < len(points):
    raise Unread('a set without points that are not known')
  known.sort(key=lambda point: algebra.approximate(point.value))
  ends = [_ENDS[0], *known, _ENDS[1]]
  return Union(tuple(Brackets('()', pair) for pair in itertools.pairwise(ends)))


def described(name, condition):
  r"""The set of a condition on its own letter: \{x : x > 3\}."""
  if not isinstance(condition, Named) or condition.name != names.name_of(name):
    raise Unread('a set by a property of something else')
  return Items((condition.item,)) if isinstance(condition.item, Quantity) else condition.item
