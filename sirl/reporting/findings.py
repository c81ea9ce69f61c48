"""A finding of the doctor: one thing seen in a run."""

import dataclasses

SEVERITIES = ('problem', 'warning', 'note', 'healthy')


@dataclasses.dataclass(frozen=True)
class Finding:
  """One thing seen in a run, with the numbers that show it and what to do."""

  severity: str  # one of SEVERITIES
  what: str
  evidence: str
  advice: str


def render(findings):
  """Findings as text for a terminal."""
  blocks = []
  for found in findings:
    lines = [f'{found.severity.upper():8} {found.what}', f'         {found.evidence}']
    blocks.append('\n'.join([*lines, f'         -> {found.advice}'] if found.advice else lines))
  return '\n\n'.join(blocks)
