"""Which span of a completion is the answer: text -> str or None.

`final` reads free text; `exact`, `boxed`, `tagged`, `last_number` and `last_integer` read one form
each. None means that the text gives no single answer. Every function is linear in the length of a
completion.
"""

import re

from sirl.domains.answers import boxes, claims, comparison, doubt, retraction

_INTEGER = r'(?:[0-9]{1,3}(?:,[0-9]{3})+(?![0-9])|[0-9]+)'
_NUMBER = re.compile(
  r'(?P<sign>(?<![\w)])[-+])?\$?'  # a minus is an operator in 12-5 and a sign in (-5)
  rf'(?P<value>(?:{_INTEGER}(?:\.[0-9]+)?|(?<![0-9])\.[0-9]+)'
  r'(?:[eE][-+]?[0-9]{1,3}(?![0-9]))?(?:/[0-9]+)?)'
)
_INTEGRAL = re.compile(r'(-?)0*([0-9]+?)(?:\.0+)?')
_MARKED = re.compile(r'^[ \t]*####(.*)$', re.MULTILINE)
_END = re.compile(r'(?:<\|[a-z_]{1,20}\|>|</s>|<eos>|<end_of_turn>)\s{0,20}$')  # end marks of chats
# What is struck out is not read.
_STRUCK = re.compile(r'~~[^~\n]{1,200}~~|<(s|del|strike)>[^<\n]{0,200}</\1>')


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


def tagged(text, tag='answer'):
  """Contents of <answer>...</answer>; None when pairs disagree or the last one does not close."""
  found, start = [], None
  for match in re.finditer(rf'<(/?){re.escape(tag)}>', text):
    if not match.group(1):
      start = match.end()
    elif start is not None:
      found.append(text[start : match.start()])
      start = None
  return None if start is not None else boxes.only(found)


def final(text):
  r"""The answer in free text; docs/answers.md has the table of forms.

  What stands in <think>...</think> is not read; a thought that does not end gives None.
  Reads, by the first of them that the text has: a \boxed, an <answer> tag, a line of ####, what
  follows the last 'answer is', the whole text if it is one answer, else the last expression. A form
  that is there but broken gives None; the next one is not tried.
  """
  text = _STRUCK.sub(' ', _END.sub('', text))
  if '</think>' in text:
    text = text.rpartition('</think>')[2]
  elif '<think>' in text:
    return None
  if boxes.BOX.search(text):
    found, end = boxes.last(text)
    return _unless_another_follows(found, text[end:])
  if '<answer>' in text or '</answer>' in text:
    inside, after = tagged(text), text.rpartition('</answer>')[2]
    found = None if inside is None else _inside(inside)
    return _unless_taken_back(found, after)
  marked = claims.last_match(_MARKED.finditer(text))
  if marked:
    return _unless_taken_back(_marked(text, marked), text[marked.end() :])
  return claims.after_phrase(text) if claims.has_phrase(text) else claims.stated(text)


def _inside(text):
  """The answer within a tag: a box, a phrase, or the whole."""
  if boxes.BOX.search(text):
    return boxes.boxed(text)
  return claims.after_phrase(text) if claims.has_phrase(text) else text.strip() or None


def _marked(text, last):
  """The rest of the last line of ####; None where such a line before it holds another number."""
  answer = last[1].strip() or None
  for match in _MARKED.finditer(text, max(0, last.start() - claims.TAIL), last.start()):
    if answer and re.search('[0-9]', match[1]) and not re.search('[a-zA-Z]{2}', match[1]):
      between = text[match.end() : last.start()]
      if not comparison.same(match[1].strip(), answer) and not doubt.corrected(between):
        return None
  return answer


def _unless_taken_back(found, after):
  """The answer, or None if the text after it takes it back or gives another one."""
  if found is None or retraction.retracted(after[: claims.TAIL], found):
    return None
  return _unless_another_follows(found, after)


def _unless_another_follows(found, after):
  """The answer, or None if a tag, a line of #### or a phrase after it gives another one."""
  if found is None:
    return None
  after = after[: claims.TAIL]
  others = [tagged(after), *(match[1].strip() for match in _MARKED.finditer(after))]
  others += [claims.after_phrase(after)] if claims.has_phrase(after) else []
  words = not re.search(
    r'[0-9$\\]', found
  )  # 'yes' may be replaced by 'no', 5 not by 'in the table'
  others = [
    other for other in others if other and (words or re.search(r'[0-9$\\]|^\(?[A-Z]\b', other))
  ]
  return found if all(comparison.same(other, found) for other in others) else None
