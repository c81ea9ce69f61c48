r"""Rewrites an answer so that typography no longer matters: LaTeX spacing, unicode signs, text groups.

`plain` returns a text in a small LaTeX: commands that carry meaning stay (\frac, \sqrt, \le), text
groups become ⟦words⟧, and a dollar, a percent or a degree sign becomes the text group of its name.
"""

import functools
import re
import unicodedata

LIMIT = 400  # characters; a longer answer is compared as a string only

_SIGNS = str.maketrans(
  {
    **{dash: '-' for dash in '−–—‐‑‒﹣－'},
    **{space: ' ' for space in '\u00a0\u2009\u202f\u2002\u2003\u3000\t\n'},
    **{hidden: '' for hidden in '\u200b\u200c\u200d\ufeff\u2060'},
    '×': r'\times ', '·': r'\cdot ', '⋅': r'\cdot ', '∙': r'\cdot ', '÷': r'\div ', '∕': '/', '⁄': '/',
    '±': r'\pm ', '∞': r'\infty ', '≤': r'\le ', '≥': r'\ge ', '⩽': r'\le ', '⩾': r'\ge ',
    '≠': r'\ne ', '∪': r'\cup ', '∩': r'\cap ', '∈': r'\in ', '∅': r'\emptyset ', '≈': r'\approx ',
    'π': r'\pi ', '⟨': r'\langle ', '⟩': r'\rangle ', '°': r'^\circ ', '％': '%', '′': "'",
    '∣': '|', 'ℝ': r'\mathbb{R}', '∖': r'\setminus ', '²': '^{2}', '³': '^{3}', '’': "'", '‘': "'", '“': '"', '”': '"',
  }
)  # fmt: skip
_GREEK = {
  'α': 'alpha', 'β': 'beta', 'γ': 'gamma', 'δ': 'delta', 'ε': 'epsilon', 'θ': 'theta', 'λ': 'lambda',
  'μ': 'mu', 'ρ': 'rho', 'σ': 'sigma', 'τ': 'tau', 'φ': 'phi', 'ϕ': 'phi', 'ω': 'omega', 'ψ': 'psi',
}  # fmt: skip
_HIGH = dict(zip('⁰¹²³⁴⁵⁶⁷⁸⁹⁺⁻ⁿ', '0123456789+-n'))
_LOW = dict(zip('₀₁₂₃₄₅₆₇₈₉', '0123456789'))
_FRACTION = re.compile('[¼-¾⅐-⅞]')  # vulgar fractions, such as ½
_FONTS = r'mathrm|mathbf|mathit|mathsf|mathtt|mathcal|boldsymbol|bm|operatorname\*?|vec|hat'
_TEXTS = r'text(?:normal|rm|bf|it|sf|tt|up|md)?|mbox|hbox'

