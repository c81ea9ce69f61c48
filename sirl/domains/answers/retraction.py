"""Whether the text after an answer takes it back, widens it, or gives another one.

`retracted` reads the sentences that follow an answer, `qualified` the rest of its own sentence.
Harmless text passes: 'I hope this helps!', 'This means that she has 5 apples.', 'Check: 2+3=5'.
"""

import re

from sirl.domains.answers import comparison, reading
from sirl.domains.answers.algebra import Unread, equal
from sirl.domains.answers.values import Choice, Named, Quantity, Words

_EDGE = r'(?:\A[,;:(]?|[.!?\n])["\'\s$*)\\\]]{0,8}'  # where a sentence begins
_START = rf'{_EDGE}(?:(?:but|oh|and|no|well|so|yet|or|then)[,.!]*\s+){{0,2}}'
_SUBJECT = (
  r'(?:that|this|it|which|I|the\s+(?:above\b|(?:(?:above|final|last|previous|resulting|given)\s+)?(?:answer|result|value|solution|number))'
  r'|(?:this|that|my|our)\s+(?:\w+\s+)?(?:answer|result|value|solution|number|calculation|reasoning|work|conclusion))'
)
_ADVERBS = (
  r'(?:also|clearly|obviously|actually|probably|definitely|certainly|simply|just|of course|in fact|quite|totally|completely|still|'
  r'now|therefore|indeed|really|likely|surely|plainly|even|most likely|only)'
)
# What an answer is not, if it is right.
_WRONG = (
  r'(?:wrong|incorrect|inaccurate|false|mistaken|impossible|invalid|extraneous|absurd|nonsens\w+|nonsense|unreasonable|'
  r'implausible|inconsistent|unacceptable|inadmissible|rejected|discarded|excluded|ruled out|disallowed|unlikely|doubtful|off\b|'
  r'too (?:big|large|small|high|low|many|few|much|great|little|long|short)|(?:just |only |merely )?an? (?:mistake|error|typo|guess|'
  r'wild guess|contradiction|slip|trap|trick)|not (?:\w+ ){0,2}?(?:right|correct|true|possible|valid|allowed|acceptable|accurate|it\b|'
  r'(?:the |my |our )(?:\w+ )?(?:answer|value|result|solution|case)|what|enough|an? (?:integer|whole|valid|possible|solution|option|'
  r'choice|answer)|one of|positive|certain|sure|quite|final)|(?:the|an?) (?:wrong|incorrect|false)\b)'
)
_DENIED = re.compile(
  rf"\b{_SUBJECT}(?:['’](?:s|m)|\s+(?:is|was|are|am|seems?|looks|appears|must be|would be|may be|might be|could be|sounds|feels|"
  rf'turns out(?: to be)?))(?:\s+{_ADVERBS})*\s+(?:to be\s+)?{_WRONG}',
  re.IGNORECASE,
)
_FAILS = re.compile(
  rf'\bwhich (?:we|I) (?:must |can |will |then )?(?:reject|discard|exclude|dismiss|rule out|throw)|'
  rf"(?:\b{_SUBJECT}|\A[\s$*)\\\]]{{0,12}})(?:\s*\b{_ADVERBS})*\s*\b(?:(?:can['’]t|cannot|can not|couldn['’]t|could not|isn['’]t|wasn['’]t|ain['’]t|won['’]t|"
  r"doesn['’]t|does not|didn['’]t|did not|wouldn['’]t|would not)\s+(?:\w+ly\s+|even\s+|quite\s+|seem\s+|look\s+)*(?:be(?!\s+(?:further\s+)?"
  r'(?:simplif|reduc|factor|written|express|improv|beaten|avoided|negative\b|larger|smaller|greater|less\b|bigger|more\b|divided|divis))|works?|satisfy|make (?:any )?sense|match|fit|'
  r'hold|add up|agree|check|right|correct|true|possible|the (?:right|correct|final)|what|an? (?:integer|whole|valid|solution)|it\b)'
  r'|(?:fails?|contradicts?|violates?)\b)',
  re.IGNORECASE,
)
_SHOULD = re.compile(
  rf'\b{_SUBJECT}\s+(?:(?P<should>should)|must|needs? to|has to|ought to)\s+(?:{_ADVERBS}\s+|instead\s+)*(?:be|have been|read|equal)\b(?!\s+(?:noted|'
  r'remembered|mentioned|correct|right|fine|ok|okay|true|the (?:\w+ )?answer|clear|obvious|easy|enough|emphasi\w+|stressed|in|an? |'
  r'at least|divisible|written|expressed|rounded|entered|given|taken)\b)\s*(?P<value>[$\\(*]*-?[$]?[0-9][^\s]*)?',
  re.IGNORECASE,
)
_ADMITTED = re.compile(
  r"\b(?:I|we)(?:['’](?:ve|m|re))?\s+(?:(?:have|had|am|are|just|also|actually|seem to have|may have|might have|must have|probably|"
  r'accidentally|mistakenly)\s+)*(?:made (?:an?|some|the|my)?\s*(?:\w+\s+)?(?:mistake|error|slip|typo|miscalculation)|forgot|miscounted|'
  r'misread|misunderstood|misinterpreted|miscalculated|overlooked|mixed up|messed up|(?:was|were|be) (?:wrong|mistaken)|wrong\b|mistaken\b|'
  r"take (?:that|it|this) back|retract|apologi[sz]e|meant\b|doubt (?:it|that|this)|(?:do not|don['’]t) (?:think|believe) (?:so|that|this|it)\b|"
  r'not (?:\w+ )?(?:sure|certain|confident)|unsure|guessing|could be wrong|may be wrong|might be wrong|should have)'
  r"|\bI (?:do not|don['’]t) know\b(?! (?:of|any))|\bI give up\b|\bthere (?:is|are) no (?:such |real |valid )?(?:solutions?|answers?)\s*(?:[.!]|\Z)"
  r'|\bcannot be determined\b|\b(?:verification|the check|this check) (?:fails|failed)\b|,\s*(?:which is\s+)?(?:false|wrong|incorrect|not true)\s*[.!]'
  r'|\blet me (?:redo|recompute|re-?calculate|recount|reconsider|correct|fix|rethink|try again|start over)\b',
  re.IGNORECASE,
)
_INTERJECTION = re.compile(
  rf'(?:{_START}|[,;–—-]\s{{0,2}}(?:but |oh,? |and )?)(?:no(?=[,.!])|no(?= (?:it|that|this)\b)|nope\b|wait\b|hmm+|sorry\b|correction\b|oops|whoops|'
  r'scratch that|strike that|on second thought|just kidding)'
  rf'|{_START}(?:actually\b|kidding\b|not (?:quite|really|exactly|so fast)\b|never ?mind|hold on|hang on|my (?:bad|mistake)\b|'
  r'apologies|ignore (?:that|this)|disregard|forget (?:that|it)|edit:|update:|rather,|instead\b|then again|(?:wrong|incorrect|false)(?=\s*[.!,]|\s*\Z)|'
  r'(?:maybe|perhaps|possibly|could be|not sure|unless|otherwise)\b|(?:is it|could it|might it|should it|was it) )',
  re.IGNORECASE,
)
# 'But that is 6', 'However, I forgot'; not 'However, note that' or 'However, the other root is negative'.
_BUT = re.compile(
  rf'{_EDGE}(?:but|however|yet|though|although|still)[,]?\s+(?:that|this|it(?!(?:\s+is|[\'’]s)\s+(?:important|worth|also|easy|good|'
  r'helpful))|the (?:final |correct )?answer|I|no|since|because|if|when|maybe|perhaps|we (?:need|must|have to|should|forgot|missed|can[\'’]?n?o?t))\b',
  re.IGNORECASE,
)
# Right after the answer: '5 (incorrect)', '5: wrong', '5 ❌'.
_MARKED_WRONG = re.compile(
  rf'\A["\'\s$*.)\]\\]{{0,12}}(?:[-–—:,;]\s*)?[(\[]?\s*(?:(?:but|which is|this is|that is|is|was|\w+ly)\s+)*(?:{_WRONG}|[✗✘❌✖])',
  re.IGNORECASE,
)
_ASKED = re.compile(
  rf'{_START}(?:is|was|isn[\'’]t|are|could|should|can)\s+(?:that|this|it|the answer|we|you|I)\b[^.!?\n]{{0,60}}(?:right|correct|true|sure|'
  r'certain|it|[0-9])\s*\?(?!\s*(?:yes|yep|yeah|correct|indeed))',
  re.IGNORECASE,
)
_VALUE = r'(?P<value>(?:\$[^$\n]{1,80}\$|\\\([^\n]{1,80}?\\\)|\*{0,2}[-−]?[$€£]?[0-9][0-9,./:]*(?:\s[0-9]+/[0-9]+)?%?\*{0,2}))'
_UNIT = r'(?:\s+[a-z]+){0,2}\s?["\'*)]{0,4}(?=[.!,;]{0,3}(?:\s{0,8}\Z|[ \t]{0,8}\n|[.!]\s))'
# Another answer: 'So it is 6.', 'It's 6.', 'So 6.', 'the correct value is 6.'
_CONCLUDED = re.compile(
  rf'(?:{_START}|,\s{{0,2}}(?=(?:so|thus|hence|therefore)\b))(?:(?:so|thus|hence|therefore|then|and|but|actually|in fact|now|no|finally),?\s+){{0,2}}(?:(?:it|that|this|the (?:correct|real|true|'
  rf'right|actual|final|proper|new)\s+\w+|the (?:answer|result))(?:[\'’]s|\s+(?:is|equals|must be|becomes|would be|gives))\s+(?:(?:{_ADVERBS}|instead|'
  rf'equal to)\s+)?|(?:so|thus|hence|therefore|then|alternatively|or|better|in truth|I(?:[\'’]d| would) (?:say|go with)|make (?:that|it)|change (?:that|it) to)[,:]?\s+(?:we (?:get|have)\s+|x\s*=\s*)?){_VALUE}{_UNIT}',
  re.IGNORECASE,
)
_OTHERWISE = re.compile(
  rf'{_START}(?:alternatively|or|else)\b(?P<rest>[^!?\n]{{0,200}}?)(?:[.!](?=\s|\Z)|[?\n]|\Z)',
  re.IGNORECASE,
)
_NEXT_LINE = re.compile(
  rf'\A["\' \t$*.)\]\\]{{0,12}}\n\s{{0,8}}[*_]{{0,4}}(?:(?:final|result|correct|answer|solution|total|updated?|revised|new|so|thus|hence|therefore)[a-z() ]{{0,20}}[:=]\s{{0,2}}|=\s?)?[*_]{{0,4}}'
  rf'(?:\$?[a-z]\s?=\s?)?{_VALUE}\$?[*_. \t]{{0,8}}(?:\n|\Z)',
  re.IGNORECASE,
)
# '6 is correct', '6 is the right one'
_ENDORSED = re.compile(
  rf'{_EDGE}{_VALUE}\s+is\s+(?:(?:the\s+)?(?:right|correct|true|actual|real|proper)\b|the\s+(?:final\s+)?answer\b)',
  re.IGNORECASE,
)
_RUNS = re.compile(r'([^\w])\1{2,}')  # of one sign
_NUMBERS = re.compile(
  r'\$[^$\n]{1,80}\$|\\\([^\n]{1,80}?\\\)|[-−]?[0-9][0-9,]*(?:\.[0-9]+)?(?:/[0-9]+)?%?'
)
_OTHER_ROOT = re.compile(
  r'\b(?:other|another|second|negative|reject\w*|discard\w*|extraneous|root)\b|(?<![0-9)}])-\s?[0-9]',
  re.IGNORECASE,
)
_BUT_WITHIN = re.compile(
  r'[,;]?\s{1,3}(?:but|however|though|although|yet|except|only)\b(?!\s+(?:note|not\b|remember|recall|also\b))',
  re.IGNORECASE,
)
_REASONS = re.compile(r'\b(?:because|since|as)\b.*', re.DOTALL | re.IGNORECASE)


