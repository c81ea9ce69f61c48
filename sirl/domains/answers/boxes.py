r"""Answers in \boxed{...}: their contents, with the unit after them, and whether they stand alone.

A box counts as an answer if it is no part of a formula, a tuple, a matrix, a time or a quantity of
two units, and if no word around it denies, guesses, widens or takes it back.
"""

import itertools
import re

from sirl.domains.answers import (
  claims,
  comparison,
  counted,
  doubt,
  reading,
  retraction,
  typography,
  units,
  values,
)

BOX = re.compile(r'\\(?:boxed|fbox)(?![a-zA-Z])')
_BRACES = re.compile(r'\\(?:boxed|fbox)\s*\{|\\.|[{}]', re.DOTALL)
_BARE_BOX = re.compile(
  r'\\(?:boxed|fbox)(?:\s{1,4}(-?[0-9][0-9,./]*[0-9]|[0-9a-zA-Z])(?![0-9a-zA-Z])|(-?[0-9]))'
)
# What may stand right before a box in its formula: nothing, an equals sign, an arrow, words, a bracket, a dollar sign.
_WRAPPERS = re.compile(
  r'\\(?:text)?color\s*\{[^{}]*\}\s*\{?|\\(?:mathbf|boldsymbol|bm|displaystyle|left|large|Large|mathrm|boxed|fbox)(?![a-zA-Z])\s*\{?|\\[,;:! ]|(?<![a-zA-Z\]}^_])\{'
)
_MAY_STAND_BEFORE = re.compile(
  r'(?:\A|=|\\(?:in|approx|Rightarrow|implies|therefore|iff|to|rightarrow|longrightarrow|Longrightarrow|q?quad|\\)|[&,;]|(?:\A|[\s=])[(\[]|(?<![0-9]):|\\\$|'
  r'\\text\w*\s*\{[^{}]*\})\s*\Z'
)
_MAY_FOLLOW = re.compile(
  r'\s*(?:\Z|[.,;:?)\]]|\\[\\)\]]|\\(?:text\w*|mathrm|mbox|q?quad|blacksquare|square|qed|checkmark|tag|end|right|Rightarrow|%)(?![a-zA-Z])|%|&|[a-zA-Z]{2})'
)
# Outside of formulas, what makes a box a part of something.
_BOUND_BEFORE = re.compile(
  r'(?:[0-9½¼¾})]\s*[-+/^]\s*|[=($ \n{][-−+/^]|^[-−+/^]|[0-9½¼¾][ \t]*|\\[a-zA-Z]+(?:\[[^\]]*\])?\s*\{?\s*|[_|.,~≠≤≥¬±]|[0-9]:|[^\s<>a-z/]\s*[<>]\s*|\w\s+[<>]\s*|'
  r'[^\s\\=]\{|\b[nN]ot[\s$*]{0,4}(?:\\\()?\s?)\Z'
)
_ALLOWED_BEFORE = re.compile(
  r'\\(?:therefore|implies|Rightarrow|q?quad|approx|noindent|item|displaystyle|boxed|fbox|[(\[])\s*\{?\s*\Z'
)
_BOUND_AFTER = re.compile(
  r'[ \t]*(?:[/^_×·÷→]|\*(?![*\s]))|\.?[0-9½¼¾]|[ \t]*[-–+][ \t]*[-0-9\\(]|[ \t]*:\s?[0-9]|,[0-9]{3}|\{,\}|[ \t]+[0-9½¼¾]|[ \t]*(?:<(?!/?[a-zA-Z|])|[>≠≤≥]|->|=>)|'
  r'[ \t]*\\(?:times|cdot|div|pi|sqrt|pm|mp|[dtc]?frac|choose|to|Rightarrow|ne|neq|le|leq|ge|geq|lt|gt|p?mod|bmod|overline)(?![a-zA-Z])|'
  r"[a-zA-Z](?![a-zA-Z])|[ \t]+[eix](?![a-zA-Z'])|[ \t]*\{|[ \t]*!|['′]|\([a-z][ \t]*[-+*/^)]"
)
_EQUATED = re.compile(r'\s*(?:=|\\approx|≈)\s*(?P<value>[^\s=$]{1,40})')
# 5 to 6; 5, 6; 5 and 6; 5 remainder 3; 5 (mod 7)
_ANOTHER_AFTER = re.compile(
  r'\s*(?:(?:to|through|until|,|;|and|,\s*and|&|plus|minus|vs\.?|versus)\s*[-$\\(*]*[0-9½]|(?:R|r|(?:with |and )?(?:a )?remainder(?: of)?)\s*[0-9]|'
  r'\(?\s*(?:mod\b|modulo\b|(?:in )?base\b))'
)
_CHANGED_BEFORE = re.compile(
  r'\b(?:minus|negative|plus|twice|thrice|double|triple|half|times|over|divided by|below|above|under|exceeds|'
  r'(?:half|third|quarter|square|cube|root|reciprocal|opposite|negative|inverse|double|multiple|factor|power|logarithm|factorial) of)[\s*$(\\]*\Z',
  re.IGNORECASE,
)
_DEGREES = re.compile(r'\s*(?:\^\s*(?:\{\s*\\circ\s*\}|\\circ(?![a-zA-Z]))|°)')
_GRID = re.compile(r'\\(begin|end)\{(?:[pbvBV]?matrix|smallmatrix|array|cases|tabular)\}')
# The box is the first or a later item of a tuple or a set.
_OPENED = re.compile(
  r'(?:\\[{]|\\langle|(?<!\\)[(\[])(?:[^()\[\]{}]*?,)?\s*(?:[a-zA-Z]\s*=\s*)?\$?\s*\Z'
)
_CLOSED = re.compile(r'[\s$]*(?:\\right\s*)?(?:\\[,;! ]\s*)?(?P<sign>[,;)\]]|\\[}]|\\rangle)')
# 5 hours and 30 minutes; 5 and a half.
_COMPOUND = re.compile(
  r"\s*(?P<first>[a-zA-Z']+)(?:\s+and\s+|,\s*|\s+)[0-9½¼¾][0-9./]*\s*(?P<second>[a-zA-Z\"]+)|\s*(?:and\s+)?(?:an?|one|two|three)[\s-]+(?:half|halves|thirds?|quarters?|fourths?|fifths?)\b"
)
_BOX_JOIN = re.compile(r'(?:\\\)|[\s$])*(?:,\s*and|,|and)(?:\\\(|[\s$])*(?:[a-zA-Z]\s*=\s*)?')
_MOST_BOXES = 16  # different contents; a text with more is no answer


