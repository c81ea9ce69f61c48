"""The process of `proof.Prover`: reads pairs of expressions as JSON lines, answers with true or false.

It imports nothing of sirl, so that it starts quickly; run by its path.
"""

import json
import sys


def serve():
  """Answers until the input ends. The first line out says that math-verify is loaded."""
  from math_verify import LatexExtractionConfig, parse, verify

  print('ready', flush=True)
  for line in sys.stdin:
    answer, gold = (
      parse(f'${text}$', extraction_config=[LatexExtractionConfig()], parsing_timeout=None)
      for text in json.loads(line)
    )
    found = bool(answer) and bool(gold) and verify(gold, answer, timeout_seconds=None)
    print(json.dumps(bool(found)), flush=True)


if __name__ == '__main__':
  serve()
