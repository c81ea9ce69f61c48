r"""The answer that a sentence claims: 'so it is $\frac{1}{2}$.' claims \frac{1}{2}.

`after_phrase` reads what follows 'the answer is'; `stated` reads a text without that phrase. Both
give the span of the answer as it is written, or None where the sentence denies, guesses or says
several things.
"""

import collections
import re

from sirl.domains.answers import (
  comparison,
  counted,
  doubt,
  reading,
  retraction,
  sentences,
  tokens,
  typography,
  values,
)

TAIL = 2_000  # characters at the end of a completion that are searched for its last statement
_MOST_PHRASES = 8  # last ones of 'answer is' that are compared
_PHRASE = re.compile(
  r'^[#*_ \t]{0,6}(?:final )?answer[*_ \t]{0,4}\n[\s*_]{0,20}'
  r'|\b(?:correct |right |best )(?:option|choice)[\s*_]{0,4}\bis\b[\s*_:=]{0,20}'
  r'|\banswers?\b(?:\s{1,3}(?:to|of|for)\s(?:(?!answer)[^.\n:=]){0,80}?)?[\s*_]{0,4}'
  r'(?:\b(?:is|are|equals|will be|comes out to be)\b|:|=)[\s*_:=]{0,20}',
  re.IGNORECASE | re.MULTILINE,
)
# What is said about an answer: 'so the answer is correct'.
_COMMENT = re.compile(
  r'(?:(?:indeed|also|thus|therefore|then)\s+)?(?:correct|right|confirmed|verified|consistent|reasonable|valid|accurate|unique|plausible)\b',
  re.IGNORECASE,
)
_LEAD = re.compile(
  r'(?:therefore|thus|hence|so|then|clearly|simply|just|exactly|precisely|indeed|actually|now|finally|'
  r"equal to|equals|given by|approximately|approx\.?|\\approx|≈|as follows|that|it is|it's|we get|we have|"
  r'the (?:number|value|integer|fraction|point|set|interval|pair|ordered pair|(?:option|choice)(?!\s+\(?[A-J]\b))|'
  r'(?:option|choice)(?!\s+\(?[A-J]\b)|is|=|:)(?![a-zA-Z])[\s,:]*',
  re.IGNORECASE,
)
_REASON = re.compile(
  r'[,;]?\s+\(?(?:because|since|as|which|where|given|after|when|for|(?:but )?note|but not)\s.*|,\s+so\s.*',
  re.DOTALL,
)
_CONDITION = re.compile(
  r'\b(?:if|unless|otherwise|assuming|except|depending|provided|as long as)\b|\b(?:when|for)\b[^,;]*(?:=|\bothers?\b|\band\b.*\bfor\b)',
  re.IGNORECASE,
)
_AFTERTHOUGHT = re.compile(
  r'[,;]?\s+(?:because|since)\s(?:(?!\bwe (?:have|get|must|take|conclude)\b).)*$'
  r'|,\s+(?:which (?:occurs|happens|is attained|is reached|comes|means|makes)|where|attained|achieved)\s.*'
  r'|[,;]?\s+(?:after|before|when|if|where)\s(?:(?!\b(?:after|before|when|if|where)\b)[^,;])*$',
  re.DOTALL,
)
_PREMISE = re.compile(
  r'\s*(?:let (?!us\b|me\b)|(?:suppose|assume|if|when|where)\b)[^,;]*$', re.IGNORECASE
)
_LIST_MARKS = re.compile(
  r'^[ \t]{0,8}(?:#{1,6} )?(?:\*\*)?(?:[0-9]{1,2}[.)]|(?:step|part|case|problem|question|example) [0-9]{1,2}\b[.:]?)(?:\*\*)?'
  r'(?=\s+[a-zA-Z*]|\s*$)|^#{1,6} (?=[^a-zA-Z*\s])',
  re.IGNORECASE | re.MULTILINE,
)
_OPTION = re.compile(r'^[ \t*(]*([A-J])[).:]', re.MULTILINE)
# The same unit on several days: '3 hours on Monday, 4 hours on Tuesday'.
_SEVERAL = re.compile(
  r'[0-9]\s+([a-z]+)\s+on\b[^0-9=.;]{0,60}(?:,|\band\b)\s*[0-9][0-9.,/]*\s+\1\s+on\b'
)
# '64 dollars for 16 glasses': the price, not the number of things.
_PRICE = re.compile(
  r'(?:^|\s)(\$[0-9][0-9,]*(?:\.[0-9]+)?|[0-9][0-9,]*(?:\.[0-9]+)? dollars) for (?:all |the )*[0-9]+ [a-z]+(?: [a-z]+)?\.?$'
)
# A sentence with one number, as an answer: 'Answer: He has 12 apples'.
_ONE_CLAIM = re.compile(
  r'(?:that )?(?:(?!\b(?:whose|which|that|if|when)\b)[^0-9=])*\b(?:is|are|has|have|equals?|gets?|needs?|takes?|costs?|makes?|earns?|pays?)\s'
  r'(?:(?!\b(?:whose|which|that|if|when)\b)[^0-9=])*[0-9][0-9,]*(?:\.[0-9]+)?(?:(?!\b(?:if|when|unless)\b)[^0-9=])*'
)
_MATH = re.compile(
  r'(?<!\\)\$\$?(.+?)(?<!\\)\$\$?|\\\((.+?)\\\)|\\\[(.+?)\\\]|\*\*(.+?)\*\*', re.DOTALL
)
_NEGATIVE = re.compile(  # answers in words that a denial would be
  r'\\text\{[^{}]{0,60}\}|neither|none|never|(?:(?:it|the limit|this) )?(?:does not exist|is not defined|is undefined|cannot be determined)'
  r'|not (?:possible|defined|enough information|determined)|(?:there (?:is|are) )?no (?:real |integer |such |other )?(?:solutions?|numbers?|values?)',
  re.IGNORECASE,
)
_CHOSEN = re.compile(
  r'\b(?:option|choice|answer)\s+\(?([A-J])\)?\s+is\s+(?:the\s+)?(?:correct|right)(?: \w+)?[.!*\s]*\Z',
  re.IGNORECASE,
)
_JOINS = re.compile(r'\s*(?:,|and|or|,\s*and|,\s*or)\s*')
_WORD = re.compile(
  r'(?<![\\a-zA-Z{])[a-zA-Z][a-zA-Z\'-]*[a-zA-Z](?![a-zA-Z{(])|(?<![\w\\^_*/+{-])[aAI](?= )'
)
# Right before a number: it is changed, or names a step and not a value.
_CHANGED = re.compile(
  r'(?:\b(?:minus|negative|some|no|point|half|over|times|plus|divided|by|twice|double|triple|under|below|above|exceeds?|up to|'
  r'at minimum|base|modulo|mod|january|february|march|april|may|june|july|august|september|october|november|december|step|theorem|lemma|equation|problem|question|example|case|figure|'
  r'(?:half|thirds?|quarters?|fourths?|square|cube|root|reciprocal|opposite|negative|inverse|double|multiples?|'
  r'factors?|percent|out|one|power|logarithm|factorial|[0-9%$])\s+of)|[-+/^*]|\\(?:times|cdot|div))[\s*]*$',
  re.IGNORECASE,
)
# Right before the last of several numbers: it is a circumstance, as in '64 dollars for 16 glasses'.
_CIRCUMSTANCE = re.compile(
  r'\b(?:(?<!result )(?<!results )(?<!resulting )in|for|at|from|within|during|on|among|than|each|every|the|these|which|whom|'
  r'per|and|after|before|when)\s*$',
  re.IGNORECASE,
)