_REWRITES = [
  (re.compile(pattern), replacement)
  for pattern, replacement in (
    (r'\\(?:left|right)\s*\.', ''),  # an invisible bracket
    (
      r'\\(?:left|right|[bB]ig+[lrm]?|displaystyle|textstyle|scriptstyle|limits|nolimits)(?![a-zA-Z])',
      '',
    ),
    (r'(?<=[0-9])(?:\{,\}|\\,|\\!|,\\!\s*)(?=[0-9]{3}(?![0-9]))', ''),  # thousands: 14{,}916
    (r'(?<!\\)\\!', ''),
    (r'(?<!\\)\\[,;:> ]|\\(?:q?quad|enspace|thinspace|hfill|space)(?![a-zA-Z])|~', ' '),
    (r'(?<!\\)\\[()\[\]]', ' '),
    (r'\\(?:[dtc]|nice)frac(?![a-zA-Z])', r'\\frac'),
    (r'\{([^{}]*)\\over(?![a-zA-Z])([^{}]*)\}', r'\\frac{\1}{\2}'),
    (r'^\s*\\approx(?![a-zA-Z])', ''),
    (r'\\approx(?![a-zA-Z])', '='),
    (r'\\[dt]binom(?![a-zA-Z])', r'\\binom'),
    (r'\\big(?=c[ua]p(?![a-zA-Z]))', r'\\'),
    (r'\\(?:leq|leqslant|leqq)(?![a-zA-Z])|<=', r'\\le '),
    (r'\\(?:geq|geqslant|geqq)(?![a-zA-Z])|>=', r'\\ge '),
    (r'\\neq(?![a-zA-Z])|!=', r'\\ne '),
    (r'\\lt(?![a-zA-Z])', '<'),
    (r'\\gt(?![a-zA-Z])', '>'),
    (r'\\(?:varnothing|emptyset)(?![a-zA-Z])', r'\\emptyset '),
    (r'\\(?:lbrace)(?![a-zA-Z])', r'\\{'),
    (r'\\(?:rbrace)(?![a-zA-Z])', r'\\}'),
    (r'\\(?:lvert|rvert|vert|mid)(?![a-zA-Z])', '|'),
    (r'\\(?:lbrack)(?![a-zA-Z])', '['),
    (r'\\(?:rbrack)(?![a-zA-Z])', ']'),
    (r'\\var(?=epsilon|phi|theta|rho|sigma)', r'\\'),
    (r'\^\s*(?:\{\s*\\circ\s*\}|\\circ(?![a-zA-Z]))|\\degree(?![a-zA-Z])', '⟦degrees⟧'),
    (r'⟦degrees⟧\s*(?:⟦)?\s*([CF])(?![a-zA-Z])(?:⟧)?', r'⟦degrees \1⟧'),
    (r'\\?%|(?<=[0-9}⟦ ])per cent(?![a-z])', '⟦percent⟧'),
    (r'⟦\s*⟦percent⟧\s*⟧', '⟦percent⟧'),
    (r'√\s*([0-9]+(?:\.[0-9]+)?)', r'\\sqrt{\1}'),
    (r'√', r'\\sqrt '),
    (r'∛\s*([0-9]+)', r'\\sqrt[3]{\1}'),
    (r'\*\*(?=\s*[0-9(a-zA-Z])(?<=[0-9a-zA-Z)]\*\*)', '^'),  # Python's power
    (r'(?<=[0-9]) +[xX] +(?=[0-9])', r'\\times '),  # 9 x 60
    (r'\s+', ' '),
  )
]
_GROUP = re.compile(rf'\\(?:({_TEXTS})|{_FONTS})\s*\{{([^{{}}]*)\}}')
_WRAPS = [('**', '**'), ('__', '__'), ('`', '`'), ('*', '*'), ('"', '"'), ('$$', '$$'), ('$', '$')]
_THOUSANDS = re.compile(r'(?<![0-9.,])[1-9][0-9]{0,2}(?:,[0-9]{3})+(?![0-9]|,[0-9])')
_SPACED = re.compile(
  r'\A(?:[-+]?(?:⟦dollars⟧)?[1-9][0-9]{0,2}(?: [0-9]{3})+(?:\.[0-9]+)?)(?=\Z| ?⟦| [a-zA-Z]+\Z)'
)  # 10 000
_DOLLAR = '⟦dollars⟧'


@functools.lru_cache(maxsize=8192)
def plain(text):
  """The answer without its typography; a text longer than LIMIT is only stripped.

  Returns: str, the same for answers that differ in spacing, fonts, signs and dollar delimiters only.
  """
  text = text.strip()
  if len(text) > LIMIT:
    return text
  text = _unwrapped(_unicode(text))
  text = re.sub(_GROUP, _text_group, re.sub(_GROUP, _text_group, text))
  for pattern, replacement in _REWRITES:
    text = pattern.sub(replacement, text)
  text = _dollars(text)
  text = _SPACED.sub(lambda m: m[0].replace(' ', ''), text.strip(), count=1)
  text = _joined_thousands(text)
  text = re.sub(r'⟦\s*([^⟦⟧]*?)\s*⟧', r'⟦\1⟧', text)
  text = text.strip() if text.rstrip().endswith(('...', 'dots')) else text.rstrip(' .,;:').strip()
  whole = re.fullmatch(r'⟦([^⟦⟧]*)⟧', text)
  if whole and whole[1] not in ('percent', 'degrees', 'dollars'):
    text = whole[1].rstrip(' .,;:')
  return text