def boxed(text):
  r"""Contents of \boxed{...} with balanced braces, or the number of \boxed 3; None without one.

  Boxes of different values are hedging and give None, and so does a box that does not close after
  the last one that does, or a box that is taken back after it. Boxes that 'and' or a comma joins are
  a list. Of nested boxes, the innermost counts. A unit right after a box belongs to it.
  """
  return last(text)[0]


def last(text):
  """(the answer in the boxes of a text, or None; where the last of them ends)."""
  found = _found(text)
  if not found:
    return None, len(text)
  contents = [contents for _, _, contents in found]
  joined = [_BOX_JOIN.fullmatch(text[a[1] : b[0]][:40]) for a, b in itertools.pairwise(found)]
  listed = bool(joined) and all(joined)
  answer = ', '.join(contents) if listed else only(contents)
  end = found[-1][1]
  if answer is None or retraction.retracted(text[end : end + claims.TAIL], answer):
    return None, end
  if any(_is_bound(text, start, end) for start, end, _ in found):
    return None, end
  return answer if listed else _with_unit(text, found[-1], answer), end


def _found(text):
  """(start, end, contents) of the last boxes; none if a box does not close."""
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
    return []
  found += [(bare.start(), bare.end(), bare[1] or bare[2]) for bare in _BARE_BOX.finditer(text)]
  return sorted(found)[-_MOST_BOXES - 1 :]


def _is_bound(text, start, end):
  """Whether a box is a part of something, or stands among words that deny or guess it."""
  before, after = text[max(0, start - 200) : start], text[end : end + 120]
  degrees = _DEGREES.match(after)
  rest = after[degrees.end() if degrees else 0 :]
  return bool(
    _is_part(before, rest, _inside(text[start:end]))
    or _CHANGED_BEFORE.search(before[-40:])
    or _ANOTHER_AFTER.match(_words(rest))
    or _is_item(before, after)
    or _is_compound(after)
    or doubt.unsaid(before[-80:])
    or doubt.hedged_box(before[-80:], after)
  )


