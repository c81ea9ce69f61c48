"""Sentences and lines of a text, with each formula in one piece."""

import re

_STOP = re.compile(
  r'(?:(?<!\.)(?<!\bsq)(?<!\bcu)(?<!\bvs)(?<!\bNo)(?<!approx)\.(?!\.)|(?<=[a-z]{2})!|\?)["\')\]*]*(?=\s|$)|\n'
)  # 5! is a factorial
_DISPLAY = re.compile(r'\\\[.{0,600}?\\\]|\$\$.{1,600}?\$\$', re.DOTALL)


def split(text):
  """Sentences and lines of a text; a formula stays in one piece."""
  text = _DISPLAY.sub(lambda m: m[0].replace('\n', ' '), text)
  found, start = [], 0
  for match in _STOP.finditer(text):
    dollars = text.count('$', start, match.start()) - text.count('\\$', start, match.start())
    if dollars % 2 and '\n' not in match[0]:
      continue  # inside a formula
    end = match.end() if match[0][0] == '?' else match.start()
    found.append(text[start:end])
    start = match.end()
  return [sentence.strip() for sentence in [*found, text[start:]] if sentence.strip()]


def first(text):
  """The first sentence or line of a text, or an empty one."""
  sentences = split(text)
  return sentences[0] if sentences else ''