def _unicode(text):
  text = re.sub(f'([0-9])?\\s*({_FRACTION.pattern})', _vulgar, text)
  text = re.sub(
    f'[{"".join(_HIGH)}]+', lambda m: '^{' + ''.join(map(_HIGH.__getitem__, m[0])) + '}', text
  )
  text = re.sub(
    f'[{"".join(_LOW)}]+', lambda m: '_{' + ''.join(map(_LOW.__getitem__, m[0])) + '}', text
  )
  text = unicodedata.normalize('NFKC', text.translate(_SIGNS)).translate(_SIGNS)
  return ''.join(f'\\{_GREEK[c]} ' if c in _GREEK else c for c in text)


def _vulgar(match):
  """'½' is 1/2, and '1½' is the mixed number '1 1/2'."""
  whole, sign = match.groups()
  fraction = unicodedata.normalize('NFKC', sign).replace('⁄', '/')
  return f'{whole} {fraction}' if whole else fraction


def _unwrapped(text):
  """Without markdown, quotes and math delimiters around the whole."""
  changed = True
  while changed:
    changed = False
    text = text.strip()
    for start, end in _WRAPS:
      inner = text[len(start) : len(text) - len(end)]
      if (
        len(text) > len(start) + len(end)
        and text.startswith(start)
        and text.endswith(end)
        and not text.endswith('\\' + end)
        and start not in inner
      ):
        text, changed = inner, True
    if len(text) > 2 and text[-1] in '.,;:' and text[-2] in '$*`"_':
      text, changed = text[:-1], True  # '$5$.' ends in a full stop
  return text


def _text_group(match):
  r"""A text group becomes ⟦words⟧; one without words, such as \text{(1,2)} or \mathbf{x}, its contents."""
  is_text, contents = match[1], match[2]
  one = '[a-zA-Z]' if is_text else '^[mgshLNJWVK]$'  # \mathrm{m} is a unit, \mathrm{e} a number
  words = re.search('[a-zA-Z]{2}', contents) or re.search(one, contents.strip())
  if re.search(r'\\[a-zA-Z]', contents) or not words:
    return f' {contents} ' if is_text else contents
  return f'⟦{contents}⟧'


def _dollars(text):
  r"""Math delimiters away; a dollar sign becomes the unit 'dollars'."""
  text = text.replace(r'\$', _DOLLAR)
  if text.count('$') == 1:
    return re.sub(r'\$', _DOLLAR, text)
  return text.replace('$', ' ') if text.count('$') % 2 == 0 else text


def _joined_thousands(text):
  """'1,200' becomes '1200', but not inside brackets, where a comma separates."""
  joined, open_brackets, start = [], [], 0
  for match in re.finditer(r'\\?[()\[\]{}]|$', text):
    piece = text[start : match.start()]
    inside = any(open_brackets)
    joined += [
      piece if inside else _THOUSANDS.sub(lambda m: m[0].replace(',', ''), piece),
      match[0],
    ]
    start = match.end()
    if match[0][-1:] in ('(', '[', '{'):
      # The braces of \frac{1,200}{3} and x^{2} are no brackets.
      open_brackets.append(
        match[0] != '{' or not re.search(r'[a-zA-Z}\]^_]\s*$', text[: match.start()])
      )
    elif match[0] and open_brackets:
      open_brackets.pop()
  return ''.join(joined)