def qualified(sentence):
  """Whether the sentence of an answer takes it back: '5, which is wrong', '5, but it should be 6'."""
  text = _REASONS.sub('', sentence)
  but = _BUT_WITHIN.search(text)
  number = re.search(r'[0-9$\\]', text)
  if number is None:
    return False
  after = text[number.start() :]
  return bool(
    (but and number.start() < but.start() and not re.search(r"\bnot\b|n't\b", text[: but.start()]))
    or _DENIED.search(after)
    or _FAILS.search(after)
    or _SHOULD.search(after)
    or _MARKED_WRONG.match(re.sub(r'^[-$\\(*]*[0-9][^\s(]*', '', after))
  )


def retracted(after, found):
  """Whether the text after an answer takes it back: '5. Wait, I forgot one', 'it should be 12'.

  Args: after: the text that follows; found: the answer as it is written.
  """
  after = _named(_RUNS.sub(r'\1\1', after), found)
  if any(p.search(after) for p in (_INTERJECTION, _BUT, _ADMITTED, _ASKED)) or _MARKED_WRONG.match(
    after
  ):
    return True
  for pattern in (_DENIED, _FAILS):
    if any(
      not _OTHER_ROOT.search(_sentence_before(after, match)) for match in pattern.finditer(after)
    ):
      return True
  for pattern in (_SHOULD, _CONCLUDED, _NEXT_LINE, _ENDORSED):
    for match in pattern.finditer(after):
      if match['value'] and differs(match['value'], found):
        return True
      if not match['value'] and pattern is _SHOULD and match['should']:
        return True
  for match in _OTHERWISE.finditer(after):
    numbers = _NUMBERS.findall(match['rest'])
    if numbers and differs(numbers[-1], found):
      return True
  return False


