"""Generation: sampling transforms, the compiled decoder, and the Generate and Ask functions built on it."""

from sirl.generation.ask import greedy, make_ask
from sirl.generation.explore import demonstrate, explore

__all__ = ['demonstrate', 'explore', 'greedy', 'make_ask']
