"""Doubt in the words around an answer: what is denied, supposed, guessed, taken back or cut off.

unsaid      the clause before an answer denies or supposes it
asserted    what a sentence asserts after its denials; None for a guess
refuted     a sentence without 'answer is' rules its number out, or only mentions it
hedged_box  the words around a box guess, widen or deny it
corrected   the text between two answers says why the later one counts
cut_off     the text ends in the middle of a sentence
"""

import re

_SUPPOSED = re.compile(
  r'(?:\b(?:if|suppose|assume|assuming|whether|(?<!number of )(?:wrong|incorrect|false)|previous|earlier|initial|former|original|old|naive|tempting|'
  r'often say|not to say|(?:would|might|may|could) (?:say|think|guess|claim)|anything but|other than|instead of|rather than|except|besides|different from|'
  r'far from|opposite of|hardly)(?:\s+(?:that|the|an?|final|correct|answer|it|is|we|have))*)[\s$(\\]*$',
  re.IGNORECASE,
)
_DENIED = re.compile(
  r"(?:\bnot|n't|\bcannot)\s+(?:\w+\s+)?(?:think|believe|know|sure|say|true|correct|right|certain|clear whether|the case|be)\b",
  re.IGNORECASE,
)
# What somebody else says, or nobody: 'Some think the answer is 5', 'I doubt that it is 5'.
_SAID = r'(?:say|says|said|think|thinks|thought|claim|claims|claimed|believe|believes|believed|guess|guesses|guessed|argue|argues|answer|answered)\b'
_OF_OTHERS = re.compile(
  rf'\b(?:nobody|no one|none|few|some|many|most|others|people|someone|students?|you|he|she|they)\s+(?:\w+\s+){{0,2}}{_SAID}'
  rf'|\b(?-i:(?!I\b|We\b|Let\b|Then\b|Now\b|This\b|That\b|It\b|So\b)[A-Z][a-z]+)\s+(?-i:says|said|thinks|thought|claims|claimed|believes|believed|'
  r'guesses|guessed)\b|\b(?:I|we)\s+(?:first|initially|originally|at first|had)\s+(?:thought|got|guessed|said|had|found|believed)\b'
  r'|(?<!no )(?<!without a )\bdoubt\b|\bden(?:y|ies)\b|\b(?:unlikely|refuse|disagree)\b|\bit is (?:a myth|a mistake|an error)\b'
  r'|\b(?:wrongly|mistakenly|incorrectly|falsely|erroneously|seemingly|apparently)\b',
  re.IGNORECASE,
)
_NOT = re.compile(
  r"\b(?:not|isn't|never|neither|nor|cannot|can't|don't|doesn't)\b|n't\b", re.IGNORECASE
)
_INSTEAD = re.compile(
  r"(?:[,;]\s*(?:it is|it's|but|rather|instead)|\bbut(?: rather)?)\s+(?:it is\s+|it's\s+|is\s+)?",
  re.IGNORECASE,
)
# What a sentence adds that its answer is not: '9, not 10'.
_AND_NOT = re.compile(
  r'(?:(?:,|\s[—–-]+|\s\()\s*(?:and\s+|but\s+)?|\s+and\s+|\s+rather than\s+)(?:(?<=rather than )|not\s+)'
  r'(?:(?:option|choice)\s+)?(?:[$\\(*]*-?[0-9]|[$\\(*]*[A-Z]\b|\\|counting\b|including\b)[^,;]*$'
  r'|\s*\(\s*(?:and |but )?not\s+[$\\(*]*(?:-?[0-9][^()]*|[A-J])\)'
)
_HEDGE = re.compile(
  r'\b(?:maybe|perhaps|probably|possibly|might|could|guess|likely|unsure|either|around|roughly|'
  r'nearly|almost|may be|(?:is|was) (?:wrong|incorrect)|at least|at most|(?<![0-9%] )more than|less than|fewer than|greater than|or so|about|unknown|'
  r'somewhere|between (?![A-Z]\b|the\b|two\b)|one of|so far|give or take|and (?:up|above|over|upwards|below|under)|or (?:more|less|fewer|higher|lower|greater|above|below|thereabouts)|'
  r'something|thereabouts|ballpark|plus or minus|neighbou?rhood|vicinity|on the order of|upwards of|no (?:more|less|fewer) than)\b|[0-9]-?ish\b',
  re.IGNORECASE,
)
_CORRECTED = re.compile(
  r'\b(?:wait|actually|mistake|error|wrong|incorrect|however|but|correct(?:ed|ion|ing|ly)|redo\w*|again|instead|first|'
  r'initially|check\w*|verif\w+|re-?calculat\w+|recomput\w+|oops|sorry|no)\b',
  re.IGNORECASE,
)
_REFUTED = re.compile(
  r'\b(?:doubt|impossible|nobody|no one|no way|rul(?:e|es|ed|ing) out|exclud\w+|contradict\w*|false|fails?|extraneous|'
  r'reject\w*|discard\w*|invalid|would\b.*\bif|would have been|used to be|last (?:year|month|week|time)|for example|for instance|e\.g|hint|use the fact|asks?|asked|page|chapter|section|'
  r'(?:needs?|has|have) to (?:add|find|subtract|multiply|divide|solve))\b'
  r'|[0-9] (?:decimal|significant)'
  r'|\b(?:twice|double|triple|thrice|half) (?:as (?:much|many|long|far)|that|this)\b[^0-9]*$'
  # two claims side by side: 'he has 5 and she has 6'
  r'|\b(?P<verb>is|are|was|has|have|had|gets|costs)\s+[$\\(]*[0-9](?:(?!\b(?:total|altogether|then|which)\b)[^=])*?(?:\band\b|,|\bwhile\b)'
  r'(?:(?!\b(?:total|altogether|then|which)\b)[^=])*?\b(?P=verb)\s+[$\\(]*[0-9]',
  re.IGNORECASE,
)
# A step that is named and not worked out: 'Subtracting 5 from both sides'.
_STEP = re.compile(
  r'\s*(?:(?:then|now|next|first|finally|so)\b,?\s*)?(?:(?:we|you|I)\s+(?:(?:now|then|first|next)\s+)?(?:(?:need|have) to\s+|(?:must|can|should|will)\s+)?)?'
  r'(?:add|subtract|multiply|divide|take|round|find|solve|compute|calculate|try|use|recall|remember|'
  r'consider|simplify|evaluate|expand|choose|apply|adding|subtracting|multiplying|dividing|taking|rounding|solving|substituting|plugging)\b(?![^=]*\b(?:is|gives|'
  r'yields|get|have|leaves|makes|results)\b)[^=]*$',
  re.IGNORECASE,
)
_GUESS_BEFORE = re.compile(
  r'\b(?:maybe|perhaps|probably|possibly|either|at least|at most|less than|more than|fewer than|greater than|about|around|'
  r'roughly|nearly|almost|(?:might|may|could) be|guess|unsure)\b'
  r'(?:\s+(?:it|that|the|final|answer|is|be|it\'s|x|=))*[\s$*\\(\[]*$',
  re.IGNORECASE,
)
_GUESS_AFTER = re.compile(
  r'[ \t$*)\\\],]*(?:\?|(?:if(?! you (?:have|need|want|would|like))|unless|perhaps|maybe|provided|depending)\b|(?:is|was|seems|looks)\s+(?:not\b|wrong|incorrect|false|'
  r'impossible|invalid|extraneous|rejected|too)|and (?:perhaps|maybe|possibly)\b|(?:or (?:so|more|less|fewer|higher|lower|greater|maybe|perhaps)|'
  r'and (?:up|above|over|below|under)|give or take|plus or minus|-?ish|something)\b)',
  re.IGNORECASE,
)
_OPEN = re.compile(
  r'(?:\b(?:by|the|of|and|or|to|with|is|are|was|we|from|for|an?|then|that|so|because|since|which|if|when|as|than|have|'
  r'has|get|gives?|multiply|divide|add|subtract|multiplied|divided|plus|minus|times|equals?)|[-+/=,(]|\s\*)\s*$',
  re.IGNORECASE,
)
# A last sentence without a stop that says nothing of a result: 'Janet has 16 eggs. She eats 3'.
_BARELY_BEGUN = re.compile(
  r'[.!?]\s+(?!(?:[^.!?]|\.[0-9])*(?:=|\b(?:is|are|was|were|equals|total|so|thus|hence|therefore|answer|get|gets|gives|has|have|becomes|left|'
  r'now|needs?|takes?|costs?|makes|earns?|pays?)\b))[A-Z](?:[^.!?]|\.[0-9])*\s[0-9]+\s*$'
)