def _is_part(before, rest, contents):
  """Whether a box is one part of a formula, and neither all of it nor a side of an equation."""
  equated = _EQUATED.match(rest.lstrip('}'))
  if equated and not comparison.same(equated['value'].rstrip('.,'), contents):
    return True
  formula = _formula_before(before)
  if formula is None:
    bound = _BOUND_BEFORE.search(before[-40:]) and not _ALLOWED_BEFORE.search(before[-40:])
    return bool(bound or (not equated and _BOUND_AFTER.match(rest[:12])))
  rest = re.split(r'(?<!\\)\$|\\[)\]]', rest.lstrip('}'))[0]
  stands = _MAY_STAND_BEFORE.search(_WRAPPERS.sub('', formula))
  return not stands or not (equated or _MAY_FOLLOW.match(rest))


def _inside(box):
  """The contents of a box."""
  return box.partition('{')[2][:-1] or box.split()[-1]


def _formula_before(before):
  """The formula that a text ends in, from its start; None if the text ends outside of a formula."""
  paragraph = re.split(r'\n\s*\n', before)[-1]
  if re.search(
    r'(?<![\\a-zA-Z])[a-zA-Z]{3,}',
    re.sub(r'\\\w+\s*\{[^{}]*\}', '', re.split(r'\$', paragraph)[-1]),
  ):
    return None  # he pays $10, so \boxed{5}
  dollars = [match.end() for match in re.finditer(r'(?<!\\)\$\$?', paragraph)]
  if len(dollars) % 2:
    return paragraph[dollars[-1] :]
  opened = [match for match in re.finditer(r'(?<!\\)\\[(\[)\]]', paragraph)]
  return paragraph[opened[-1].end() :] if opened and opened[-1][0] in ('\\(', '\\[') else None


def _is_item(before, after):
  """Whether a box is an entry of a matrix, or an item of a tuple or a set."""
  grids = [match[1] for match in _GRID.finditer(before)]
  if grids and grids[-1] == 'begin':
    return True
  opened, closed = _OPENED.search(re.sub(r'\\left\s*', '', before[-80:])), _CLOSED.match(after)
  if not opened or not closed or re.search('[a-zA-Z]{3}', opened[0].replace('\\langle', '')):
    return False
  alone = ',' not in opened[0] and closed['sign'] in (')', ']')
  return not alone and not opened[0].startswith('\\(')


def _is_compound(after):
  """Whether a second number belongs to the quantity: 5 hours and 30 minutes, 5 and a half."""
  match = _COMPOUND.match(_words(after))
  if match is None or match['first'] is None:
    return match is not None
  known = lambda word: units.known(word) or word in units.LETTERS
  return known(match['first']) and known(match['second'])


def _with_unit(text, box, answer):
  """The answer with the dollar sign before its box, or the unit after it."""
  clock = re.match(r'\s*[ap]\.?m\b', _words(text[box[1] : box[1] + 20]), re.IGNORECASE)
  if clock and ':' in answer:
    return f'{answer} {clock[0].strip()}'
  read = reading.read(answer)
  if not isinstance(read, values.Quantity) or read.unit or not re.search('[0-9]|pi|π', answer):
    return answer
  after = text[box[1] : box[1] + 80]
  degrees = _DEGREES.match(after)
  if degrees:
    return f'{answer}^\\circ'
  if re.search(r'\\\$[\s$]*\Z', text[: box[0]][-8:]):
    return f'\\${answer}'
  return counted.with_unit(answer, _words(after))


def _words(after):
  """What follows a box, up to the end of its sentence, without text groups and math delimiters."""
  after = re.sub(r'\\(?:text|mathrm|textrm|mbox)\s*\{([^{}]*)\}', r' \1 ', after)
  after = re.sub(r'(?<!\\)\\%', '%', after)
  after = re.sub(r'(?<!\\)\\[,;:! )\]]|(?<!\\)\$|[{}*~]', ' ', after)
  return re.split(r'[.!?](?:\s|\Z)|\n|\\begin|\\end|\\boxed', after)[0]


def only(found):
  """The one distinct answer in `found`, stripped; None for several, none or an empty one."""
  distinct = dict.fromkeys(typography.plain(contents) for contents in found)
  if not found or len(distinct) > _MOST_BOXES:
    return None
  first, *others = distinct
  agree = all(comparison.same(first, other) for other in others)
  return found[0].strip() or None if agree else None
