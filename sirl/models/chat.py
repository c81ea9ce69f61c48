"""Chat templates: a conversation as text, and what a template writes beside the texts of its turns.

A template is a program of the tokenizer's author. `conversation` runs it so that equal messages give
equal text on every day, and refuses one that leaves a text out. `end_of_turn` and `opened` read from
its text what a run must know: the token that ends an answer, and the tags that the prompt has opened.
"""

import datetime
import logging
import re

from sirl.tasks import Message

log = logging.getLogger(__name__)

# What strftime_now of a template reads. The template of Llama 3.2 writes this day without a clock.
DATE = '2024-07-26'
ASKED, ANSWERED = 'sirl asks this', 'sirl answers that'  # texts that no template writes by itself


def conversation(name, tokenizer, *, system=None, date=DATE):
  """A function (messages, generate=True, day=None) -> text, by the tokenizer's chat template.

  `generate` adds the start of the answer. `day` replaces the date of one call. The content of a
  message is a text, or a list of one part where the template wants parts.

  Args:
    name: of the model, for messages of errors.
    system: system turn before a conversation that has none; None: none.
    date: 'YYYY-MM-DD', the day that a template with a clock writes.
  Raises: ValueError for another form of date, and from here and from the function for a template
    that refuses the messages or leaves out the text of a system or user turn.
  """
  template, fixed = tokenizer.get_chat_template(), day_of(date)

  def run(messages, *, parts, generate=True, day=None):
    said = [{'role': message.role, 'content': message.content} for message in messages]
    if system is not None and said[0]['role'] != 'system':
      said = [{'role': 'system', 'content': system}, *said]
    content = (lambda text: [{'type': 'text', 'text': text}]) if parts else (lambda text: text)
    try:
      made = tokenizer.apply_chat_template(
        [turn | {'content': content(turn['content'])} for turn in said],
        chat_template=without_clock(template, day or fixed),
        add_generation_prompt=generate,
        tokenize=False,
      )
    except Exception as error:  # a template may raise anything
      raise ValueError(f'{name}: the chat template refuses {said!r} ({error})') from error
    for turn in said:
      # Templates strip texts, and cut old answers on purpose.
      if turn['role'] != 'assistant' and turn['content'].strip() not in made:
        raise ValueError(
          f'{name}: the chat template leaves out the {turn["role"]} turn {turn["content"][:80]!r}, '
          f'it makes {made[:80]!r}; mend the template, or take a model with another one'
        )
    return made

  asked = (Message('user', ASKED),)
  try:
    run(asked, parts=False)
    parts = False
  except ValueError as refused:
    try:
      run(asked, parts=True)
      parts = True
    except ValueError:
      raise refused from None

  def text(messages, *, generate=True, day=None):
    return run(messages, parts=parts, generate=generate, day=day)

  return text


def without_clock(template, day):
  """The template with a strftime_now of its own, which reads the given datetime."""
  if 'strftime_now' not in template:
    return template
  codes = [f'%{pad}{letter}' for letter in 'aAwdbBmyYHIpMSfjUWcxXGuV' for pad in ('', '-')]
  written = [*((code, day.strftime(code)) for code in codes), ('%%', '%')]
  replaced = ''.join(f' | replace({code!r}, {text!r})' for code, text in written)
  return f'{{%- macro strftime_now(form) -%}}{{{{ form{replaced} }}}}{{%- endmacro -%}}{template}'


def day_of(date):
  """The midnight at which 'YYYY-MM-DD' begins. Raises ValueError for another form."""
  try:
    return datetime.datetime.combine(datetime.date.fromisoformat(date), datetime.time())
  except (TypeError, ValueError):
    raise ValueError(f'date={date!r}: expected a day such as {DATE}') from None


def writes_date(text):
  """Whether the function `text` of `conversation` writes the date into a prompt."""
  asked = (Message('user', ASKED),)
  return text(asked) != text(asked, day=datetime.datetime(1999, 12, 31))


def end_of_turn(name, tokenizer, text, known):
  """The id with which the template ends an answer; None, with a warning, where it has none.

  Args:
    text: the function of `conversation`.
    known: ids that end a completion, by the files of the model.
  """
  said = (Message('user', ASKED), Message('assistant', ANSWERED))
  try:
    before, _, after = text(said, generate=False).rpartition(ANSWERED)
  except ValueError:
    before = after = ''
  if not before:
    log.warning(
      '%s: its chat template does not render an answer, so it is unknown which token ends one; '
      'completions end at %s, or at max_new', name, tokenizer.convert_ids_to_tokens(known),
    )  # fmt: skip
    return None
  special = {id_ for id_, token in tokenizer.added_tokens_decoder.items() if token.content.strip()}
  ids = tokenizer(after, add_special_tokens=False)['input_ids']
  end = next((id_ for id_ in ids if id_ in special or id_ in known), None)
  if end is None and after.strip():
    log.warning(
      '%s: its chat template ends an answer with %r, which is no special token; completions end at '
      '%s, or at max_new', name, after, tokenizer.convert_ids_to_tokens(known),
    )  # fmt: skip
  if end is not None and known and end not in known:
    log.info(
      '%s: its chat template ends an answer with %s, which its files do not name; it ends '
      'completions too', name, tokenizer.convert_ids_to_tokens(end),
    )  # fmt: skip
  return end


def opened(tokenizer, text):
  """The tags with which the template begins an answer, such as '<think>\\n'; '' without one.

  Args: text: the function of `conversation`.
  """
  start = text((Message('user', ASKED),)).rpartition(ASKED)[2]
  tags = re.search(r'(?:<([A-Za-z]\w*)>\s*)+$', start)
  while tags and tags.group().split('>')[0] + '>' in tokenizer.all_special_tokens:
    tags = re.compile(r'(?:<([A-Za-z]\w*)>\s*)+$').search(start, tags.start() + 1)
  return tags.group() if tags else ''