def last_match(matches):
  """The last of the matches, or None."""
  return next(iter(collections.deque(matches, maxlen=1)), None)


def _phrases(text):
  """Matches of 'answer is' that an answer follows: not 'so the answer is correct'."""
  return (m for m in _PHRASE.finditer(text) if not _COMMENT.match(text, m.end()))


def has_phrase(text):
  """Whether the text says 'answer is', 'answer:' or 'answer ='."""
  return next(_phrases(text), None) is not None


def after_phrase(text):
  """The span that follows the last 'answer is'; None where it is hedged, denied or unclear.

  Where an earlier 'answer is' gave another value, the text has to say why the later one counts.
  """
  phrases = collections.deque(_phrases(text), maxlen=_MOST_PHRASES)
  if not phrases:
    return None
  last = phrases.pop()
  found, end = _claimed(text, last)
  if found is None or retraction.retracted(text[end : end + TAIL], found):
    return None
  for earlier in phrases:
    other, end = _claimed(text, earlier)
    if other is None or comparison.same(other, found):
      continue
    around = text[max(0, earlier.start() - 40) : last.start()]
    if not doubt.corrected(around) and not (_is_final(text, last) > _is_final(text, earlier)):
      return None
  return found


def _is_final(text, phrase):
  """Whether a match of 'answer is' says 'final answer is'."""
  return 'final' in text[max(0, phrase.start() - 12) : phrase.end()].lower()


