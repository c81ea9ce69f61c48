"""Adapters that use reward functions written for TRL, verl or verifiers unchanged.

Each checks at once that it can call the function, and names the argument that it cannot give. What
a task carries in `meta` reaches the function under its own name; a structured answer, such as a
dict of test cases, stands in meta['ground_truth'].
"""

from sirl.rewards.adapters.trl import from_trl
from sirl.rewards.adapters.verifiers import from_verifiers
from sirl.rewards.adapters.verl import from_verl

__all__ = ['from_trl', 'from_verifiers', 'from_verl']
