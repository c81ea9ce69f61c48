"""Which span of a completion is the answer: text -> str or None.

`final` reads free text; `exact`, `boxed`, `tagged`, `last_number` and `last_integer` read one form
each. None means that the text gives no single answer. Every function is linear in the length of a
completion.
"""

import itertools
import re

from sirl.domains.answers import claims, comparison, doubt, typography

_INTEGER = r'(?:[0-9]{1,3}(?:,[0-9]{3})+(?![0-9])|[0-9]+)'
_NUMBER = re.compile(
  r'(?P<sign>(?<![\w)])[-+])?\$?'  # a minus is an operator in 12-5 and a sign in (-5)
  rf'(?P<value>(?:{_INTEGER}(?:\.[0-9]+)?|(?<![0-9])\.[0-9]+)'
  r'(?:[eE][-+]?[0-9]{1,3}(?![0-9]))?(?:/[0-9]+)?)'
)
_INTEGRAL = re.compile(r'(-?)0*([0-9]+?)(?:\.0+)?')
_BOX = re.compile(r'\\(?:boxed|fbox)(?![a-zA-Z])')
_BRACES = re.compile(r'\\(?:boxed|fbox)\s*\{|\\.|[{}]', re.DOTALL)
_BARE_BOX = re.compile(
  r'\\(?:boxed|fbox)(?:\s{1,4}(-?[0-9][0-9,./]*[0-9]|[0-9a-zA-Z])(?![0-9a-zA-Z])|(-?[0-9]))'
)
# A box that is one part of a formula: -\boxed{5}, \boxed{5}^2.
_BOUND_BEFORE = re.compile(
  r'(?:[0-9})]\s*[-+/^]\s*|[=($ \n{][-+/^]|^[-+/^]|[0-9]|\\[dtc]?frac\{[^{}]{0,20}\}\{|\\(?:times|cdot|div)\s*'
  r'|\\(?:[dtc]?frac|sqrt)\s*\{?\s*|\bnot[\s$*]{0,4}(?:\\\()?\s?)\Z'
)
_BOUND_AFTER = re.compile(
  r'\s*[/^_]|\.?[0-9]|\s*[-+]\s*[0-9\\(]|\s*\\(?:times|cdot|div|pi|sqrt|[dtc]?frac)(?![a-zA-Z])|[a-zA-Z](?![a-zA-Z])'
)
_BOX_JOIN = re.compile(r'(?:\\\)|[\s$])*(?:,\s*and|,|and)(?:\\\(|[\s$])*(?:[a-zA-Z]\s*=\s*)?')
_MARKED = re.compile(r'^[ \t]*####(.*)$', re.MULTILINE)
_END = re.compile(r'(?:<\|[a-z_]{1,20}\|>|</s>|<eos>|<end_of_turn>)\s{0,20}$')  # end marks of chats
_MOST_BOXES = 16  # different contents; a text with more is no answer


def exact(text):
  """The whole text without surrounding white space; None if nothing remains."""
  return text.strip() or None


def last_number(text):
  """The last number of the text, without thousands separators and dollar sign, or None.

  Examples: '-1234.5', '3/4', '1e-3'.
  """
  last = claims.last_match(_NUMBER.finditer(text.replace('−', '-')))
  if last is None:
    return None
  return ('-' if last['sign'] == '-' else '') + last['value'].replace(',', '')


def last_integer(text):
  """The last number of the text if it is an integer, without leading zeros; else None.

  'so 3.50' gives None: reading 50, or an earlier number, would judge what was not answered.
  """
  number = last_number(text)
  integral = None if number is None else _INTEGRAL.fullmatch(number)
  if integral is None:
    return None
  sign, digits = integral.groups()
  return digits if digits == '0' else sign + digits


def boxed(text):
  r"""Contents of \boxed{...} with balanced braces, or the number of \boxed 3; None without one.

  Boxes of different values are hedging and give None, and so does a box that does not close after
  the last one that does, or a box that is taken back after it. Boxes that 'and' or a comma joins are
  a list. Of nested boxes, the innermost counts.
  """
  found = []  # (start of the box, its end, contents)
  stack = []  # (start of each open box, start of its contents); None for other braces
  for match in _BRACES.finditer(text):
    token = match.group()
    if token == '}' and stack:
      opened = stack.pop()
      if opened is not None and not (found and found[-1][0] > opened[0]):
        found.append((opened[0], match.end(), text[opened[1] : match.start()]))
    elif token == '{':
      stack.append(None)
    elif len(token) > 2:
      stack.append(match.span())
  if any(opened is not None for opened in stack):
    return None
  found += [(bare.start(), bare.end(), bare[1] or bare[2]) for bare in _BARE_BOX.finditer(text)]
  found = sorted(found)[-_MOST_BOXES - 1 :]
  if not found or doubt.retracted(text[found[-1][1] :][: claims.TAIL]):
    return None
  if any(_is_bound(text, start, end) for start, end, _ in found):
    return None
  contents = [contents for _, _, contents in found]
  joined = [_BOX_JOIN.fullmatch(text[a[1] : b[0]][:40]) for a, b in itertools.pairwise(found)]
  return ', '.join(contents) if joined and all(joined) else _only(contents)


def _is_bound(text, start, end):
  """Whether a box is a part of a formula, or stands in a clause that denies it."""
  before = text[max(0, start - 80) : start]
  return bool(
    _BOUND_BEFORE.search(before[-40:])
    or _BOUND_AFTER.match(text[end : end + 12])
    or doubt.unsaid(before)
    or doubt.hedged_box(before, text[end : end + 80])
  )


def tagged(text, tag='answer'):
  """Contents of <answer>...</answer>; None when pairs disagree or the last one does not close."""
  found, start = [], None
  for match in re.finditer(rf'<(/?){re.escape(tag)}>', text):
    if not match.group(1):
      start = match.end()
    elif start is not None:
      found.append(text[start : match.start()])
      start = None
  return None if start is not None else _only(found)


def final(text):
  r"""The answer in free text; docs/answers.md has the table of forms.

  What stands in <think>...</think> is not read; a thought that does not end gives None.
  Reads, by the first of them that the text has: a \boxed, an <answer> tag, a line of ####, what
  follows the last 'answer is', the whole text if it is one answer, else the last expression. A form
  that is there but broken gives None; the next one is not tried.
  """
  text = _END.sub('', text)
  if '</think>' in text:
    text = text.rpartition('</think>')[2]
  elif '<think>' in text:
    return None
  if _BOX.search(text):
    return boxed(text)
  if '<answer>' in text or '</answer>' in text:
    inside = tagged(text)
    if inside is None or doubt.retracted(text.rpartition('</answer>')[2][: claims.TAIL]):
      return None
    return _inside(inside)
  marked = claims.last_match(_MARKED.finditer(text))
  if marked:
    taken_back = doubt.retracted(text[marked.end() : marked.end() + claims.TAIL])
    return None if taken_back else marked[1].strip() or None
  return claims.after_phrase(text) if claims.has_phrase(text) else claims.stated(text)


def _inside(text):
  """The answer within a tag: a box, a phrase, or the whole."""
  if _BOX.search(text):
    return boxed(text)
  return claims.after_phrase(text) if claims.has_phrase(text) else text.strip() or None


def _only(found):
  """The one distinct answer in `found`, stripped; None for several, none or an empty one."""
  distinct = dict.fromkeys(typography.plain(contents) for contents in found)
  if not found or len(distinct) > _MOST_BOXES:
    return None
  first, *others = distinct
  agree = all(comparison.same(first, other) for other in others)
  return found[0].strip() or None if agree else None