def unsaid(before):
  """Whether the clause that ends a text denies or supposes what comes next: 'I do not think'."""
  clause = re.split(
    r'[.!?]\s|[\n,;:]|\b(?:so|then|(?<!anything )(?<!nothing )but)\b',
    re.sub(r'[\s:*]+$', ' ', before),
  )[-1]
  glance = re.search(r'\bat first (?:glance|sight)\b[^.!?\n]*$', before, re.IGNORECASE)
  return bool(glance) or any(p.search(clause) for p in (_DENIED, _SUPPOSED, _OF_OTHERS))


def asserted(sentence):
  """What a sentence asserts: all of it, or what stands instead of what it denies; None for a guess."""
  sentence = _AND_NOT.sub('', sentence)
  if denied := _NOT.search(sentence):
    instead = [*_INSTEAD.finditer(sentence, denied.end())]
    sentence = sentence[instead[-1].end() :] if instead else ''
    if not sentence or _NOT.search(sentence):
      return None
  return None if _HEDGE.search(sentence) or sentence.rstrip('*"\') ').endswith('?') else sentence


def concluded(sentence):
  """The last clause of a sentence after 'so' or 'thus' if it is asserted and has a number, else None."""
  _, found, clause = sentence.rpartition(', so ')
  guessed = re.search(
    r'\b(?:maybe|perhaps|probably|possibly|might|could|guess|unsure|unknown)\b',
    sentence,
    re.IGNORECASE,
  )
  return asserted(clause) if found and not guessed and re.search('[0-9]', clause) else None


def refuted(sentence):
  """Whether the last clause of a sentence rules its number out, or only mentions it: 'x = 5 is extraneous'."""
  clause = re.split(r'\b(?:so|hence|thus|therefore|leaving|leaves|but)\b', sentence)[-1]
  return bool(_REFUTED.search(clause) or _STEP.match(clause))


def hedged_box(before, after):
  """Whether the words right around a box guess or deny it: 'either \\boxed{5} or 6', '\\boxed{5} is wrong'."""
  clause = re.split(r'[.!?]\s|\n', before)[-1]
  return bool(_GUESS_BEFORE.search(clause) or _GUESS_AFTER.match(after))


def corrected(between):
  """Whether the text around and between two answers says that the later one counts."""
  return _CORRECTED.search(between) is not None


def cut_off(text):
  """Whether a text ends in the middle of a sentence, '... then we multiply by', or in a question."""
  return bool(_OPEN.search(text[-40:]) or text.endswith('?') or _BARELY_BEGUN.search(text[-120:]))