def _claimed(text, phrase):
  """(the span that follows a match of 'answer is', or None; where its sentence ends)."""
  other = re.search(r'\b(?:different|another|other|wrong)\b', phrase.group())
  if other or doubt.unsaid(text[max(0, phrase.start() - 200) : phrase.start()]):
    return None, phrase.end()
  tail = text[phrase.end() : phrase.end() + TAIL]
  first = sentences.first(tail)
  end = phrase.end() + tail.find(first) + len(first)
  found = _claim(first)
  if found is None and (
    phrase.group().rstrip(' \t\n*_').endswith(':') or first.startswith('that ')
  ):
    found = _last_of(first) if _ONE_CLAIM.fullmatch(first) else None
  return found, end


def stated(text):
  """The span of a text without the phrase: the whole, if it is one answer, else its last expression."""
  whole = text.strip()
  if _is_answer(whole) if len(whole) <= typography.LIMIT else len(whole.split(None, 1)) == 1:
    return whole
  if doubt.cut_off(whole) or _is_choice_of_options(whole):
    return None
  chosen = _CHOSEN.search(whole[-200:])
  if chosen and doubt.asserted(sentences.split(whole[-200:])[-1]):
    return chosen[1]
  said = [
    s
    for s in sentences.split(_LIST_MARKS.sub('', text[-TAIL:]))
    if re.search(r'[0-9]|\$|\\\(|\\\[|[½¼¾√π]', s)
  ]
  if not said:
    return None
  found = _last_of(said[-1])
  after = text[text.rfind(said[-1]) + len(said[-1]) :]
  return None if found is None or retraction.retracted(after, found) else found


def _is_choice_of_options(text):
  """Whether the last line is one of several options: 'A) 5', then 'B) 6'."""
  labels = _OPTION.findall(text[-TAIL:])
  last = text.rpartition('\n')[2]
  return len(set(labels)) > 1 and _OPTION.match(last) is not None


def _is_answer(text):
  """Whether a text is one answer and nothing else: a value, a letter, a word or two, 'does not exist'."""
  if _NEGATIVE.fullmatch(text):
    return True
  if isinstance(reading.read(text), values.Words):
    words = typography.plain(text)
    return re.fullmatch(r'[^\W\d]+(?: [^\W\d]+)?', words) is not None
  return '\n' not in text


def _bare(text):
  """Without bold marks, closing quotes, and an exclamation mark that is outside of the formula."""
  text = re.sub(r'(?<=[$*])!+$', '', text)
  text = re.sub(r'(?<![0-9a-zA-Z)])\*\*|\*\*(?![0-9a-zA-Z(])', '', text)
  return text.strip().strip('*_"').strip()


# ---------------------------------------------------------------- one claim


def _claim(sentence):
  """The answer of a sentence that follows 'the answer is'."""
  condition = _CONDITION.search(re.sub(r'\b(?:because|since)\b.*', '', sentence, flags=re.DOTALL))
  if _NEGATIVE.fullmatch(_bare(sentence).strip('$ ')):
    return _bare(sentence)
  text = doubt.asserted(_REASON.sub('', sentence) or sentence)
  if text is None or condition or retraction.qualified(sentence):
    return None
  led = None
  while text != led:
    led = text
    text = _LEAD.sub('', text, count=1) if _LEAD.match(text) else text
  text = _bare(text)
  if not text or re.fullmatch('-?[0-9]+!', text):
    return None  # 5! is a factorial or five, happily
  if _is_answer(text):
    return text
  if price := _PRICE.search(text):
    return price[1]
  formulas = list(_MATH.finditer(text))
  if formulas:
    return _formula(text, formulas, formulas[0].start() == 0)
  number = re.match(r'-?[$]?[0-9][^\s]*(?:\s[0-9]+/[0-9]+)?|\\[a-zA-Z]+[^\s]*', text)
  rest = text[number.end() :] if number else ''
  if number and number[0].endswith('!'):
    return None
  if number and not re.search(r'[0-9=+*/^\\]|\bor\b|\band\b', rest):
    return counted.with_unit(number.group().rstrip(',;'), rest)
  # words, such as 'no solution'
  return text if not re.search(r'[0-9$\\]', text) and len(text.split()) <= 6 else None


