"""Generation: sampling transforms, the compiled decoder, and the Generate, Ask and likelihood functions built on it."""

from sirl.generation.ask import greedy, make_ask
from sirl.generation.explore import demonstrate, explore
from sirl.generation.likelihood import make_logp, make_prompt_logp

__all__ = ['demonstrate', 'explore', 'greedy', 'make_ask', 'make_logp', 'make_prompt_logp']
