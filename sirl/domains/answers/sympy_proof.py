"""What math-verify says of two expressions; runs in a process of `proof.Prover`.

It sets no time limit, since its own limits are signals of the main thread.
"""


def proves(answer, gold):
  """Whether math-verify takes two LaTeX expressions for the same value."""
  from math_verify import LatexExtractionConfig, parse, verify

  read_answer, read_gold = (
    parse(f'${text}$', extraction_config=[LatexExtractionConfig()], parsing_timeout=None)
    for text in (answer, gold)
  )
  both = bool(read_answer) and bool(read_gold)
  return both and bool(verify(read_gold, read_answer, timeout_seconds=None))