def _formula(text, formulas, first):
  """The first or the last formula, with the ones that 'and', 'or' or a comma join to it."""
  formulas = [match for match in formulas if re.search(r'[0-9a-zA-Z]', match.group())]
  if not formulas:
    return None
  if first:
    begin = end = formulas[0]
    for match in formulas[1:]:
      if not _JOINS.fullmatch(text[end.end() : match.start()]):
        break
      end = match
  else:
    begin = end = formulas[-1]
    for match in reversed(formulas[:-1]):
      if not _JOINS.fullmatch(text[match.end() : begin.start()]):
        break
      begin = match
  rest = text[end.end() :]
  if re.search(r'[0-9]', rest):
    return None if first else _expression(rest)
  before = text[: begin.start()]
  if not _stands_alone(before) or re.search(r'[0-9a-zA-Z)]$', before):  # 2$5$
    return None
  span = begin.group() if begin is end else text[begin.start() : end.end()]
  return counted.with_unit(span, rest)


def _stands_alone(before):
  """Whether a number is the claim of a sentence, by what stands before it."""
  several = re.search(r'[0-9]', before) and _CIRCUMSTANCE.search(before)
  in_range = re.search(r'[0-9][$\s]+to\s*$', before)  # from 2 to 5
  return not (several or in_range or _CHANGED.search(before))


# ---------------------------------------------------------------- the last expression


def _last_of(sentence):
  """The last formula or expression of a sentence."""
  refuted = doubt.refuted(sentence)
  main = _AFTERTHOUGHT.sub('', sentence)
  sentence = doubt.asserted(main if re.search('[0-9]', main) else sentence) or doubt.concluded(main)
  if sentence is None or _PREMISE.match(sentence) or refuted or _SEVERAL.search(sentence):
    return None
  text = _bare(sentence)
  if _is_answer(text):
    return text
  if price := _PRICE.search(text):
    return price[1]
  formulas = list(_MATH.finditer(text))
  if formulas and text.count('$') != 1:
    return _formula(text, formulas, first=False)
  return _expression(text)


def _expression(text):
  """The last expression between words."""
  pieces, start = [], 0  # (piece, word after it)
  for match in _WORD.finditer(text):
    if match.group() in tokens.FUNCTIONS or match.group() in tokens.GREEK:
      continue
    pieces.append((text[start : match.start()], match.group()))
    start = match.end()
  pieces.append((text[start:], ''))
  numbered = [
    i for i, (piece, _) in enumerate(pieces) if re.search(r'[0-9]|\\[a-zA-Z]|[½¼¾√π]', piece)
  ]
  if not numbered:
    return None
  last = numbered[-1]
  if last and pieces[last][0][:1] == '$':
    return None  # HK$5
  span = pieces[last][0].strip(' ,;:"\'=')
  while last > 0 and pieces[last - 1][1].lower() in ('or', 'and') and last - 1 in numbered:
    span = f'{pieces[last - 1][0].strip(" ,;:")} {pieces[last - 1][1]} {span}'
    last -= 1
  before = ''.join(piece + word for piece, word in pieces[:last])
  if pieces[last][0].strip()[:1] != '=' and not _stands_alone(before):
    return None
  return (
    counted.with_unit(span, ' ' + pieces[numbered[-1]][1] + ' ' + _following(pieces, numbered[-1]))
    or None
  )


def _following(pieces, at):
  """The text after the word that follows piece `at`, for units of two words."""
  return ''.join(piece + word for piece, word in pieces[at + 1 :])