def _named(after, found):
  """The text with 'it' for the answer where a verb follows: '5 is wrong' is 'it is wrong'."""
  found = found.strip('$ ')
  if not 0 < len(found) <= 40:
    return after
  verb = r"(?=\s+(?:is|was|does|cannot|can['’]?n?o?t|isn|doesn|fails|must|should)\b)"
  return re.sub(rf'(?<![\w.\\])\$?{re.escape(found)}\$?{verb}', 'it', after)


def _sentence_before(after, match):
  """The sentence of a match up to it, with the one before: what 'it' may stand for."""
  return '. '.join(re.split(r'[.!?]\s|\n', after[max(0, match.start() - 300) : match.start()])[-2:])


def differs(value, found):
  """Whether a number in the text is another one than the answer; a choice or words are no number."""
  value = value.strip('*').rstrip('.,:')
  if comparison.equal(value, found) or comparison.equal(found, value):
    return False
  a, b = (_bare(reading.read(text)) for text in (value, found))
  if isinstance(b, Choice | Words) or not re.search('[0-9]', found):
    return False
  try:
    return not (isinstance(a, Quantity) and isinstance(b, Quantity) and equal(a.value, b.value))
  except Unread:
    return True


def _bare(read):
  return read.item if isinstance(read, Named) else read
