"""Words in an answer: those that stand for a sign, and how two texts of words compare."""

import re

_REALS = re.compile(
  r'^⟦?\s*(?:the set of )?(?:all|any) (?:the )?real(?:s|\s+numbers?|\s+values|\s*⟧?\s*[a-z](?![a-z]))(?:\s+of\s*⟧?\s*[a-z](?![a-z]))?\s*⟧?'
  r'|^⟦?\s*\(?R\)?eal numbers\s*⟧?$|\\mathbb\s*R(?![a-zA-Z])',
  re.IGNORECASE,
)
_EXCEPT = re.compile(
  r'^(\\mathbb\{R\})\s*⟦?\s*,?\s*(?:except|besides|other than)(?: for)?\s*⟧?\s*(?:[a-z]\s*=)?([^{}a-z]+)$'
)


def signs(plain):
  """Replaces words that stand for a sign, such as infinity, by the sign."""
  text = re.sub(r'\\(?:ldots|dots|cdots)(?![a-zA-Z])|\.\.\.|…', '…', plain)
  text = re.sub(r'\(\s*⟦?\s*or\s*⟧?\s+([^()]*)\)$', r' or \1', text)  # 0.5 (or 1/2)
  text = _REALS.sub(r'\\mathbb{R}', text)
  text = _EXCEPT.sub(r'\1 \\setminus \\{\2\\}', text)
  text = re.sub(r'⟦\s*(?:is\s+)?(?:in|belongs to)\s*⟧', r'\\in ', text)
  text = re.sub(r'⟦\s*(pi|sqrt)\s*⟧|(?<![a-zA-Z\\])(infinity|inf|oo)(?![a-zA-Z])', _sign, text)
  return re.sub(r'\\(?:lang|langle)(?![a-zA-Z])', '\\\\langle ', text)


def _sign(match):
  return {'pi': '\\pi ', 'sqrt': '\\sqrt '}.get(match[1], '\\infty ')


def words_of(plain):
  """Words without case, brackets of text groups and spaces that do not part two words.

  Two or three letters that mix cases, such as xY or AB, are names and keep theirs.
  """
  text = re.sub('[⟦⟧]', ' ', plain)
  text = re.sub(r'(?<![a-zA-Z])([APap])\.?[Mm](?![a-zA-Z])\.?', lambda m: m[1].lower() + 'm', text)
  text = re.sub(
    r'(?<![a-zA-Z])(?:[a-zA-Z]{4,}|[A-Z][a-z]{1,2})(?![a-zA-Z])', lambda m: m[0].lower(), text
  )
  text = re.sub(r'\s+', ' ', text).strip().strip('"\'').rstrip('.')
  text = re.sub(r'^(?:[aA]n?|[tT]he) (?=[a-zA-Z]{3})', '', text)
  return re.sub(r'(?<![\w.]) | (?![\w.])', '', text)
