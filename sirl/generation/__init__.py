"""Generation: token sampling, compiled decoders, and the Generate, Ask and likelihood functions."""

from sirl.generation.ask import greedy, make_ask
from sirl.generation.explore import demonstrate, explore
from sirl.generation.likelihood import make_logp, make_prompt_logp

__all__ = ['demonstrate', 'explore', 'greedy', 'make_ask', 'make_logp', 'make_prompt_logp']
