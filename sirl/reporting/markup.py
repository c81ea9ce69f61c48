"""HTML that the sections of the report page are made of: tables, tags, escaped text."""

import html

# What a tag says -> the class that colours it. Other tags have the class of their own name.
KINDS = {
  'rollback': 'problem',
  'stop': 'warning',
  'ask_human': 'warning',
  'set_difficulty': 'good',
  'healthy': 'good',
}


def section(title, body):
  """A section with a title; nothing for an empty body."""
  return f'<section><h2>{text(title)}</h2>{body}</section>' if body else ''


def card(body, title=None):
  """A framed box, with a small title where one is given."""
  heading = '' if title is None else f'<h3>{text(title)}</h3>'
  return f'<div class="card">{heading}{body}</div>'


def grid(cards, kind=''):
  """Cards side by side; nothing for no cards. kind: 'small' for three in a row."""
  return f'<div class="grid {kind}">{"".join(cards)}</div>' if cards else ''


def table(head, rows):
  """A table of cells that are HTML already. A cell ('number', html) is aligned to the right."""

  def cells(row, element):
    return ''.join(
      f'<{element} class="{cell[0]}">{cell[1]}</{element}>'
      if isinstance(cell, tuple)
      else f'<{element}>{cell}</{element}>'
      for cell in row
    )

  body = ''.join(f'<tr>{cells(row, "td")}</tr>' for row in rows)
  return f'<table><tr>{cells(head, "th")}</tr>{body}</table>'


def number(value):
  """A cell that is aligned to the right."""
  return ('number', text(value))


def faint(value):
  """A pale paragraph."""
  return f'<p class="faint">{text(value)}</p>'


def code(value):
  """A name, in the font of code."""
  return f'<code>{text(value)}</code>'


def tag(value, kind=None):
  """A small label, coloured by what it says."""
  kind = kind or KINDS.get(str(value), str(value))
  return f'<span class="tag {kind}">{text(str(value).replace("_", " "))}</span>'


def text(value):
  """Anything, escaped for HTML: a model writes the samples, and they must not become markup."""
  return html.escape(str(value))
